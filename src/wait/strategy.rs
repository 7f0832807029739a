//! The trait that all wait strategies implement, and what a strategy knows about the ring and about one wait.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::{Mutex, Signal, StopFlag, TurnPatience};
use crate::sys::clock::Deadline;
use crate::sys::semaphore::Wake;
use crate::{Error, Result};

/// The longest sleep at first: a missed wake-up or an unnoticed death costs at most this.
pub const SLICE: Duration = Duration::from_millis(20);
/// The longest sleep of a wait that has slept for long, so that it uses almost no processor time.
pub const LONG_SLICE: Duration = Duration::from_millis(80);
/// Slices slept to their end after which a wait counts as long: half a second.
const SHORT_SLICES: u32 = 25;

/// How thoroughly to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Check cheaply: this is called often.
    Quick,
    /// Search everywhere, and ask whether the owners of blocking slots are alive. Used for the last check
    /// before the first sleep, and before a sleep that follows one that found nothing.
    Thorough,
    /// As `Thorough`, but do not take the next slots in order: a monitor's threshold is not reached.
    Aside,
}

/// The handles that wait for the same thing: consumers for items, or producers for room.
#[derive(Debug, Clone, Copy)]
pub struct Sleepers<'a> {
    /// The semaphore that they sleep on, and about how many sleep.
    pub signal: Signal<'a>,
    /// How often a monitor allowed all of them to start.
    pub starts: &'a AtomicU64,
    /// Whether they wait for items.
    pub consumers: bool,
}

impl Sleepers<'_> {
    /// Adds tokens to their semaphore.
    pub fn add_tokens(self, count: u64) {
        for _ in 0..count {
            // A semaphore that cannot be posted is damaged; the next handle that waits on it reports this.
            let _ = self.signal.semaphore.post();
        }
    }
}

/// What a strategy needs to know about the ring.
pub trait RingState {
    /// Whether a participant is certainly dead.
    fn is_dead(&self, number: u32) -> bool;
    /// Slots between head and tail.
    fn level(&self) -> u64;
}

/// A ring as a handle of one side sees it.
#[derive(Clone, Copy)]
pub struct Endpoint<'a> {
    /// The sleepers of this handle's side.
    pub own: Sleepers<'a>,
    /// The sleepers of the other side.
    pub other: Sleepers<'a>,
    /// The mutex; `None` in a ring with one producer and one consumer.
    pub mutex: Option<Mutex<'a>>,
    /// The ring.
    pub ring: &'a dyn RingState,
}

/// One wait or try: what it needs, and its limits.
pub struct WaitRequest<'a, T> {
    /// The least number of slots needed.
    pub slots: u64,
    /// When to give up.
    pub deadline: Deadline,
    /// Ends the wait early when raised.
    pub stop: Option<&'a StopFlag>,
    /// How long to wait for a turn, where handles check one after the other.
    pub patience: TurnPatience<'a>,
    /// True for a wait, even one whose sleeps are done elsewhere; false for a try.
    pub waits: bool,
    /// The number of slots of an answer.
    pub weight: &'a dyn Fn(&T) -> u64,
}

impl<T> WaitRequest<'_, T> {
    /// Fails if the wait must end now.
    pub(super) fn go_on(&self) -> Result<()> {
        go_on(self.deadline, self.stop)
    }
}

pub(super) fn go_on(deadline: Deadline, stop: Option<&StopFlag>) -> Result<()> {
    if stop.is_some_and(StopFlag::is_raised) {
        return Err(Error::Interrupted);
    }
    if deadline.passed() {
        return Err(Error::TimedOut);
    }
    Ok(())
}

/// What a handle has made available to others.
#[derive(Debug, Clone, Copy)]
pub struct WaitProgress {
    /// Items, or other things of which each may serve one waiting handle.
    pub items: u64,
    /// Slots in all.
    pub slots: u64,
}

/// One way to wait, as one handle follows it.
///
/// `look` checks the slots, and takes what it finds. `there(n)` is a cheap estimate of whether `look` would
/// find more than `n`.
pub trait WaitStrategy {
    /// Checks once, at the given depth, without sleeping.
    fn attempt<T>(
        &mut self,
        endpoint: Endpoint<'_>,
        request: &WaitRequest<'_, T>,
        depth: Depth,
        mut look: impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let _ = (endpoint, request);
        look(depth)
    }

    /// Calls `look` until it returns something, the deadline passes (`TimedOut`) or the flag is raised
    /// (`Interrupted`).
    fn wait<T>(
        &mut self,
        endpoint: Endpoint<'_>,
        request: &WaitRequest<'_, T>,
        there: impl Fn(u64) -> bool,
        look: impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<T>;

    /// Ends the turn that came with an answer, so that other handles may check.
    fn end_turn(&mut self, endpoint: Endpoint<'_>) {
        let _ = endpoint;
    }

    /// The caller is done with the answer: ends the turn, if it has not ended yet, and tells the other side
    /// about the progress.
    fn done(&mut self, endpoint: Endpoint<'_>, progress: WaitProgress) {
        self.wake(endpoint.other, endpoint.ring, progress);
        self.end_turn(endpoint);
    }

    /// Wakes waiting handles that have more to take now.
    fn wake(&self, sleepers: Sleepers<'_>, ring: &dyn RingState, progress: WaitProgress);

    /// As [`wake`](Self::wake), but regardless of thresholds: for returned items.
    fn wake_now(&self, sleepers: Sleepers<'_>, ring: &dyn RingState, progress: WaitProgress) {
        self.wake(sleepers, ring, progress);
    }

    /// Records that this handle took slots that were counted for other handles.
    fn took(&self, from: Sleepers<'_>, slots: u64) {
        let _ = (from, slots);
    }

    /// Records that a wake-up for this handle ended a sleep that was done elsewhere; the next check uses it.
    fn woken(&mut self) {}

    /// Whether handles check the slots one after the other. If so, searches for room or for the next item go
    /// through [`attempt`](Self::attempt) or [`wait`](Self::wait).
    #[inline]
    fn takes_turns(&self) -> bool {
        false
    }
}

/// The slices of a wait: short ones first.
#[derive(Debug, Default)]
pub struct Slices(u32);

impl Slices {
    /// The next slice, which ends no later than the deadline.
    pub fn next(&self, deadline: Deadline) -> Duration {
        let slice = if self.0 < SHORT_SLICES { SLICE } else { LONG_SLICE };
        deadline.remaining().map_or(slice, |left| left.min(slice))
    }

    /// A sleep ended like this. One that was woken or interrupted was short, however often that happens.
    pub fn slept(&mut self, wake: Wake) {
        self.0 = self.0.saturating_add(u32::from(wake == Wake::TimedOut));
    }

    /// Something was found: the next wait begins with short slices again.
    #[cfg(feature = "tokio")]
    pub fn restart(&mut self) {
        self.0 = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_gets_longer_with_sleeps_that_lasted_and_never_outlasts_the_deadline() {
        let mut slices = Slices::default();
        (0..1000).for_each(|n| slices.slept([Wake::Posted, Wake::Interrupted][n % 2]));
        (1..SHORT_SLICES).for_each(|_| slices.slept(Wake::TimedOut));
        assert_eq!(slices.next(Deadline::never()), SLICE);
        slices.slept(Wake::TimedOut);
        assert_eq!(slices.next(Deadline::never()), LONG_SLICE);
        assert!(slices.next(Deadline::after(SLICE)) <= SLICE);
    }
}
