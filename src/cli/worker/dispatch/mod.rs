//! The main thread: takes items, hands them out, and waits for the slots.

mod end;
mod take;

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use self::take::{Found, Over};
use super::finish::Tally;
use super::joblog::Done;
use super::limits::Limits;
use super::options::WorkerOptions;
use super::slot::Worker;
use super::slots::Job;
use super::source::Source;
use super::spool;
use super::stop::Stop;
use crate::cli::common::exit::Failure;
use crate::cli::common::pace::Pace;
use crate::cli::common::progress::{Extra, Kind, Progress, Subject};
use crate::cli::common::report::Reporter;
use crate::cli::common::start::End;
use crate::cli::transport::{Observe, Owned, Receiver, Sender};
use crate::{Error, StopFlag};

/// The longest wait without a check of the stop flag and of the other conditions.
const SLICE: Duration = Duration::from_millis(50);
/// How often `--load` and `--memfree` are checked while they forbid another command.
const LIMITS_EVERY: Duration = Duration::from_millis(500);
/// The most finished jobs that wait for earlier ones (`--keep-order`) before no more items are taken.
const MOST_UNORDERED: usize = 1024;

/// What `--progress` shows; [`Dispatcher::show`] sets the counts.
pub const SHOWN: Subject = Subject {
    verb: "done",
    is_in_items: true,
    extras: &[
        Extra { word: "failed", kind: Kind::Settled },
        Extra { word: "running", kind: Kind::AtWork },
        Extra { word: "delayed", kind: Kind::Now },
        Extra { word: "skipped", kind: Kind::Settled },
        Extra { word: "retried", kind: Kind::Total },
    ],
};

/// The receiving end, and what the main thread remembers.
pub struct Dispatcher<'a, 'o, R: Receiver, S: Sender> {
    pub worker: &'a Worker<'a, 'o, S, R::Owned>,
    pub source: &'a Source<'a, R>,
    /// Items that need no command (`--resume`).
    pub done: Done,
    pub pace: Pace,
    /// When the next item may be taken, by the pace; `None`: not known yet.
    pub due: Option<Instant>,
    pub limits: Limits,
    pub report: &'a Reporter,
    pub progress: Progress,
    pub stop: &'a StopFlag,
    /// Items that are only looked at (`--dry-run`).
    pub printed: Vec<R::Owned>,
    /// The time waited since the last item.
    pub waited: Duration,
    /// The last wait ended with the ring's name gone and no producer attached.
    pub deserted: bool,
    pub start: Instant,
}

impl<R: Receiver, S: Sender> Dispatcher<'_, '_, R, S> {
    pub fn run(mut self) -> Result<End, Failure> {
        let over = self.hand_out();
        self.source.close();
        let (stop, short) = match over {
            Over::Stop(stop) => (Some(stop), None),
            Over::Short(failure) => (self.wait_for_all(), Some(failure)),
            Over::Taken => (self.wait_for_all(), None),
        };
        let stop = self.end(stop);
        self.finish(stop, short)
    }

    fn options(&self) -> &WorkerOptions<'_> {
        self.worker.options
    }

    /// Takes items and hands them out until no more are to be taken.
    fn hand_out(&mut self) -> Over {
        loop {
            self.show();
            if let Some(stop) = self.early_end() {
                return Over::Stop(stop);
            }
            let held_up = if self.worker.jobs.reserve() { self.held_up() } else { Some(SLICE) };
            if let Some(wait) = held_up {
                self.worker.jobs.wait(wait);
                continue;
            }
            match self.next_items() {
                Found::Nothing | Found::Dropped => {}
                Found::Over(over) => return over,
                Found::Item(items) => {
                    let job = Job { number: self.source.taking().next_number(), items };
                    match self.options().work.dry_run {
                        true => {
                            if let Err(stop) = self.print_only(job) {
                                return Over::Stop(stop);
                            }
                        }
                        // A signal may have come together with the last item.
                        false if self.stop.is_raised() => return Over::Stop(Stop::Stopped),
                        false => self.worker.jobs.add(job),
                    }
                }
            }
        }
    }

    /// Why to stop now, if there is a reason.
    fn early_end(&self) -> Option<Stop> {
        if self.stop.is_raised() { Some(Stop::Stopped) } else { self.worker.jobs.stop() }
    }

    /// How long no further command may start, because of the pace, the load, the memory, or outputs that wait
    /// for earlier ones. Meanwhile, the main thread looks for signals, failed items that are due, and
    /// requests to stop.
    fn held_up(&mut self) -> Option<Duration> {
        let unordered = self.worker.finisher.unordered.load(Relaxed);
        if unordered >= MOST_UNORDERED || unordered > 0 && spool::is_crowded() {
            return Some(SLICE);
        }
        let now = Instant::now();
        let due = *self.due.get_or_insert_with(|| now + self.pace.wait(now));
        let left = due.saturating_duration_since(now);
        if !left.is_zero() {
            return Some(left.min(SLICE));
        }
        (!self.limits.allow()).then_some(LIMITS_EVERY)
    }

    /// Prints what would run. The items are given back at the end: given back earlier, they would be received
    /// again.
    fn print_only(&mut self, job: Job<R::Owned>) -> Result<(), Stop> {
        let items: Vec<&[u8]> = job.items.iter().map(R::Owned::bytes).collect();
        let line = self.worker.template.display(&items, job.number, 1) + "\n";
        let mut printer =
            self.worker.finisher.printer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let written = printer.text(&line);
        drop(items);
        self.printed.extend(job.items);
        Ok(written?)
    }

    fn show(&self) {
        if self.progress.is_on() {
            let Tally { done, bytes, retried, failed, skipped, .. } = self.worker.finisher.tally();
            let (busy, delayed) = self.worker.jobs.busy_and_delayed();
            self.progress.update(done, bytes);
            self.progress.update_extras([failed, busy as u64, delayed as u64, skipped, retried]);
        }
        // Without a guard the commands still run; the next call tries again.
        let _ = self.worker.guard.restore();
    }

    fn ring_failure(&self, error: &Error) -> Failure {
        self.source.taking().receiver.observe().explained(Failure::of_ring(self.worker.finisher.ring, error))
    }
}
