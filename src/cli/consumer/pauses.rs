//! The pauses of a consumer: until its reader has taken bytes, until the next item is due, until there is one.

use std::time::{Duration, Instant};

use super::{Job, Over, READER_SLICE, Step};
use crate::Role;
use crate::cli::common::exit::Failure;
use crate::cli::common::signals::Ready;
use crate::cli::transport::{Observe, Receiver};

/// If the reader has not taken the last items for this long, a note says so.
const UNREAD: Duration = Duration::from_secs(5);

impl<R: Receiver> Job<'_, R> {
    /// Waits until the reader has taken the last items.
    pub(super) fn wait_until_read(&mut self) -> Step {
        let mut ready = self.delivery.wait_until_read(UNREAD);
        if ready == Ready::NotYet && self.delivery.is_holding() && self.delivery.check().is_ok() {
            self.tell_unread();
            ready = self.delivery.wait_until_read(Duration::MAX);
        }
        match ready {
            // The reader has left, before or after it took everything.
            Ready::Yes if self.delivery.is_holding() => Step::Unread,
            Ready::Stopped => Step::Stopped,
            Ready::Yes | Ready::NotYet => Step::GoOn,
        }
    }

    /// Waits until the reader has taken some of the written bytes.
    pub(super) fn wait_for_reader(&mut self) -> Result<Step, Failure> {
        let before = self.delivery.tally.items;
        let step = after(self.delivery.wait_for_reader(UNREAD));
        self.check_memory()?;
        let is_stuck = matches!(step, Step::GoOn) && self.delivery.tally.items == before;
        // With a producer attached, the reader may be working on an item.
        if is_stuck && !self.observe().has_live(Role::Producer) {
            self.tell_unread();
        }
        Ok(step)
    }

    /// Notes once that this process waits for its reader, which may itself wait for this process to end.
    fn tell_unread(&mut self) {
        if !std::mem::replace(&mut self.said_unread, true) {
            let items = self.delivery.items() - self.delivery.tally.items;
            let what = if items == 1 { "an item" } else { &format!("{items} items") };
            self.report
                .note(format!("the reader has left {what} in the pipe; --ack write does not wait for it"));
        }
    }

    /// Waits until the next item is due.
    pub(super) fn keep_pace(&mut self) -> Step {
        let (due, now) = (self.pace.wait(Instant::now()), Instant::now());
        while let left = due.saturating_sub(now.elapsed())
            && !left.is_zero()
        {
            match after(self.delivery.sleep(left.min(READER_SLICE))) {
                // A closed ring without items brings no more.
                Step::GoOn if self.observe().is_closed() && self.observe().is_drained() => {
                    return Step::Over(Over::Ended);
                }
                Step::GoOn => {}
                other => return other,
            }
        }
        Step::GoOn
    }

    /// Handles that no item came in a short wait while others are held.
    pub(super) fn nothing_yet(&mut self, waited: Duration) -> Step {
        self.waited += waited;
        self.delivery.unlock();
        if !self.delivery.is_held_up() {
            self.sleeps = None;
        }
        if self.delivery.is_abandoned() { Step::Unread } else { Step::GoOn }
    }
}

/// The meaning of a sleep that watches the output and the stop flag.
fn after(ready: Ready) -> Step {
    match ready {
        Ready::Yes => Step::Unread,
        Ready::Stopped => Step::Stopped,
        Ready::NotYet => Step::GoOn,
    }
}
