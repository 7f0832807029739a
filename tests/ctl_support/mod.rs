//! Real processes under a watchdog, and names that leave nothing behind.
#![allow(dead_code)] // Each test program uses a part.

use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// No step of a test takes longer, however busy the machine.
pub const WATCHDOG: Duration = Duration::from_secs(60);

/// A name that nobody else uses, freed when the test ends.
pub struct Name(pub String);

impl Name {
    pub fn new(what: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Name(format!("test-ctl-{what}-{}-{count}", std::process::id()))
    }

    /// A ring of this name, made by `ringctl create` with these options.
    pub fn ring(what: &str, options: &[&str]) -> Self {
        let name = Self::new(what);
        ringctl(&[&["create", &name.0], options].concat()).succeeds();
        name
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from("/dev/shm").join(&self.0)
    }

    /// What `inspect --json` tells.
    pub fn inspect(&self) -> Value {
        ringctl(&["inspect", &self.0, "--json"]).json()
    }

    /// Sends these lines by a `producer`.
    pub fn send(&self, lines: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_producer"));
        command.args(["--no-create", &self.0]);
        run_with(command, lines.as_bytes()).succeeds();
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.path());
    }
}

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.ends_with(0)
    }

    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
        self
    }

    /// The one object on standard output.
    #[track_caller]
    pub fn json(self) -> Value {
        let ended = self.succeeds();
        assert_eq!(ended.stdout.lines().count(), 1, "{ended:?}");
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// The objects on standard output, one a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The line on standard error that says why the command failed.
    #[track_caller]
    pub fn complaint(&self) -> &str {
        self.stderr.lines().next().expect("it says why")
    }
}

pub fn ringctl(arguments: &[&str]) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
    command.args(arguments);
    run_with(command, b"")
}

/// Runs a command to its end, with this input.
pub fn run_with(mut command: Command, input: &[u8]) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Process(command.spawn().unwrap());
    let mut stdin = process.0.stdin.take().unwrap();
    thread::scope(|scope| {
        // A command that does not read its input may close it.
        scope.spawn(move || stdin.write_all(input));
        let read = |mut pipe: Box<dyn Read + Send>| {
            scope.spawn(move || {
                let mut bytes = Vec::new();
                pipe.read_to_end(&mut bytes).unwrap();
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let stdout = read(Box::new(process.0.stdout.take().unwrap()));
        let stderr = read(Box::new(process.0.stderr.take().unwrap()));
        let code = process.wait();
        Ended { code, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
    })
}

/// A process that is killed at the latest when the test ends.
pub struct Process(pub Child);

impl Process {
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Its exit code; `None` if a signal ended it.
    pub fn wait(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < WATCHDOG, "the process does not end");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A `consumer` that holds an item, since nobody reads what it writes: the ring must hold a long one.
pub fn consumer_that_holds(name: &Name) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consumer"));
    command.arg(&name.0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let process = Process(command.spawn().unwrap());
    wait_until(|| !name.inspect()["held"].as_array().unwrap().is_empty());
    process
}

/// A `producer` that waits for its input.
pub fn idle_producer(name: &Name) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_producer"));
    command.args(["--no-create", &name.0]).stdin(Stdio::piped()).stderr(Stdio::null());
    Process(command.spawn().unwrap())
}

/// Waits for what will come about soon.
#[track_caller]
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < WATCHDOG, "it did not come about");
        thread::sleep(Duration::from_millis(1));
    }
}

/// The rings that `ringctl VERB`, running as `pid`, has made for itself.
pub fn rings_of(verb: &str, pid: u32) -> Vec<String> {
    let prefix = format!("ringpipe-{verb}-{pid}-");
    let names = fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with(&prefix)).collect()
}

/// Process ids of the processes whose parent is `pid`.
pub fn children_of(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

pub fn is_running(pid: u32) -> bool {
    // A zombie has ended: who adopted it may take its time.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z') && !rest.is_empty())
}
