//! `producer`: sends what it reads as items.

mod raw;
mod refusal;

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};

use super::affinity::AffinityArgs;
use super::args::{Count, DelayArg, DurationArg, RateArg};
use super::attach::{self, CreateArgs};
use super::exit::{Failure, code};
use super::framing_args::FramingArgs;
use super::input::Input;
use super::pace::Pace;
use super::report::{More, Progress, Report, ReportArgs, Stats};
use super::signals;
use super::start::End;
use crate::framing::{Fill, Splitter};
use crate::{Error, OnFull, Producer, Ring, RingName, Role, StopFlag};

/// A wait for room longer than this is worth saying.
const PATIENCE: Duration = Duration::from_millis(500);
/// Who waits for room looks so often whether somebody can still come.
const NAME_LOOK: Duration = Duration::from_secs(1);

const ABOUT: &str = "Send items to a ring in shared memory: each line of standard input, or of FILEs";

const AFTER_HELP: &str = "\
A missing ring is made, and removed by the last process that leaves it once everything was received.
Data waits: a producer may send and leave before any consumer comes.

Sizes are bytes, or K, M, G of 1024; counts are decimal; durations are 250ms, 5s, 2m, 1h.

An item that was sent is delivered, whatever is killed afterwards. The first INT, TERM or HUP
stops reading, sends the items that were already read as far as there is room (with --rate or
--delay: none), and leaves; a second one ends at once.

Exit codes:
  0      the input was sent (or -n items of it; or, with --on-full drop-*, sent or dropped)
  1      runtime error: a file could not be read, an item is larger than the ring takes, no memory
  2      usage
  3      the ring does not exist (--no-create)
  4      the ring is full (--on-full fail, --no-wait), or was so for too long (--timeout)
  5      the ring is closed
  6      the ring is damaged or of another version
  128+n  ended by signal n

Examples:
  seq 1 1000000 | producer jobs
  producer jobs --item 'a single item'
  find . -type f -print0 | producer -0 jobs
  producer --raw backup backup.tar          (then: consumer --raw backup > copy.tar)
  producer --capacity 64 --on-full fail --stats jobs todo.txt
  producer --rate 10/s --producers 3 jobs more.txt";

/// The command line of `producer`.
#[derive(Debug, Parser)]
#[command(name = "producer", version, about = ABOUT, after_help = "--help tells more, with exit codes and examples.")]
#[command(after_long_help = AFTER_HELP, max_term_width = 100)]
pub struct Options {
    /// The ring: NAME, /NAME or shm:NAME
    ring: RingName,
    /// Files to read instead of standard input, in order; - is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Send TEXT as an item, before any FILE and instead of standard input; may be repeated
    #[arg(long = "item", value_name = "TEXT", allow_hyphen_values = true)]
    items: Vec<OsString>,
    /// Send at most COUNT items
    #[arg(short = 'n', long, value_name = "COUNT")]
    count: Option<Count>,

    #[command(flatten)]
    framing: FramingArgs,
    #[command(flatten)]
    create: CreateArgs,

    /// What to do with an item when the ring is full
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = OnFullArg::Block, help_heading = "Full ring")]
    on_full: OnFullArg,
    /// Wait for room at most this long, each time
    #[arg(long, value_name = "DURATION", conflicts_with = "no_wait", help_heading = "Full ring")]
    timeout: Option<DurationArg>,
    /// Never wait for room
    #[arg(long, help_heading = "Full ring")]
    no_wait: bool,

    /// Send at most so many items per time: 1000, 1000/s, 90/m, 0.5/h
    #[arg(long, value_name = "RATE", help_heading = "Pace")]
    rate: Option<RateArg>,
    /// Wait between items: a duration, or MIN..MAX for a random one
    #[arg(long, value_name = "DURATION", help_heading = "Pace")]
    delay: Option<DelayArg>,

    #[command(flatten)]
    affinity: AffinityArgs,
    #[command(flatten)]
    report: ReportArgs,
    /// Statistics as a JSON object (schema ringpipe.producer/1) on standard error
    #[arg(long, help_heading = "Reports (all on standard error)")]
    json: bool,
}

/// The values of `--on-full`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OnFullArg {
    /// Wait for room
    Block,
    /// Stop with exit code 4
    Fail,
    /// Drop the item, and count it
    DropNewest,
    /// Drop the oldest item in the ring that nobody holds, and count it
    DropOldest,
}

