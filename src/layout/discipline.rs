//! How the two sides of a ring wait for each other: chosen when it is made, followed by all who attach.

use std::fmt;

use crate::{Error, Result};

/// How producers and consumers wait, take turns and wake each other.
///
/// The slots' words are the truth under each of them, and so the promises are the same: what differs is what a
/// look at the slots is surrounded by. docs/CLASSICS.md tells where each comes from, and what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Discipline {
    /// Look, spin a little, then sleep on a semaphore that is posted only while somebody sleeps.
    #[default]
    Adaptive,
    /// The classic solution: counting semaphores `room` and `items`, and the semaphore `mutex` around the
    /// slots unless the ring is exclusive.
    Semaphore,
    /// No semaphore: look, give the processor away with `sched_yield`, look again. Waiting takes a whole
    /// core.
    Polling,
    /// A condition variable: look with the lock held; waiting lets go of it; every change wakes all who wait.
    Monitor(Thresholds),
}

/// When a monitor wakes: counted in slots, which for items of one slot are items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thresholds {
    /// Consumers that wait go on when so many slots wait, 1 to the capacity: 1 unless set. Earlier if a
    /// producer has to wait, or none is left. Those that only try take what there is.
    pub wake_at: u64,
    /// Producers that filled `wake_at` slots go on when no more than so many wait, or a consumer has to
    /// wait. Not set: they go on as long as there is room.
    pub resume_at: Option<u64>,
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds { wake_at: 1, resume_at: None }
    }
}

impl Discipline {
    /// Its name, as `--sync` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Discipline::Adaptive => "adaptive",
            Discipline::Semaphore => "semaphore",
            Discipline::Polling => "polling",
            Discipline::Monitor(_) => "monitor",
        }
    }

    /// Whether those who look at the slots do so one after the other: by the semaphore `mutex`, but in
    /// exclusive rings, which have one of each and none.
    pub fn takes_turns(self) -> bool {
        matches!(self, Discipline::Semaphore | Discipline::Monitor(_))
    }

    /// The thresholds of a monitor.
    pub fn thresholds(self) -> Option<Thresholds> {
        match self {
            Discipline::Monitor(thresholds) => Some(thresholds),
            _ => None,
        }
    }
}

impl fmt::Display for Discipline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A discipline in the segment's preamble: its number, `wake_at`, and one more than `resume_at`.
pub(super) type Written = (u32, u64, u64);

impl Discipline {
    pub(super) fn write(self) -> Written {
        match self {
            Discipline::Adaptive => (0, 0, 0),
            Discipline::Semaphore => (1, 0, 0),
            Discipline::Polling => (2, 0, 0),
            Discipline::Monitor(Thresholds { wake_at, resume_at }) => {
                (3, wake_at, resume_at.map_or(0, |slots| slots.saturating_add(1)))
            }
        }
    }

    /// `None`: another version's.
    pub(super) fn read((number, wake_at, resume_at): Written) -> Option<Self> {
        Some(match number {
            0 => Discipline::Adaptive,
            1 => Discipline::Semaphore,
            2 => Discipline::Polling,
            3 => Discipline::Monitor(Thresholds { wake_at, resume_at: resume_at.checked_sub(1) }),
            _ => return None,
        })
    }

    /// Whether a ring of `capacity` slots can follow it.
    pub(super) fn check(self, capacity: u64) -> Result<()> {
        let Discipline::Monitor(Thresholds { wake_at, resume_at }) = self else { return Ok(()) };
        if !(1..=capacity).contains(&wake_at) {
            let text =
                format!("bad threshold to wake at {wake_at}: expected 1 to {capacity} slots, the capacity");
            return Err(Error::Options(text.into()));
        }
        match resume_at {
            Some(slots) if slots >= wake_at => {
                let most = wake_at - 1;
                let text = format!(
                    "bad threshold to resume at {slots}: expected 0 to {most} slots, fewer than are woken at"
                );
                Err(Error::Options(text.into()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let monitor = |wake_at, resume_at| Discipline::Monitor(Thresholds { wake_at, resume_at });
        let plain = [Discipline::Adaptive, Discipline::Semaphore, Discipline::Polling];
        for discipline in
            plain.into_iter().chain([monitor(1, None), monitor(5, Some(0)), monitor(5, Some(4))])
        {
            assert_eq!(Discipline::read(discipline.write()), Some(discipline));
            assert!(discipline.check(8).is_ok());
        }
        assert_eq!(Discipline::read((4, 0, 0)), None);
        for bad in [monitor(0, None), monitor(9, None), monitor(5, Some(5)), monitor(1, Some(u64::MAX))] {
            assert!(bad.check(8).is_err());
        }
    }
}
