//! `consumer`: writes items to standard output.

mod write;

use std::time::{Duration, Instant};

use clap::Parser;

use self::write::{Framer, write_batch};
use super::affinity::AffinityArgs;
use super::args::{Count, DelayArg, DurationArg, RateArg};
use super::attach::{self, Patience};
use super::exit::{Failure, code};
use super::framing_args::FramingArgs;
use super::output::{Cut, Output};
use super::pace::Pace;
use super::report::{More, Progress, Report, ReportArgs, Stats};
use super::signals;
use super::start::End;
use crate::{Consumer, Error, Liveness, Ring, RingName, Role, StopFlag, Thresholds};

/// Items taken at a time: enough to spread the cost of a write.
const BATCH: u64 = 1024;
/// Longest wait for an item without a look at whether anybody still reads the output.
const SLICE: Duration = Duration::from_millis(500);

const ABOUT: &str =
    "Write the items of a ring in shared memory to standard output, each exactly once among all consumers";

const AFTER_HELP: &str = "\
The stream ends when everything was received, a producer (or as many as the ring expects) was
there, and none is left. A ring that does not exist yet is waited for, also by one that comes after
the end of a ring that is gone: --timeout bounds that.

Counts are decimal; durations are 250ms, 5s, 2m, 1h.

Up to 1024 items are taken at a time; with --rate or --delay, one. An item is acknowledged after it
was written; what a consumer that fails, ends or is killed has not acknowledged goes to another
one. The first INT, TERM or HUP stops taking, writes and acknowledges what is in hand, and leaves;
a second one ends at once. When nobody reads the output any more, that is a clean end.

Exit codes:
  0      the stream ended, or -n items were written, or nothing was left (--drain), or nothing came
         (--idle-exit), or nobody reads the output any more
  1      runtime error: the output could not be written; no item is lost by that
  2      usage
  3      -n was not reached; or with --no-wait: no ring, or no item
  4      waited too long (--timeout)
  6      the ring is damaged or of another version
  128+n  ended by signal n

Examples:
  consumer jobs > lines.txt
  consumer jobs -n 10 --timeout 5s
  consumer -0 jobs | xargs -0 ls -l
  consumer --json jobs | jq -r 'select(.redelivered) | .text'
  consumer --follow jobs >> log.txt
  consumer --delay 10ms..50ms --stats jobs";

/// The command line of `consumer`.
#[derive(Debug, Parser)]
#[command(name = "consumer", version, about = ABOUT, after_help = "--help tells more, with exit codes and examples.")]
#[command(after_long_help = AFTER_HELP, max_term_width = 100)]
pub struct Options {
    /// The ring: NAME, /NAME or shm:NAME
    ring: RingName,

    #[command(flatten)]
    framing: FramingArgs,
    /// A JSON object per line, with the bytes as text, or as base64 if they are not UTF-8
    ///
    /// Its fields: schema (ringpipe.item/1), sequence (the producer's count, from 0), producer (its
    /// number in this ring), attempt (1 at first), redelivered, time, time_of (sent, where the ring has
    /// timestamps, or received), text or base64. With --stats the statistics are such an object too
    /// (ringpipe.consumer/1).
    #[arg(long, conflicts_with = "framing", help_heading = "Framing (default: an item per line)")]
    json: bool,

    /// Stop after COUNT items
    #[arg(
        short = 'n',
        long,
        value_name = "COUNT",
        help_heading = "When to stop (default: at the end of the stream)"
    )]
    count: Option<Count>,
    /// Stop when the ring is empty
    #[arg(long, help_heading = "When to stop (default: at the end of the stream)")]
    drain: bool,
    /// Stop when no item has come for so long, once there is a ring
    #[arg(long, value_name = "DURATION", help_heading = "When to stop (default: at the end of the stream)")]
    idle_exit: Option<DurationArg>,
    /// Do not stop when every producer has left: only when the ring is closed or removed, or by a signal
    #[arg(long, help_heading = "When to stop (default: at the end of the stream)")]
    follow: bool,

    /// Wait at most this long, each time: for the ring, and for an item
    #[arg(long, value_name = "DURATION", conflicts_with = "no_wait", help_heading = "Waiting")]
    timeout: Option<DurationArg>,
    /// Never wait, neither for the ring nor for an item: take what is there
    #[arg(long, help_heading = "Waiting")]
    no_wait: bool,

    /// Take at most so many items per time: 1000, 1000/s, 90/m, 0.5/h
    #[arg(long, value_name = "RATE", help_heading = "Pace")]
    rate: Option<RateArg>,
    /// Wait between items: a duration, or MIN..MAX for a random one; nothing is held meanwhile
    #[arg(long, value_name = "DURATION", help_heading = "Pace")]
    delay: Option<DelayArg>,

    #[command(flatten)]
    affinity: AffinityArgs,
    #[command(flatten)]
    report: ReportArgs,
}

