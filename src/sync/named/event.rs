//! An event: one word, set or not.

use std::cell::RefCell;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use super::Object;
use crate::Result;
use crate::layout::named::{Geometry, Kind, head};
use crate::sync::{StopFlag, Waiter};
use crate::sys::clock::Deadline;

const SET: u64 = 1;

/// An event between processes, by name: it is set, and stays so until somebody resets or takes it.
///
/// [`wait`](Self::wait) leaves it set, so that all who wait go on. [`take`](Self::take) resets it in the same
/// instruction, so that one goes on for each time that it was set: the semaphore that begins with 0. Setting
/// an event that is set changes nothing; who must count uses a [`Semaphore`](super::Semaphore).
///
/// ```
/// # let name = format!("doc-event-{}", std::process::id());
/// use ringpipe::sync::Event;
///
/// let mut consumer = Event::create(&name)?;
/// let producer = Event::open(&name)?;        // in another process, or another thread
/// assert!(!consumer.is_set());
/// producer.set()?;
/// consumer.wait()?;                           // stays set
/// consumer.take()?;                           // no more
/// assert!(!producer.is_set());
/// consumer.remove()?;
/// # Ok::<(), ringpipe::Error>(())
/// ```
///
/// Nothing in an event belongs to anybody, so a death leaves it set or not, and nothing to mend. An
/// event that was taken by who died right after is gone with it: who cannot have that takes a permit of a
/// semaphore, and [uses it up](super::Permit::forget) when the work is done.
///
/// One handle is for one thread at a time:
///
/// ```compile_fail,E0277
/// fn shared(_: impl Sync) {}
/// shared(ringpipe::sync::Event::open("doc-event-shared").unwrap());
/// ```
#[derive(Debug)]
pub struct Event {
    object: Object,
    waiter: RefCell<Waiter>,
    stop: Option<StopFlag>,
}

impl Event {
    /// Makes an event of this name, not set, for this user alone (mode 0600).
    ///
    /// # Errors
    /// [`Error::Name`](crate::Error::Name); [`Error::Exists`](crate::Error::Exists) when the name
    /// is taken, by whatever; [`Error::NoSpace`](crate::Error::NoSpace).
    pub fn create(name: &str) -> Result<Event> {
        Ok(Event::new(Object::create(name, Geometry::new(Kind::Event, 0)?, Vec::new)?))
    }

    /// Opens the event of this name.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound);
    /// [`Error::Incompatible`](crate::Error::Incompatible) for what is no event, or one of another
    /// version, libc or
    /// word size.
    pub fn open(name: &str) -> Result<Event> {
        Ok(Event::new(Object::open(name, Kind::Event)?))
    }

