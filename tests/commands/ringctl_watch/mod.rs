//! `ringctl watch`, beside real producers and consumers, and on a terminal.

mod deaths;
mod events;
mod output;
mod screen;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Instant,
};

use crate::support::*;

/// The sentences of a watch that goes on, as they come.
struct Watch {
    process: Kept,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Watch {
    fn start(name: &TestName, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringctl"));
        command.args(["watch", &name.name]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = Kept::start(&mut command);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (stdout, seen) = (process.0.stdout.take().unwrap(), lines.clone());
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                seen.lock().unwrap().push(line.unwrap());
            }
        });
        Watch { process, lines }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits until this is told.
    #[track_caller]
    fn tells(&self, sentence: &str) {
        self.tells_some(sentence, |line| line == sentence);
    }

    /// Waits until a sentence that this is true of is told, and answers with it.
    #[track_caller]
    fn tells_some(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            if let Some(line) = self.lines().into_iter().find(|line| is_it(line)) {
                return line;
            }
            assert!(start.elapsed() < watchdog(), "{what:?} is not among {:#?}", self.lines());
            thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}