/// Runs the command.
///
/// # Errors
/// The [`Failure`] that ends it.
pub fn run(options: &Options) -> Result<End, Failure> {
    let report = Report::new("consumer", &options.report);
    options.affinity.apply()?;
    let stop = signals::catch()?;
    let output = Output::stdout(&stop)?;
    let patience = match options.timeout {
        _ if options.no_wait => Patience::None,
        Some(DurationArg(limit)) => Patience::Limited(limit),
        None => Patience::Unlimited,
    };
    let Some((ring, consumer)) = attach::consumer(&options.ring, patience, &report, &stop)? else {
        return Ok(signals::end());
    };
    let mut receiver = Receiver::new(options, ring, consumer, output, &report, &stop);
    let result = receiver.receive_all().map_err(|failure| attach::explained(&receiver.ring, failure));
    let told = receiver.finish(&report);
    result.and_then(|end| if end == End::Done { told.map(|()| end) } else { Ok(end) })
}

/// What came of one attempt to take items.
enum Step {
    /// Items were written and acknowledged, or it is worth another attempt.
    GoOn,
    /// The stream is over.
    Ended,
    /// There is nothing now, and nothing is to be waited for.
    Empty,
    /// Nothing came for as long as `--idle-exit` says.
    Idle,
    /// Nobody reads the output any more.
    Unread,
    /// A signal came.
    Stopped,
}

/// A consumer, its output, and what it keeps to.
struct Receiver<'o> {
    options: &'o Options,
    ring: Ring,
    consumer: Consumer,
    output: Output,
    framer: Framer,
    pace: Pace,
    stop: StopFlag,
    progress: Progress,
    /// Time waited since the last item.
    waited: Duration,
    /// The last wait ended with the name gone and no producer there.
    deserted: bool,
    tally: Tally,
    start: Instant,
}

/// What was written and acknowledged.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    items: u64,
    bytes: u64,
    /// Items among those received that were delivered before.
    redelivered: u64,
}

impl<'o> Receiver<'o> {
    fn new(
        options: &'o Options,
        ring: Ring,
        mut consumer: Consumer,
        output: Output,
        report: &Report,
        stop: &StopFlag,
    ) -> Self {
        consumer.set_stop_flag(stop.clone());
        consumer.set_follow(options.follow);
        Receiver {
            consumer,
            output,
            framer: Framer::new(options),
            pace: Pace::new(options.rate, options.delay, fastrand::Rng::new()),
            stop: stop.clone(),
            progress: report.progress(ring.name()),
            waited: Duration::ZERO,
            deserted: false,
            tally: Tally::default(),
            start: Instant::now(),
            options,
            ring,
        }
    }

    fn receive_all(&mut self) -> Result<End, Failure> {
        let wanted = self.options.count.map_or(u64::MAX, |Count(count)| count);
        while self.tally.items < wanted {
            match self.step(wanted - self.tally.items)? {
                Step::GoOn => self.progress.update(self.tally.items),
                Step::Ended => return self.short_of_count("the stream ended"),
                Step::Empty if self.options.no_wait && !self.options.drain && self.tally.items == 0 => {
                    return Err(Failure::of_ring(self.ring.name(), &Error::Empty));
                }
                Step::Empty => return self.short_of_count("it is empty"),
                Step::Idle => return self.short_of_count("nothing came"),
                Step::Unread => return Ok(End::Done),
                Step::Stopped => return Ok(signals::end()),
            }
        }
        Ok(End::Done)
    }

    /// An end before `-n`, which is one that the caller must know of.
    fn short_of_count(&self, why: &str) -> Result<End, Failure> {
        let Some(Count(wanted)) = self.options.count else { return Ok(End::Done) };
        let (name, items) = (self.ring.name(), self.tally.items);
        Err(Failure::new(code::EMPTY, format!("ring {name:?}: {why} after {items} of {wanted} items")))
    }

