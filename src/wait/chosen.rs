//! The wait strategy of one handle, which follows its ring's discipline.

use super::adaptive::Waiter;
use super::monitor::Monitor;
use super::polling::Polling;
use super::semaphore::Counting;
use super::strategy::{Depth, Endpoint, RingState, Sleepers, WaitProgress, WaitRequest, WaitStrategy};
use crate::Result;
use crate::layout::discipline::Discipline;

/// The wait strategy of one handle.
#[derive(Debug)]
pub enum Strategy {
    /// Spins, then sleeps; posts only if another handle sleeps.
    Adaptive(Waiter),
    /// Counting semaphores.
    Counting(Counting),
    /// Checks again and again.
    Polling(Polling),
    /// A condition variable.
    Monitor(Monitor),
}

impl Strategy {
    /// The strategy of participant `number` in a ring with this discipline.
    pub fn new(discipline: Discipline, number: u32) -> Self {
        match discipline {
            Discipline::Adaptive => Strategy::Adaptive(Waiter::default()),
            Discipline::Semaphore => Strategy::Counting(Counting::new(number)),
            Discipline::Polling => Strategy::Polling(Polling),
            Discipline::Monitor(thresholds) => Strategy::Monitor(Monitor::new(number, thresholds)),
        }
    }

    /// Whether handles check the slots one after the other. If so, searches for room or for the next item go
    /// through [`attempt`](WaitStrategy::attempt) or [`wait`](WaitStrategy::wait).
    #[inline]
    pub fn takes_turns(&self) -> bool {
        matches!(self, Strategy::Counting(_) | Strategy::Monitor(_))
    }
}

macro_rules! each {
    ($self:ident, $one:ident => $call:expr) => {
        match $self {
            Strategy::Adaptive($one) => $call,
            Strategy::Counting($one) => $call,
            Strategy::Polling($one) => $call,
            Strategy::Monitor($one) => $call,
        }
    };
}

impl WaitStrategy for Strategy {
    fn attempt<T>(
        &mut self,
        endpoint: Endpoint<'_>,
        request: &WaitRequest<'_, T>,
        depth: Depth,
        look: impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        each!(self, one => one.attempt(endpoint, request, depth, look))
    }

    fn wait<T>(
        &mut self,
        endpoint: Endpoint<'_>,
        request: &WaitRequest<'_, T>,
        there: impl Fn(u64) -> bool,
        look: impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<T> {
        each!(self, one => one.wait(endpoint, request, there, look))
    }

    fn end_turn(&mut self, endpoint: Endpoint<'_>) {
        each!(self, one => one.end_turn(endpoint))
    }

    fn done(&mut self, endpoint: Endpoint<'_>, progress: WaitProgress) {
        each!(self, one => one.done(endpoint, progress))
    }

    fn wake(&self, sleepers: Sleepers<'_>, ring: &dyn RingState, progress: WaitProgress) {
        each!(self, one => one.wake(sleepers, ring, progress))
    }

    fn wake_now(&self, sleepers: Sleepers<'_>, ring: &dyn RingState, progress: WaitProgress) {
        each!(self, one => one.wake_now(sleepers, ring, progress))
    }

    fn took(&self, from: Sleepers<'_>, slots: u64) {
        each!(self, one => one.took(from, slots))
    }

    fn woken(&mut self) {
        each!(self, one => one.woken())
    }

    #[inline]
    fn takes_turns(&self) -> bool {
        each!(self, one => one.takes_turns())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_strategy_takes_turns_as_its_discipline_says() {
        for &discipline in Discipline::ALL {
            assert_eq!(Strategy::new(discipline, 0).takes_turns(), discipline.takes_turns(), "{discipline}");
        }
    }
}
