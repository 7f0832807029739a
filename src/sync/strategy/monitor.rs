//! Documents 002 and 003: a condition variable. Whoever looks has the lock; waiting lets go of it, sleeps, and
//! takes it again; every change wakes all who wait, and each of them looks again.
//!
//! The lock is the ring's mutex, and the conditions "there are items" and "there is room" are what the signals
//! are: a count of those who wait, and a semaphore. Whoever waits announces itself before it lets go of the
//! lock (E4), and wakes up after a slice whatever happens: a killed waiter or waker hangs nobody, as it can with
//! the C library's condition variables.
//!
//! With thresholds, as in 002: producers put items up to a level, let all consumers start, and wait; consumers
//! take until nothing is left, let the producers go on, and wait. A side that waits always lets the other go on
//! first, so that no two can wait for each other, whatever the levels are.
//!
//! `starts` counts how often a side was let go on: who waits goes on when it has changed, although another one
//! may have taken the level down again meanwhile. A death before it is counted leaves the level itself, which
//! whoever waits looks at; a death after it, nothing.

use std::sync::atomic::Ordering::{AcqRel, Acquire};

use super::{Around, Look, Made, Side, Sleepers, Slices, WaitStrategy, Wanted};
use crate::Result;
use crate::layout::discipline::Thresholds;
use crate::sync::mutex::Turn;

/// Waits on a condition.
#[derive(Debug)]
pub struct Monitor {
    thresholds: Thresholds,
    turn: Turn,
    /// This side waits to be let go on; how often it had been when that began.
    halted: Option<u64>,
    /// The level at which this side let the other one go on, since it found something: once is enough, or two
    /// sides that both find nothing would wake each other without end.
    told: Option<u64>,
    /// The last sleep brought something.
    content: bool,
}

impl Monitor {
    /// For participant `number`.
    pub fn new(number: u32, thresholds: Thresholds) -> Self {
        Monitor { thresholds, turn: Turn::new(number), halted: None, told: None, content: false }
    }

    /// Whether the level allows a halted side to go on.
    fn level_allows(&self, sleepers: Sleepers<'_>, around: &dyn Around) -> bool {
        match (sleepers.consumers, self.thresholds.resume_at) {
            (true, _) => around.level() >= self.thresholds.wake_at,
            (false, Some(most)) => around.level() <= most,
            (false, None) => true,
        }
    }

    /// Whether this is a producer, and there is what producers fill up to before they halt.
    fn is_at_level(&self, side: Side<'_>) -> bool {
        !side.own.consumers
            && self.thresholds.resume_at.is_some()
            && side.around.level() >= self.thresholds.wake_at
    }

    /// Whether this side may look at the slots in turn; a producer that has reached the level halts.
    fn may_go_on(&mut self, side: Side<'_>) -> bool {
        match self.halted {
            None => {
                let full = self.is_at_level(side);
                if full {
                    self.halt(side);
                }
                !full
            }
            Some(then) => {
                // E9: who was let go on sees what was done before.
                let let_go =
                    side.own.starts.load(Acquire) != then || self.level_allows(side.own, side.around);
                if let_go {
                    self.halted = None;
                }
                let_go
            }
        }
    }

    /// This side waits from now on, and the other one goes on.
    fn halt(&mut self, side: Side<'_>) {
        // E9: as in `may_go_on`.
        self.halted = Some(side.own.starts.load(Acquire));
        self.let_other_go_on(side);
    }

    fn let_other_go_on(&mut self, side: Side<'_>) {
        let level = Some(side.around.level());
        if self.told != level {
            self.told = level;
            start(side.other);
        }
    }

    /// Looks with the lock held, which is kept.
    fn look<T>(
        &mut self,
        side: Side<'_>,
        depth: Look,
        look: &mut impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.turn.begin(side.mutex, |number| side.around.is_dead(number))?;
        let answer = look(if self.may_go_on(side) { depth } else { Look::Aside });
        if matches!(answer, Ok(Some(_))) {
            self.told = None;
        }
        answer
    }

