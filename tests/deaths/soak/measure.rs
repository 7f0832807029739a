//! What is measured at rest, and what it must not do: grow.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use crate::soak::churn::Churn;
use crate::soak::lines::Residents;

/// Of one process, at rest.
#[derive(Clone, Copy, Debug)]
struct Process {
    kilobytes: u64,
    descriptors: u64,
    threads: u64,
}

struct Sample {
    processes: BTreeMap<i32, Process>,
    segments: u64,
    bytes: u64,
}

/// One sample after each stretch.
pub struct Table {
    samples: Vec<Sample>,
    names: BTreeMap<i32, &'static str>,
    segments_before: u64,
}

/// Memory may be this much more, in kilobytes and in percent: pages that were not touched before.
const ALLOWANCE: (u64, u64) = (256, 3);

impl Process {
    fn of(pid: i32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process that is there");
        let number = |label: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(label)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
        Process { kilobytes: number("VmRSS:"), descriptors, threads: number("Threads:") }
    }
}

/// Segments of this test, or all where it is alone, and the memory that they take.
fn segments() -> (u64, u64) {
    let own = format!("-{}-", std::process::id());
    let entries = fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap());
    let own = entries.filter(|entry| entry.file_name().to_string_lossy().contains(&own));
    own.fold((0, 0), |(n, bytes), entry| {
        (n + 1, bytes + entry.metadata().map_or(0, |about| about.blocks() * 512))
    })
}

impl Table {
    pub fn new() -> Self {
        println!(
            "| minutes | lines/s | kills | left | again | segments | KiB | of each process: KiB/descriptors/threads |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        Table { samples: Vec::new(), names: BTreeMap::new(), segments_before: segments().0 }
    }

    pub fn sample(
        &mut self,
        time: Duration,
        processes: impl Iterator<Item = (&'static str, i32)>,
        rate: f64,
        churn: &Churn,
        residents: &Residents,
    ) {
        let (segments, bytes) = segments();
        self.names.extend(processes.map(|(name, pid)| (pid, name)));
        let processes: BTreeMap<i32, Process> =
            self.names.keys().map(|&pid| (pid, Process::of(pid))).collect();
        let each =
            processes.values().map(|one| format!("{}/{}/{}", one.kilobytes, one.descriptors, one.threads));
        println!(
            "| {:.1} | {rate:.0} | {} | {} | {} | {segments} | {} | {} |",
            time.as_secs_f64() / 60.0,
            churn.kills,
            churn.left,
            residents.again(),
            bytes / 1024,
            each.collect::<Vec<_>>().join(" ")
        );
        self.samples.push(Sample { processes, segments, bytes });
    }

    /// The second and the last quarter, as medians of the samples.
    fn quarters<T: Ord + Copy>(&self, of: impl Fn(&Sample) -> T) -> (T, T) {
        let quarter = self.samples.len() / 4;
        let median = |samples: &[Sample]| {
            let mut values: Vec<T> = samples.iter().map(&of).collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        (median(&self.samples[quarter..2 * quarter]), median(&self.samples[self.samples.len() - quarter..]))
    }

    pub fn print(&self) {
        println!(
            "\n| process | KiB, second quarter | KiB, last quarter | descriptors | threads |\n|---|---|---|---|---|"
        );
        for (&pid, name) in &self.names {
            let (second, last) = self.quarters(|sample| sample.processes[&pid].kilobytes);
            let Process { descriptors, threads, .. } = self.samples.last().unwrap().processes[&pid];
            println!("| {name} | {second} | {last} | {descriptors} | {threads} |");
        }
    }

    /// From the second quarter on: threads, segments and their bytes the same at each rest, descriptors, too, and memory
    /// as it was. A process that watches for deaths may have one descriptor more, of a process that has just ended.
    pub fn is_flat(&self) {
        assert!(self.samples.len() >= 8, "too short to tell");
        let settled = &self.samples[self.samples.len() / 4..];
        for (pid, name) in &self.names {
            let (second, last) = self.quarters(|sample| sample.processes[pid].kilobytes);
            let most = second + second * ALLOWANCE.1 / 100 + ALLOWANCE.0;
            assert!(last <= most, "{name} grew from {second} to {last} KiB");
            let all: Vec<_> = settled.iter().map(|sample| sample.processes[pid].threads).collect();
            assert!(all.windows(2).all(|two| two[0] == two[1]), "{name}: threads {all:?}");
            let (second, last) = self.quarters(|sample| sample.processes[pid].descriptors);
            let all: Vec<_> = settled.iter().map(|sample| sample.processes[pid].descriptors).collect();
            let flat = second == last && all.iter().all(|one| (second..=second + 1).contains(one));
            assert!(flat, "{name}: descriptors {all:?}");
        }
        let all: Vec<_> = settled.iter().map(|sample| (sample.segments, sample.bytes)).collect();
        assert!(all.windows(2).all(|two| two[0] == two[1]), "segments and bytes {all:?}");
        assert_eq!(all[0].0, self.segments_before, "there are unused segments");
    }
}
