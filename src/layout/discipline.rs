//! Disciplines: how the two sides of a ring wait for each other. The creator chooses one, and every handle
//! follows it.

use std::fmt;

use crate::{Error, Result};

/// How producers and consumers wait, take turns and wake each other.
///
/// The slots' words are the truth under each discipline, so all give the same guarantees. They differ in what
/// a handle does around a check of the slots. docs/CLASSICS.md says where each comes from, and what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Discipline {
    /// Check, spin a little, then sleep on a semaphore that is posted only while a handle sleeps on it.
    #[default]
    Adaptive,
    /// The classic solution: counting semaphores `room` and `items`, and the semaphore `mutex` around the
    /// slots unless the ring is exclusive.
    Semaphore,
    /// No semaphore: check, yield the processor with `sched_yield`, check again. A waiting handle keeps a
    /// whole core busy.
    Polling,
    /// A condition variable: check with the lock held; release the lock while waiting. Every change wakes all
    /// waiting handles.
    Monitor(Thresholds),
}

/// When a monitor wakes the other side. Counted in slots, which equals items if each item has one slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thresholds {
    /// Waiting consumers start when this many slots are filled: 1 (the default) to the capacity. They start
    /// earlier if a producer must wait or no producer is left. Consumers that only try take whatever there
    /// is.
    pub wake_at: u64,
    /// After producers have filled `wake_at` slots, they wait until at most this many are filled, or until a
    /// consumer must wait. `None`: they continue as long as there is room.
    pub resume_at: Option<u64>,
}

impl Thresholds {
    /// Consumers start at the first slot, and producers continue as long as there is room.
    const NONE: Thresholds = Thresholds { wake_at: 1, resume_at: None };
}

impl Default for Thresholds {
    fn default() -> Self {
        Thresholds::NONE
    }
}

impl Discipline {
    /// Each discipline once, the default first; the monitor has the default thresholds.
    ///
    /// ```
    /// use ringpipe::Discipline;
    ///
    /// let named = |name: &str| Discipline::ALL.iter().find(|discipline| discipline.name() == name);
    /// assert_eq!(named("polling"), Some(&Discipline::Polling));
    /// ```
    pub const ALL: &'static [Discipline] = &[
        Discipline::Adaptive,
        Discipline::Semaphore,
        Discipline::Polling,
        Discipline::Monitor(Thresholds::NONE),
    ];

    /// Its name, as `--sync` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Discipline::Adaptive => "adaptive",
            Discipline::Semaphore => "semaphore",
            Discipline::Polling => "polling",
            Discipline::Monitor(_) => "monitor",
        }
    }

    /// How its handles wait, in a few words, as `--help` prints it.
    pub fn summary(self) -> &'static str {
        match self {
            Discipline::Adaptive => "look, spin a little, then sleep",
            Discipline::Semaphore => "the counting semaphores room and items, and a mutex",
            Discipline::Polling => "look, sched_yield, look again; waiting takes a whole core",
            Discipline::Monitor(_) => "a condition variable",
        }
    }

    /// Whether handles check the slots one after the other, ordered by the semaphore `mutex`. An exclusive
    /// ring has no mutex, since each of its sides has one handle.
    pub fn takes_turns(self) -> bool {
        matches!(self, Discipline::Semaphore | Discipline::Monitor(_))
    }

    /// Whether the semaphores `items` and `room` count the filled and the free slots. Under the other
    /// disciplines a post only wakes a sleeper.
    pub fn counts_tokens(self) -> bool {
        self == Discipline::Semaphore
    }

    /// Whether a waiting handle sleeps until another wakes it. If not, it keeps a processor busy.
    pub fn sleeps(self) -> bool {
        self != Discipline::Polling
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

/// A discipline in the segment's preamble: its number, `wake_at`, and `resume_at` plus one.
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

    /// `None` for values of another version.
    pub(super) fn read((number, wake_at, resume_at): Written) -> Option<Self> {
        Some(match number {
            0 => Discipline::Adaptive,
            1 => Discipline::Semaphore,
            2 => Discipline::Polling,
            3 => Discipline::Monitor(Thresholds { wake_at, resume_at: resume_at.checked_sub(1) }),
            _ => return None,
        })
    }

    /// Fails if a ring of `capacity` slots cannot have these thresholds.
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
                    "bad threshold to resume at {slots}: expected 0 to {most} slots, less than the threshold to wake at"
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
    fn a_discipline_is_read_as_it_was_written() {
        let monitor = |wake_at, resume_at| Discipline::Monitor(Thresholds { wake_at, resume_at });
        let others = [monitor(5, None), monitor(5, Some(0)), monitor(5, Some(4))];
        for discipline in Discipline::ALL.iter().copied().chain(others) {
            assert_eq!(Discipline::read(discipline.write()), Some(discipline));
            assert!(discipline.check(8).is_ok());
        }
        let unknown = Discipline::ALL.len() as u32;
        assert_eq!(Discipline::read((unknown, 0, 0)), None);
        for bad in [monitor(0, None), monitor(9, None), monitor(5, Some(5)), monitor(1, Some(u64::MAX))] {
            assert!(bad.check(8).is_err());
        }
    }

    #[test]
    fn all_holds_each_discipline_once_in_the_order_of_their_numbers() {
        for (number, discipline) in Discipline::ALL.iter().enumerate() {
            assert_eq!(discipline.write().0, number as u32, "{discipline}");
            let named = Discipline::ALL.iter().filter(|other| other.name() == discipline.name());
            assert_eq!(named.count(), 1, "{discipline}");
        }
        assert_eq!(Discipline::ALL[0], Discipline::default());
    }
}
