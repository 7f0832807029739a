//! Decides what becomes of a job after its command has ended. The order of the steps is such that a death
//! loses nothing: first the output is written, then the answer is sent, then the joblog gets a line, then the
//! items are acknowledged. If the worker dies before the acknowledgement, the items are delivered again, and
//! `--resume` skips each item that has a line.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use humantime::format_duration;

use super::dead_letters::{DeadLetters, send};
use super::halt::Halt;
use super::joblog::{Entry, JobLog};
use super::options::WorkArgs;
use super::print::Printer;
use super::results;
use super::slots::{After, Job};
use super::spool::Spool;
use super::stop::Stop;
use super::supervise::{Collected, Ended};
use super::verdict::{Ending, OnExit, Verdict};
use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::no_producer;
use crate::cli::common::report::Reporter;
use crate::cli::common::seen::Seen;
use crate::cli::common::stdout::Cut;
use crate::cli::transport::{Owned, Sender};
use crate::{ItemKey, StopFlag};

/// How often an item is tried again, if the command line does not say.
const RETRIES: u8 = 3;
/// Bytes of a command's standard error that a dead letter carries.
pub const TAIL: usize = 2048;

/// The totals of a worker.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    /// Items that were acknowledged because their command succeeded, and their bytes.
    pub done: u64,
    pub bytes: u64,
    /// Attempts that failed and are followed by another one.
    pub retried: u64,
    /// Items that failed for good.
    pub failed: u64,
    /// Items that were acknowledged without a command (`--resume`).
    pub skipped: u64,
    /// Items that were acknowledged without a command, as they were done before (`--dedup`).
    pub duplicates: u64,
}

/// A job with what its command left.
pub struct Finished<O> {
    pub job: Job<O>,
    pub ended: Ended,
    pub output: Collected,
    /// The last bytes of its standard error.
    pub tail: Vec<u8>,
    /// Bytes of its standard output.
    pub received: u64,
    /// The command line, for the joblog.
    pub line: String,
    /// What `--tag` writes before each line.
    pub label: String,
}

/// Finishes jobs, for all slots.
pub struct Finisher<'o, S> {
    pub options: &'o WorkArgs,
    pub ring: &'o str,
    /// Raised when commands are terminated: from then on, no write waits for room.
    pub late: StopFlag,
    pub printer: Mutex<Printer>,
    /// Whether answers are lines: then the last newline of an answer is left out.
    pub answers_are_lines: bool,
    /// Where answers go.
    pub reply: Option<Mutex<S>>,
    /// Where the items that failed for good go.
    pub dead: Option<DeadLetters<'o, S>>,
    pub joblog: Option<Mutex<JobLog>>,
    /// Writes the notes.
    pub report: Mutex<Reporter>,
    /// Finished jobs that wait for earlier ones.
    pub unordered: AtomicUsize,
    pub state: Mutex<State>,
}

/// What changes from job to job.
#[derive(Debug, Default)]
pub struct State {
    pub tally: Tally,
    pub halt: Option<Halt>,
    pub random: fastrand::Rng,
    /// The items that are done (`--dedup`), without the items that failed for good: they may be sent again.
    pub seen: Option<Seen>,
}

/// Finished jobs that wait for earlier ones (`--keep-order`).
pub struct Order<O> {
    /// The number of the job whose output comes next.
    next: u64,
    /// By job number. The jobs that a divided job became share its number.
    waiting: BTreeMap<u64, Vec<Finished<O>>>,
}

impl<O> Default for Order<O> {
    fn default() -> Self {
        Order { next: 1, waiting: BTreeMap::new() }
    }
}

impl<O> Order<O> {
    /// The finished jobs that wait, in order, whether or not earlier ones are missing.
    pub fn rest(&mut self) -> impl Iterator<Item = Finished<O>> {
        std::mem::take(&mut self.waiting).into_values().flatten()
    }
}

