//! One sleep on a blocking thread, and the handover of its wake-up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::handles::Role;
use crate::layout::mapping::Mapping;
use crate::membership::memory::sleepers;
use crate::sys::semaphore::Wake;
use crate::{Error, Result};

/// An announced sleeper (E4): from now on, a process that makes items (or room) wakes it. The announcement is
/// withdrawn if this is dropped before the sleep.
#[derive(Debug)]
pub(super) struct Announced {
    mapping: Mapping,
    role: Role,
    stands: bool,
}

impl Announced {
    /// Announces a sleeper of this role. The task must look once more before the sleep.
    pub fn new(mapping: &Mapping, role: Role) -> Self {
        sleepers(mapping, role).signal.announce();
        Announced { mapping: mapping.clone(), role, stands: true }
    }

    /// Sleeps until there is a reason to look, at most for `slice`. True: a wake-up ended the sleep.
    fn sleep(&mut self, slice: Duration) -> Result<bool> {
        // The sleep withdraws the announcement, however it ends.
        self.stands = false;
        let signal = sleepers(&self.mapping, self.role).signal;
        let woken = signal.sleep(slice)? == Wake::Posted;
        if woken && counts(&self.mapping) {
            // A process that adds a token does not check for sleepers.
            signal.count_out();
        }
        Ok(woken)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if self.stands {
            sleepers(&self.mapping, self.role).signal.withdraw();
        }
    }
}

/// Whether a wake-up is a token that counts.
fn counts(mapping: &Mapping) -> bool {
    mapping.geometry().discipline.counts_tokens()
}

/// Wakes another sleeper of this role, because the woken one will not use the wake-up.
pub(super) fn pass_on(mapping: &Mapping, role: Role) {
    match counts(mapping) {
        true => sleepers(mapping, role).add_tokens(1),
        false => sleepers(mapping, role).signal.notify(1),
    }
}

/// A sleep that has begun, as its task sees it.
///
/// A wake-up is meant for one sleeper. If the task has left before the wake-up comes, or leaves before it has
/// looked, another sleeper must get it: the state's lock decides which of the two sides passes it on.
#[derive(Debug)]
pub(super) struct BlockingSleep(Arc<Mutex<State>>);

#[derive(Debug)]
enum State {
    /// A thread sleeps, or is about to; holds the task to wake, unless it has left.
    Asleep(Option<Waker>),
    /// The sleep is over; true if a wake-up ended it.
    Over(Result<bool>),
    /// The runtime ended before the sleep began.
    Refused,
}

impl BlockingSleep {
    /// Starts a sleep of at most `slice` on a blocking thread, which then wakes the task.
    pub fn begin(announced: Announced, slice: Duration, task: Waker) -> Result<Self> {
        let Ok(runtime) = Handle::try_current() else {
            let text =
                "an asynchronous handle sleeps on tokio's blocking threads: use it within a tokio runtime";
            return Err(Error::Unsupported(text.into()));
        };
        let state = Arc::new(Mutex::new(State::Asleep(Some(task))));
        let sleeper = Sleeper { announced, state: Arc::clone(&state), ended: false };
        runtime.spawn_blocking(move || sleeper.sleep(slice));
        if matches!(*lock(&state), State::Refused) {
            return Err(Error::Unsupported("the tokio runtime is shutting down".into()));
        }
        Ok(BlockingSleep(state))
    }

    /// `Ready` when the sleep is over: true if a wake-up ended it. Until then, the end of the sleep wakes the
    /// task of `cx`.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<Result<bool>> {
        let task = cx.waker().clone();
        let mut state = lock(&self.0);
        match &mut *state {
            State::Asleep(waits) => {
                *waits = Some(task);
                Poll::Pending
            }
            State::Over(end) => Poll::Ready(std::mem::replace(end, Ok(false))),
            // The task may run on another runtime.
            State::Refused => Poll::Ready(Ok(false)),
        }
    }

    /// The task leaves. `None`: the sleep goes on without it, and will pass its wake-up on. Otherwise the sleep is
    /// over; true if a wake-up ended it, which the caller must now use or pass on.
    pub fn leave(&self) -> Option<bool> {
        let mut state = lock(&self.0);
        match &mut *state {
            State::Asleep(waits) => {
                *waits = None;
                None
            }
            State::Over(end) => Some(matches!(end, Ok(true))),
            State::Refused => Some(false),
        }
    }
}

