//! `consumer`: receives items and writes them to standard output. With a command, `cli::worker` runs instead; with
//! `--hold`, `hold.rs`.

mod delivery;
mod ending;
mod envelope;
mod framing;
mod hold;
mod missing;
mod options;
mod pauses;
mod window;
mod write;

use std::time::{Duration, Instant};

use self::delivery::Delivery;
use self::options::AckArg;
pub use self::options::{Options, starts_a_command_for_each_job};
use self::window::Sleeps;
use self::write::Framer;
use crate::cli::common::address::Address;
use crate::cli::common::args::{Count, DurationArg};
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::pace::Pace;
use crate::cli::common::progress::{Goal, Progress, Subject};
use crate::cli::common::report::{More, Reporter, Stats};
use crate::cli::common::run_log::RunLog;
use crate::cli::common::signals;
use crate::cli::common::start::End;
use crate::cli::common::stdout::{Cut, Output};
use crate::cli::common::ui::Ui;
use crate::cli::transport::logged::Logged;
#[cfg(feature = "nats")]
use crate::cli::transport::nats::Nats;
use crate::cli::transport::shm::Shm;
use crate::cli::transport::{Needs, Observe, Opening, Patience, Receiver, Transport};
use crate::cli::worker;
use crate::{Error, StopFlag};

/// Items taken at a time: enough to spread the cost of a write ...
const BATCH: usize = 1024;
/// ... and about this number of bytes at most, or one consumer would take everything in the ring.
const BATCH_BYTES: u64 = 256 << 10;
/// Without `--timeout`, how long `--drain` retries for items that lie behind one that is being written. The
/// library moves past a writer of a single slot after 5 milliseconds.
const BLOCKED: Duration = Duration::from_secs(1);
/// The same for `--no-wait`.
const BLOCKED_NO_WAIT: Duration = Duration::from_millis(20);
/// The minimum number of attempts in this time, however slow this process is.
const BLOCKED_LOOKS: u32 = 10;
/// The pause between two attempts.
const BLOCKED_PAUSE: Duration = Duration::from_millis(1);
/// The longest wait for an item before checking whether the output still has a reader.
const READER_SLICE: Duration = Duration::from_millis(100);
const SLICE: Duration = Duration::from_millis(500);
/// After a shorter wait for an item than this, only the reader is checked again.
const SHORT: Duration = Duration::from_millis(1);
/// The longest wait for an item while another process may wait to write to the same pipe.
const LOCKED_SLICE: Duration = Duration::from_millis(2);

/// Runs the command.
///
/// # Errors
/// The [`Failure`] that ends it.
pub fn run(options: &Options, ui: &Ui) -> Result<End, Failure> {
    match options.command.is_empty() {
        true if options.hold => return hold::run(options, ui),
        true => {}
        false => return worker::run(&options.of_worker(), ui),
    }
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
    options.process.affinity.apply()?;
    let stop = signals::catch()?;
    let output = Output::stdout(&stop)?;
    if options.ack == Some(AckArg::Read) && !output.is_pipe() {
        report.note("--ack read has no effect: standard output is not a pipe");
    }
    let place = Patience::of_place(options.wait.timeout);
    let wait = match options.wait.timeout {
        // `--no-wait` and `--drain` take what is in an existing ring.
        _ if options.wait.no_wait || options.drain => Patience::None,
        Some(DurationArg(limit)) => Patience::Limited(limit),
        None => Patience::Unlimited,
    };
    let opening =
        Opening { name: &options.ring, place, report: &report, stop: &stop, log, needs: Needs::Nothing };
    let opened = T::open_receiver(&opening, wait, &options.owner)?;
    let Some(receiver) = opened else { return Ok(signals::end()) };
    let mut job = Job::new(options, receiver, output, &report, &stop);
    let result = job.receive_all().map_err(|failure| job.observe().explained(failure));
    let told = job.finish();
    result.and_then(|end| if end == End::Done { told.map(|()| end) } else { Ok(end) })
}

/// The result of one attempt to take items.
enum Step {
    /// Try again.
    GoOn,
    /// Take no more items.
    Over(Over),
    /// The output's reader has left.
    Unread,
    /// A signal came.
    Stopped,
}

/// Why no more items are to be taken.
enum Over {
    /// The requested number of items has come.
    Enough,
    /// The stream is over.
    Ended,
    /// There is no item now, and the command must not wait.
    Empty,
    /// No item came for the time of `--idle-exit`.
    Idle,
    /// No item came, and that is a failure.
    Missing(Failure),
}

/// The receiver, the output, and the options of one run.
struct Job<'o, R: Receiver> {
    options: &'o Options,
    delivery: Delivery<R>,
    pace: Pace,
    stop: StopFlag,
    report: &'o Reporter,
    progress: Progress,
    /// The time waited since the last item.
    waited: Duration,
    /// The sleeps of that wait while items are held.
    sleeps: Option<Sleeps>,
    /// For `--drain` and `--no-wait`: since when, and for how many attempts, there were items that could not be
    /// taken.
    blocked: Option<(Instant, u32)>,
    /// The last wait ended with the ring's name gone and no producer attached.
    deserted: bool,
    said_unread: bool,
    framing: framing::Notes,
    start: Instant,
}

