//! Standing commands: each slot keeps one command running and sends it one item after the other. For short work, the
//! start of a process per item is nearly the whole cost.
//!
//! The command answers each item, in order, with a line. All that it learns about an item is in the item
//! itself: its environment and arguments belong to the process, not to an item.
//!
//! When a command ends before it has answered all its items, the first of these failed, and the others, which it may not
//! even have read, are sent to the next command without a failure.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags};

use super::exchange::{EXPECTED, LONGEST_ANSWER, answer, frame, quoted};
use super::finish::{Finished, Finisher};
use super::options::Coprocess;
use super::slots::{After, Job, Jobs, Supply};
use super::source::TakeNow;
use super::standing::{BLOCK, Sent, Standing, poll};
use super::stop::Stop;
use super::supervise::{Collected, Ended, MOST_AFTER_END, Terminator};
use super::template::{self, Template};
use super::verdict::{Ending, Verdict};
use crate::ItemKey;
use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};
use crate::cli::transport::{Owned, Sender};
use crate::sys::command::child::{Guard, With};

/// How often in a row a command may end without any answer before its worker stops.
const MOST_DEATHS: u32 = 3;
/// The wait before a command is started again that ended without any answer; doubled for the next time.
const RESTART_AFTER: Duration = Duration::from_millis(100);

/// Refuses a command that depends on the item.
///
/// # Errors
/// The [`Failure`] that says so.
pub fn check(template: &Template) -> Result<(), Failure> {
    if !template.depends_on_job() {
        return Ok(());
    }
    let line = format!(
        "--coprocess: command {:?} has {{}} or {{#}}; expected arguments that are the same for all items",
        template.name()
    );
    let hint = "the items are on its standard input; {%} is the number of its slot";
    Err(Failure::new(code::USAGE, line).hint(hint))
}

/// What all slots with standing commands share.
pub struct Shared<'a, 'o, S, O> {
    pub jobs: &'a Jobs<O, Stop>,
    /// Where a slot takes its next item itself. `None`: the main thread hands out all.
    pub source: Option<&'a dyn TakeNow<O>>,
    pub finisher: &'a Finisher<'o, S>,
    pub guard: &'a Guard,
    pub terminator: &'a Terminator,
    pub template: &'a Template,
    pub form: Coprocess,
    /// Items that are sent ahead of the answer to an earlier one.
    pub ahead: usize,
    /// How long the command may take for an item.
    pub limit: Option<Duration>,
    /// How long it may go on after its standard input was closed.
    pub grace: Duration,
}

/// A slot with a standing command.
pub struct Slot<'a, 'o, S, O> {
    shared: &'a Shared<'a, 'o, S, O>,
    slot: usize,
    /// Its jobs whose items were not sent.
    unsent: VecDeque<Job<O>>,
    /// Commands in a row that ended without an answer.
    deaths: u32,
    /// The item at which the last of them ended.
    suspect: Option<ItemKey>,
    /// A command of this slot has answered.
    has_worked: bool,
    /// No more jobs will come.
    over: bool,
    /// The command line, for the joblog.
    line: String,
}

impl<'a, 'o, S: Sender, O: Owned> Slot<'a, 'o, S, O> {
    pub fn new(shared: &'a Shared<'a, 'o, S, O>, slot: usize) -> Self {
        let line = match shared.finisher.joblog {
            Some(_) => shared.template.display(&[], 0, slot + 1),
            None => String::new(),
        };
        Slot {
            shared,
            slot,
            unsent: VecDeque::new(),
            deaths: 0,
            suspect: None,
            has_worked: false,
            over: false,
            line,
        }
    }

    /// The life of the slot. An error gives its items back, and stops the worker.
    pub fn run(mut self) {
        let why = match catch_unwind(AssertUnwindSafe(|| self.serve())) {
            Ok(Ok(())) => return,
            Ok(Err(stop)) => stop,
            // The message of the panic is on standard error.
            Err(_) => Failure::new(code::RUNTIME, "a thread of this worker has failed").into(),
        };
        self.shared.jobs.give_up(self.slot, why);
    }

    fn serve(&mut self) -> Result<(), Stop> {
        let mut place: Option<Standing<'a, O>> = None;
        loop {
            self.take();
            let Some(process) = &mut place else {
                if self.over {
                    return Ok(());
                }
                match self.unsent.is_empty() {
                    true => self.rest(None)?,
                    false => place = self.start()?,
                }
                continue;
            };
            self.send(process)?;
            if self.over && process.sent.is_empty() {
                process.leave(self.shared.grace);
            }
            let seen = process.wait(self.shared.jobs.bell(self.slot), self.shared.terminator)?;
            if seen.bell {
                self.shared.jobs.bell(self.slot).silence();
            }
            if seen.told {
                process.stop();
            }
            if seen.stderr {
                process.pass_stderr(self.shared.finisher)?;
            }
            if seen.stdout {
                self.receive(process, usize::MAX)?;
            }
            process.ladder.climb(&process.running);
            if seen.ended
                && let Some(process) = place.take()
            {
                self.conclude(process)?;
            }
        }
    }

