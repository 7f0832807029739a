//! `ringctl bench`: how fast rings are on this machine, measured between real processes.
mod cost;
mod figure;
mod idle;
mod job;
mod latency;
mod machine;
mod message;
mod plot;
mod recovery;
mod report;
mod rings;
mod start;
mod sync;
mod team;
mod throughput;
pub mod worker;

use std::str::FromStr;

use crate::cli::common::ui::Ui;
use crate::{
    StopFlag,
    cli::common::{
        args::ByteSize,
        exit::{Failure, code},
        signals,
        start::End,
    },
    cli::ctl::svg_file::SvgFile,
};
use machine::Machine;
use report::BenchReport;
use team::Halt;

/// Messages of a batch.
const BATCH: usize = 64;
/// Bytes of the largest message.
const MOST_SIZE: usize = 16 << 20;
/// How often a measurement is repeated that yields one figure each time.
const TRIALS: usize = 20;

/// Measure how fast rings are on this machine
///
/// Creates its own rings, starts processes on them, and measures: messages per second in several sizes, one at
/// a time and in batches of 64; round trips between processes that are awake, and to one that sleeps; the cost
/// of a waiting consumer; how soon another consumer gets a killed one's item; how soon the commands start.
/// Every message is checked by its receiver, word by word. It takes less than a minute.
/// Measure on a machine that does nothing else.
///
/// With --sync it compares disciplines instead: messages per second, and processor time, context switches and
/// system calls per message; with a plot. All disciplines take a minute and a half.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Kinds: throughput, latency, idle, recovery, start; and sync, which --sync chooses, too.

With --json each line is an object: schema (ringpipe.bench/1), kind, and the figures of that kind.
The first line, of the kind machine, describes the machine.

Examples:
  ringctl bench                                     everything
  ringctl bench --only throughput --size 1K         messages of 1024 bytes
  ringctl bench --only throughput --fixed           rings of fixed items
  ringctl bench --only throughput -p 4 -c 4         four processes on each side
  ringctl bench --sync all --plot sync.svg          the disciplines beside each other
  ringctl bench --rounds 9 --seconds 1 --json       longer, for a program to read

Exit codes: 0 measured; 1 runtime error; 2 usage; 10 a message was lost, doubled or altered;
128+n ended by signal n.")]
pub struct Args {
    /// Measure only this kind; may be repeated, or a list with commas
    #[arg(long, value_name = "KIND", value_enum, value_delimiter = ',', hide_possible_values = true)]
    only: Vec<Measurement>,
    /// Compare disciplines: adaptive, semaphore, polling, monitor, or all; may be repeated, or a list with commas
    #[arg(long, value_name = "DISCIPLINE", value_delimiter = ',')]
    sync: Vec<sync::Choice>,
    /// With --sync: write the plot to this file, too
    #[arg(long, value_name = "FILE.svg", requires = "sync")]
    plot: Option<SvgFile>,
    /// Seconds that one measurement takes, 0.001 to 3600
    #[arg(long, value_name = "SECONDS", default_value = "0.3")]
    seconds: Seconds,
    /// How often each measurement is repeated; the median is shown
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Bytes of a message, 8 to 16M [default: 8, 64, 1K and 16K in turn]
    #[arg(long, value_name = "BYTES")]
    size: Option<Size>,
    /// Number of producer processes [default: 1, and then 2]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    producers: Option<u8>,
    /// Number of consumer processes [default: 1, and then 2]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    consumers: Option<u8>,
    /// Rings of fixed items, without headers: messages per second and round trips
    #[arg(long)]
    fixed: bool,
    /// Pin each process to a core of its own, if there are enough [default: with two cores or more]
    #[arg(long, overrides_with = "no_pin")]
    pin: bool,
    /// Let the kernel place the processes
    #[arg(long)]
    no_pin: bool,
    /// Print JSON, an object for each figure
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Measurement {
    Throughput,
    Latency,
    Idle,
    Recovery,
    Start,
    Sync,
}

const MEASUREMENTS: [Measurement; 6] = [
    Measurement::Throughput,
    Measurement::Latency,
    Measurement::Idle,
    Measurement::Recovery,
    Measurement::Start,
    Measurement::Sync,
];

/// The value of `--seconds`.
#[derive(Debug, Clone, Copy)]
struct Seconds(f64);

impl FromStr for Seconds {
    type Err = &'static str;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let seconds = given.parse().ok().filter(|seconds| (0.001..=3600.0).contains(seconds));
        seconds.map(Seconds).ok_or("expected a number from 0.001 to 3600")
    }
}