/// The totals of what was written and acknowledged.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    items: u64,
    bytes: u64,
    /// Received items that had been delivered before.
    redelivered: u64,
    /// Items that were acknowledged without being written, as they were written before. `items` has none of them.
    duplicates: u64,
}

impl<'o, R: Receiver> Job<'o, R> {
    fn new(
        options: &'o Options,
        mut receiver: R,
        output: Output,
        report: &'o Reporter,
        stop: &StopFlag,
    ) -> Self {
        receiver.set_follow(options.follow);
        let until_read = output.is_pipe() && options.ack != Some(AckArg::Write);
        let look = receiver.observe();
        let goal = Goal { items: options.count.map(|Count(count)| count), ..Goal::default() };
        let progress = report.progress(look.name(), Subject::new("received"), look.gauge(), goal);
        let capacity = look.capacity();
        Job {
            delivery: Delivery::new(receiver, output, Framer::new(options), until_read, capacity, stop),
            pace: Pace::new(options.pace.rate, options.pace.delay, fastrand::Rng::new()),
            stop: stop.clone(),
            report,
            progress,
            waited: Duration::ZERO,
            sleeps: None,
            blocked: None,
            deserted: false,
            said_unread: false,
            framing: framing::Notes::new(options),
            start: Instant::now(),
            options,
        }
    }

    /// The ring.
    fn observe(&self) -> &R::Observer {
        self.delivery.receiver.observe()
    }

    fn receive_all(&mut self) -> Result<End, Failure> {
        let wanted = self.options.count.map_or(u64::MAX, |Count(count)| count);
        let last = loop {
            let step = match wanted.saturating_sub(self.delivery.items()) {
                0 => Ok(Step::Over(Over::Enough)),
                most => self.step(most),
            };
            match step {
                Ok(Step::GoOn) => self.progress.update(self.delivery.tally.items, self.delivery.tally.bytes),
                last => break last,
            }
        };
        let last = match last {
            Ok(Step::Over(over)) => match self.wait_until_read() {
                Step::Over(_) | Step::GoOn => self.check_memory().map(|()| Step::Over(over)),
                // A failure stays a failure even if the reader leaves meanwhile.
                Step::Unread if matches!(over, Over::Missing(_)) => Ok(Step::Over(over)),
                other => Ok(other),
            },
            last => last,
        };
        self.delivery.end(matches!(last, Ok(Step::Stopped)));
        match last? {
            Step::Over(over) => self.over(over),
            Step::Unread | Step::GoOn => Ok(End::Done),
            Step::Stopped => Ok(signals::end()),
        }
    }

    /// Fails if the ring's memory was lost while items were held.
    fn check_memory(&self) -> Result<(), Failure> {
        self.delivery.check().map_err(|error| Failure::of_ring(self.observe().name(), &error))
    }

    /// Ends the command for a reason of its own.
    fn over(&self, over: Over) -> Result<End, Failure> {
        match over {
            Over::Enough => Ok(End::Done),
            Over::Ended => self.stream_ended(),
            Over::Empty
                if self.options.wait.no_wait && !self.options.drain && self.delivery.tally.items == 0 =>
            {
                Err(Failure::of_ring(self.observe().name(), &Error::Empty))
            }
            Over::Empty => self.short_of_count("it is empty"),
            Over::Idle => self.short_of_count("nothing came"),
            Over::Missing(failure) => Err(failure),
        }
    }

    /// Fails if the command ends before `-n` items.
    fn short_of_count(&self, why: &str) -> Result<End, Failure> {
        let Some(Count(wanted)) = self.options.count else { return Ok(End::Done) };
        let (name, items) = (self.observe().name(), self.delivery.tally.items);
        Err(Failure::new(code::EMPTY, format!("ring {name:?}: {why} after {items} of {wanted} items")))
    }

    /// One attempt to take up to `most` items and write them.
    fn step(&mut self, most: u64) -> Result<Step, Failure> {
        if self.stop.is_raised() {
            return Ok(Step::Stopped);
        }
        if !self.delivery.has_room() {
            return self.wait_for_reader();
        }
        let one_by_one = !self.pace.is_unlimited();
        // The pace applies once per item, not once per wait for it.
        if one_by_one && self.waited.is_zero() {
            match self.keep_pace() {
                Step::GoOn => {}
                other => return Ok(other),
            }
        }
        if self.stop.is_raised() {
            return Ok(Step::Stopped);
        }
        let wait = self.next_wait();
        let most = if one_by_one { 1 } else { usize::try_from(most).unwrap_or(usize::MAX) };
        match self.delivery.take(most, wait) {
            Ok(()) => {}
            Err(Error::TimedOut) if self.delivery.is_holding() && !wait.is_zero() && wait < SHORT => {
                return Ok(self.nothing_yet(wait));
            }
            Err(Error::TimedOut) => return self.nothing_came(wait),
            Err(Error::Ended) => return Ok(Step::Over(Over::Ended)),
            Err(Error::Interrupted) => return Ok(Step::Stopped),
            Err(error) => return Err(Failure::of_ring(self.observe().name(), &error)),
        }
        self.waited = Duration::ZERO;
        self.sleeps = None;
        self.blocked = None;
        self.deserted = false;
        self.framing.tell_difference(self.delivery.receiver.observe(), self.report);
        let cut = self.delivery.write().map_err(|error| Failure::new(code::RUNTIME, error.to_string()))?;
        let is_ambiguous = self.delivery.is_ambiguous();
        self.framing.tell_ambiguity(self.delivery.receiver.observe(), is_ambiguous, self.report);
        match cut {
            None => Ok(Step::GoOn),
            Some(Cut::Closed) => Ok(Step::Unread),
            Some(Cut::Stopped) => Ok(Step::Stopped),
            Some(Cut::Failed(error)) => {
                let failure = Failure::io("standard output", &error);
                let line =
                    format!("{}; ring {:?} keeps what was not written", failure.line, self.observe().name());
                Err(Failure { line, ..failure })
            }
        }
    }