/// Runs the command.
///
/// # Errors
/// The [`Failure`] that ends it.
pub fn run(options: &Options) -> Result<End, Failure> {
    let report = Report::new("producer", &options.report);
    if options.create.exclusive && options.policy() == OnFull::DropOldest {
        let line =
            "--on-full drop-oldest cannot be used with --exclusive: only its consumer may take items out";
        return Err(Failure::new(code::USAGE, line));
    }
    options.affinity.apply()?;
    let stop = signals::catch()?;
    let mut inputs = options.inputs();
    // The first is opened before a ring is made: a mistyped name should leave none behind.
    let first = inputs.next().map(|path| Input::open(path, &stop)).transpose()?;
    let (ring, producer, made) =
        attach::producer(&options.ring, &options.create, options.framing.is_in_pieces(), &report)?;
    // One that fails or is interrupted before it has sent anything leaves no ring, unless somebody came.
    let mut made_for_nothing = made;
    let result = Sender::new(options, ring.clone(), producer, &report, &stop).and_then(|mut sender| {
        let result = sender.send_all(options, first, inputs);
        let result = result.map_err(|failure| attach::explained(&sender.ring, failure));
        // The handle's own count: the ring's says 0 when its memory was lost.
        made_for_nothing = made && sender.producer.sent() == 0;
        let told = sender.finish(options);
        result.and_then(|end| if end == End::Done { told.map(|()| end) } else { Ok(end) })
    });
    if made_for_nothing && !matches!(result, Ok(End::Done)) {
        // A refusal leaves an empty ring, and is not what this command failed at.
        let _ = ring.remove_if_deserted(false);
    }
    result
}

impl Options {
    fn inputs(&self) -> impl Iterator<Item = &Path> {
        let stdin = self.files.is_empty() && self.items.is_empty();
        self.files.iter().map(PathBuf::as_path).chain(stdin.then_some(Path::new("-")))
    }

    fn policy(&self) -> OnFull {
        match self.on_full {
            OnFullArg::Block if self.no_wait => OnFull::Fail,
            OnFullArg::Block => OnFull::Block,
            OnFullArg::Fail => OnFull::Fail,
            OnFullArg::DropNewest => OnFull::DropNewest,
            OnFullArg::DropOldest => OnFull::DropOldest,
        }
    }
}

/// One try to send, with the longest wait for room.
trait Attempt<T>: FnMut(&mut Producer, Duration) -> Result<T, Error> {}
impl<T, F: FnMut(&mut Producer, Duration) -> Result<T, Error>> Attempt<T> for F {}

/// A producer, and what it keeps to.
struct Sender<'o> {
    ring: Ring,
    producer: Producer,
    policy: OnFull,
    /// Longest wait for room.
    timeout: Option<Duration>,
    pace: Pace,
    /// Items that may still be sent.
    left: u64,
    /// Items that were sent or dropped.
    handled: u64,
    report: &'o Report,
    progress: Progress,
    stop: StopFlag,
    /// Nobody wants to know, or was told, that it waits.
    said_waiting: bool,
    start: Instant,
}

impl<'o> Sender<'o> {
    fn new(
        options: &Options,
        ring: Ring,
        mut producer: Producer,
        report: &'o Report,
        stop: &StopFlag,
    ) -> Result<Self, Failure> {
        producer.set_on_full(options.policy()).map_err(|error| {
            let failure = Failure::of_ring(ring.name(), &error);
            Failure { code: code::USAGE, ..failure }
        })?;
        producer.set_stop_flag(stop.clone());
        let timeout = options.timeout.map(|DurationArg(limit)| limit);
        Ok(Sender {
            producer,
            policy: options.policy(),
            timeout: if options.no_wait { Some(Duration::ZERO) } else { timeout },
            pace: Pace::new(options.rate, options.delay, fastrand::Rng::new()),
            left: options.count.map_or(u64::MAX, |Count(count)| count),
            handled: 0,
            report,
            progress: report.progress(ring.name()),
            stop: stop.clone(),
            said_waiting: !report.tells_waits(),
            start: Instant::now(),
            ring,
        })
    }

