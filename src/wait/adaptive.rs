//! The adaptive strategy: spin, announce a sleeper, check again, sleep for a slice, and repeat.

use super::Signal;
use super::StopFlag;
use super::strategy::{
    Depth, Endpoint, RingState, Sleepers, Slices, WaitProgress, WaitRequest, WaitStrategy, go_on,
};
use crate::Result;
use crate::sys::clock::{self, Deadline};
use crate::sys::process;

/// The longest spinning time: about the cost of one sleep and wake-up.
const MOST_SPIN_NS: u64 = 50_000;
/// The spinning time of a new handle.
const FIRST_SPIN_NS: u64 = 20_000;
/// The shortest spinning time. After a trial in vain it is zero: then spinning only delays a peer that waits
/// for this processor.
const LEAST_SPIN_NS: u64 = 1_000;
/// After this many waits in which spinning did not pay, one spin of the longest time tests whether it pays
/// again. Otherwise a handle whose peer takes a little longer than the shortest spin would sleep each time,
/// for ever. Each trial in vain doubles the number, up to the second one.
const SPIN_TRIAL: u32 = 16;
const RARE_SPIN_TRIAL: u32 = 1024;
/// Checks between two readings of the clock.
const LOOKS_PER_READING: u32 = 32;

/// The longest lingering, in turns of the spin loop: a few microseconds.
const MOST_LINGER: u32 = 128;
/// One wait in this many tests whether lingering pays.
const LINGER_TRIAL: u32 = 16;
/// Turns of the spin loop in such a test.
const TRIAL_LINGER: u32 = 4;
/// Lingering ends early when more than this many items, or free slots, are available.
const PLENTY: u64 = 64;

/// Waits, and learns how long spinning and lingering are worth it.
///
/// *Lingering*: when both sides run at the same pace, each item (or free slot) is taken the moment it
/// appears, and the cache line with its word moves to the other processor and back for every single item. A
/// handle that waits a moment longer finds several at once. If the other side sends one item and waits for
/// the answer, no more items come, and lingering stops.
#[derive(Debug)]
pub struct Waiter {
    /// Zero: only trials spin.
    spin_ns: u64,
    /// Waits since the last success or trial.
    in_vain: u32,
    /// The number of them at which the next trial is due.
    trial_at: u32,
    linger: u32,
    waits: u32,
    /// The last sleep ended with something found: the next check before a sleep may be a quick one.
    content: bool,
}

impl Default for Waiter {
    fn default() -> Self {
        // With a single processor, spinning only keeps the peer from running.
        let alone = process::processors() == 1;
        Waiter {
            spin_ns: if alone { 0 } else { FIRST_SPIN_NS },
            in_vain: 0,
            trial_at: if alone { u32::MAX } else { SPIN_TRIAL },
            linger: 0,
            waits: 0,
            content: false,
        }
    }
}