/// The value of `--size`.
#[derive(Debug, Clone, Copy)]
struct Size(usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let ByteSize(size) =
            given.parse().map_err(|error: crate::cli::common::args::ArgError| error.to_string())?;
        match usize::try_from(size).unwrap_or(usize::MAX) {
            size @ message::LEAST_SIZE..=MOST_SIZE => Ok(Size(size)),
            _ => Err("expected 8 bytes to 16M: a message carries at least its number".into()),
        }
    }
}

/// Shared by all measurements.
struct Bench<'a> {
    args: &'a Args,
    size: Option<usize>,
    processes: Option<(usize, usize)>,
    machine: Machine,
    report: BenchReport,
    stop: &'a StopFlag,
}

impl Bench<'_> {
    fn rounds(&self) -> u32 {
        self.args.rounds
    }

    fn seconds(&self) -> f64 {
        self.args.seconds.0
    }
}

pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    let stop = signals::catch()?;
    match measure(args, ui, &stop) {
        Ok(()) => Ok(End::Done),
        Err(Halt::Failed(failure)) => Err(failure),
        Err(Halt::Late) => Err(Failure::new(code::RUNTIME, "the processes took too long to answer")),
        Err(Halt::Stopped) => {
            ui.note("interrupted");
            Ok(signals::end())
        }
    }
}

fn measure(args: &Args, ui: &Ui, stop: &StopFlag) -> Result<(), Halt> {
    let kinds = MEASUREMENTS.iter().filter(|kind| args.measures(**kind));
    let (size, processes) = (args.size.map(|Size(size)| size), args.processes());
    let steps = kinds.clone().map(|kind| match kind {
        Measurement::Throughput => args.rounds as usize * throughput::steps(size, processes),
        Measurement::Latency => args.rounds as usize * latency::steps(),
        Measurement::Idle => 1,
        Measurement::Recovery | Measurement::Start => TRIALS,
        Measurement::Sync => sync::steps(args),
    });
    if let Some(file) = &args.plot {
        // Before the measurements begin.
        file.check()?;
    }
    let bench = Bench {
        args,
        size,
        processes,
        machine: Machine::new(args.pinned(), args.rounds, args.seconds.0, args.fixed),
        report: BenchReport::new(args.json, *ui, steps.sum()),
        stop,
    };
    bench.report.emit("machine", &[&bench.machine], |_| bench.machine.text())?;
    for kind in kinds {
        match kind {
            Measurement::Throughput => throughput::measure(&bench)?,
            Measurement::Latency => latency::measure(&bench)?,
            Measurement::Idle => idle::measure(&bench)?,
            Measurement::Recovery => recovery::measure(&bench)?,
            Measurement::Start => start::measure(&bench)?,
            Measurement::Sync => {
                let plot = sync::measure(&bench)?;
                if let Some(file) = &args.plot {
                    file.write(&plot.svg(&bench.machine.text()))?;
                }
            }
        }
    }
    Ok(())
}

impl Args {
    fn measures(&self, kind: Measurement) -> bool {
        match kind {
            Measurement::Sync => !self.sync.is_empty() || self.only.contains(&kind),
            _ if self.only.is_empty() => self.sync.is_empty(),
            _ => self.only.contains(&kind),
        }
    }

    fn processes(&self) -> Option<(usize, usize)> {
        let number = |given: Option<u8>| usize::from(given.unwrap_or(1));
        let given = self.producers.is_some() || self.consumers.is_some();
        given.then(|| (number(self.producers), number(self.consumers)))
    }

    /// `None`: undecided.
    fn pinned(&self) -> Option<bool> {
        (self.pin || self.no_pin).then_some(self.pin)
    }
}
