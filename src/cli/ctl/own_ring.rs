//! Rings that a command creates for itself.
use std::ops::Deref;

use crate::{Error, Ring, RingOptions, cli::common::exit::Failure};

/// A ring under a name of its own; dropping this removes it.
pub struct OwnRing(Ring);

impl OwnRing {
    /// Creates a ring for the command `verb`. If the command is killed, `ringctl clean` finds the ring.
    pub fn make(verb: &str, options: &RingOptions) -> Result<Self, Failure> {
        loop {
            let name = format!("ringpipe-{verb}-{}-{:06x}", std::process::id(), fastrand::u32(..1 << 24));
            match options.create(&name) {
                Err(Error::Exists(_)) => {}
                result => return result.map(OwnRing).map_err(|error| Failure::of_ring(&name, &error)),
            }
        }
    }
}

impl Deref for OwnRing {
    type Target = Ring;

    fn deref(&self) -> &Ring {
        &self.0
    }
}

impl Drop for OwnRing {
    fn drop(&mut self) {
        // If this fails, the name stays, and ringctl clean finds it.
        let _ = self.0.remove();
    }
}
