//! `producer`: reads items from its input and sends them.

mod notice;
mod options;
mod progress_file;
mod raw;
mod refusal;
mod waits;

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use self::notice::Notice;
pub use self::options::Options;
use self::progress_file::ProgressFile;
use self::waits::{Checks, Halt};
use crate::cli::common::address::Address;
use crate::cli::common::args::{Count, DurationArg};
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::input::Input;
use crate::cli::common::pace::Pace;
use crate::cli::common::progress::{Goal, Progress, Subject};
use crate::cli::common::report::{More, Reporter, Stats};
use crate::cli::common::run_log::RunLog;
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::ui::Ui;
use crate::cli::transport::logged::Logged;
#[cfg(feature = "nats")]
use crate::cli::transport::nats::Nats;
use crate::cli::transport::shm::Shm;
use crate::cli::transport::{Needs, Observe, Opening, Patience, Sender, Transport};
use crate::framing::{Fill, Splitter};
use crate::{OnFull, StopFlag};

/// Runs the command.
///
/// # Errors
/// The [`Failure`] that ends it.
pub fn run(options: &Options, ui: &Ui) -> Result<End, Failure> {
    match options.ring {
        Address::Ring(_) => run_logged::<Shm>(options, ui),
        #[cfg(feature = "nats")]
        Address::Stream(_) => run_logged::<Nats>(options, ui),
    }
}

fn run_logged<T: Transport>(options: &Options, ui: &Ui) -> Result<End, Failure> {
    match options.process.log.open(ui.program())? {
        Some(log) => log.or_failure(run_over::<Logged<T>>(options, Some(&log), ui)),
        None => run_over::<T>(options, None, ui),
    }
}

fn run_over<T: Transport>(options: &Options, log: Option<&RunLog>, ui: &Ui) -> Result<End, Failure> {
    let report = Reporter::new(ui.program(), &options.process.report);
    if options.create.exclusive && options.policy() == OnFull::DropOldest {
        let line =
            "--on-full drop-oldest cannot be used with --exclusive: only its consumer may take items out";
        return Err(Failure::new(code::USAGE, line));
    }
    options.process.affinity.apply()?;
    let stop = signals::catch()?;
    let mut inputs = options.inputs();
    // Opens the first input before a ring is created, so that a mistyped name leaves no ring behind.
    let mut first = inputs.next().map(|path| Input::open(path, &stop)).transpose()?;
    let progress_file = options.progress_file(first.as_mut())?;
    let (in_pieces, place) = (options.framing.is_in_pieces(), Patience::of_place(options.wait.timeout));
    let needs = if options.framing.is_in_blocks() { Needs::Lengths } else { Needs::Nothing };
    let opening = Opening { name: &options.ring, place, report: &report, stop: &stop, log, needs };
    let opened = T::open_sender(&opening, &options.create, in_pieces)?;
    let Some(mut sender) = opened else { return Ok(signals::end()) };
    sender.record_framing(options.framing.framing());
    let goal = options.goal(first.as_ref());
    let result = match prepare(&mut sender, options) {
        Ok(()) => Job::new(options, &mut sender, goal, &report, &stop).run(progress_file, first, inputs),
        Err(failure) => Err(failure),
    };
    // A producer that fails or is interrupted before it has sent anything removes the ring that it created, unless
    // another process has attached. It uses its own count, since the ring's is 0 after its memory was lost.
    let is_unused = sender.has_made_ring() && sender.sent() == 0 && !matches!(result, Ok(End::Done));
    sender.close(is_unused);
    result
}

/// Chooses what happens when the ring is full.
fn prepare(sender: &mut impl Sender, options: &Options) -> Result<(), Failure> {
    sender.set_on_full(options.policy()).map_err(|error| {
        let failure = Failure::of_ring(sender.observe().name(), &error);
        Failure { code: code::USAGE, ..failure }
    })
}

