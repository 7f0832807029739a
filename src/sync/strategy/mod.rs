//! The wait strategies, behind one trait: what each does around its looks at the slots.

mod adaptive;
mod monitor;
mod polling;
mod semaphore;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::{Mutex, Signal, StopFlag};
use crate::layout::discipline::Discipline;
use crate::sys::clock::Deadline;
use crate::{Error, Result};

pub use adaptive::Waiter;
use monitor::Monitor;
use polling::Polling;
use semaphore::Counting;

/// Longest sleep without a look at first: what a lost wake-up, or a death nobody noticed, may cost.
pub const SLICE: Duration = Duration::from_millis(20);
/// The same for those that have waited for long, who are to cost next to nothing.
const LONG_SLICE: Duration = Duration::from_millis(80);
/// Slices after which a wait is a long one: half a second.
const SHORT_SLICES: u32 = 25;

/// Why the caller is asked to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Look cheaply: this is asked often.
    Quick,
    /// The last look before a sleep, after a slice or a wake-up that brought nothing, or before the first
    /// one: search everywhere, and ask about those who stand in the way.
    Thorough,
    /// As thorough, but leave the next slots in turn to later: a monitor's threshold is not reached.
    Aside,
}

/// Those who wait for the same: consumers for items, or producers for room.
#[derive(Debug, Clone, Copy)]
pub struct Sleepers<'a> {
    /// What they sleep on, and about how many do.
    pub signal: Signal<'a>,
    /// How often a monitor let all of them go on.
    pub starts: &'a AtomicU64,
    /// Whether they wait for items.
    pub consumers: bool,
}

impl Sleepers<'_> {
    /// Adds to what their semaphore counts.
    pub fn add_tokens(self, count: u64) {
        for _ in 0..count {
            // A semaphore that cannot be posted is a damaged one, which the next to wait for it finds out.
            let _ = self.signal.semaphore.post();
        }
    }
}

/// What a strategy needs to know of the ring.
pub trait Around {
    /// Whether a participant is certainly dead.
    fn is_dead(&self, number: u32) -> bool;
    /// Slots between head and tail.
    fn level(&self) -> u64;
}

/// A ring as one of its sides sees it.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// Those of this side.
    pub own: Sleepers<'a>,
    /// Those of the other side.
    pub other: Sleepers<'a>,
    /// The mutex; none in a ring with one of each.
    pub mutex: Option<Mutex<'a>>,
    /// The ring.
    pub around: &'a dyn Around,
}

/// A wait: for what, and how long.
pub struct Wanted<'a, T> {
    /// Slots that are needed at least.
    pub slots: u64,
    /// Until when.
    pub deadline: Deadline,
    /// What ends it before.
    pub stop: Option<&'a StopFlag>,
    /// Whether this is a wait, perhaps one whose sleeps are done elsewhere; or else a try.
    pub waits: bool,
    /// How many slots an answer has.
    pub weight: &'a dyn Fn(&T) -> u64,
}

impl<T> Wanted<'_, T> {
    /// Whether to go on waiting.
    fn go_on(&self) -> Result<()> {
        go_on(self.deadline, self.stop)
    }
}

fn go_on(deadline: Deadline, stop: Option<&StopFlag>) -> Result<()> {
    if stop.is_some_and(StopFlag::is_raised) {
        return Err(Error::Interrupted);
    }
    if deadline.passed() {
        return Err(Error::TimedOut);
    }
    Ok(())
}

/// What was made for others.
#[derive(Debug, Clone, Copy)]
pub struct Made {
    /// Items, or what else may serve one of them each.
    pub items: u64,
    /// The slots of all.
    pub slots: u64,
}

/// One way to wait, as one handle follows it.
///
/// `look` looks at the slots, and takes what it finds; `there(n)` tells cheaply whether it is likely to find
/// more than `n`.
pub trait WaitStrategy {
    /// One look, so thorough, without sleeping.
    fn attempt<T>(
        &mut self,
        side: Side<'_>,
        wanted: &Wanted<'_, T>,
        depth: Look,
        mut look: impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let _ = (side, wanted);
        look(depth)
    }

