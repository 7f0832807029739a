//! Opens or creates objects as [`ObjectOptions`] say.

use super::{Barrier, Event, Lock, ObjectOptions};
use crate::Result;

impl ObjectOptions {
    /// The lock of this name.
    ///
    /// # Errors
    /// As [`Lock::create`] and [`Lock::open`]; [`Error::Untrusted`](crate::Error::Untrusted).
    pub fn lock(self, name: &str) -> Result<Lock> {
        Lock::attach(name, self)
    }

    /// The barrier of this name for `parties` processes.
    ///
    /// # Errors
    /// As [`Barrier::open_or_create`]; [`Error::Untrusted`](crate::Error::Untrusted).
    pub fn barrier(self, name: &str, parties: u32) -> Result<Barrier> {
        Barrier::attach(name, parties, self)
    }

    /// The event of this name.
    ///
    /// # Errors
    /// As [`Event::create`] and [`Event::open`]; [`Error::Untrusted`](crate::Error::Untrusted).
    pub fn event(self, name: &str) -> Result<Event> {
        Event::attach(name, self)
    }

    /// The event of this name, if it exists.
    ///
    /// # Errors
    /// As [`Event::open`]; [`Error::Untrusted`](crate::Error::Untrusted).
    pub fn existing_event(self, name: &str) -> Result<Event> {
        Event::existing(name, self)
    }
}