/// The sender, and the options of one run.
struct Job<'o, S> {
    options: &'o Options,
    sender: &'o mut S,
    policy: OnFull,
    /// The longest wait for room.
    timeout: Option<Duration>,
    pace: Pace,
    /// Items that may still be sent.
    left: u64,
    /// Items that were sent or dropped.
    handled: u64,
    /// Bytes of these items, where progress shows them.
    handled_bytes: u64,
    report: &'o Reporter,
    progress: Progress,
    progress_file: Option<ProgressFile>,
    stop: StopFlag,
    notice: Notice,
    checks: Checks,
    start: Instant,
}

impl<'o, S: Sender> Job<'o, S> {
    fn new(
        options: &'o Options,
        sender: &'o mut S,
        goal: Goal,
        report: &'o Reporter,
        stop: &StopFlag,
    ) -> Self {
        let look = sender.observe();
        let progress = report.progress(look.name(), Subject::new("sent"), look.gauge(), goal);
        let timeout = options.wait.timeout.map(|DurationArg(limit)| limit);
        Job {
            checks: Checks::new(sender, options.until_consumers_gone),
            policy: options.policy(),
            timeout: if options.wait.no_wait { Some(Duration::ZERO) } else { timeout },
            pace: Pace::new(options.pace.rate, options.pace.delay, fastrand::Rng::new()),
            left: options.count.map_or(u64::MAX, |Count(count)| count),
            handled: 0,
            handled_bytes: 0,
            report,
            progress,
            progress_file: None,
            stop: stop.clone(),
            notice: Notice::new(report),
            start: Instant::now(),
            options,
            sender,
        }
    }

