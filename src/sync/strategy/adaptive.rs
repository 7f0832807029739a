//! The adaptive strategy: look, spin, announce, look again, sleep a slice, look again.

use super::{Around, Look, Made, Side, Signal, Sleepers, Slices, StopFlag, WaitStrategy, Wanted, go_on};
use crate::Result;
use crate::sys::clock::{self, Deadline};
use crate::sys::process;

/// Spinning time that is never exceeded: about what a sleep and a wake-up cost.
const MOST_SPIN_NS: u64 = 50_000;
/// Spinning time to begin with.
const FIRST_SPIN_NS: u64 = 20_000;
/// Spinning time that is always granted, so that a peer that comes back is noticed.
const LEAST_SPIN_NS: u64 = 1_000;
/// Spins in vain after which one tries whether the longest has become worth it. Without it, who waits for a
/// peer that takes a little longer than the shortest spin would sleep each time, for ever.
const SPIN_TRIAL: u32 = 16;
/// Looks between two readings of the clock.
const LOOKS_PER_READING: u32 = 32;

/// Longest lingering, in turns of the spin loop: a few microseconds.
const MOST_LINGER: u32 = 128;
/// One wait in so many tries whether lingering has become worth it.
const LINGER_TRIAL: u32 = 16;
/// Turns of such a trial.
const TRIAL_LINGER: u32 = 4;
/// Who finds so many at once need not linger for more.
const PLENTY: u64 = 64;

/// Waits, and learns how long spinning is worth it, and how long lingering is.
///
/// *Lingering*: when two sides run at the same pace, each item (or free slot) is taken the moment it
/// appears, and the cache line that holds its word goes back and forth for every single one. Who waits a
/// moment longer finds several at once. Where the other side sends one and waits for the answer, nothing
/// more ever comes, and lingering stops.
#[derive(Debug)]
pub struct Waiter {
    spin_ns: u64,
    /// Spins in vain, one after the other.
    in_vain: u32,
    linger: u32,
    waits: u32,
    /// The last sleep brought something: the next look before a sleep may be a quick one.
    content: bool,
}

impl Default for Waiter {
    fn default() -> Self {
        // Alone on a processor, spinning only keeps the peer from running.
        let alone = process::processors() == 1;
        Waiter {
            spin_ns: if alone { 0 } else { FIRST_SPIN_NS },
            in_vain: 0,
            linger: 0,
            waits: 0,
            content: false,
        }
    }
}

