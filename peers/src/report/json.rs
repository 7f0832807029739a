//! The records of a run: JSON, one object in a line. The first tells about the machine.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::drive;
use crate::measure::Figures;
use crate::message::Faults;
use crate::peer::{About, Kind, Work};
use crate::plan::{Place, Shape, Test};

/// The form of the lines.
const SCHEMA: &str = "ringpipe-peers/1";

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Head {
    pub schema: String,
    pub cpu: String,
    /// Cores that the run could use.
    pub cores: usize,
    pub kernel: String,
    pub libc: String,
    pub rustc: String,
    pub rounds: usize,
    /// Seconds of each measurement.
    pub seconds: f64,
}

impl Head {
    /// This machine.
    pub fn here(rounds: usize, seconds: f64) -> Self {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let read = |path| fs::read_to_string(path).map_or("unknown".into(), |text| text.trim().to_owned());
        Head {
            schema: SCHEMA.into(),
            cpu: model.map_or("unknown", |(_, name)| name).into(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease"),
            libc: said("getconf", &["GNU_LIBC_VERSION"]),
            rustc: said("rustc", &["--version"]),
            rounds,
            seconds,
        }
    }
}

/// The first line that a program says.
fn said(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or("unknown").into()
}

/// Every other line: one carrier, one shape of work, one round.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    pub schema: String,
    pub carrier: String,
    pub version: String,
    #[serde(with = "KindName")]
    pub kind: Kind,
    #[serde(flatten)]
    pub shape: Shape,
    pub round: usize,
    /// Messages a second; none where there is no figure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// Seconds of processor time of all workers, for each second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    #[serde(default)]
    pub faults: Faults,
    /// Round trips: percentiles in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p999: Option<u64>,
    /// Round trips: nanoseconds, and how often they were seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<[u64; 2]>,
    /// Why the carrier does not do this work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Record {
    pub fn new(about: &About, shape: &Shape, round: usize) -> Self {
        Record {
            schema: SCHEMA.into(),
            carrier: about.name.into(),
            version: about.version.into(),
            kind: about.kind,
            shape: *shape,
            round,
            rate: None,
            cpu: None,
            faults: Faults::default(),
            p50: None,
            p99: None,
            p999: None,
            times: Vec::new(),
            refused: None,
            failed: None,
        }
    }

    /// A limit of the memory: passes over `size` bytes a second.
    pub fn memory(name: &'static str, size: usize, round: usize, rate: f64) -> Self {
        let about = About { name, version: "", kind: Kind::Limit, waits: "", remark: "" };
        let work = Work { size, depth: 1, batch: 1, in_place: false, senders: 1, receivers: 1 };
        let shape = Shape { test: Test::Memory, work, place: Place::Together, trip: None };
        Record { rate: Some(rate), ..Record::new(&about, &shape, round) }
    }

    pub fn refused(self, why: &str) -> Self {
        Record { refused: Some(why.into()), ..self }
    }

    pub fn failed(self, why: String) -> Self {
        Record { failed: Some(why), ..self }
    }

    pub fn measured(self, figures: Figures) -> Self {
        let mut times = drive::times();
        for [nanoseconds, count] in &figures.times {
            times.saturating_record_n(*nanoseconds, *count);
        }
        let at = |percentile| (!times.is_empty()).then(|| times.value_at_percentile(percentile));
        Record {
            rate: Some(figures.rate),
            cpu: Some(figures.cpu),
            faults: figures.faults,
            p50: at(50.0),
            p99: at(99.0),
            p999: at(99.9),
            failed: figures.note,
            times: figures.times,
            ..self
        }
    }

    /// What must be said about this record, if anything.
    pub fn warning(&self) -> Option<String> {
        let Faults { corrupted, lost, doubled } = self.faults;
        let faults =
            self.faults.any().then(|| format!("{corrupted} corrupted, {lost} lost, {doubled} doubled"));
        let parts: Vec<String> = [self.failed.clone(), faults].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// How [`Kind`] is written down.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Kind", rename_all = "kebab-case")]
enum KindName {
    Ours,
    SharedMemory,
    Kernel,
    Threads,
    Limit,
}

/// All records of a run.
#[derive(Debug)]
pub struct Run {
    pub head: Head,
    pub records: Vec<Record>,
}

impl Run {
    /// Reads what a run wrote.
    pub fn read(file: &Path) -> io::Result<Run> {
        Run::parse(&fs::read_to_string(file)?)
    }

    pub fn parse(text: &str) -> io::Result<Run> {
        let mut lines = text.lines();
        let head = serde_json::from_str(lines.next().unwrap_or_default())?;
        let records = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Run { head, records })
    }
}