    /// Sends everything, and writes the final reports.
    fn run<'p>(
        mut self,
        progress_file: Option<ProgressFile>,
        first: Option<Input>,
        rest: impl Iterator<Item = &'p Path>,
    ) -> Result<End, Failure> {
        let result = self.record_in(progress_file);
        let result = result.and_then(|()| self.send_all(first, rest));
        let result = result.and_then(|end| self.check_delivery(end));
        let result = result.map_err(|failure| self.sender.observe().explained(failure));
        let told = self.finish();
        result.and_then(|end| if end == End::Done { told.map(|()| end) } else { Ok(end) })
    }

    /// Records progress in this file from now on.
    fn record_in(&mut self, progress_file: Option<ProgressFile>) -> Result<(), Failure> {
        self.progress_file = progress_file;
        let Some(file) = &mut self.progress_file else { return Ok(()) };
        let look = self.sender.observe();
        if let Some(note) = file.begin(look.id())? {
            self.report.note(format!("ring {:?}: {note}", look.name()));
        }
        Ok(())
    }

    fn send_all<'p>(
        &mut self,
        first: Option<Input>,
        rest: impl Iterator<Item = &'p Path>,
    ) -> Result<End, Failure> {
        let options = self.options;
        let items: Vec<&[u8]> = options.items.iter().map(|item| item.as_bytes()).collect();
        let most = items.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let fit = self
            .fixed()
            .map_or(most, |bytes| items[..most].iter().take_while(|item| item.len() == bytes).count());
        if !self.send_block(&items[..fit])? {
            return Ok(signals::end());
        }
        if fit < most {
            return Err(self.misfit(fit, items[fit].len()));
        }
        if self.progress_file.as_ref().is_some_and(ProgressFile::is_done) {
            return Ok(End::Done);
        }
        let stop = self.stop.clone();
        let rest = rest.map(|path| Input::open(path, &stop));
        for input in first.map(Ok).into_iter().chain(rest) {
            if self.left == 0 {
                break;
            }
            let input = input?;
            let fixed = self.fixed();
            if options.framing.is_raw() && fixed.is_none() {
                if !self.send_raw(input)? {
                    return Ok(signals::end());
                }
                continue;
            }
            let name = input.name.clone();
            let limit = usize::try_from(self.sender.max_item()).unwrap_or(usize::MAX);
            let mut splitter = Splitter::new(input, options.framing.framing(), limit);
            if let Some(bytes) = fixed {
                splitter = splitter.exactly(bytes);
            }
            let result = self.send_input(&mut splitter, &name);
            let unsent = splitter.unconsumed();
            splitter.reader_mut().give_back(unsent);
            if !result? {
                return Ok(signals::end());
            }
        }
        Ok(End::Done)
    }

    /// The length of each item, if the ring has fixed items.
    fn fixed(&self) -> Option<usize> {
        self.sender.observe().fixed().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
    }

    /// Sends the items of one input. False: a signal came.
    fn send_input(&mut self, splitter: &mut Splitter<Input>, name: &str) -> Result<bool, Failure> {
        while self.left > 0 {
            if self.stop.is_raised() {
                return Ok(false);
            }
            match splitter.fill() {
                Ok(Fill::Ready) => {}
                Ok(Fill::Interrupted) => {
                    self.check_ring().map_err(|halt| self.halted(halt))?;
                    continue;
                }
                Ok(Fill::End) => {
                    self.progress_file.as_mut().map_or(Ok(()), ProgressFile::complete)?;
                    break;
                }
                Err(error) => return Err(self.bad_input(name, &error)),
            }
            let most = match self.progress_file {
                // Each item is recorded individually.
                Some(_) => 1,
                None => usize::try_from(self.left).unwrap_or(usize::MAX),
            };
            let items: Vec<&[u8]> = splitter.items().take(most).collect();
            let before = self.handled;
            let result = self.send_block(&items);
            let taken = self.handled - before;
            splitter.consume(taken as usize);
            if taken > 0 {
                self.note_position(splitter.reader().position() - splitter.unconsumed())?;
            }
            if !result? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends items that were read. False: a signal came, and the rest was not sent.
    fn send_block(&mut self, items: &[&[u8]]) -> Result<bool, Failure> {
        let mut rest = items;
        while !rest.is_empty() {
            match self.send_next(rest) {
                Ok(sent) => {
                    let (done, unsent) = rest.split_at(sent);
                    rest = unsent;
                    self.note_sent(done.len() as u64, || done.iter().map(|item| item.len() as u64).sum());
                }
                Err(Halt::Signal) => {
                    let unsent = rest.len();
                    self.report.note(format!("interrupted: {unsent} items were read and not sent"));
                    return Ok(false);
                }
                Err(halt) => return Err(self.halted(halt)),
            }
        }
        Ok(true)
    }

    /// Sends some of the items; with a pace, a single one when it is due.
    fn send_next(&mut self, items: &[&[u8]]) -> Result<usize, Halt> {
        self.check_ring()?;
        if self.pace.is_unlimited() {
            return self.send(items);
        }
        let wait = self.pace.wait(Instant::now());
        self.pause(wait)?;
        self.send(&items[..1])
    }

    /// Records that everything before this position of the input was sent.
    fn note_position(&mut self, position: u64) -> Result<(), Failure> {
        self.progress_file.as_mut().map_or(Ok(()), |file| file.sent(position))
    }

    fn note_sent(&mut self, items: u64, bytes: impl FnOnce() -> u64) {
        self.left -= items;
        self.handled += items;
        if self.progress.is_on() {
            self.handled_bytes += bytes();
            self.progress.update(self.handled, self.handled_bytes);
        }
    }

    /// Sends some of the items, as the library's `send_batch` does.
    fn send(&mut self, items: &[&[u8]]) -> Result<usize, Halt> {
        self.send_by(|sender, limit| sender.send(items, limit))
    }

    /// Ends the progress display, and writes the statistics if they were requested.
    fn finish(&mut self) -> Result<(), Failure> {
        let options = self.options;
        self.progress.finish(options.process.report.stats);
        if !(options.process.report.stats || options.json) {
            return Ok(());
        }
        let totals = self.sender.totals();
        let stats = Stats {
            schema: "ringpipe.producer/1",
            ring: self.sender.observe().name(),
            items: totals.sent,
            bytes: totals.bytes_sent,
            seconds: self.start.elapsed().as_secs_f64(),
            more: More::Producer {
                dropped_newest: totals.dropped_newest,
                dropped_oldest: totals.dropped_oldest,
            },
        };
        self.report.stats(&stats, options.json)
    }
}
