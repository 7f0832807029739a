//! Handles for asynchronous tasks: a thread of the runtime's blocking pool sleeps where a handle's own thread
//! would, and wakes the task.
//!
//! | | the task, in a poll | a blocking thread |
//! |---|---|---|
//! | owns | the handle, and with it every claim | a [`Nap`]: the mapping, and that somebody was announced |
//! | does | looks; announces; looks thoroughly; hands the announcement over | sleeps on the signal, at most a slice; wakes the task |
//!
//! Nothing is claimed but in the poll that returns it, so a future can be dropped at any moment. What may get
//! lost with it is a wake-up that was meant for others as well, and that one is passed on: see [`Nap`].

mod consumer;
mod nap;
mod producer;

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::coop;

pub use consumer::AsyncConsumer;
use nap::{Announced, Nap, pass_on};
pub use producer::AsyncProducer;

use super::Role;
use crate::Result;
use crate::layout::discipline::Discipline;
use crate::layout::view::View;
use crate::sync::{Look, Slices};
use crate::sys::clock::Deadline;

/// Between two looks at a ring whose participants poll.
const POLLING_SLICE: Duration = Duration::from_millis(1);

/// How one handle's task waits.
#[derive(Debug)]
struct Pause {
    view: View,
    role: Role,
    /// The sleep that was begun last. It outlives the future that began it.
    nap: Option<Nap>,
    slices: Slices,
    /// The last look found nothing, and nobody has said since that it is over.
    waiting: bool,
}

impl Pause {
    fn new(view: &View, role: Role) -> Self {
        Pause { view: view.clone(), role, nap: None, slices: Slices::default(), waiting: false }
    }

    /// Looks, and is told how thoroughly, and whether a wake-up has come for it. As long as that finds nothing, the task is woken when there is a reason to look again.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        look: impl FnMut(Look, bool) -> Result<Option<T>>,
    ) -> Poll<Result<T>> {
        // Who always finds something must not keep the runtime from its other tasks.
        let budget = ready!(coop::poll_proceed(cx));
        let answer = self.look_or_sleep(cx, look).transpose();
        let Some(answer) = answer else {
            self.waiting = true;
            return Poll::Pending;
        };
        budget.made_progress();
        self.slices.restart();
        // The look has used a wake-up that came; one that is still to come is for others.
        self.leave();
        Poll::Ready(answer)
    }

    fn look_or_sleep<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut look: impl FnMut(Look, bool) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        if let Some(found) = look(Look::Quick, false)? {
            return Ok(Some(found));
        }
        let mut woken = false;
        if let Some(nap) = self.nap.take() {
            match nap.poll(cx) {
                Poll::Pending => {
                    self.nap = Some(nap);
                    return Ok(None);
                }
                Poll::Ready(end) => woken = end?,
            }
        }
        let announced = Announced::new(&self.view, self.role);
        if let Some(found) = look(Look::Thorough, woken)? {
            return Ok(Some(found));
        }
        self.nap = Some(Nap::begin(announced, self.slice(), cx.waker().clone())?);
        Ok(None)
    }

    fn slice(&mut self) -> Duration {
        match self.view.geometry().discipline {
            // Nobody wakes anybody, and a task does not keep a processor busy.
            Discipline::Polling => POLLING_SLICE,
            _ => self.slices.next(Deadline::never()),
        }
    }

    /// Whether the task waited until now; it does so no longer.
    fn end_of_wait(&mut self) -> bool {
        std::mem::take(&mut self.waiting)
    }

    /// The task gives up waiting. A wake-up that it got is passed on, as it will not look.
    fn give_up(&mut self) {
        if self.leave() {
            pass_on(&self.view, self.role);
        }
    }

    /// The task leaves its nap. True: there was a wake-up for it.
    fn leave(&mut self) -> bool {
        let Some(over) = self.nap.as_ref().and_then(Nap::leave) else { return false };
        self.nap = None;
        over
    }
}
