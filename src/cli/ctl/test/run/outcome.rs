//! What became of a run.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::instance::Instance;
use crate::testing::history::Counts;
use crate::testing::{Ended, Output};

/// Where a fault with `every` strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// Nowhere: the points are counted.
    Count,
    /// At the point with this number, from 1.
    At(u64),
}

/// Why a run was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// It could go no further: a program ended before it was ready.
    Unready,
    /// It took too long.
    TimedOut,
    /// A program wrote too much.
    Output,
}

impl Cut {
    /// The key of what was expected. Only of the timeout can a scenario say that it fails.
    pub const fn key(self) -> &'static str {
        match self {
            Cut::Unready => "ready",
            Cut::TimedOut => "timeout",
            Cut::Output => "output-limit",
        }
    }
}

/// The verdict on a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Everything that was expected is true, and all faults struck.
    Passed,
    /// Nothing that was expected is false, but a fault did not strike, or there was nothing to judge.
    Inconclusive,
    /// Something that was expected is false.
    Failed,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Where the fault with `every` struck.
    pub point: Option<Point>,
    /// Why it was cut off, if it was.
    pub cut: Option<Cut>,
    /// The keys of what was expected and is false.
    pub broken: BTreeSet<&'static str>,
    /// What was expected and is false, a line each.
    pub complaints: Vec<String>,
    /// What was expected and is false as the key `fails` of the scenario says: the key of the expectation, and a line.
    pub foreseen: Vec<(&'static str, String)>,
    /// Faults that did not strike, and expectations that could not be judged, a line each.
    pub gaps: Vec<String>,
    /// The faults that struck, in the order of time.
    pub strikes: Vec<Strike>,
    /// All instances, in the order of their start.
    pub instances: Vec<InstanceEnd>,
    /// What the history has, if there is one.
    pub history: Option<Items>,
    /// How long the run took.
    pub duration: Duration,
    /// The points that were counted, for [`Point::Count`], and for a point that was not reached.
    pub points: Option<u64>,
    /// The folder with the output of every process.
    pub folder: PathBuf,
    /// If the run was cut off: the file that says what each process was doing, and how the rings were.
    pub state: Option<PathBuf>,
}

/// What a history says of the items of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Items {
    /// What happened to them.
    pub counts: Counts,
    /// Items that were sent and never received.
    pub lost: u64,
}

/// A fault that struck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strike {
    /// Its place in the file, from 0.
    pub fault: usize,
    /// What was done, such as `kill`.
    pub action: String,
    /// The instance, such as `worker-2`.
    pub instance: String,
    /// Since all programs were ready; for a point of a trace that is counted from the start, since the run began.
    pub at: Duration,
    /// The point of a trace, such as `before system call 57 (write) at libc.so.6+0x1234`.
    pub place: Option<String>,
}

/// How an instance ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceEnd {
    /// Its name, such as `worker-2`.
    pub name: String,
    /// `None`: it was killed when the run was over.
    pub ended: Option<Ended>,
    /// Whether a fault struck it.
    pub struck: bool,
    /// Whether its end is not what was expected.
    pub unexpected: bool,
    /// Its standard output and its standard error.
    pub outputs: [Output; 2],
}

impl InstanceEnd {
    /// Of an instance when the run is over.
    pub fn of(instance: &Instance) -> Self {
        let ended = instance.ended.map(|(ended, _)| ended);
        let process = &instance.process;
        let outputs = [process.stdout().clone(), process.stderr().clone()];
        InstanceEnd {
            name: process.name().into(),
            ended,
            struck: instance.struck,
            unexpected: false,
            outputs,
        }
    }
}

impl Outcome {
    /// The verdict.
    pub fn verdict(&self) -> Verdict {
        match (self.complaints.is_empty(), self.gaps.is_empty()) {
            (true, true) => Verdict::Passed,
            (true, false) => Verdict::Inconclusive,
            (false, _) => Verdict::Failed,
        }
    }

    /// The instances that ended otherwise than was expected; of a run that stalled, those that had not ended well.
    pub fn ended_badly(&self) -> impl Iterator<Item = &InstanceEnd> {
        let stalled = self.state.is_some();
        let is_bad = move |one: &&InstanceEnd| {
            one.unexpected || stalled && !one.struck && one.ended != Some(Ended::Code(0))
        };
        self.instances.iter().filter(is_bad)
    }
}

impl Verdict {
    /// Its word in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Passed => "passed",
            Verdict::Inconclusive => "inconclusive",
            Verdict::Failed => "failed",
        }
    }
}
