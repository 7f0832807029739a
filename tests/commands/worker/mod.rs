//! `consumer RING -- COMMAND`: what becomes of items, commands and outputs, whatever commands and workers do.

mod batches;
mod control;
pub mod deaths;
mod outputs;
mod parallel;
mod replies;
mod retries;
mod storm;
mod times;
mod verdicts;

use std::fs;
use std::path::Path;

use crate::support::*;
use ringpipe::RingOptions;
use tempfile::TempDir;

/// A ring with items whose producer has left, so that a consumer ends when it has them all; and a folder for what
/// commands leave, `$D` for them.
struct Work {
    ring: TestName,
    dir: TempDir,
}

impl Work {
    fn new(label: &str, items: &[&str]) -> Self {
        let ring = TestName::made(label, &RingOptions::new());
        ring.send(items);
        Work { ring, dir: tempfile::tempdir().unwrap() }
    }

    /// With items of any bytes.
    fn of_bytes(label: &str, items: &[&[u8]]) -> Self {
        let work = Self::new(label, &[]);
        let mut producer = work.ring.open().producer().unwrap();
        items.iter().for_each(|item| producer.send(item).unwrap());
        work
    }

    /// With the items "1" to `last`.
    fn numbered(label: &str, last: u32) -> Self {
        let items: Vec<String> = (1..=last).map(|n| n.to_string()).collect();
        Self::new(label, &items.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// A worker with this command. A failed item is tried again at once, unless `options` say otherwise.
    fn worker(&self, options: &[&str], command: &[&str]) -> Run {
        let backoff: &[&str] = if options.contains(&"--backoff") { &[] } else { &["--backoff", "0s"] };
        consumer(&self.ring, options).args(backoff).arg("--").args(command).env("D", self.dir.path())
    }

    /// A worker whose command is this script.
    fn script(&self, options: &[&str], script: &str) -> Run {
        self.worker(options, &["sh", "-c", script])
    }

    /// The same, with the items in the script's arguments.
    fn script_with_items(&self, options: &[&str], script: &str) -> Run {
        self.worker(options, &["sh", "-c", script, "worker", "{}"])
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_string()
    }

    fn exists(&self, name: &str) -> bool {
        self.dir.path().join(name).exists()
    }

    fn touch(&self, name: &str) {
        fs::write(self.dir.path().join(name), "").unwrap();
    }

    /// The text of a file in the folder; empty if there is none.
    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    fn lines(&self, name: &str) -> Vec<String> {
        self.read(name).lines().map(String::from).collect()
    }

    fn wait_for_file(&self, name: &str) {
        wait_until(&format!("file {name}"), || self.exists(name));
    }

    fn wait_for_lines(&self, name: &str, lines: usize) {
        wait_until(&format!("{lines} lines in {name}"), || self.lines(name).len() >= lines);
    }

    /// What is in the ring, as `ITEM:RING_ATTEMPT`, in the order of the items; takes it out.
    #[track_caller]
    fn rest(&self) -> Vec<String> {
        let rest = self.script(&["--drain"], r#"cat; echo ":$RING_ATTEMPT""#).run().succeeds();
        rest.lines().into_iter().map(String::from).collect()
    }

    /// Processes that are or were started by a command of this ring, wherever they went.
    fn processes(&self) -> Vec<u32> {
        let mark = format!("RING_NAME={}", self.ring.name);
        let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let id: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let environment = fs::read(format!("/proc/{id}/environ")).ok()?;
            environment.split(|byte| *byte == 0).any(|one| one == mark.as_bytes()).then_some(id)
        });
        ids.filter(|id| is_running(*id)).collect()
    }

    fn nothing_runs(&self) {
        wait_until("no process of a command", || self.processes().is_empty());
    }

    fn wait_for_acknowledged(&self, items: u64) {
        wait_until(&format!("{items} acknowledged items"), || self.ring.acknowledged() >= items);
    }
}

/// A script that waits until this file is in `$D`.
fn until(name: &str) -> String {
    format!("until test -e $D/{name}; do sleep 0.01; done")
}

/// The guard process of a worker.
fn guard_of(worker: &Running) -> u32 {
    let mut found = None;
    wait_until("the guard of the worker", || {
        found = children_of(worker.pid() as u32).into_iter().find(|id| {
            fs::read_to_string(format!("/proc/{id}/comm")).is_ok_and(|name| name.trim() == "ringpipe-guard")
        });
        found.is_some()
    });
    found.unwrap()
}

fn kill(pid: u32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