    /// One attempt to take up to `most` items, write and acknowledge them.
    fn step(&mut self, most: u64) -> Result<Step, Failure> {
        let one_by_one = !self.pace.is_unlimited();
        // A pace is kept once for an item, not for each wait for it.
        if one_by_one && self.waited.is_zero() && !signals::sleep(self.pace.wait(Instant::now()), &self.stop)
        {
            return Ok(Step::Stopped);
        }
        if self.stop.is_raised() {
            return Ok(Step::Stopped);
        }
        let wait = self.next_wait();
        let most = if one_by_one { 1 } else { most.min(BATCH) as usize };
        let written = self
            .consumer
            .recv_batch_timeout(most, wait)
            .map(|batch| write_batch(batch, &mut self.output, &mut self.framer, &mut self.tally));
        let cut = match written {
            Ok(written) => written.map_err(|error| Failure::new(code::RUNTIME, error.to_string()))?,
            Err(Error::TimedOut) => return self.nothing_came(wait),
            Err(Error::Ended) => return Ok(Step::Ended),
            Err(Error::Interrupted) => return Ok(Step::Stopped),
            Err(error) => return Err(Failure::of_ring(self.ring.name(), &error)),
        };
        self.waited = Duration::ZERO;
        self.deserted = false;
        match cut {
            None => Ok(Step::GoOn),
            Some(Cut::Closed) => Ok(Step::Unread),
            Some(Cut::Stopped) => Ok(Step::Stopped),
            Some(Cut::Failed(error)) => {
                let failure = Failure::io("standard output", &error);
                let line =
                    format!("{}; ring {:?} keeps what was not written", failure.line, self.ring.name());
                Err(Failure { line, ..failure })
            }
        }
    }

    /// How long to wait now: not at all, or a slice of what is left.
    fn next_wait(&self) -> Duration {
        if self.options.no_wait || self.options.drain {
            return Duration::ZERO;
        }
        let limits = [self.options.timeout, self.options.idle_exit];
        let left = limits.into_iter().flatten().map(|DurationArg(limit)| limit.saturating_sub(self.waited));
        left.fold(SLICE, Duration::min)
    }

    fn nothing_came(&mut self, wait: Duration) -> Result<Step, Failure> {
        if self.options.no_wait || self.options.drain {
            return Ok(Step::Empty);
        }
        self.waited += wait.max(Duration::from_nanos(1));
        if self.options.idle_exit.is_some_and(|DurationArg(limit)| self.waited >= limit) {
            return Ok(Step::Idle);
        }
        if let Some(DurationArg(limit)) = self.options.timeout.filter(|limit| self.waited >= limit.0) {
            let (name, waited) = (self.ring.name(), humantime::format_duration(limit));
            let what = match self.ring.discipline().thresholds() {
                Some(Thresholds { wake_at, .. }) if !self.ring.is_drained() => {
                    format!("has fewer than the {wake_at} items that it wakes at")
                }
                _ => "is empty".into(),
            };
            let line = format!("ring {name:?} {what}, waited {waited}");
            return Err(Failure::new(code::FULL, line).hint(self.advice()));
        }
        // Twice in a row, so that what a producer sent before it left is received.
        let deserted = self.is_deserted();
        let for_good = std::mem::replace(&mut self.deserted, deserted) && deserted;
        Ok(match self.output.is_abandoned() {
            true => Step::Unread,
            false if for_good => Step::Ended,
            false => Step::GoOn,
        })
    }

    /// Whether the ring's name is gone and no producer is there: none will come.
    fn is_deserted(&self) -> bool {
        attach::is_nameless(&self.ring) && !attach::has_live(&self.ring, Role::Producer)
    }

    /// What may be done about an empty ring.
    fn advice(&self) -> String {
        let name = self.ring.name();
        let mut producers = self.ring.participants().into_iter().filter(|one| one.role == Role::Producer);
        match producers.any(|one| one.liveness == Liveness::Alive) {
            true => format!("ringctl inspect {name} shows who takes part"),
            false => format!("no live producer; ringctl inspect {name}"),
        }
    }

    /// Says what was asked to be said in the end.
    fn finish(&mut self, report: &Report) -> Result<(), Failure> {
        self.progress.finish(self.tally.items);
        if !self.options.report.stats {
            return Ok(());
        }
        let Tally { items, bytes, redelivered } = self.tally;
        let stats = Stats {
            schema: "ringpipe.consumer/1",
            ring: self.ring.name(),
            items,
            bytes,
            seconds: self.start.elapsed().as_secs_f64(),
            more: More::Consumer { redelivered, returned: self.consumer.totals().returned },
        };
        report.stats(&stats, self.options.json)
    }
}