    /// Takes the jobs that this slot may have now. Afterwards, its bell rings if there are more.
    fn take(&mut self) {
        let most = self.shared.ahead.saturating_add(1);
        while !self.over {
            let before = self.unsent.len();
            match self.shared.jobs.try_take(self.slot, most, &mut self.unsent) {
                Supply::Taken => self.finish_exhausted(before),
                Supply::NotYet if self.receives() => {
                    self.finish_exhausted(before);
                    // The slot has as many jobs as it may have. Asking for more would wake the main thread.
                    if !self.unsent.is_empty() {
                        return;
                    }
                }
                Supply::NotYet => return,
                Supply::Over => self.over = true,
            }
        }
        self.give_back_unsent();
    }

    /// Takes the next item from the ring, if this slot may and one is there.
    fn receives(&mut self) -> bool {
        let Shared { jobs, source: Some(source), .. } = self.shared else { return false };
        if !jobs.may_receive(self.slot) {
            return false;
        }
        match source.take_now() {
            Some(job) => self.unsent.push_back(job),
            None => return jobs.received_none(self.slot),
        }
        true
    }

    /// Of the items taken last, finishes the ones that other workers have tried as often as allowed.
    fn finish_exhausted(&mut self, first: usize) {
        let mut at = first;
        while let Some(job) = self.unsent.get(at) {
            if !self.shared.finisher.are_exhausted(&job.items) {
                at += 1;
            } else if let Some(job) = self.unsent.remove(at) {
                let after = self.finish(Ended::not_run(Ending::Exhausted), job, &[]);
                self.settle(std::iter::once(after));
            }
        }
    }

    fn give_back_unsent(&mut self) {
        if !self.unsent.is_empty() {
            let count = self.unsent.drain(..).count();
            self.settle((0..count).map(|_| After::Settled));
        }
    }

    fn settle(&self, all: impl Iterator<Item = After<O, Stop>>) {
        self.shared.jobs.finished_some(self.slot, all);
    }

    /// Waits for the bell, at most `limit`.
    fn rest(&self, limit: Option<Duration>) -> Result<(), Failure> {
        let bell = self.shared.jobs.bell(self.slot);
        poll(&mut [PollFd::new(bell.fd(), PollFlags::POLLIN)], limit)?;
        bell.silence();
        Ok(())
    }

