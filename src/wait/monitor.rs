//! The strategy of texts 002 and 003 (docs/CLASSICS.md): a condition variable. A handle holds the lock while
//! it checks the slots. To wait, it releases the lock, sleeps, and takes the lock again. Every change wakes
//! all waiting handles, and each of them checks again.
//!
//! The lock is the ring's mutex. The conditions "there are items" and "there is room" are the two signals:
//! each has a count of its sleepers and a semaphore. A handle announces itself before it releases the lock
//! (E4), and wakes up after a slice in any case. So a killed waiter or waker blocks no other process, as it
//! can with the C library's condition variables.
//!
//! Thresholds work as in 002. Producers put items up to a level, let all consumers start, and wait. Consumers
//! take items until none is left, let the producers start, and wait. A side always lets the other side start
//! before it waits, so the two never wait for each other, whatever the levels are.
//!
//! `starts` counts how often a side was allowed to start. A waiting handle continues when the count has
//! changed, even if another handle has lowered the level again meanwhile. If a process dies before it adds to
//! the count, waiting handles still see the level itself; a death after that changes nothing.

use std::sync::atomic::Ordering::{AcqRel, Acquire};

use super::strategy::{
    Depth, Endpoint, RingState, Sleepers, Slices, WaitProgress, WaitRequest, WaitStrategy,
};
use crate::Result;
use crate::layout::discipline::Thresholds;
use crate::wait::mutex::Turn;

/// Waits as on a condition variable.
#[derive(Debug)]
pub struct Monitor {
    thresholds: Thresholds,
    turn: Turn,
    /// Set while this handle waits for permission to start: the value of `starts` when it began to wait.
    halted: Option<u64>,
    /// The level at which this handle last let the other side start, unless it has found something since. It
    /// does so only once per level; otherwise two sides that both find nothing would wake each other without
    /// end.
    told: Option<u64>,
    /// The last sleep ended with something found.
    content: bool,
}

impl Monitor {
    /// The strategy of participant `number`.
    pub fn new(number: u32, thresholds: Thresholds) -> Self {
        Monitor { thresholds, turn: Turn::new(number), halted: None, told: None, content: false }
    }

    /// Whether the level allows a halted side to start.
    fn level_allows(&self, sleepers: Sleepers<'_>, ring: &dyn RingState) -> bool {
        match (sleepers.consumers, self.thresholds.resume_at) {
            (true, _) => ring.level() >= self.thresholds.wake_at,
            (false, Some(most)) => ring.level() <= most,
            (false, None) => true,
        }
    }

    /// Whether this is a producer, and the level at which producers halt is reached.
    fn is_at_level(&self, endpoint: Endpoint<'_>) -> bool {
        !endpoint.own.consumers
            && self.thresholds.resume_at.is_some()
            && endpoint.ring.level() >= self.thresholds.wake_at
    }

    /// Whether this handle may take the next slots in order. A producer that has reached the level halts.
    fn may_go_on(&mut self, endpoint: Endpoint<'_>) -> bool {
        match self.halted {
            None => {
                let full = self.is_at_level(endpoint);
                if full {
                    self.halt(endpoint);
                }
                !full
            }
            Some(then) => {
                // E13: a handle that is allowed to start sees what was done before.
                let let_go = endpoint.own.starts.load(Acquire) != then
                    || self.level_allows(endpoint.own, endpoint.ring);
                if let_go {
                    self.halted = None;
                }
                let_go
            }
        }
    }

    /// This handle waits from now on, and lets the other side start.
    fn halt(&mut self, endpoint: Endpoint<'_>) {
        // E13: see `may_go_on`.
        self.halted = Some(endpoint.own.starts.load(Acquire));
        self.let_other_go_on(endpoint);
    }

    fn let_other_go_on(&mut self, endpoint: Endpoint<'_>) {
        let level = Some(endpoint.ring.level());
        if self.told != level {
            self.told = level;
            start(endpoint.other);
        }
    }

    /// Checks with the lock held, and keeps the lock.
    fn look<T>(
        &mut self,
        endpoint: Endpoint<'_>,
        request: &WaitRequest<'_, T>,
        depth: Depth,
        look: &mut impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.turn.begin(endpoint.mutex, request.patience, |number| endpoint.ring.is_dead(number))?;
        let answer = look(if self.may_go_on(endpoint) { depth } else { Depth::Aside });
        if matches!(answer, Ok(Some(_))) {
            self.told = None;
        }
        answer
    }

