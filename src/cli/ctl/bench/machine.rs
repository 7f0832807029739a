//! Describes the measured machine, and assigns its cores.
use std::{env::consts::ARCH, fs};

use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};
use serde::Serialize;

use crate::sys::command::process;

/// What a reader needs to compare figures.
#[derive(Debug, Serialize)]
pub struct Machine {
    version: &'static str,
    cpu: String,
    processors: u32,
    kernel: String,
    /// The cores to which the measuring processes are pinned; empty: the kernel places them.
    cores: Vec<usize>,
    rounds: u32,
    seconds: f64,
    /// Whether rings of fixed items are measured.
    fixed: bool,
}

impl Machine {
    /// This machine. `pin`: whether to pin processes to cores; by default, if there are at least two.
    pub fn new(pin: Option<bool>, rounds: u32, seconds: f64, fixed: bool) -> Self {
        let mut cores = allowed_cores();
        if !pin.unwrap_or(cores.len() >= 2) {
            cores.clear();
        }
        Machine {
            version: env!("CARGO_PKG_VERSION"),
            cpu: cpu(),
            processors: process::processors(),
            kernel: kernel(),
            cores,
            rounds,
            seconds,
            fixed,
        }
    }

    /// The core for process `number` of those that work at the same time.
    pub fn core(&self, number: usize) -> Option<usize> {
        self.cores.get(number.checked_rem(self.cores.len())?).copied()
    }

    /// In two lines.
    pub fn text(&self) -> String {
        let processors = crate::cli::ctl::show::counted(self.processors.into(), "processor");
        let places = match &self.cores[..] {
            [] => "not pinned".into(),
            cores => format!("pinned to {}", list(cores)),
        };
        let (rounds, seconds) = (self.rounds, self.seconds);
        let items = if self.fixed { "; rings of fixed items" } else { "" };
        format!(
            "ringpipe {} on {}, {processors}, {}\n{places}; median and spread of {rounds} x {seconds} s{items}\n",
            self.version, self.cpu, self.kernel
        )
    }
}

fn list(cores: &[usize]) -> String {
    let numbers: Vec<String> = cores.iter().take(8).map(usize::to_string).collect();
    let more = if cores.len() > 8 { ", ..." } else { "" };
    let noun = if cores.len() == 1 { "core" } else { "cores" };
    format!("{noun} {}{more}", numbers.join(", "))
}

fn allowed_cores() -> Vec<usize> {
    // On a machine with more cores than the set can hold, no process is pinned.
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
    (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false)).collect()
}

fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    // Some architectures do not name their processors.
    text.lines().find_map(field).unwrap_or_else(|| ARCH.into())
}

fn kernel() -> String {
    let word = |file| fs::read_to_string(format!("/proc/sys/kernel/{file}")).unwrap_or_default();
    let text = format!("{} {}", word("ostype").trim(), word("osrelease").trim());
    if text.trim().is_empty() { "unknown kernel".into() } else { text }
}
