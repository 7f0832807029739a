//! One sleep on a blocking thread.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::Handle;

use crate::handles::Role;
use crate::handles::memory::sleepers;
use crate::layout::discipline::Discipline;
use crate::layout::view::View;
use crate::{Error, Result};

/// A sleeper that was announced (E4): whoever makes items (or room) from now on wakes it. Withdrawn when this
/// is dropped before the sleep.
#[derive(Debug)]
pub(super) struct Announced {
    view: View,
    role: Role,
    stands: bool,
}

impl Announced {
    /// Announces a sleeper of this role. Its task looks once more before the sleep.
    pub fn new(view: &View, role: Role) -> Self {
        sleepers(view, role).signal.announce();
        Announced { view: view.clone(), role, stands: true }
    }

    /// Sleeps until there is a reason to look, at most for `slice`. Answers whether somebody gave it.
    fn sleep(&mut self, slice: Duration) -> Result<bool> {
        // The sleep takes the announcement back however it ends.
        self.stands = false;
        let signal = sleepers(&self.view, self.role).signal;
        let woken = signal.sleep(slice)?;
        if woken && counts(&self.view) {
            // Who adds a token does not look who sleeps.
            signal.count_out();
        }
        Ok(woken)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if self.stands {
            sleepers(&self.view, self.role).signal.withdraw();
        }
    }
}

/// Whether a wake-up is a token that counts.
fn counts(view: &View) -> bool {
    view.geometry().discipline == Discipline::Semaphore
}

/// Wakes another sleeper of this role in place of one that has no use for it.
pub(super) fn pass_on(view: &View, role: Role) {
    match counts(view) {
        true => sleepers(view, role).add_tokens(1),
        false => sleepers(view, role).signal.notify(1),
    }
}

/// A sleep that was begun, as its task sees it.
///
/// A wake-up stands for one sleeper. If the task has left when it comes, or leaves before it has looked,
/// another sleeper gets it: the state's lock decides which of the two passes it on.
#[derive(Debug)]
pub(super) struct Nap(Arc<Mutex<State>>);

#[derive(Debug)]
enum State {
    /// Somebody sleeps, or is about to; the task to be woken, unless it has left.
    Asleep(Option<Waker>),
    /// The sleep is over: whether by a wake-up.
    Over(Result<bool>),
    /// The runtime ended before the sleep began.
    Refused,
}

impl Nap {
    /// Has a blocking thread sleep for at most `slice`, and then wake the task.
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
        Ok(Nap(state))
    }

    /// Whether the sleep is over, and by a wake-up; if not over, the task of `cx` is the one to be woken.
    pub fn poll(&self, cx: &Context<'_>) -> Poll<Result<bool>> {
        let task = cx.waker().clone();
        let mut state = lock(&self.0);
        match &mut *state {
            State::Asleep(waits) => {
                *waits = Some(task);
                Poll::Pending
            }
            State::Over(end) => Poll::Ready(std::mem::replace(end, Ok(false))),
            // Another runtime may do it.
            State::Refused => Poll::Ready(Ok(false)),
        }
    }

    /// The task leaves. `None`: the sleep goes on without it, and passes its wake-up on. Otherwise it is over,
    /// and the answer is whether by a wake-up, which is now the caller's.
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

/// The blocking thread's side of a nap.
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
            _ if woken => pass_on(&self.announced.view, self.announced.role),
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

/// Nothing panics while it holds the lock, and a state is never half changed.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handles::RingOptions;
    use crate::layout::fields::head;
    use crate::sync::SLICE;
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Instant;
    use tokio::runtime::{Builder, Runtime};

    const FOREVER: Duration = Duration::from_secs(10);

    fn with_view(what: &str, test: impl FnOnce(&View, &Runtime)) {
        let name = format!("ringpipe-nap-{what}-{}", std::process::id());
        let ring = RingOptions::new().create(&name).unwrap();
        let runtime = Builder::new_current_thread().build().unwrap();
        test(ring.view(), &runtime);
        assert!(ring.remove().unwrap());
    }

    fn begin(runtime: &Runtime, view: &View, slice: Duration) -> Nap {
        let _inside = runtime.enter();
        Nap::begin(Announced::new(view, Role::Consumer), slice, Waker::noop().clone()).unwrap()
    }

    fn await_end(nap: &Nap) {
        let begin = Instant::now();
        while matches!(*lock(&nap.0), State::Asleep(_)) {
            assert!(begin.elapsed() < FOREVER, "it sleeps on");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sleepers announced, and whether there is a token.
    fn left(view: &View) -> (u64, bool) {
        let token = view.semaphore(head::ITEMS_SEMAPHORE).try_wait().unwrap();
        (view.head_word(head::ITEMS_WAITING).load(Relaxed), token)
    }

    #[test]
    fn a_wake_up_for_a_task_that_has_left_goes_to_the_next_sleeper() {
        with_view("left", |view, runtime| {
            let other = Announced::new(view, Role::Consumer);
            let nap = begin(runtime, view, FOREVER);
            assert_eq!(nap.leave(), None);
            pass_on(view, Role::Consumer);
            await_end(&nap);
            assert_eq!(left(view), (0, true));
            std::mem::forget(other);
        });
    }

    #[test]
    fn a_wake_up_that_a_task_does_not_use_goes_to_the_next_sleeper() {
        with_view("unused", |view, runtime| {
            let other = Announced::new(view, Role::Consumer);
            let mut pause = super::super::Pause::new(view, Role::Consumer);
            pause.nap = Some(begin(runtime, view, FOREVER));
            pass_on(view, Role::Consumer);
            await_end(pause.nap.as_ref().unwrap());
            assert_eq!(left(view), (1, false));
            pause.give_up();
            assert_eq!(left(view), (0, true));
            std::mem::forget(other);
        });
    }

    #[test]
    fn a_sleep_that_nobody_ends_leaves_nothing_behind() {
        with_view("slept", |view, runtime| {
            let nap = begin(runtime, view, SLICE);
            await_end(&nap);
            assert_eq!((nap.leave(), left(view)), (Some(false), (0, false)));
        });
    }

    #[test]
    fn a_runtime_that_has_ended_is_said_and_the_announcement_withdrawn() {
        with_view("ended", |view, _| {
            let runtime = Builder::new_current_thread().build().unwrap();
            let handle = runtime.handle().clone();
            drop(runtime);
            let _inside = handle.enter();
            let nap = Nap::begin(Announced::new(view, Role::Consumer), SLICE, Waker::noop().clone());
            assert!(matches!(nap, Err(Error::Unsupported(_))));
            assert_eq!(left(view), (0, false));
        });
    }
}