    fn wait_for<T>(
        &mut self,
        endpoint: Endpoint<'_>,
        request: &WaitRequest<'_, T>,
        mut look: impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<T> {
        // Usually there is something. Announcing costs a system call, so check before.
        if let Some(found) = self.look(endpoint, request, Depth::Quick, &mut look)? {
            return Ok(found);
        }
        let mut slices = Slices::default();
        loop {
            // E4: a process that changes something after this check wakes this handle.
            endpoint.own.signal.announce();
            let quick = self.content && !request.deadline.passed();
            let depth = if quick { Depth::Quick } else { Depth::Thorough };
            let answer = match self.look(endpoint, request, depth, &mut look) {
                Ok(None) => request.go_on().map(|()| None),
                answer => answer,
            };
            if let Some(answer) = answer.transpose() {
                endpoint.own.signal.withdraw();
                return answer;
            }
            if self.halted.is_none() {
                self.halt(endpoint);
            }
            self.turn.end(endpoint.mutex);
            slices.slept(endpoint.own.signal.sleep(slices.next(request.deadline))?);
            let found = self.look(endpoint, request, Depth::Quick, &mut look)?;
            self.content = found.is_some();
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }
}

/// Lets all handles of this side start.
fn start(sleepers: Sleepers<'_>) {
    // E13: publishes what was done before.
    sleepers.starts.fetch_add(1, AcqRel);
    sleepers.signal.notify_all();
}

impl WaitStrategy for Monitor {
    fn attempt<T>(
        &mut self,
        endpoint: Endpoint<'_>,
        request: &WaitRequest<'_, T>,
        depth: Depth,
        mut look: impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        if endpoint.own.consumers && !request.waits {
            // A consumer that only tries takes whatever there is.
            self.halted = None;
        }
        let answer = self.look(endpoint, request, depth, &mut look);
        if matches!(answer, Ok(None)) && self.halted.is_none() {
            match request.waits {
                true => self.halt(endpoint),
                // A producer that is refused room has filled the ring.
                false if !endpoint.own.consumers => self.let_other_go_on(endpoint),
                false => {}
            }
        }
        if !matches!(answer, Ok(Some(_))) {
            self.turn.end(endpoint.mutex);
        }
        answer
    }

    fn wait<T>(
        &mut self,
        endpoint: Endpoint<'_>,
        request: &WaitRequest<'_, T>,
        _: impl Fn(u64) -> bool,
        look: impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<T> {
        let answer = self.wait_for(endpoint, request, look);
        if answer.is_err() {
            self.turn.end(endpoint.mutex);
        }
        answer
    }

    fn end_turn(&mut self, endpoint: Endpoint<'_>) {
        self.turn.end(endpoint.mutex);
    }

    fn done(&mut self, endpoint: Endpoint<'_>, progress: WaitProgress) {
        // Halt now: at the producer's next check, consumers may have lowered the level, and it would not
        // halt.
        match self.is_at_level(endpoint) {
            true => self.halt(endpoint),
            false => self.wake(endpoint.other, endpoint.ring, progress),
        }
        self.end_turn(endpoint);
    }

    fn wake(&self, sleepers: Sleepers<'_>, ring: &dyn RingState, _: WaitProgress) {
        if self.level_allows(sleepers, ring) {
            start(sleepers);
        }
    }

    fn wake_now(&self, sleepers: Sleepers<'_>, _: &dyn RingState, _: WaitProgress) {
        start(sleepers);
    }

    #[inline]
    fn takes_turns(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::sys::clock::Deadline;
    use crate::wait::testing::{Stage, request};
    use std::sync::atomic::Ordering::Relaxed;

    fn monitor(wake_at: u64, resume_at: Option<u64>) -> Monitor {
        Monitor::new(0, Thresholds { wake_at, resume_at })
    }

    /// The depth of one check that `finds` something or not, and is part of a wait or not.
    fn look(monitor: &mut Monitor, endpoint: Endpoint<'_>, waits: bool, finds: bool) -> Depth {
        let request = WaitRequest { waits, ..request(1, Deadline::immediate()) };
        let mut seen = None;
        let look = |depth| {
            seen = Some(depth);
            Ok(finds.then_some(1))
        };
        monitor.attempt(endpoint, &request, Depth::Quick, look).unwrap();
        monitor.end_turn(endpoint);
        seen.unwrap()
    }

    #[test]
    fn producers_halt_at_the_level_and_start_when_it_fell_or_when_they_are_allowed_to() {
        let stage = Stage::new();
        let (endpoint, mut monitor) = (stage.producer(), monitor(5, Some(2)));
        let mut depth_at = |level| {
            stage.level.set(level);
            look(&mut monitor, endpoint, true, true)
        };
        let depths = [4, 5, 3, 2, 5].map(&mut depth_at);
        assert_eq!(depths, [Depth::Quick, Depth::Aside, Depth::Aside, Depth::Quick, Depth::Aside]);
        endpoint.own.starts.fetch_add(1, Relaxed);
        assert_eq!([5, 5].map(depth_at), [Depth::Quick, Depth::Aside], "let go on once");
    }

    #[test]
    fn a_handle_that_begins_to_wait_lets_the_other_side_start_once_for_each_find() {
        let stage = Stage::new();
        let (endpoint, mut monitor) = (stage.consumer(), monitor(1, None));
        endpoint.other.forge(2);
        look(&mut monitor, endpoint, true, false);
        assert_eq!((endpoint.other.started(), endpoint.other.counts()), (1, (0, 2)), "all are woken");
        for (finds, started) in [(false, 1), (true, 1), (false, 2)] {
            // Allows it to check again.
            endpoint.own.starts.fetch_add(1, Relaxed);
            look(&mut monitor, endpoint, true, finds);
            assert_eq!(endpoint.other.started(), started);
        }
    }

    #[test]
    fn consumers_that_only_try_take_any_level_and_refused_producers_let_consumers_start() {
        let stage = Stage::new();
        stage.level.set(3);
        let (endpoint, mut consumer) = (stage.consumer(), monitor(5, Some(0)));
        let depths = [true, true, false].map(|waits| look(&mut consumer, endpoint, waits, false));
        assert_eq!(depths, [Depth::Quick, Depth::Aside, Depth::Quick]);
        assert_eq!((endpoint.other.started(), endpoint.own.started()), (1, 0));
        look(&mut monitor(5, Some(0)), stage.producer(), false, false);
        assert_eq!(endpoint.own.started(), 1);
    }

    #[test]
    fn a_check_that_finds_nothing_ends_the_turn() {
        let stage = Stage::new();
        let (endpoint, mut monitor) = (stage.consumer(), monitor(1, None));
        let request = request(1, Deadline::immediate());
        assert_eq!(monitor.attempt(endpoint, &request, Depth::Quick, |_| Ok(None)).unwrap(), None);
        assert_eq!(stage.turn(), 0, "tried in vain");
        let found = monitor.wait(endpoint, &request, |_| false, |_| Ok(None));
        assert!(matches!(found, Err(Error::TimedOut)));
        assert_eq!(stage.turn(), 0, "waited in vain");
    }

    #[test]
    fn a_sleeping_handle_has_no_turn_and_takes_a_new_one_afterwards() {
        let stage = Stage::new();
        let (endpoint, mut monitor) = (stage.consumer(), monitor(1, None));
        let mut turns = Vec::new();
        let look = |_| {
            turns.push(stage.turn());
            // If it sleeps, wake it.
            endpoint.own.signal.notify_all();
            Ok((turns.len() == 3).then_some(1))
        };
        monitor.wait(endpoint, &request(1, Deadline::never()), |_| false, look).unwrap();
        assert!(turns[0] == turns[1] && turns[1] != turns[2], "{turns:?}");
    }

    #[test]
    fn new_items_wake_consumers_at_the_level_and_returned_items_at_any_level() {
        let stage = Stage::new();
        let (endpoint, monitor) = (stage.producer(), monitor(5, None));
        let progress = WaitProgress { items: 1, slots: 1 };
        for (level, given_back, started) in [(4, false, 0), (5, false, 1), (4, true, 2)] {
            stage.level.set(level);
            endpoint.other.forge(1);
            match given_back {
                true => monitor.wake_now(endpoint.other, endpoint.ring, progress),
                false => monitor.wake(endpoint.other, endpoint.ring, progress),
            }
            assert_eq!((endpoint.other.started(), endpoint.other.counts().1), (started, started as i32));
        }
    }
}