    /// Starts the command. `None`: no more jobs will come.
    fn start(&mut self) -> Result<Option<Standing<'a, O>>, Stop> {
        let Shared { finisher, template, .. } = self.shared;
        if self.deaths > 0 {
            let until = Instant::now() + RESTART_AFTER * 2_u32.pow(self.deaths - 1);
            while let left = until.saturating_duration_since(Instant::now())
                && !left.is_zero()
            {
                self.rest(Some(left))?;
                self.take();
                if self.over {
                    return Ok(None);
                }
            }
        }
        let command = template.command(&[], 0, self.slot + 1);
        let mut command = command.map_err(|why| Failure::new(code::RUNTIME, why))?;
        template::without_item(&mut command);
        command.env("RING_NAME", finisher.ring).env("RING_SLOT", (self.slot + 1).to_string());
        let stands = self.shared.jobs.stands();
        let running = self
            .shared
            .guard
            .spawn(&command, &With { name: template.name(), slot: self.slot, input: true, also: None });
        let running = running.map_err(|error| template.not_started(&error))?;
        let process = Standing::new(running, stands);
        Ok(Some(process.map_err(|error| Failure::io("a pipe of the command", &error))?))
    }

    /// Frames and writes as many items as the command takes now.
    fn send(&mut self, process: &mut Standing<'a, O>) -> Result<(), Stop> {
        let mut refused = Vec::new();
        while process.takes_items() {
            if process.out.is_empty() && self.unsent.is_empty() {
                break;
            }
            let (now, started) = (Instant::now(), SystemTime::now());
            while process.out.len() < BLOCK
                && let Some(job) = self.unsent.pop_front()
            {
                let item = job.items.first().map_or(&[][..], O::bytes);
                match frame(self.shared.form, item, &mut process.out) {
                    Ok(()) => {
                        process.sent.push_back(Sent { job, at: now, started });
                        if process.sent.len() == 1 {
                            process.limit_first(now, self.shared.limit);
                        }
                    }
                    Err(why) => refused.push(self.finish(Ended::not_run(Ending::NotRun(why)), job, &[])),
                }
            }
            if !process.write() {
                break;
            }
        }
        if !refused.is_empty() {
            self.settle(refused.into_iter());
        }
        Ok(())
    }

    fn finish(&self, ended: Ended, job: Job<O>, tail: &[u8]) -> After<O, Stop> {
        let (output, tail, line) = (Collected::default(), tail.to_vec(), self.line.clone());
        let label = String::new();
        self.shared.finisher.finish(Finished { job, ended, output, tail, received: 0, line, label })
    }

    /// Reads answers, at most `most` bytes, and finishes their items.
    fn receive(&mut self, process: &mut Standing<'a, O>, most: usize) -> Result<(), Stop> {
        let mut settled = Vec::new();
        let mut received = 0;
        // Taken out of the process, because handling an answer borrows the whole process.
        let mut buffer = std::mem::take(&mut process.buffer);
        let result = loop {
            let Some(stdout) = &mut process.stdout else { break Ok(()) };
            match stdout.read(&mut buffer) {
                Ok(0) => {
                    process.stdout = None;
                    process.expect_end();
                }
                Ok(n) => {
                    received += n;
                    if let Err(stop) = self.answers(process, &buffer[..n], &mut settled) {
                        break Err(stop);
                    }
                    if n < buffer.len() || received >= most {
                        break Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) => break Err(Failure::io("answers of the command", &error).into()),
            }
        };
        process.buffer = buffer;
        if !settled.is_empty() {
            process.limit_first(Instant::now(), self.shared.limit);
            match self.shared.source {
                Some(_) => self.shared.jobs.finished_quietly(self.slot, settled.into_iter()),
                None => self.settle(settled.into_iter()),
            }
        }
        result
    }

    /// Takes the answers in `bytes`, and keeps an incomplete one.
    fn answers(
        &mut self,
        process: &mut Standing<'a, O>,
        bytes: &[u8],
        settled: &mut Vec<After<O, Stop>>,
    ) -> Result<(), Stop> {
        let now = Instant::now();
        let mut joined = std::mem::take(&mut process.begun);
        let mut bytes = match joined.is_empty() {
            true => bytes,
            false => {
                joined.extend_from_slice(bytes);
                &joined
            }
        };
        // Answers of a command that is being replaced come too late.
        while process.is_trusted()
            && let Some(end) = memchr::memchr(b'\n', bytes)
        {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            let Some((verdict, text)) = answer(line) else {
                process.fail(format!("unexpected answer {}", quoted(line)));
                break;
            };
            let Some(Sent { job, at, started }) = process.sent.pop_front() else {
                process.fail("an answer without an item".into());
                break;
            };
            process.answered = true;
            let took = now.saturating_duration_since(at);
            let stopped = process.ladder.stopped;
            let ended = Ended { ending: Ending::Told(verdict, text), started, took, stopped, cut: None };
            if verdict == Verdict::Done {
                settled.push(self.finish(ended, job, &[]));
            } else {
                // Its standard error about the item, written before the answer.
                process.pass_stderr(self.shared.finisher)?;
                settled.push(self.finish(ended, job, &std::mem::take(&mut process.tail)));
            }
        }
        if process.is_trusted() {
            if bytes.len() > LONGEST_ANSWER {
                process.fail(format!("an answer of more than {LONGEST_ANSWER} bytes"));
            } else {
                process.begun.extend_from_slice(bytes);
            }
        }
        Ok(())
    }

    /// The command has ended: takes its last answers, and decides about the items that it has not answered.
    fn conclude(&mut self, mut process: Standing<'a, O>) -> Result<(), Stop> {
        let status = process.running.reap().map_err(|error| Failure::io("the end of the command", &error))?;
        self.receive(&mut process, MOST_AFTER_END)?;
        process.pass_stderr(self.shared.finisher)?;
        process.flush_stderr(self.shared.finisher)?;
        let (stopped, ending) = (process.ladder.stopped, process.ending(status));
        let first = process.sent.pop_front();
        // The next command gets the other items first, in their order.
        for Sent { job, .. } in process.sent.drain(..).rev() {
            self.unsent.push_front(job);
        }
        if stopped {
            self.give_back_unsent();
        }
        let why = ending.to_string();
        let item = first.as_ref().and_then(|sent| sent.job.items.first()).map(O::key);
        if process.answered {
            (self.deaths, self.has_worked) = (0, true);
        } else if item.is_some() && !stopped && ending != Ending::TimedOut {
            // If a command of this slot has answered other items, one item that ends it each time is no
            // reason to stop the worker: that item fails for good.
            self.deaths += u32::from(!(self.has_worked && self.suspect == item));
            self.suspect = item;
        }
        if let Some(Sent { job, at, started }) = first {
            let ended = Ended { ending, started, took: at.elapsed(), stopped, cut: None };
            let after = self.finish(ended, job, &process.tail);
            self.settle(std::iter::once(after));
        }
        if self.deaths < MOST_DEATHS {
            return Ok(());
        }
        let name = self.shared.template.name();
        let line = format!("command {name:?}: {why}, {MOST_DEATHS} times in a row; expected {EXPECTED}");
        let hint = format!("ringctl peek {} shows the items", escape::argument(self.shared.finisher.ring));
        Err(Failure::new(code::RUNTIME, line).hint(hint).into())
    }
}
