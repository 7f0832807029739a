//! A scenario: what a test starts, what goes wrong meanwhile, and what must be true afterwards.
//!
//! These types are the meaning of a scenario file; every name in them is checked and every number is in its range.

mod check;
mod expectations;
mod faults;
pub mod init;
mod keys;
mod kind;
mod names;
mod node;
mod options;
pub mod placeholders;
mod programs;
mod read;
pub mod schema;
#[cfg(test)]
mod tests;
mod values;
mod wrong;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use regex_lite::Regex;

pub use read::read;

/// One scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// In reports: the value of `name`, or the file's name without `.toml`.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// One sentence for reports.
    pub about: Option<String>,
    /// A run that takes longer has stalled. Default: a minute.
    pub timeout: Duration,
    /// Programs that must be found in PATH, else the scenario is skipped.
    pub needs: Vec<String>,
    /// The keys of expectations that the run must break: it passes if it breaks these and no others.
    pub fails: Vec<String>,
    /// In the order of the file.
    pub rings: Vec<RingSpec>,
    /// In the order of the file, in which they are started.
    pub programs: Vec<ProgramSpec>,
    /// In the order of the file.
    pub faults: Vec<FaultSpec>,
    /// How events are read from the output of programs that do not log them.
    pub history: Vec<Mapping>,
    /// What must be true afterwards.
    pub expect: Expect,
}

/// `[ring.NAME]`: a ring that is made before the programs start, and removed at the end.
#[derive(Debug, Clone)]
pub struct RingSpec {
    /// The name in the file; `{ring.NAME}` is its name in the system.
    pub name: String,
    /// The options of `ringctl create`, as arguments.
    pub options: Vec<String>,
}

/// `[process.NAME]`, `[producer.NAME]`, `[consumer.NAME]`.
#[derive(Debug, Clone)]
pub struct ProgramSpec {
    /// The name in the file.
    pub name: String,
    /// What is executed.
    pub run: Run,
    /// How many instances run. Default: 1.
    pub count: u32,
    /// Additional environment, with placeholders.
    pub env: BTreeMap<String, String>,
    /// The working directory, with placeholders. Default: the folder of the run.
    pub cwd: Option<String>,
    /// What standard input is. Default: `/dev/null`.
    pub stdin: Stdin,
    /// When an instance is ready. `None`: as soon as it is started.
    pub ready: Option<Ready>,
    /// The number of a descriptor to which it writes the lines of a history.
    pub history: Option<i32>,
    /// Programs that must be ready before this one is started.
    pub after: Vec<String>,
    /// Programs that must have ended before this one is started. Faults do not wait for it.
    pub after_end: Vec<String>,
    /// Whether the run goes on without it: it is ended when all others have ended.
    pub background: bool,
    /// The signal that ends it when its time has come, and how long it may take. Default: TERM, 5 s.
    pub stop: (Signal, Duration),
    /// The most bytes of each of its outputs. Default: 1 GiB.
    pub output_limit: Option<u64>,
}

impl ProgramSpec {
    /// Whether the file does not say when it is ready. Its points are then counted from its first instruction on, so that
    /// their numbers repeat.
    pub fn is_ready_at_once(&self) -> bool {
        matches!(self.ready, None | Some(Ready::Attached(_)))
    }

    /// The programs that are started before it.
    pub fn waits_for(&self) -> impl Iterator<Item = &str> {
        self.after.iter().chain(&self.after_end).map(String::as_str)
    }
}

/// What an instance executes.
#[derive(Debug, Clone)]
pub enum Run {
    /// A program and its arguments, with placeholders.
    Arguments(Vec<String>),
    /// A line for `/bin/sh -c`, with placeholders.
    Shell(String),
    /// `producer` of this program's build, with these arguments; the ring is already among them as `{ring.NAME}`.
    Producer(Vec<String>),
    /// `consumer` of this program's build.
    Consumer(Vec<String>),
}

/// What an instance reads.
#[derive(Debug, Clone)]
pub enum Stdin {
    /// Nothing: `/dev/null`.
    Null,
    /// This text, with placeholders.
    Text(String),
    /// This file, with placeholders.
    File(String),
    /// Lines that are generated from the seed: a number of each instance's own, padded to the size.
    Items {
        /// How many each instance gets.
        count: u64,
        /// Their sizes in bytes: all sizes from the first to the second are equally likely.
        size: (u64, u64),
    },
}

/// When an instance is ready.
#[derive(Debug, Clone)]
pub enum Ready {
    /// It has printed a line that matches.
    Stdout(Regex),
    /// The same, on standard error.
    Stderr(Regex),
    /// This file exists (placeholders).
    File(String),
    /// A connection to this address is accepted (`HOST:PORT`, placeholders).
    Tcp(String),
    /// It has written a line to this descriptor, or has closed it.
    Descriptor(i32),
    /// It has attached to its ring: the default of producers and consumers.
    Attached(String),
}

/// A signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(pub nix::sys::signal::Signal);

impl Signal {
    /// Its name without SIG.
    pub fn name(self) -> &'static str {
        let name = self.0.as_str();
        name.strip_prefix("SIG").unwrap_or(name)
    }
}

