//! Rings that a command makes for itself.
use std::ops::Deref;

use crate::{Error, Ring, RingOptions, cli::exit::Failure};

/// A ring under a name of its own, which goes when this goes.
pub struct OwnRing(Ring);

impl OwnRing {
    /// Makes one, for the command `verb`. If that is killed, `ringctl clean` finds the ring.
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
        // A refusal leaves the name; ringctl clean finds it.
        let _ = self.0.remove();
    }
}
