//! The door: who may still come, in one word.
//!
//! Bits 0 to 29 count the producers that ever attached, bits 30 to 59 the consumers, bit 62 says
//! retired (drained, ended and about to lose its name), bit 63 closed. Every change is a
//! compare-exchange of the whole word, so that whoever decides "all is over" decides about exactly the
//! crowd it has looked at: a producer that came meanwhile has changed the word.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use super::Role;

const COUNT_BITS: u32 = 30;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const RETIRED: u64 = 1 << 62;
const CLOSED: u64 = 1 << 63;

/// What the door's word says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Door(u64);

impl Door {
    /// Reads the word.
    #[inline]
    pub fn read(word: &AtomicU64) -> Self {
        // E8: who sees a participant counted finds its entry and its lock.
        Door(word.load(Acquire))
    }

    #[inline]
    pub fn is_closed(self) -> bool {
        self.0 & (CLOSED | RETIRED) != 0
    }

    #[inline]
    pub fn is_retired(self) -> bool {
        self.0 & RETIRED != 0
    }

    pub fn producers(self) -> u64 {
        self.0 & COUNT_MASK
    }

    pub fn consumers(self) -> u64 {
        self.0 >> COUNT_BITS & COUNT_MASK
    }

    /// Counts one more participant, or says why not: the door as it was found, closed to this role.
    pub fn enter(word: &AtomicU64, role: Role) -> Result<(), Door> {
        change(word, |door| match role {
            _ if door.is_retired() => None,
            Role::Producer if door.is_closed() => None,
            // Counts stick at their end: a billion comings are enough to tell crowds apart.
            Role::Producer if door.producers() == COUNT_MASK => Some(door.0),
            Role::Producer => Some(door.0 + 1),
            Role::Consumer if door.consumers() == COUNT_MASK => Some(door.0),
            Role::Consumer => Some(door.0 + (1 << COUNT_BITS)),
        })
    }

    /// Closes the door to producers. False: it was closed.
    pub fn close(word: &AtomicU64) -> bool {
        change(word, |door| (!door.is_closed()).then_some(door.0 | CLOSED)).is_ok()
    }

    /// Retires the ring if nobody has come since `self` was read.
    pub fn retire(self, word: &AtomicU64) -> bool {
        // E8: who sees it retired sees that it was drained.
        word.compare_exchange(self.0, self.0 | RETIRED, AcqRel, Acquire).is_ok()
    }
}

fn change(word: &AtomicU64, to: impl Fn(Door) -> Option<u64>) -> Result<(), Door> {
    // E8: see `read`.
    word.fetch_update(AcqRel, Acquire, |bits| to(Door(bits))).map(|_| ()).map_err(Door)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retirement_fails_when_somebody_came_meanwhile() {
        let word = AtomicU64::new(0);
        Door::enter(&word, Role::Producer).unwrap();
        let seen = Door::read(&word);
        Door::enter(&word, Role::Producer).unwrap();
        assert!(!seen.retire(&word));
        assert!(Door::read(&word).retire(&word));
        assert!(Door::read(&word).is_closed(), "who is in sends nothing more");
        assert!(Door::enter(&word, Role::Consumer).unwrap_err().is_retired());
    }

    #[test]
    fn a_closed_door_lets_consumers_in_and_producers_not() {
        let word = AtomicU64::new(0);
        assert!(Door::close(&word));
        assert!(!Door::close(&word));
        assert!(Door::enter(&word, Role::Producer).is_err());
        Door::enter(&word, Role::Consumer).unwrap();
        assert_eq!((Door::read(&word).producers(), Door::read(&word).consumers()), (0, 1));
    }
}