    fn wait_for<T>(
        &mut self,
        side: Side<'_>,
        wanted: &Wanted<'_, T>,
        mut look: impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<T> {
        // Nearly always there is something: announcing costs a system call.
        if let Some(found) = self.look(side, Look::Quick, &mut look)? {
            return Ok(found);
        }
        let mut slices = Slices::default();
        loop {
            // E4: whoever changes something after the look wakes this one.
            side.own.signal.announce();
            let quick = self.content && !wanted.deadline.passed();
            let answer = match self.look(side, if quick { Look::Quick } else { Look::Thorough }, &mut look) {
                Ok(None) => wanted.go_on().map(|()| None),
                answer => answer,
            };
            if let Some(answer) = answer.transpose() {
                side.own.signal.withdraw();
                return answer;
            }
            if self.halted.is_none() {
                self.halt(side);
            }
            self.turn.end(side.mutex);
            side.own.signal.sleep(slices.next(wanted.deadline))?;
            let found = self.look(side, Look::Quick, &mut look)?;
            self.content = found.is_some();
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }
}

/// Lets all of these go on.
fn start(sleepers: Sleepers<'_>) {
    // E9: what was done is there to be seen.
    sleepers.starts.fetch_add(1, AcqRel);
    sleepers.signal.notify_all();
}

impl WaitStrategy for Monitor {
    fn attempt<T>(
        &mut self,
        side: Side<'_>,
        wanted: &Wanted<'_, T>,
        depth: Look,
        mut look: impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        if side.own.consumers && !wanted.waits {
            // Who only tries takes what there is.
            self.halted = None;
        }
        let answer = self.look(side, depth, &mut look);
        if matches!(answer, Ok(None)) && self.halted.is_none() {
            match wanted.waits {
                true => self.halt(side),
                // A producer that is refused room has filled what there is.
                false if !side.own.consumers => self.let_other_go_on(side),
                false => {}
            }
        }
        if !matches!(answer, Ok(Some(_))) {
            self.turn.end(side.mutex);
        }
        answer
    }

    fn wait<T>(
        &mut self,
        side: Side<'_>,
        wanted: &Wanted<'_, T>,
        _: impl Fn(u64) -> bool,
        look: impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<T> {
        let answer = self.wait_for(side, wanted, look);
        if answer.is_err() {
            self.turn.end(side.mutex);
        }
        answer
    }

    fn end_turn(&mut self, side: Side<'_>) {
        self.turn.end(side.mutex);
    }

    fn done(&mut self, side: Side<'_>, made: Made) {
        // Now: at its next look consumers may have taken some, and it would not halt.
        match self.is_at_level(side) {
            true => self.halt(side),
            false => self.wake(side.other, side.around, made),
        }
        self.end_turn(side);
    }

    fn wake(&self, sleepers: Sleepers<'_>, around: &dyn Around, _: Made) {
        if self.level_allows(sleepers, around) {
            start(sleepers);
        }
    }

    fn wake_now(&self, sleepers: Sleepers<'_>, _: &dyn Around, _: Made) {
        start(sleepers);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::sync::testing::{Stage, wanted};
    use crate::sys::clock::Deadline;
    use std::sync::atomic::Ordering::Relaxed;

    fn monitor(wake_at: u64, resume_at: Option<u64>) -> Monitor {
        Monitor::new(0, Thresholds { wake_at, resume_at })
    }

    /// How the slots are looked at in one look that `finds` something or not, and is part of a wait or not.
    fn look(monitor: &mut Monitor, side: Side<'_>, waits: bool, finds: bool) -> Look {
        let wanted = Wanted { waits, ..wanted(1, Deadline::immediate()) };
        let mut seen = None;
        let look = |depth| {
            seen = Some(depth);
            Ok(finds.then_some(1))
        };
        monitor.attempt(side, &wanted, Look::Quick, look).unwrap();
        monitor.end_turn(side);
        seen.unwrap()
    }

    #[test]
    fn producers_halt_at_the_level_and_go_on_when_it_fell_or_when_they_were_let_go_on() {
        let stage = Stage::new();
        let (side, mut monitor) = (stage.producer(), monitor(5, Some(2)));
        let mut depth_at = |level| {
            stage.level.set(level);
            look(&mut monitor, side, true, true)
        };
        let depths = [4, 5, 3, 2, 5].map(&mut depth_at);
        assert_eq!(depths, [Look::Quick, Look::Aside, Look::Aside, Look::Quick, Look::Aside]);
        side.own.starts.fetch_add(1, Relaxed);
        assert_eq!([5, 5].map(depth_at), [Look::Quick, Look::Aside], "let go on once");
    }

    #[test]
    fn who_begins_to_wait_lets_the_others_go_on_once_for_each_time_it_found_something() {
        let stage = Stage::new();
        let (side, mut monitor) = (stage.consumer(), monitor(1, None));
        side.other.forge(2);
        look(&mut monitor, side, true, false);
        assert_eq!((side.other.started(), side.other.counts()), (1, (0, 2)), "all are woken");
        for (finds, started) in [(false, 1), (true, 1), (false, 2)] {
            // It may look again.
            side.own.starts.fetch_add(1, Relaxed);
            look(&mut monitor, side, true, finds);
            assert_eq!(side.other.started(), started);
        }
    }

    #[test]
    fn consumers_that_only_try_take_what_there_is_and_producers_that_are_refused_let_them() {
        let stage = Stage::new();
        stage.level.set(3);
        let (side, mut consumer) = (stage.consumer(), monitor(5, Some(0)));
        let depths = [true, true, false].map(|waits| look(&mut consumer, side, waits, false));
        assert_eq!(depths, [Look::Quick, Look::Aside, Look::Quick]);
        assert_eq!((side.other.started(), side.own.started()), (1, 0));
        look(&mut monitor(5, Some(0)), stage.producer(), false, false);
        assert_eq!(side.own.started(), 1);
    }

    #[test]
    fn who_finds_nothing_has_no_turn_any_more() {
        let stage = Stage::new();
        let (side, mut monitor) = (stage.consumer(), monitor(1, None));
        let wanted = wanted(1, Deadline::immediate());
        assert_eq!(monitor.attempt(side, &wanted, Look::Quick, |_| Ok(None)).unwrap(), None);
        assert_eq!(stage.turn(), 0, "tried in vain");
        let found = monitor.wait(side, &wanted, |_| false, |_| Ok(None));
        assert!(matches!(found, Err(Error::TimedOut)));
        assert_eq!(stage.turn(), 0, "waited in vain");
    }

    #[test]
    fn who_sleeps_has_no_turn_and_takes_another_afterwards() {
        let stage = Stage::new();
        let (side, mut monitor) = (stage.consumer(), monitor(1, None));
        let mut turns = Vec::new();
        let look = |_| {
            turns.push(stage.turn());
            // Whoever sleeps is woken.
            side.own.signal.notify_all();
            Ok((turns.len() == 3).then_some(1))
        };
        monitor.wait(side, &wanted(1, Deadline::never()), |_| false, look).unwrap();
        assert!(turns[0] == turns[1] && turns[1] != turns[2], "{turns:?}");
    }

    #[test]
    fn what_was_made_is_for_those_who_wait_at_the_level_and_what_was_given_back_at_any() {
        let stage = Stage::new();
        let (side, monitor) = (stage.producer(), monitor(5, None));
        let made = Made { items: 1, slots: 1 };
        for (level, given_back, started) in [(4, false, 0), (5, false, 1), (4, true, 2)] {
            stage.level.set(level);
            side.other.forge(1);
            match given_back {
                true => monitor.wake_now(side.other, side.around, made),
                false => monitor.wake(side.other, side.around, made),
            }
            assert_eq!((side.other.started(), side.other.counts().1), (started, started as i32));
        }
    }
}