    /// Opens the event of this name, or makes it. Of several that do so at once, one makes it.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(name: &str) -> Result<Event> {
        Ok(Event::new(Object::open_or_create(name, Geometry::new(Kind::Event, 0)?, Vec::new)?))
    }

    fn new(object: Object) -> Event {
        Event { object, waiter: RefCell::default(), stop: None }
    }

    /// Removes the name. Those who have it open keep their event. False: the name was gone, or stands for
    /// something newer.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the system refuses.
    pub fn remove(&self) -> Result<bool> {
        self.object.remove()
    }

    /// The name, without a slash.
    pub fn name(&self) -> &str {
        self.object.name()
    }

    /// Lets `stop` end any wait of this handle with
    /// [`Error::Interrupted`](crate::Error::Interrupted), within 100 milliseconds.
    pub fn set_stop_flag(&mut self, stop: StopFlag) {
        self.stop = Some(stop);
    }

    /// Sets the event and wakes all who wait. True: it was not set.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a child of the process that opened it.
    pub fn set(&self) -> Result<bool> {
        self.object.check()?;
        // P3: hands over what was written before.
        let before = self.object.words.word(head::EVENT).swap(SET, Release);
        // Also if it was set: who set it may have died before it woke anybody.
        self.object.signal().notify_all();
        self.object.check()?;
        Ok(before == 0)
    }

    /// Resets the event. True: it was set.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a child of the process that opened it.
    pub fn reset(&self) -> Result<bool> {
        self.object.check()?;
        // P3: who resets it may rely on what was written before it was set.
        let before = self.object.words.word(head::EVENT).swap(0, Acquire);
        self.object.check()?;
        Ok(before != 0)
    }

    /// Whether the event is set.
    pub fn is_set(&self) -> bool {
        // P3.
        self.object.words.word(head::EVENT).load(Acquire) != 0
    }

    /// Waits until the event is set, and leaves it set. An event that is set and at once taken or reset by
    /// somebody else may pass unseen.
    ///
    /// # Errors
    /// [`Error::Interrupted`](crate::Error::Interrupted) when the stop flag was raised;
    /// [`Error::Forked`](crate::Error::Forked) in a child of the process that
    /// opened it; [`Error::Damaged`](crate::Error::Damaged) when its bytes were overwritten.
    pub fn wait(&mut self) -> Result<()> {
        self.wait_until(Deadline::never(), Self::is_set)
    }

    /// As [`wait`](Self::wait), at most `timeout`.
    ///
    /// # Errors
    /// As [`wait`](Self::wait), and [`Error::TimedOut`](crate::Error::TimedOut).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<()> {
        self.wait_until(Deadline::after(timeout), Self::is_set)
    }

    /// Waits until the event is set, and takes it: it is reset, and nobody else gets it.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn take(&mut self) -> Result<()> {
        self.wait_until(Deadline::never(), Self::taken)
    }

    /// As [`take`](Self::take), at most `timeout`; [`Duration::ZERO`] looks once.
    ///
    /// # Errors
    /// As [`take`](Self::take), and [`Error::TimedOut`](crate::Error::TimedOut).
    pub fn take_timeout(&mut self, timeout: Duration) -> Result<()> {
        self.wait_until(Deadline::after(timeout), Self::taken)
    }

    fn taken(&self) -> bool {
        // Relaxed: the exchange decides.
        self.take_seen(self.object.words.word(head::EVENT).load(Relaxed))
    }

    /// Takes an event whose word was `seen`; not if it changed.
    fn take_seen(&self, seen: u64) -> bool {
        let word = self.object.words.word(head::EVENT);
        // P3: what was written before it was set.
        seen != 0 && word.compare_exchange(seen, 0, AcqRel, Relaxed).is_ok()
    }

    fn wait_until(&self, deadline: Deadline, done: impl Fn(&Event) -> bool) -> Result<()> {
        self.object.check()?;
        if done(self) {
            return self.object.check();
        }
        let mut waiter = self.waiter.take();
        let word = self.object.words.word(head::EVENT);
        let there = |n| n == 0 && word.load(Relaxed) != 0; // Relaxed: a hint, looked at again.
        let look = |_| {
            self.object.check()?;
            Ok(done(self).then_some(()))
        };
        let result = waiter.wait_on(&self.object.signal(), deadline, self.stop.as_ref(), there, look);
        self.waiter.replace(waiter);
        self.object.check()?;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sleeping;
    use super::*;
    use crate::sys::testing::TestName;

    #[test]
    fn all_who_sleep_are_woken_each_time_it_is_set_also_when_it_was() {
        let name = TestName::new();
        let event = Event::create(name.0.as_str()).unwrap();
        let words = &event.object.words;
        for (first, sleepers, posted) in [(true, 2, 2), (false, 1, 3)] {
            sleeping(words, sleepers);
            assert_eq!(event.set().unwrap(), first);
            assert_eq!(words.semaphore().value(), posted);
        }
    }

    #[test]
    fn an_event_that_was_taken_meanwhile_is_not_taken_again() {
        let name = TestName::new();
        let mut event = Event::create(name.0.as_str()).unwrap();
        event.set().unwrap();
        event.take().unwrap();
        assert!(!event.take_seen(SET));
    }
}