impl<S: Sender> Finisher<'_, S> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The totals so far.
    pub fn tally(&self) -> Tally {
        self.state().tally
    }

    /// Records items that are acknowledged without a command.
    pub fn skipped(&self, items: u64) {
        self.state().tally.skipped += items;
    }

    /// Whether an item was done before; if so, counts it.
    pub fn is_duplicate(&self, key: ItemKey) -> bool {
        let mut state = self.state();
        let duplicate = state.seen.as_ref().is_some_and(|seen| seen.contains(key));
        state.tally.duplicates += u64::from(duplicate);
        duplicate
    }

    fn verdict(&self, ended: &Ended) -> Verdict {
        let default = OnExit::default();
        self.options.on_exit.as_ref().unwrap_or(&default).verdict(&ended.ending)
    }

    /// Finishes a job whose output needs no order.
    pub fn finish<O: Owned>(&self, finished: Finished<O>) -> After<O, Stop> {
        self.settle(finished).unwrap_or_else(After::Stop)
    }

    /// Finishes a job, and the jobs that waited for it.
    pub fn finish_in_order<O: Owned>(
        &self,
        order: &Mutex<Order<O>>,
        finished: Finished<O>,
    ) -> After<O, Stop> {
        let mut order = order.lock().unwrap_or_else(PoisonError::into_inner);
        let number = finished.job.number;
        // A job that is tried again keeps its place.
        let is_final = finished.ended.stopped || !self.will_retry(&finished);
        if is_final && number > order.next {
            order.waiting.entry(number).or_default().push(finished);
            self.unordered.fetch_add(1, Relaxed);
            return After::Settled;
        }
        let mut after = self.finish(finished);
        if !is_final {
            return after;
        }
        order.next = order.next.max(number + 1);
        while matches!(after, After::Settled)
            && let next = order.next
            && let Some(waiting) = order.waiting.remove(&next)
        {
            order.next += 1;
            self.unordered.fetch_sub(waiting.len(), Relaxed);
            for finished in waiting {
                match self.finish(finished) {
                    After::Settled => {}
                    other => after = other,
                }
            }
        }
        after
    }

    fn retries(&self) -> u8 {
        self.options.retries.unwrap_or(RETRIES)
    }

    /// Whether an item has used up its attempts, by this worker or others.
    pub fn is_exhausted(&self, item: &impl Owned) -> bool {
        item.failures() > self.retries()
    }

    /// Whether one of a job's items has used up its attempts.
    pub fn are_exhausted<O: Owned>(&self, items: &[O]) -> bool {
        items.iter().any(|item| self.is_exhausted(item))
    }

    fn will_retry<O: Owned>(&self, finished: &Finished<O>) -> bool {
        let more = finished.job.attempt() <= u32::from(self.retries());
        more && self.verdict(&finished.ended) == Verdict::Retry
    }

    fn detail(&self, text: String) {
        self.report.lock().unwrap_or_else(PoisonError::into_inner).detail(text);
    }

    fn settle<O: Owned>(&self, mut finished: Finished<O>) -> Result<After<O, Stop>, Stop> {
        if let Some(cut) = finished.ended.cut.take() {
            return Err(cut.into());
        }
        if finished.ended.stopped && !matches!(finished.ended.ending, Ending::Told(Verdict::Done, _)) {
            // The worker ended the command: that is not a failure, and exit code 0 says only that the command
            // ended in an orderly way. The job's items are given back, and it is not logged: `--resume` would
            // take it for done.
            return Ok(After::Settled);
        }
        match self.verdict(&finished.ended) {
            Verdict::Done => self.done(finished),
            Verdict::Retry if self.will_retry(&finished) => self.retry(finished),
            Verdict::Retry | Verdict::Dead => self.failed(finished),
        }
    }

    fn print<O: Owned>(&self, finished: &mut Finished<O>, with_stdout: bool) -> Result<(), Cut> {
        if self.options.line_buffer {
            return Ok(());
        }
        let mut printer = self.printer.lock().unwrap_or_else(PoisonError::into_inner);
        let Collected { stdout, stderr } = &mut finished.output;
        match with_stdout {
            true => printer.group(&finished.label, stdout, stderr),
            false => printer.group(&finished.label, &mut Spool::new(), stderr),
        }
    }

    fn keep_result<O: Owned>(&self, finished: &mut Finished<O>) -> Result<(), Stop> {
        let Some(folder) = &self.options.results else { return Ok(()) };
        let Finished { job, ended, output: Collected { stdout, stderr }, .. } = finished;
        let Some(first) = job.items.first() else { return Ok(()) };
        let ItemKey { producer, sequence } = first.key();
        let name = match no_producer::known(producer) {
            Some(producer) => format!("{producer}-{sequence}"),
            None => sequence.to_string(),
        };
        let items = job.items.iter().map(O::bytes);
        let kept = results::keep(folder, &name, items, stdout, stderr, &ended.ending.to_string());
        kept.map_err(|error| Failure::io(format!("results folder {}", folder.display()), &error).into())
    }

    fn done<O: Owned>(&self, mut finished: Finished<O>) -> Result<After<O, Stop>, Stop> {
        self.keep_result(&mut finished)?;
        match &self.reply {
            Some(reply) => {
                self.print(&mut finished, false)?;
                let answer = finished.output.stdout.read_all();
                let answer = answer.map_err(|error| Failure::io("output of a command", &error))?;
                // Items that are lines have no newline.
                let trimmed = answer.strip_suffix(b"\n").filter(|_| self.answers_are_lines);
                let answer = trimmed.unwrap_or(&answer);
                let mut sender = reply.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(first) = finished.job.items.first() {
                    send(&mut *sender, first.key(), answer, &self.late)?;
                }
            }
            None => self.print(&mut finished, true)?,
        }
        self.log(&finished)?;
        let (mut items, mut bytes) = (0, 0);
        if let Some(seen) = &mut self.state().seen {
            for item in &finished.job.items {
                seen.insert(item.key());
            }
        }
        for item in finished.job.items {
            // What was read from lost memory must not count as done.
            item.check().map_err(|error| Failure::of_ring(self.ring, &error))?;
            (items, bytes) = (items + 1, bytes + item.bytes().len() as u64);
            item.acknowledge().map_err(|error| Failure::of_ring(self.ring, &error))?;
        }
        let mut state = self.state();
        state.tally.done += items;
        state.tally.bytes += bytes;
        halted(&mut state, false)
    }

    fn retry<O: Owned>(&self, mut finished: Finished<O>) -> Result<After<O, Stop>, Stop> {
        self.print(&mut finished, false)?;
        self.log(&finished)?;
        let failures = finished.job.items.iter().map(O::record_failure).max().unwrap_or(1);
        let mut state = self.state();
        state.tally.retried += 1;
        let delay = self.options.backoff.unwrap_or_default().delay(failures, &mut state.random);
        drop(state);
        let (key, ending) = (key_of(&finished.job), &finished.ended.ending);
        let (next, last) = (u32::from(failures) + 1, u32::from(self.retries()) + 1);
        let wait = Duration::from_millis(delay.as_millis() as u64);
        self.detail(format!("item {key}: {ending}; attempt {next} of {last} in {}", format_duration(wait)));
        Ok(After::Postponed(finished.job, Instant::now() + delay))
    }

    fn failed<O: Owned>(&self, mut finished: Finished<O>) -> Result<After<O, Stop>, Stop> {
        self.print(&mut finished, self.reply.is_none())?;
        self.keep_result(&mut finished)?;
        self.log(&finished)?;
        let count = |item: &O| match finished.ended.ending {
            Ending::Exhausted => item.failures(),
            _ => item.record_failure(),
        };
        let failures = finished.job.items.iter().map(count).max().unwrap_or(1);
        if let Some(dead) = &self.dead {
            for item in &finished.job.items {
                dead.send(item, &finished.ended.ending, failures, &finished.tail, &self.late)?;
            }
        } else if !self.options.drop_failed {
            return Err(Stop::Failed(self.fails(&finished, failures)));
        }
        let mut items = 0;
        for item in finished.job.items {
            item.check().map_err(|error| Failure::of_ring(self.ring, &error))?;
            item.acknowledge_failed().map_err(|error| Failure::of_ring(self.ring, &error))?;
            items += 1;
        }
        let mut state = self.state();
        state.tally.failed += items;
        halted(&mut state, true)
    }

    /// The failure of a worker without a place for items that fail for good.
    fn fails<O: Owned>(&self, finished: &Finished<O>, failures: u8) -> Failure {
        let (ring, key) = (self.ring, key_of(&finished.job));
        let times = if failures == 1 { "once".into() } else { format!("{failures} times") };
        let what = match &finished.ended.ending {
            Ending::Exhausted => format!("has failed {times} already"),
            ending => format!("failed {times}, the last time by {ending}"),
        };
        let line = format!("ring {ring:?}: item {key} {what}; it stays in the ring");
        let hint = "--dead-letter RING2 or --drop-failed go on without it, higher --retries try it again";
        Failure::new(code::FAILED_ITEMS, line)
            .hint(format!("{hint}; ringctl peek {}", escape::argument(ring)))
    }

    /// Adds a line for each item to the joblog.
    fn log<O: Owned>(&self, finished: &Finished<O>) -> Result<(), Stop> {
        let Some(joblog) = &self.joblog else { return Ok(()) };
        let Finished { job, ended, received, line, .. } = finished;
        let mut joblog = joblog.lock().unwrap_or_else(PoisonError::into_inner);
        for item in &job.items {
            let ItemKey { producer, sequence } = item.key();
            let entry = Entry {
                job: job.number,
                started: ended.started,
                runtime: ended.took,
                sent: item.bytes().len() as u64,
                received: *received,
                ending: &ended.ending,
                command: line,
                sequence,
                producer,
                attempt: 1 + u32::from(item.failures()),
            };
            joblog.append(&entry).map_err(|error| Failure::io("joblog", &error))?;
        }
        Ok(())
    }
}

fn key_of<O: Owned>(job: &Job<O>) -> String {
    job.items.first().map(|item| item.key().to_string()).unwrap_or_default()
}

/// Ends the job; asks `--halt` whether the worker goes on.
fn halted<O>(state: &mut State, failed: bool) -> Result<After<O, Stop>, Stop> {
    match state.halt.as_mut().and_then(|halt| halt.note(failed)) {
        Some(when) => Err(Stop::Halted(when)),
        None => Ok(After::Settled),
    }
}
