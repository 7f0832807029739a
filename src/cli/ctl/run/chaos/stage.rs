//! What the processes of a round share, and the process that one thread of the round runs at a time.
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::SIGKILL;

use super::super::collect::Output;
use super::super::feed::lock;
use super::super::start;
use super::super::verify::{Digest, Hash128};
use crate::Role;
use crate::cli::common::exit::{Failure, code};
use crate::cli::ctl::children::Process;
use crate::framing::Framing;
use crate::testing::Session;

/// The time between two checks of a process or a round: short, since a ring moves a thousand items in a millisecond.
pub const POLL: Duration = Duration::from_micros(500);

/// What all rounds of a run share.
pub struct Shared {
    pub framing: Framing,
    pub hash: Hash128,
    pub output: Output,
    /// Where the processes log.
    pub logs: PathBuf,
    /// The number of logs so far: each process has its own.
    pub processes: AtomicU64,
    /// What was read from the inputs.
    pub given: Mutex<Digest>,
    /// Whole items that consumers wrote, also those that are delivered again.
    pub received: Mutex<Digest>,
    /// When generated input ends.
    pub input_ends: Option<Instant>,
}

/// One round: a ring, and its processes.
pub struct Stage {
    pub shared: Arc<Shared>,
    /// The arguments of the processes.
    pub arguments: Vec<OsString>,
    /// The largest item that the ring accepts.
    pub limit: usize,
    /// Items and bytes that the round may still read from the inputs.
    pub items_left: AtomicU64,
    pub bytes_left: AtomicU64,
    /// The round ends early: no process is started any more.
    pub is_over: AtomicBool,
}

impl Stage {
    /// Whether the round has read its share of the inputs.
    pub fn has_enough(&self) -> bool {
        // Relaxed: a producer too many reads one block more.
        self.items_left.load(Relaxed) == 0 || self.bytes_left.load(Relaxed) == 0
    }

    /// Counts what was read from the inputs.
    pub fn note_given(&self, digest: Digest) {
        let less = |left: &AtomicU64, by: u64| {
            // Relaxed: see `has_enough`. The closure never refuses.
            let _ = left.fetch_update(Relaxed, Relaxed, |left| Some(left.saturating_sub(by)));
        };
        less(&self.items_left, digest.items);
        less(&self.bytes_left, digest.bytes);
        let mut given = lock(&self.shared.given);
        *given = given.and(digest);
    }

    /// The log of the next process.
    pub fn new_log(&self, role: Role) -> PathBuf {
        // Relaxed: only the number is used.
        let number = self.shared.processes.fetch_add(1, Relaxed);
        self.shared.logs.join(format!("{role}-{number}.log"))
    }
}

/// One process of a round and its log.
pub struct Life {
    pub log: PathBuf,
    /// It was killed by this run.
    pub was_killed: bool,
    /// The whole items that it wrote; none of a producer.
    pub written: Vec<Written>,
}

/// An item that a consumer wrote.
pub struct Written {
    pub len: usize,
    pub hash: u128,
    /// Its hash as the logs have it.
    pub logged: u64,
}

/// How a process ended.
pub enum Ending {
    Done,
    /// This run killed it.
    Killed,
    /// The round was ended early.
    Over,
}

/// The place of a producer or consumer: one process at a time.
#[derive(Default)]
pub struct Slot(Mutex<Option<Current>>);

struct Current {
    process: Process,
    /// The run has sent it the signal.
    is_killed: bool,
}

impl Slot {
    /// Starts a process, and lets `take` have it. `None`: the round is over.
    pub fn start<T>(
        &self,
        stage: &Stage,
        role: Role,
        log: &Path,
        take: impl FnOnce(&mut Process) -> T,
    ) -> Result<Option<T>, Failure> {
        let mut current = lock(&self.0);
        // Relaxed: the flag is raised before `end` locks the slots.
        if stage.is_over.load(Relaxed) {
            return Ok(None);
        }
        let mut arguments = vec!["--log".into(), log.into()];
        if role == Role::Consumer {
            // What a killed consumer has written stays in the pipe, and is read. So only the items that it
            // had not finished are delivered again.
            arguments.push("--ack=write".into());
        }
        arguments.extend_from_slice(&stage.arguments);
        let mut process = start(role, &arguments, None)?;
        let taken = take(&mut process);
        *current = Some(Current { process, is_killed: false });
        Ok(Some(taken))
    }

    /// Kills the process. False: none runs.
    pub fn kill(&self) -> bool {
        let mut slot = lock(&self.0);
        let Some(current) = slot.as_mut() else { return false };
        if current.process.status().is_some() {
            return false;
        }
        current.process.kill();
        current.is_killed = true;
        true
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    /// The [`Failure`] of a process that neither succeeded nor was killed by this run.
    pub fn wait(&self, stage: &Stage) -> Result<Ending, Failure> {
        loop {
            let mut slot = lock(&self.0);
            let Some(current) = &mut *slot else { return Ok(Ending::Over) };
            if let Some(status) = current.process.status() {
                let complaint = current.process.complaint();
                let is_killed = current.is_killed;
                *slot = None;
                return match complaint {
                    None => Ok(Ending::Done),
                    Some(_) if is_killed && status.signal() == Some(SIGKILL) => Ok(Ending::Killed),
                    Some(_) if stage.is_over.load(Relaxed) => Ok(Ending::Over),
                    Some(line) => Err(Failure::new(code::RUNTIME, line)),
                };
            }
            drop(slot);
            thread::sleep(POLL);
        }
    }

    /// Ends the process at once, after the round was marked as over.
    pub fn end(&self) {
        // Dropping a process kills and reaps it.
        *lock(&self.0) = None;
    }
}

/// The folder for the logs of a run; a temporary one is removed in the end.
pub struct Folder {
    path: PathBuf,
    is_temporary: bool,
    /// Its guard removes a temporary folder even if this process is killed.
    _guard: Option<Session>,
}

impl Folder {
    /// The folder that the user named, or a temporary one.
    pub fn new(named: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = named {
            return Ok(Folder { path: path.into(), is_temporary: false, _guard: None });
        }
        let name = format!("ringctl-run-{}-{:06x}", std::process::id(), fastrand::u32(..1 << 24));
        let path = std::env::temp_dir().join(name);
        // The guard comes before the folder, but not for one whose parents are missing.
        let parent = fs::metadata(std::env::temp_dir());
        let made = parent.and_then(|_| Session::removing(&path, |_| vec![path.clone()]));
        let guard = made.map_err(|error| Failure::io(format!("log folder {path:?}"), &error))?;
        Ok(Folder { path, is_temporary: true, _guard: Some(guard) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes logs that were checked, unless the user asked for them.
    pub fn forget<'l>(&self, logs: impl Iterator<Item = &'l PathBuf>) {
        if self.is_temporary {
            // A log that cannot be removed now goes with the folder.
            logs.for_each(|log| drop(fs::remove_file(log)));
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_temporary {
            // If this fails, it is left to the system, as all temporary files.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}
