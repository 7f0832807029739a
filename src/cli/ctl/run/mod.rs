//! `ringctl run`: producers and consumers over real input, verified.
mod chaos;
mod collect;
mod feed;
mod log;
mod meanwhile;
mod report;
mod verify;

use std::{
    collections::HashSet,
    ffi::OsString,
    io::{self, IsTerminal},
    os::{fd::AsFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    children::{self, Process, not_started},
    own_ring::OwnRing,
};
use crate::cli::common::create_args::shaped;
use crate::cli::common::ui::{Ui, json_line};
use crate::{
    RingOptions, Role, StopFlag,
    cli::common::{
        args::{ByteSize, Count, DelimiterArg, DurationArg, FixedArg, FrameArg},
        exit::{Failure, code},
        run_log, signals,
        start::End,
    },
    framing::Framing,
};
use feed::{Check, Input, ItemSize, Source, lock};
use meanwhile::{Meanwhile, Standing};
use report::RunReport;
use verify::{Digest, Order};

/// The number of lines that are generated without an input.
const DEMONSTRATION: u64 = 1_000_000;
const POLL: Duration = Duration::from_millis(2);
/// How long the consumers may take to attach before the producers start without them.
const HEAD_START: Duration = Duration::from_secs(5);

/// Send real input through a ring between processes, and verify what arrives
///
/// Makes a ring, starts producer and consumer processes, feeds the producers from the FILEs or standard
/// input, collects what the consumers write, and compares: the same items, each exactly once (counts, and
/// order-independent sums of 128-bit hashes); with one consumer also the order of each producer's items. The
/// ring is removed at the end.
///
/// With at least as many FILEs as producers, each producer gets whole files, in turn; otherwise the producers
/// share the input, a block of items at a time. Without FILE, and if standard input is a terminal or
/// /dev/null, a million numbered lines are sent. On a terminal, a long run shows its progress.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ringctl run                             a million lines, 2 producers, 2 consumers
  ringctl run -p 3 -c 3 /var/log/*.log    files, 3 of each
  ringctl run -p 1 -c 1 --output - < in | cmp - in
  ringctl run --fixed 8                   fixed items of 8 bytes, numbers with leading zeros
  ringctl run --lines 10000 --log logs    with a check of every step of every item
  ringctl run --chaos                     processes are killed and started again all the time
  ringctl run --chaos 10m                 for ten minutes

Exit codes: 0 verified; 1 runtime error; 2 usage; 3 the input had no items, or --chaos no time
to kill a process, so nothing was verified; 10 not verified; 128+n ended by signal n.")]
pub struct Args {
    /// Files to send; - is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Number of producer processes
    #[arg(short, long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=500))]
    producers: u16,
    /// Number of consumer processes
    #[arg(short, long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=500))]
    consumers: u16,
    /// Send N numbered lines instead of FILEs
    #[arg(long, value_name = "N", conflicts_with_all = ["files", "null", "delimiter", "frame"])]
    lines: Option<Count>,
    /// Write what is received to this file, or to standard output with -; the summary then goes to
    /// standard error
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Number of slots, 2 to 16777216, rounded up to a power of two [default: 8192]
    #[arg(long, value_name = "SLOTS")]
    capacity: Option<Count>,
    /// Bytes in a slot [default: 64]
    #[arg(long, value_name = "BYTES")]
    slot_size: Option<ByteSize>,
    /// A ring of fixed items: each line has exactly SIZE bytes; generated ones have leading zeros
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["slot_size", "log", "chaos"])]
    fixed: Option<FixedArg>,
    /// Items end with a NUL byte instead of a line break
    #[arg(short = '0', long, conflicts_with_all = ["delimiter", "frame"])]
    null: bool,
    /// Items end with this byte instead of a line break
    #[arg(short, long, value_name = "BYTE", conflicts_with = "frame")]
    delimiter: Option<DelimiterArg>,
    /// Items follow their length: len32
    #[arg(long, value_name = "FRAME")]
    frame: Option<FrameArg>,
    /// Each process logs what happens to its items in this folder, and the logs are checked as by ringctl check
    ///
    /// The folder is made if it is missing, and must be empty. Faults make the run fail (exit code 10). An item costs
    /// about 400 bytes of logs.
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// Kill producers and consumers at random, and start them again, until the input ends or for this long
    ///
    /// A successor sends what its killed producer had not sent. Each item must be received; an item is received again
    /// only if its consumer was killed. Without FILE, --lines and standard input, numbered lines are sent until the time
    /// is over. The logs of all processes are checked; without --log, they are in $TMPDIR or /tmp meanwhile, less than
    /// 100 MB. A FILE right after --chaos would be read as its time: write the FILEs first, or
    /// --chaos=10m.
    #[arg(long, value_name = "DURATION", num_args = 0..=1)]
    chaos: Option<Option<DurationArg>>,
    /// With --chaos: make the same choices as an earlier run, whose summary has this number
    #[arg(long, value_name = "N", requires = "chaos")]
    seed: Option<Count>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, ui: &Ui) -> Result<End, Failure> {
    let stop = signals::catch()?;
    let inputs = args.inputs();
    inputs.iter().try_for_each(Input::check)?;
    inputs.iter().try_for_each(|input| args.check_width(input))?;
    let output = collect::open_output(args.output.as_deref())?;
    args.log.as_deref().map_or(Ok(()), log::make)?;
    let meanwhile = Meanwhile::new(args, &inputs, *ui);
    if args.chaos.is_some() {
        return chaos::run(args, inputs, &output, &stop, meanwhile, ui);
    }
    let mut run = Run::start(args, inputs, &output)?;
    if !run.finish(&stop, meanwhile) {
        ui.note("interrupted: nothing was verified");
        return Ok(signals::end());
    }
    let mut complaints = run.complaints();
    let mut report = run.report();
    let slots = run.ring.capacity();
    drop(run);
    match args.log.as_deref().map(|folder| log::judge(folder, slots)) {
        Some(Ok(history)) => report.add_history(history),
        Some(Err(failure)) => complaints.push(failure),
        None => {}
    }
    // If nothing was sent because of an earlier failure, an empty report adds nothing.
    if !report.is_empty() || complaints.is_empty() {
        let text = if args.json { json_line(&report)? } else { report.text(ui.paint()) };
        match args.output.as_deref() == Some(Path::new("-")) {
            true => ui.emit_aside(text.as_bytes())?,
            false => ui.emit(text.as_bytes())?,
        }
    }
    complaints.iter().skip(1).for_each(|failure| failure.print(ui.program()));
    let first = complaints.into_iter().next();
    match (report.verified, first) {
        (true, None) => Ok(End::Done),
        (true, Some(failure)) => Err(failure),
        (false, None) if report.is_empty() => {
            let failure = Failure::new(code::EMPTY, report.complaint());
            Err(failure.hint(format!("ringctl run --lines {DEMONSTRATION} makes its own")))
        }
        (false, Some(failure)) if report.is_empty() => Err(failure),
        (false, first) => {
            let failure = Failure::new(code::ASSERTION, report.complaint());
            Err(match first {
                Some(first) => failure.hint(first.line),
                None => failure,
            })
        }
    }
}

impl Args {
    fn inputs(&self) -> Vec<Input> {
        let input = |path: &PathBuf| match path == Path::new("-") {
            true => Input::Stdin,
            false => Input::File(path.clone()),
        };
        let width = self.fixed.map_or(0, |FixedArg(bytes)| usize::try_from(bytes).unwrap_or(usize::MAX));
        match self.lines {
            Some(Count(count)) => vec![Input::Lines { count, width }],
            None if !self.files.is_empty() => self.files.iter().map(input).collect(),
            // With a time for the kills, the lines end when it is over.
            None if nobody_at_stdin() && matches!(self.chaos, Some(Some(_))) => {
                vec![Input::Lines { count: u64::MAX, width }]
            }
            None if nobody_at_stdin() => vec![Input::Lines { count: DEMONSTRATION, width }],
            None => vec![Input::Stdin],
        }
    }

    /// Fails if generated numbers have more digits than a fixed item has bytes.
    fn check_width(&self, input: &Input) -> Result<(), Failure> {
        let (Input::Lines { count, width }, Some(FixedArg(bytes))) = (input, self.fixed) else {
            return Ok(());
        };
        let digits = count.to_string().len();
        if digits <= *width {
            return Ok(());
        }
        let line = format!(
            "--fixed {bytes}: the numbers of {count} lines have up to {digits} digits; expected {digits} bytes or more"
        );
        Err(Failure::new(code::USAGE, line).hint("--lines N sends fewer lines"))
    }

    fn framing(&self) -> Framing {
        match (self.delimiter, self.frame) {
            (_, Some(frame)) => frame.into(),
            (Some(DelimiterArg(byte)), _) => Framing::Delimiter(byte),
            _ if self.null => Framing::Null,
            _ => Framing::Lines,
        }
    }

    /// The arguments of the processes.
    fn arguments(&self, ring: &str) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = match (self.delimiter, self.frame) {
            (_, Some(FrameArg::Len32)) => vec!["--frame=len32".into()],
            (Some(DelimiterArg(byte)), _) => vec![format!("--delimiter=\\x{byte:02x}").into()],
            _ if self.null => vec!["--null".into()],
            _ => Vec::new(),
        };
        arguments.push(ring.into());
        arguments
    }

    fn make_ring(&self) -> Result<OwnRing, Failure> {
        let options = shaped(RingOptions::new(), self.capacity, self.slot_size, self.fixed, None)
            .expected_producers(self.producers.into())
            // With one of each, an exclusive ring is faster, and the order cannot change.
            .exclusive(self.producers == 1 && self.consumers == 1);
        OwnRing::make("run", &options)
    }
}

/// Starts a process of this role, with its standard input (of a producer) or output (of a consumer) as a pipe.
fn start(role: Role, arguments: &[OsString], log: Option<&Path>) -> Result<Process, Failure> {
    let mut command = children::command(role)?;
    command.args(arguments);
    if let Some(folder) = log {
        command.env(run_log::VARIABLE, folder);
    }
    match role {
        Role::Producer => {
            command.stdin(Stdio::piped()).stdout(Stdio::null());
            Process::start("producer", command)
        }
        Role::Consumer => {
            // The user need not hear that the ring is closed in the end.
            command.arg("--quiet").stdin(Stdio::null()).stdout(Stdio::piped());
            Process::start("consumer", command)
        }
    }
}

/// Whether standard input is a terminal or /dev/null.
fn nobody_at_stdin() -> bool {
    let stdin = io::stdin();
    let null = std::fs::metadata("/dev/null").map(|null| null.rdev());
    let device = stdin.as_fd().try_clone_to_owned().map(std::fs::File::from).and_then(|file| file.metadata());
    stdin.is_terminal()
        || matches!((device, null), (Ok(device), Ok(null)) if null != 0 && device.rdev() == null)
}

/// One thread that feeds or reads a process, and what it has counted so far.
struct Line {
    digest: Arc<Mutex<Digest>>,
    thread: Option<JoinHandle<Result<(), Failure>>>,
}

/// Everything that runs during a run.
struct Run {
    // Dropped before the ring, so that the processes end first.
    consumers: Vec<Process>,
    producers: Vec<Process>,
    feeds: Vec<Line>,
    collections: Vec<Line>,
    check: Check,
    start: Instant,
    ring: OwnRing,
}

impl Run {
    fn start(args: &Args, inputs: Vec<Input>, output: &collect::Output) -> Result<Self, Failure> {
        let ring = args.make_ring()?;
        let (framing, items) = (args.framing(), ItemSize::of(&ring));
        let arguments = args.arguments(ring.name());
        let order = (args.consumers == 1).then(|| Arc::new(Mutex::new(Order::new(args.producers.into()))));
        let check = Check { hash: Default::default(), order };
        let mut run = Run {
            consumers: Vec::new(),
            producers: Vec::new(),
            feeds: Vec::new(),
            collections: Vec::new(),
            check,
            start: Instant::now(),
            ring,
        };
        for _ in 0..args.consumers {
            let mut process = start(Role::Consumer, &arguments, args.log.as_deref())?;
            let pipe = process.take_output();
            run.consumers.push(process);
            let (check, output) = (run.check.clone(), output.clone());
            run.collections.push(Line::spawn(move |digest| match pipe {
                Some(pipe) => collect::collect(pipe, framing, items.limit, &check, &output, digest),
                None => Ok(()),
            })?);
        }
        run.await_consumers();
        run.start = Instant::now();
        let sources = Source::deal(inputs, args.producers.into(), framing, items);
        for (number, source) in sources.into_iter().enumerate() {
            let mut process = start(Role::Producer, &arguments, args.log.as_deref())?;
            let pipe = process.take_input();
            run.producers.push(process);
            let check = run.check.clone();
            run.feeds.push(Line::spawn(move |digest| match pipe {
                Some(pipe) => feed::feed(number, &source, pipe, &check, digest),
                None => Ok(()),
            })?);
        }
        Ok(run)
    }

    /// Waits until the consumers are attached, so that each gets its share.
    fn await_consumers(&mut self) {
        let start = Instant::now();
        while self.ring.participants().len() < self.consumers.len()
            && !self.consumers.iter_mut().any(|process| process.status().is_some())
            && start.elapsed() < HEAD_START
        {
            thread::sleep(POLL);
        }
    }

    /// Waits for the end of all processes and of their output. False: the run was stopped, and all are ended.
    fn finish(&mut self, stop: &StopFlag, mut meanwhile: Meanwhile) -> bool {
        loop {
            meanwhile.look(|| self.standing());
            if stop.is_raised() {
                children::end_all(&mut self.producers);
                children::end_all(&mut self.consumers);
                return false;
            }
            let produced = all_ended(&mut self.producers);
            let consumed = all_ended(&mut self.consumers);
            if produced || consumed {
                // All producers or all consumers have ended; the others would wait for ever.
                self.ring.close();
            }
            if produced && consumed && self.collections.iter().all(Line::is_finished) {
                return true;
            }
            thread::sleep(POLL);
        }
    }

    /// The failures so far, processes first. A feeder may still be waiting for input that is no longer needed.
    fn complaints(&mut self) -> Vec<Failure> {
        let processes = self.producers.iter_mut().chain(&mut self.consumers);
        let failure = |line| Failure::new(code::RUNTIME, line);
        let mut complaints: Vec<Failure> = processes.filter_map(Process::complaint).map(failure).collect();
        let lines = self.feeds.iter_mut().chain(&mut self.collections);
        complaints.extend(lines.filter_map(Line::complaint));
        // Producers that share an input fail for the same reason.
        let mut said = HashSet::new();
        complaints.retain(|failure| said.insert(failure.line.clone()));
        complaints
    }

    /// What the producers got and the consumers wrote so far.
    fn standing(&self) -> Standing<'_> {
        let total =
            |lines: &[Line]| lines.iter().fold(Digest::default(), |sum, line| sum.and(*lock(&line.digest)));
        Standing {
            start: self.start,
            sent: total(&self.feeds),
            received: total(&self.collections),
            ring: Some(&self.ring),
            killed: None,
        }
    }

    fn report(&self) -> RunReport {
        let seconds = self.start.elapsed().as_secs_f64();
        let side = |processes: &[Process], lines: &[Line]| -> Vec<(u32, Digest)> {
            processes.iter().map(Process::id).zip(lines.iter().map(|line| *lock(&line.digest))).collect()
        };
        let order = self.check.order.as_ref().map(|order| lock(order).verdict());
        RunReport::new(
            &side(&self.producers, &self.feeds),
            &side(&self.consumers, &self.collections),
            order,
            seconds,
        )
    }
}

fn all_ended(processes: &mut [Process]) -> bool {
    processes.iter_mut().all(|process| process.status().is_some())
}

impl Line {
    fn spawn(
        work: impl FnOnce(&Mutex<Digest>) -> Result<(), Failure> + Send + 'static,
    ) -> Result<Self, Failure> {
        let digest = Arc::new(Mutex::new(Digest::default()));
        let theirs = digest.clone();
        // Not `thread::spawn`, which panics where the system has no more threads or memory to give.
        let thread = thread::Builder::new()
            .spawn(move || work(&theirs))
            .map_err(|error| not_started("thread", &error))?;
        Ok(Line { digest, thread: Some(thread) })
    }

    fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    fn complaint(&mut self) -> Option<Failure> {
        let thread = self.thread.take_if(|thread| thread.is_finished())?;
        match thread.join() {
            Ok(result) => result.err(),
            Err(_) => Some(Failure::new(code::RUNTIME, "a thread of this command failed")),
        }
    }
}
