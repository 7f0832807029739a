//! `ringctl` run to its end, rings that it made, and processes on them.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Ended, Kept, Run, TestName, wait_until};

pub fn ringctl(arguments: &[&str]) -> Ended {
    Run::new(env!("CARGO_BIN_EXE_ringctl")).args(arguments).input(b"").run()
}

/// Runs a command to its end, with this input.
pub fn run_with(command: Command, input: &[u8]) -> Ended {
    Run::of(command).input(input).run()
}

impl TestName {
    /// A ring of this name, made by `ringctl create` with these options; it stays until the test ends.
    pub fn ring(label: &str, options: &[&str]) -> Self {
        let name = Self::new(label).stays();
        ringctl(&[&["create", &name], options].concat()).succeeds();
        name
    }

    /// What `inspect --json` tells.
    pub fn inspect(&self) -> Value {
        ringctl(&["inspect", self, "--json"]).json()
    }

    /// Sends these lines by a `producer`.
    pub fn send_lines(&self, lines: &str) {
        let producer = Run::new(env!("CARGO_BIN_EXE_producer")).args(&["--no-create", self]);
        producer.input(lines).run().succeeds();
    }
}

/// A `consumer` that holds an item, since nothing reads what it writes: the ring must hold a long one.
pub fn consumer_that_holds(name: &TestName) -> Kept {
    let mut command = Command::new(env!("CARGO_BIN_EXE_consumer"));
    command.arg(&name.name).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let process = Kept::start(&mut command);
    wait_until("an item is held", || !name.inspect()["held"].as_array().unwrap().is_empty());
    process
}

/// A `producer` that waits for its input.
pub fn idle_producer(name: &TestName) -> Kept {
    let mut command = Command::new(env!("CARGO_BIN_EXE_producer"));
    command.args(["--no-create", name]).stdin(Stdio::piped()).stderr(Stdio::null());
    Kept::start(&mut command)
}

/// The rings that `ringctl VERB`, running as `pid`, has made for itself.
pub fn rings_of(verb: &str, pid: u32) -> Vec<String> {
    let prefix = format!("ringpipe-{verb}-{pid}-");
    let names = fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name());
    names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with(&prefix)).collect()
}