    /// Looks until there is an answer, the deadline passes (`TimedOut`) or the flag is raised (`Interrupted`).
    fn wait<T>(
        &mut self,
        side: Side<'_>,
        wanted: &Wanted<'_, T>,
        there: impl Fn(u64) -> bool,
        look: impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<T>;

    /// Others may look: the turn that came with an answer is over.
    fn end_turn(&mut self, side: Side<'_>) {
        let _ = side;
    }

    /// What the answer was for is done: the turn is over, if it was not before, and the other side has more.
    fn done(&mut self, side: Side<'_>, made: Made) {
        self.wake(side.other, side.around, made);
        self.end_turn(side);
    }

    /// Tells those who wait that there is more for them.
    fn wake(&self, sleepers: Sleepers<'_>, around: &dyn Around, made: Made);

    /// The same of what they are to have whatever a threshold says: what was given back.
    fn wake_now(&self, sleepers: Sleepers<'_>, around: &dyn Around, made: Made) {
        self.wake(sleepers, around, made);
    }

    /// Takes note that this handle took so many slots that were meant for others.
    fn took(&self, from: Sleepers<'_>, slots: u64) {
        let _ = (from, slots);
    }

    /// A wake-up for this handle has ended a sleep that somebody else did for it; the next look uses it.
    fn woken(&mut self) {}
}

/// The strategy of one handle.
#[derive(Debug)]
pub enum Strategy {
    /// Spin, then sleep; wake those who sleep.
    Adaptive(Waiter),
    /// Semaphores that count.
    Counting(Counting),
    /// Look again and again.
    Polling(Polling),
    /// A condition variable.
    Monitor(Monitor),
}

impl Strategy {
    /// Of participant `number` in a ring of this discipline.
    pub fn new(discipline: Discipline, number: u32) -> Self {
        match discipline {
            Discipline::Adaptive => Strategy::Adaptive(Waiter::default()),
            Discipline::Semaphore => Strategy::Counting(Counting::new(number)),
            Discipline::Polling => Strategy::Polling(Polling),
            Discipline::Monitor(thresholds) => Strategy::Monitor(Monitor::new(number, thresholds)),
        }
    }

    /// Whether looks come one after the other: then those for room or for the next item go through
    /// [`attempt`](WaitStrategy::attempt) or [`wait`](WaitStrategy::wait).
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
        side: Side<'_>,
        wanted: &Wanted<'_, T>,
        depth: Look,
        look: impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        each!(self, one => one.attempt(side, wanted, depth, look))
    }

    fn wait<T>(
        &mut self,
        side: Side<'_>,
        wanted: &Wanted<'_, T>,
        there: impl Fn(u64) -> bool,
        look: impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<T> {
        each!(self, one => one.wait(side, wanted, there, look))
    }

    fn end_turn(&mut self, side: Side<'_>) {
        each!(self, one => one.end_turn(side))
    }

    fn done(&mut self, side: Side<'_>, made: Made) {
        each!(self, one => one.done(side, made))
    }

    fn wake(&self, sleepers: Sleepers<'_>, around: &dyn Around, made: Made) {
        each!(self, one => one.wake(sleepers, around, made))
    }

    fn wake_now(&self, sleepers: Sleepers<'_>, around: &dyn Around, made: Made) {
        each!(self, one => one.wake_now(sleepers, around, made))
    }

    fn took(&self, from: Sleepers<'_>, slots: u64) {
        each!(self, one => one.took(from, slots))
    }

    fn woken(&mut self) {
        each!(self, one => one.woken())
    }
}

/// The slices of a wait: short ones at first.
#[derive(Debug, Default)]
pub struct Slices(u32);

impl Slices {
    /// The next one, which ends no later than the deadline.
    pub fn next(&mut self, deadline: Deadline) -> Duration {
        let slice = if self.0 < SHORT_SLICES { SLICE } else { LONG_SLICE };
        self.0 = self.0.saturating_add(1);
        deadline.remaining().map_or(slice, |left| left.min(slice))
    }

    /// Something came, and the next wait is another one.
    #[cfg(feature = "tokio")]
    pub fn restart(&mut self) {
        self.0 = 0;
    }
}