    fn send_all<'p>(
        &mut self,
        options: &Options,
        first: Option<Input>,
        rest: impl Iterator<Item = &'p Path>,
    ) -> Result<End, Failure> {
        let items: Vec<&[u8]> = options.items.iter().map(|item| item.as_bytes()).collect();
        let most = items.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if !self.send_block(&items[..most])? {
            return Ok(signals::end());
        }
        let stop = self.stop.clone();
        let rest = rest.map(|path| Input::open(path, &stop));
        for input in first.map(Ok).into_iter().chain(rest) {
            if self.left == 0 {
                break;
            }
            let input = input?;
            if options.framing.is_raw() {
                if !self.send_raw(input)? {
                    return Ok(signals::end());
                }
                continue;
            }
            let name = input.name.clone();
            let limit = usize::try_from(self.producer.max_item()).unwrap_or(usize::MAX);
            let splitter = Splitter::new(input, options.framing.framing(), limit);
            if !self.send_input(splitter, &name)? {
                return Ok(signals::end());
            }
        }
        Ok(End::Done)
    }

    /// Sends the items of one input. False: a signal came.
    fn send_input(&mut self, mut splitter: Splitter<Input>, name: &str) -> Result<bool, Failure> {
        while self.left > 0 {
            if self.stop.is_raised() {
                return Ok(false);
            }
            match splitter.fill() {
                Ok(Fill::Ready) => {}
                Ok(Fill::Interrupted) => continue,
                Ok(Fill::End) => break,
                Err(error) => return Err(self.bad_input(name, &error)),
            }
            let most = usize::try_from(self.left).unwrap_or(usize::MAX);
            let items: Vec<&[u8]> = splitter.items().take(most).collect();
            if !self.send_block(&items)? {
                return Ok(false);
            }
            let taken = items.len();
            splitter.consume(taken);
        }
        Ok(true)
    }

    /// Sends items that were read. False: a signal came, and the rest was not sent.
    fn send_block(&mut self, items: &[&[u8]]) -> Result<bool, Failure> {
        let one_by_one = !self.pace.is_unlimited();
        let mut rest = items;
        while !rest.is_empty() {
            let due = !one_by_one || signals::sleep(self.pace.wait(Instant::now()), &self.stop);
            let result = match due {
                true => self.send(if one_by_one { &rest[..1] } else { rest }),
                false => Err(Error::Interrupted),
            };
            match result {
                Ok(sent) => {
                    rest = &rest[sent..];
                    self.note_sent(sent as u64);
                }
                Err(Error::Interrupted) => {
                    let unsent = rest.len();
                    self.report.note(format!("interrupted: {unsent} items were read and not sent"));
                    return Ok(false);
                }
                Err(error) => return Err(self.refused(&error)),
            }
        }
        Ok(true)
    }

    fn note_sent(&mut self, items: u64) {
        self.left -= items;
        self.handled += items;
        self.progress.update(self.handled);
    }

    /// Sends some of the items, as the library's `send_batch`.
    fn send(&mut self, items: &[&[u8]]) -> Result<usize, Error> {
        self.send_by(|producer, limit| producer.send_slices_timeout(items, limit))
    }

    /// Sends by `attempt`, which waits for room at most for the time that it is given, and tells once when it
    /// has to wait.
    fn send_by<T>(&mut self, mut attempt: impl Attempt<T>) -> Result<T, Error> {
        if !self.said_waiting && self.timeout.is_none_or(|limit| limit > PATIENCE) {
            match attempt(&mut self.producer, PATIENCE) {
                Err(Error::TimedOut) => {}
                result => return result,
            }
            self.said_waiting = true;
            let (full, hint) = (self.fill(), self.advice());
            self.report.note(format!("{full}: waiting for room ({hint})"));
            let left = self.timeout.map(|limit| limit - PATIENCE);
            return self.send_within(attempt, left);
        }
        self.send_within(attempt, self.timeout)
    }

    fn send_within<T>(
        &mut self,
        mut attempt: impl Attempt<T>,
        timeout: Option<Duration>,
    ) -> Result<T, Error> {
        if let Some(limit) = timeout {
            return attempt(&mut self.producer, limit);
        }
        // Twice in a row, so that a consumer that was just attaching is seen.
        let mut deserted = false;
        loop {
            match attempt(&mut self.producer, NAME_LOOK) {
                Err(Error::TimedOut) if deserted && self.is_deserted() => return Err(Error::Closed),
                Err(Error::TimedOut) => deserted = self.is_deserted(),
                result => return result,
            }
        }
    }

    /// Whether the ring's name is gone and no consumer is there: none will come.
    fn is_deserted(&self) -> bool {
        attach::is_nameless(&self.ring) && !attach::has_live(&self.ring, Role::Consumer)
    }

    /// Says what was asked to be said in the end.
    fn finish(&mut self, options: &Options) -> Result<(), Failure> {
        self.progress.finish(self.handled);
        if !(options.report.stats || options.json) {
            return Ok(());
        }
        let totals = self.producer.totals();
        let stats = Stats {
            schema: "ringpipe.producer/1",
            ring: self.ring.name(),
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