impl WaitStrategy for Waiter {
    fn wait<T>(
        &mut self,
        endpoint: Endpoint<'_>,
        request: &WaitRequest<'_, T>,
        there: impl Fn(u64) -> bool,
        look: impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<T> {
        self.wait_on(&endpoint.own.signal, request.deadline, request.stop, there, look)
    }

    #[inline]
    fn wake(&self, sleepers: Sleepers<'_>, _: &dyn RingState, progress: WaitProgress) {
        sleepers.signal.notify(progress.items);
    }
}

impl Waiter {
    /// Calls `look` until it returns something, the deadline passes (`TimedOut`) or the flag is raised
    /// (`Interrupted`). `there(n)` is a cheap estimate of whether `look` would find more than `n`.
    pub fn wait_on<T>(
        &mut self,
        signal: &Signal<'_>,
        deadline: Deadline,
        stop: Option<&StopFlag>,
        there: impl Fn(u64) -> bool,
        mut look: impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<T> {
        if let Some(found) = self.spin(there, &mut look)? {
            return Ok(found);
        }
        let mut slices = Slices::default();
        loop {
            signal.announce();
            // With the deadline passed this is the last check, so make it a thorough one.
            let quick = self.content && !deadline.passed();
            let answer = match look(if quick { Depth::Quick } else { Depth::Thorough }) {
                Ok(None) => go_on(deadline, stop).map(|()| None),
                answer => answer,
            };
            if let Some(answer) = answer.transpose() {
                signal.withdraw();
                return answer;
            }
            slices.slept(signal.sleep(slices.next(deadline))?);
            let found = look(Depth::Quick)?;
            self.content = found.is_some();
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }

    fn spin<T>(
        &mut self,
        there: impl Fn(u64) -> bool,
        look: &mut impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let trial = self.in_vain >= self.trial_at;
        if self.spin_ns == 0 && !trial {
            self.in_vain = self.in_vain.saturating_add(1);
            return look(Depth::Quick);
        }
        let longest = if trial { MOST_SPIN_NS } else { self.spin_ns };
        let start = clock::monotonic_ns();
        loop {
            for _ in 0..LOOKS_PER_READING {
                if there(0) {
                    self.linger(&there);
                    if let Some(found) = look(Depth::Quick)? {
                        let worth = if trial { clock::monotonic_ns().saturating_sub(start) * 2 } else { 0 };
                        self.spin_ns = (self.spin_ns + self.spin_ns / 4).max(worth).min(MOST_SPIN_NS);
                        (self.in_vain, self.trial_at) = (0, SPIN_TRIAL);
                        return Ok(Some(found));
                    }
                }
                std::hint::spin_loop();
            }
            if clock::monotonic_ns().saturating_sub(start) >= longest {
                if trial {
                    (self.in_vain, self.spin_ns) = (0, 0);
                    self.trial_at = (self.trial_at * 2).min(RARE_SPIN_TRIAL);
                } else {
                    self.in_vain += 1;
                    self.spin_ns = (self.spin_ns / 2).max(LEAST_SPIN_NS);
                }
                return look(Depth::Quick);
            }
        }
    }

    /// Something is there: waits a moment for more, for as long as that has paid.
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
    use crate::wait::testing::{Stage, request};
    use std::cell::Cell;
    use std::time::Duration;

    #[test]
    fn a_waiter_checks_thoroughly_after_its_announcement_and_before_it_sleeps() {
        let stage = Stage::new();
        let (endpoint, mut seen) = (stage.consumer(), Vec::new());
        let look = |depth| {
            let announced = endpoint.own.counts().0 == 1;
            seen.push((depth, announced));
            Ok(announced.then_some(1))
        };
        let soon = Deadline::after(Duration::from_millis(200));
        Waiter::default().wait(endpoint, &request(1, soon), |_| false, look).unwrap();
        assert_eq!(seen, [(Depth::Quick, false), (Depth::Thorough, true)]);
        assert_eq!(endpoint.own.counts(), (0, 0), "withdrawn");
    }

    #[test]
    fn the_last_check_of_a_wait_is_thorough_even_after_a_successful_sleep() {
        let stage = Stage::new();
        let (endpoint, mut waiter) = (stage.consumer(), Waiter::default());
        let mut looks = |deadline, most: usize| {
            let mut seen = Vec::new();
            let look = |depth| {
                seen.push(depth);
                // If it sleeps, wake it.
                endpoint.own.signal.notify_all();
                Ok((seen.len() == most).then_some(1))
            };
            let _ = waiter.wait(endpoint, &request(1, deadline), |_| false, look);
            seen
        };
        assert_eq!(looks(Deadline::never(), 3), [Depth::Quick, Depth::Thorough, Depth::Quick]);
        assert_eq!(looks(Deadline::never(), 2), [Depth::Quick, Depth::Quick]);
        assert_eq!(looks(Deadline::immediate(), 9), [Depth::Quick, Depth::Thorough]);
    }

    #[test]
    fn a_waiter_that_spins_in_vain_stops_and_tries_again_after_ever_more_waits() {
        let stage = Stage::new();
        let mut waiter = Waiter { spin_ns: FIRST_SPIN_NS, trial_at: SPIN_TRIAL, ..Waiter::default() };
        let mut spins = |arrives: bool| {
            let looks = Cell::new(0);
            let there = |_| {
                looks.set(looks.get() + 1);
                arrives
            };
            let request = request(1, Deadline::immediate());
            let _ = waiter.wait(stage.consumer(), &request, there, |_| Ok(arrives.then_some(1)));
            looks.get() > 0
        };
        let spinning: Vec<u32> = (0..3500).filter(|_| spins(false)).collect();
        let trials = [16, 49, 114, 243, 500, 1013, 2038, 3063];
        assert_eq!(spinning, (0..16).chain(trials).collect::<Vec<u32>>());
        // A trial that pays makes all waits spin again.
        let waits = (0..2000).take_while(|_| !spins(true)).count();
        assert!((500..=1024).contains(&waits), "{waits}");
        assert!((0..16).all(|_| spins(false)));
    }

    #[test]
    fn making_an_item_wakes_a_sleeper() {
        let stage = Stage::new();
        let endpoint = stage.producer();
        endpoint.other.forge(2);
        Waiter::default().done(endpoint, WaitProgress { items: 1, slots: 3 });
        assert_eq!(endpoint.other.counts(), (1, 1));
    }
}