/// `[[fault]]`.
#[derive(Debug, Clone)]
pub struct FaultSpec {
    /// In reports, such as `kill worker at 200ms`.
    pub text: String,
    /// The line of the file.
    pub line: u32,
    /// What happens.
    pub action: Action,
    /// The program.
    pub on: String,
    /// Which of its instances.
    pub who: Who,
    /// When.
    pub when: When,
    /// How often it strikes, and the time in between. Default: once.
    pub repeat: (u32, Duration),
    /// At a point: whether the whole instance is killed, or only the process that has reached the point.
    pub group: bool,
    /// Whether a run in which it does not strike is inconclusive. Default: yes.
    pub must_strike: bool,
}

/// What a fault does.
#[derive(Debug, Clone)]
pub enum Action {
    /// SIGKILL.
    Kill,
    /// SIGSTOP, and SIGCONT after this time; `None`: never.
    Stop(Option<Duration>),
    /// A signal.
    Send(Signal),
    /// SIGKILL, and a new instance after this time.
    Restart(Duration),
    /// System calls fail.
    Fail {
        /// The error, such as ENOSPC.
        errno: i32,
        /// The names of the calls.
        calls: Vec<String>,
        /// Only calls on files below this folder (placeholders).
        path: Option<String>,
        /// How many of them, or how long.
        lasting: Lasting,
    },
    /// The address space is limited to this number of bytes.
    Memory(u64),
}

/// How many system calls fail, or how long they fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// To the end of the run.
    Always,
    /// This long, from the first.
    For(Duration),
    /// This many calls.
    Times(u64),
}

/// The instances that a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// This many, chosen by the seed.
    Some(u32),
    /// All.
    All,
    /// The instance with this number, from 1.
    Number(u32),
}

/// When a fault strikes.
#[derive(Debug, Clone)]
pub enum When {
    /// This long after all programs are ready; a range is drawn from by the seed.
    After(Duration, Duration),
    /// When an instance of `of` has printed a line that matches.
    Line {
        /// The program whose output it is.
        of: String,
        /// The line.
        pattern: Regex,
        /// The n-th such line counts, from 1.
        nth: u64,
    },
    /// When this many items of the ring were acknowledged.
    Acknowledged {
        /// The ring, as in the file.
        ring: String,
        /// How many.
        items: u64,
    },
    /// When the ring has no free slot.
    Full(String),
    /// When the ring has no item.
    Empty(String),
    /// When the struck instance holds an item of the ring.
    Held(String),
    /// At the n-th system call of the instance after it is ready, counted from 1; only these calls if there are any.
    Syscall {
        /// Which one.
        nth: u64,
        /// Their names; empty: all.
        calls: Vec<String>,
    },
    /// At the n-th instruction of the instance after it is ready.
    Instruction(u64),
    /// In a run of its own at each point.
    Every {
        /// At instructions instead of system calls.
        instructions: bool,
        /// Only these calls; empty: all.
        calls: Vec<String>,
        /// The most runs: the points are spread. Default: 100.
        max: u64,
        /// No more runs are begun after this time. Default: a minute.
        within: Duration,
    },
}

/// How events are read from output: `[history]`, or `[history.NAME]` for one program.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// The programs whose output is read; empty: all.
    pub of: Vec<String>,
    /// Files to read besides standard output (placeholders); with them, standard output is not read.
    pub files: Vec<String>,
    /// A line that matches says that the item `id` (a group) was sent.
    pub sent: Option<Regex>,
    /// It says that the item was received.
    pub received: Option<Regex>,
    /// It says that the item is done. Without this, an item is done when it is received.
    pub acknowledged: Option<Regex>,
}

/// `[expect]`. `None`, or an empty list: not expected.
#[derive(Debug, Clone, Default)]
pub struct Expect {
    /// The most items that may be lost.
    pub lost: Option<u64>,
    /// The most items that may be received without having been sent.
    pub unexpected: Option<u64>,
    /// How many items may be received more than once.
    pub duplicated: Option<Duplicated>,
    /// The most items that may differ from what was sent.
    pub corrupted: Option<u64>,
    /// Whether the items of each producer arrive in their order.
    pub order: bool,
    /// The least number of items that must be received.
    pub received: Option<u64>,
    /// How the instances of a program must end: any of these. `"*"` is all that are not named. Struck ones are exempt
    /// from `"*"`.
    pub exit: BTreeMap<String, Vec<Exit>>,
    /// For a program: patterns that its standard output (all instances together) must match.
    pub stdout: BTreeMap<String, Vec<Regex>>,
    /// The same for standard error.
    pub stderr: BTreeMap<String, Vec<Regex>>,
    /// Pairs of files (placeholders) whose sorted lines are equal.
    pub equal: Vec<(String, String)>,
    /// Files (placeholders) and their SHA-256 in hexadecimal digits.
    pub sha256: BTreeMap<String, String>,
    /// The longest time without an event of the history while programs run.
    pub stall: Option<Duration>,
    /// For a percentile such as 99.0 (100: the longest): the longest time from send to receipt.
    pub latency: Vec<(f64, Duration)>,
    /// Nothing may be left: segments, processes, files in the folder that are not named.
    pub leftovers: Option<Vec<String>>,
    /// The longest time that a run may take.
    pub within: Option<Duration>,
}

/// How many items may be received more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicated {
    /// At most this many.
    AtMost(u64),
    /// Only items that a struck process had received and not acknowledged.
    Redelivered,
}

/// How an instance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(Signal),
}
