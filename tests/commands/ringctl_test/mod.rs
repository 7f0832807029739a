//! `ringctl test`: whole scenarios, with real processes and real faults.

mod ends;
mod expectations;
mod faults;
mod histories;
mod judgements;
mod known_faults;
mod points;
mod programs;
mod reports;
mod scenarios;
mod signals;

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::{Ended, Run};

/// A folder with a scenario file in it.
pub struct Bench {
    pub folder: TempDir,
}

impl Bench {
    /// With this text as the file `scenario.toml`.
    pub fn new(scenario: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("scenario.toml"), scenario).unwrap();
        Bench { folder }
    }

    /// `ringctl test` of the file, with these arguments; what it keeps is in the folder.
    pub fn command(&self, arguments: &[&str]) -> Run {
        let run = Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&["test", "scenario.toml"]).args(arguments);
        run.env("TMPDIR", self.folder.path()).current_dir(self.folder.path())
    }

    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.command(arguments).run()
    }

    /// The path of a file that a kept run has made.
    pub fn path(&self, below: &str) -> PathBuf {
        self.folder.path().join(below)
    }
}

/// Runs a scenario, and checks its exit code.
#[track_caller]
pub fn runs(scenario: &str, code: i32) -> Ended {
    let ended = Bench::new(scenario).run(&[]);
    assert_eq!(ended.code, Some(code), "{scenario}\n{}\n{}", ended.text(), ended.stderr);
    ended
}

#[track_caller]
pub fn passes(scenario: &str) -> Ended {
    runs(scenario, 0)
}

/// Fails with a line that contains `line`.
#[track_caller]
pub fn fails(scenario: &str, line: &str) {
    let ended = runs(scenario, 10);
    assert!(ended.text().contains(line), "{line:?} is missing in {}", ended.text());
}

/// Is inconclusive, with a line that contains `line`.
#[track_caller]
pub fn is_open(scenario: &str, line: &str) {
    let ended = runs(scenario, 11);
    assert!(ended.text().contains(line), "{line:?} is missing in {}", ended.text());
}