/// The blocking thread's side of a sleep.
#[derive(Debug)]
struct Sleeper {
    announced: Announced,
    state: Arc<Mutex<State>>,
    ended: bool,
}

impl Sleeper {
    fn sleep(mut self, slice: Duration) {
        let woken = self.announced.sleep(slice);
        self.end(State::Over(woken));
    }

    fn end(&mut self, end: State) {
        self.ended = true;
        let woken = matches!(end, State::Over(Ok(true)));
        match std::mem::replace(&mut *lock(&self.state), end) {
            State::Asleep(Some(task)) => task.wake(),
            _ if woken => pass_on(&self.announced.mapping, self.announced.role),
            _ => {}
        }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        if !self.ended {
            self.end(State::Refused);
        }
    }
}

/// No code panics while it holds the lock, and every change of the state is complete.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::handles::RingOptions;
    use crate::layout::head;
    use crate::wait::SLICE;
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Instant;
    use tokio::runtime::{Builder, Runtime};

    pub const FOREVER: Duration = Duration::from_secs(10);

    pub fn with_mapping(what: &str, test: impl FnOnce(&Mapping, &Runtime)) {
        let name = format!("ringpipe-sleep-{what}-{}", std::process::id());
        let ring = RingOptions::new().create(&name).unwrap();
        let runtime = Builder::new_current_thread().build().unwrap();
        test(ring.mapping(), &runtime);
        assert!(ring.remove().unwrap());
    }

    pub fn begin(runtime: &Runtime, mapping: &Mapping, slice: Duration) -> BlockingSleep {
        let _inside = runtime.enter();
        BlockingSleep::begin(Announced::new(mapping, Role::Consumer), slice, Waker::noop().clone()).unwrap()
    }

    pub fn await_end(sleep: &BlockingSleep) {
        let begin = Instant::now();
        while matches!(*lock(&sleep.0), State::Asleep(_)) {
            assert!(begin.elapsed() < FOREVER, "it sleeps on");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The number of announced sleepers, and whether there is a token.
    pub fn left(mapping: &Mapping) -> (u64, bool) {
        let token = mapping.semaphore(head::ITEMS_SEMAPHORE).try_wait().unwrap();
        (mapping.head_word(head::ITEMS_WAITING).load(Relaxed), token)
    }

    #[test]
    fn a_wake_up_for_a_task_that_has_left_goes_to_the_next_sleeper() {
        with_mapping("left", |mapping, runtime| {
            let other = Announced::new(mapping, Role::Consumer);
            let sleep = begin(runtime, mapping, FOREVER);
            assert_eq!(sleep.leave(), None);
            pass_on(mapping, Role::Consumer);
            await_end(&sleep);
            assert_eq!(left(mapping), (0, true));
            std::mem::forget(other);
        });
    }

    #[test]
    fn a_sleep_without_a_wake_up_leaves_nothing_behind() {
        with_mapping("slept", |mapping, runtime| {
            let sleep = begin(runtime, mapping, SLICE);
            await_end(&sleep);
            assert_eq!((sleep.leave(), left(mapping)), (Some(false), (0, false)));
        });
    }

    #[test]
    fn an_ended_runtime_is_reported_and_the_announcement_withdrawn() {
        with_mapping("ended", |mapping, _| {
            let runtime = Builder::new_current_thread().build().unwrap();
            let handle = runtime.handle().clone();
            drop(runtime);
            let _inside = handle.enter();
            let sleep =
                BlockingSleep::begin(Announced::new(mapping, Role::Consumer), SLICE, Waker::noop().clone());
            assert!(matches!(sleep, Err(Error::Unsupported(_))));
            assert_eq!(left(mapping), (0, false));
        });
    }
}