    /// Whether to take the items that there are now, and not wait.
    fn tries_once(&self) -> bool {
        self.options.wait.no_wait || self.options.drain
    }

    /// How long to wait now: not at all, or a slice of the remaining time.
    fn next_wait(&mut self) -> Duration {
        if self.tries_once() {
            return Duration::ZERO;
        }
        let slice = match (self.delivery.is_locked(), self.delivery.has_reader()) {
            (true, _) => LOCKED_SLICE,
            (false, true) => READER_SLICE,
            (false, false) => SLICE,
        };
        let limits = [self.options.wait.timeout, self.options.idle_exit];
        let left = limits.into_iter().flatten().map(|DurationArg(limit)| limit.saturating_sub(self.waited));
        let wait = left.fold(slice, Duration::min);
        match self.delivery.is_holding() {
            true => wait.min(self.sleeps.get_or_insert_with(Sleeps::new).beside_event()),
            false => wait,
        }
    }

    /// Handles that nothing can be taken now. If items lie behind one that is being written, the ring is not
    /// empty: tries again, as the library moves past a slow writer.
    fn nothing_now(&mut self) -> Result<Step, Failure> {
        if !self.observe().has_items() {
            return Ok(Step::Over(Over::Empty));
        }
        let (since, looks) = self.blocked.unwrap_or((Instant::now(), 0));
        self.blocked = Some((since, looks + 1));
        let limit = match self.options.wait.timeout {
            _ if self.options.wait.no_wait => BLOCKED_NO_WAIT,
            Some(DurationArg(limit)) => limit,
            None => BLOCKED,
        };
        if looks < BLOCKED_LOOKS || since.elapsed() < limit {
            let slept = signals::sleep(BLOCKED_PAUSE, &self.stop);
            return Ok(if slept { Step::GoOn } else { Step::Stopped });
        }
        let exit = match self.options.drain {
            true => code::FULL,
            false if self.delivery.items() > 0 => return Ok(Step::Over(Over::Empty)),
            false => code::EMPTY,
        };
        Ok(Step::Over(Over::Missing(missing::blocked(self.observe(), exit))))
    }

    fn nothing_came(&mut self, wait: Duration) -> Result<Step, Failure> {
        if self.tries_once() {
            return self.nothing_now();
        }
        self.delivery.unlock();
        if !self.delivery.is_held_up() {
            self.sleeps = None;
        }
        self.waited += wait.max(Duration::from_nanos(1));
        if self.options.idle_exit.is_some_and(|DurationArg(limit)| self.waited >= limit) {
            return Ok(Step::Over(Over::Idle));
        }
        if let Some(DurationArg(limit)) = self.options.wait.timeout.filter(|limit| self.waited >= limit.0) {
            return Ok(Step::Over(Over::Missing(missing::timed_out(self.observe(), limit))));
        }
        // Checked twice in a row, so that items that a producer sent before it left are received.
        let deserted = missing::is_deserted(self.observe());
        let for_good = std::mem::replace(&mut self.deserted, deserted) && deserted;
        Ok(match self.delivery.is_abandoned() {
            true => Step::Unread,
            false if for_good => Step::Over(Over::Ended),
            false => Step::GoOn,
        })
    }

    /// Writes the final reports that were requested.
    fn finish(&mut self) -> Result<(), Failure> {
        self.progress.update(self.delivery.tally.items, self.delivery.tally.bytes);
        self.progress.finish(self.options.process.report.stats);
        if !self.options.process.report.stats {
            return Ok(());
        }
        let Tally { items, bytes, redelivered, duplicates } = self.delivery.tally;
        let duplicates = self.options.dedup.then_some(duplicates);
        let stats = Stats {
            schema: "ringpipe.consumer/1",
            ring: self.observe().name(),
            items,
            bytes,
            seconds: self.start.elapsed().as_secs_f64(),
            more: More::Consumer { redelivered, returned: self.delivery.receiver.returned(), duplicates },
        };
        self.report.stats(&stats, self.options.json)
    }
}
