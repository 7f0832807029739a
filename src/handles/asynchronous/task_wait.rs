//! How a task waits: it looks at the ring, and a blocking thread sleeps until there is a reason to look again.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop;

use super::blocking_sleep::{Announced, BlockingSleep, pass_on};
use crate::Result;
use crate::handles::Role;
use crate::layout::mapping::Mapping;
use crate::sys::clock::Deadline;
use crate::sys::semaphore::Wake;
use crate::wait::{Depth, Slices};

/// The time between two looks at a ring whose participants poll.
const POLLING_SLICE: Duration = Duration::from_millis(1);

/// The state of one handle's wait in a task.
#[derive(Debug)]
pub(super) struct TaskWait {
    mapping: Mapping,
    role: Role,
    /// The latest sleep. It outlives the future that began it.
    sleep: Option<BlockingSleep>,
    slices: Slices,
    /// The last look found nothing, and the wait has not ended since.
    waiting: bool,
}

impl TaskWait {
    pub fn new(mapping: &Mapping, role: Role) -> Self {
        TaskWait { mapping: mapping.clone(), role, sleep: None, slices: Slices::default(), waiting: false }
    }

    /// Calls `look` with the depth of the look, and whether a wake-up has come for this task. If it finds nothing,
    /// the task is woken when there is a reason to look again.
    pub fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        look: impl FnMut(Depth, bool) -> Result<Option<T>>,
    ) -> Poll<Result<T>> {
        // A task that always finds something must give the runtime's other tasks a turn.
        let budget = ready!(coop::poll_proceed(cx));
        let answer = self.look_or_sleep(cx, look).transpose();
        let Some(answer) = answer else {
            self.waiting = true;
            return Poll::Pending;
        };
        budget.made_progress();
        self.slices.restart();
        // The look has used a wake-up that has come. One that comes later goes to another sleeper.
        self.leave();
        Poll::Ready(answer)
    }

    fn look_or_sleep<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut look: impl FnMut(Depth, bool) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        if let Some(found) = look(Depth::Quick, false)? {
            return Ok(Some(found));
        }
        let mut woken = false;
        if let Some(sleep) = self.sleep.take() {
            match sleep.poll(cx) {
                Poll::Pending => {
                    self.sleep = Some(sleep);
                    return Ok(None);
                }
                Poll::Ready(end) => {
                    woken = end?;
                    self.slices.slept(if woken { Wake::Posted } else { Wake::TimedOut });
                }
            }
        }
        let announced = Announced::new(&self.mapping, self.role);
        if let Some(found) = look(Depth::Thorough, woken)? {
            return Ok(Some(found));
        }
        self.sleep = Some(BlockingSleep::begin(announced, self.slice(), cx.waker().clone())?);
        Ok(None)
    }

    fn slice(&self) -> Duration {
        if self.mapping.geometry().discipline.sleeps() {
            return self.slices.next(Deadline::never());
        }
        // No process wakes it, and a task must not keep a processor busy.
        POLLING_SLICE
    }

    /// Ends the wait. True: the task was waiting until now.
    pub fn end_of_wait(&mut self) -> bool {
        std::mem::take(&mut self.waiting)
    }

    /// The task stops waiting. It will not look, so it passes on a wake-up that it has got.
    pub fn give_up(&mut self) {
        if self.leave() {
            pass_on(&self.mapping, self.role);
        }
    }

    /// The task leaves its sleep. True: it has got a wake-up.
    fn leave(&mut self) -> bool {
        let Some(over) = self.sleep.as_ref().and_then(BlockingSleep::leave) else { return false };
        self.sleep = None;
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handles::asynchronous::blocking_sleep::tests::{
        FOREVER, await_end, begin, left, with_mapping,
    };

    #[test]
    fn a_wake_up_that_a_task_does_not_use_goes_to_the_next_sleeper() {
        with_mapping("unused", |mapping, runtime| {
            let other = Announced::new(mapping, Role::Consumer);
            let mut wait = TaskWait::new(mapping, Role::Consumer);
            wait.sleep = Some(begin(runtime, mapping, FOREVER));
            pass_on(mapping, Role::Consumer);
            await_end(wait.sleep.as_ref().unwrap());
            assert_eq!(left(mapping), (1, false));
            wait.give_up();
            assert_eq!(left(mapping), (0, true));
            std::mem::forget(other);
        });
    }
}