impl WaitStrategy for Waiter {
    fn wait<T>(
        &mut self,
        side: Side<'_>,
        wanted: &Wanted<'_, T>,
        there: impl Fn(u64) -> bool,
        look: impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<T> {
        self.wait_on(&side.own.signal, wanted.deadline, wanted.stop, there, look)
    }

    #[inline]
    fn wake(&self, sleepers: Sleepers<'_>, _: &dyn Around, made: Made) {
        sleepers.signal.notify(made.items);
    }
}

impl Waiter {
    /// Asks `look` until it has an answer, the deadline passes (`TimedOut`) or the flag is raised
    /// (`Interrupted`). `there(n)` tells cheaply whether `look` is likely to find more than `n`.
    pub fn wait_on<T>(
        &mut self,
        signal: &Signal<'_>,
        deadline: Deadline,
        stop: Option<&StopFlag>,
        there: impl Fn(u64) -> bool,
        mut look: impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<T> {
        if let Some(found) = self.spin(there, &mut look)? {
            return Ok(found);
        }
        let mut slices = Slices::default();
        loop {
            signal.announce();
            // Who will not sleep after this look will have no other.
            let quick = self.content && !deadline.passed();
            let answer = match look(if quick { Look::Quick } else { Look::Thorough }) {
                Ok(None) => go_on(deadline, stop).map(|()| None),
                answer => answer,
            };
            if let Some(answer) = answer.transpose() {
                signal.withdraw();
                return answer;
            }
            signal.sleep(slices.next(deadline))?;
            let found = look(Look::Quick)?;
            self.content = found.is_some();
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }

    fn spin<T>(
        &mut self,
        there: impl Fn(u64) -> bool,
        look: &mut impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        if self.spin_ns == 0 {
            return look(Look::Quick);
        }
        let trial = self.in_vain >= SPIN_TRIAL;
        let longest = if trial { MOST_SPIN_NS } else { self.spin_ns };
        let start = clock::monotonic_ns();
        loop {
            for _ in 0..LOOKS_PER_READING {
                if there(0) {
                    self.linger(&there);
                    if let Some(found) = look(Look::Quick)? {
                        let worth = if trial { clock::monotonic_ns().saturating_sub(start) * 2 } else { 0 };
                        self.spin_ns = (self.spin_ns + self.spin_ns / 4).max(worth).min(MOST_SPIN_NS);
                        self.in_vain = 0;
                        return Ok(Some(found));
                    }
                }
                std::hint::spin_loop();
            }
            if clock::monotonic_ns().saturating_sub(start) >= longest {
                self.in_vain = if trial { 0 } else { self.in_vain + 1 };
                self.spin_ns = (self.spin_ns / 2).max(LEAST_SPIN_NS);
                return look(Look::Quick);
            }
        }
    }

    /// Waits a moment for more than the one that is there, as long as that has been worth it.
    fn linger(&mut self, there: &impl Fn(u64) -> bool) {
        self.waits = self.waits.wrapping_add(1);
        let trial = self.waits.is_multiple_of(LINGER_TRIAL);
        let turns = if trial { self.linger.max(TRIAL_LINGER) } else { self.linger };
        for _ in 0..turns {
            if there(PLENTY) {
                break;
            }
            std::hint::spin_loop();
        }
        if turns > 0 {
            self.linger = if there(1) { (turns * 2).min(MOST_LINGER) } else { self.linger / 2 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::testing::{Stage, wanted};
    use std::time::Duration;

    #[test]
    fn after_the_announcement_it_looks_thoroughly_before_it_sleeps() {
        let stage = Stage::new();
        let (side, mut seen) = (stage.consumer(), Vec::new());
        let look = |depth| {
            let announced = side.own.counts().0 == 1;
            seen.push((depth, announced));
            Ok(announced.then_some(1))
        };
        let soon = Deadline::after(Duration::from_millis(200));
        Waiter::default().wait(side, &wanted(1, soon), |_| false, look).unwrap();
        assert_eq!(seen, [(Look::Quick, false), (Look::Thorough, true)]);
        assert_eq!(side.own.counts(), (0, 0), "withdrawn");
    }

    #[test]
    fn the_last_look_of_a_wait_is_thorough_although_the_last_sleep_brought_something() {
        let stage = Stage::new();
        let (side, mut waiter) = (stage.consumer(), Waiter::default());
        let mut looks = |deadline, most: usize| {
            let mut seen = Vec::new();
            let look = |depth| {
                seen.push(depth);
                // Whoever sleeps is woken.
                side.own.signal.notify_all();
                Ok((seen.len() == most).then_some(1))
            };
            let _ = waiter.wait(side, &wanted(1, deadline), |_| false, look);
            seen
        };
        assert_eq!(looks(Deadline::never(), 3), [Look::Quick, Look::Thorough, Look::Quick]);
        assert_eq!(looks(Deadline::never(), 2), [Look::Quick, Look::Quick]);
        assert_eq!(looks(Deadline::immediate(), 9), [Look::Quick, Look::Thorough]);
    }

    #[test]
    fn who_made_something_wakes_one_that_sleeps() {
        let stage = Stage::new();
        let side = stage.producer();
        side.other.forge(2);
        Waiter::default().done(side, Made { items: 1, slots: 3 });
        assert_eq!(side.other.counts(), (1, 1));
    }
}
