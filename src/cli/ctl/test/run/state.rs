//! What everything was doing when a run stalled.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::instance::ended_text;
use super::stage::Stage;
use crate::cli::common::exit::Failure;
use crate::cli::ctl::children;
use crate::testing::Output;

/// How many lines of an output are shown.
const LINES: usize = 10;

/// Writes down what everything is doing, and returns the file.
///
/// # Errors
/// The file cannot be written.
pub fn write(stage: &Stage<'_>, why: &str) -> Result<PathBuf, Failure> {
    let path = stage.plan.folder.join("state.txt");
    fs::write(&path, text(stage, why)).map_err(|error| Failure::io(format!("{path:?}"), &error))?;
    Ok(path)
}

/// A text for people: the reason, the rings, the processes, and the ends of their outputs.
fn text(stage: &Stage<'_>, why: &str) -> String {
    let mut text = format!("{why}\n");
    for name in stage.rings.keys() {
        let _ = write!(text, "\nring {name}:\n{}", inspect(stage.names.ring(name)));
    }
    for instance in &stage.instances {
        let how = match instance.ended {
            Some((ended, _)) => ended_text(ended),
            None if instance.ready.is_none() => "runs, and is not ready".into(),
            None => "runs".into(),
        };
        let process = &instance.process;
        let _ = writeln!(text, "\n{} (process {}) {how}", process.name(), process.id());
        for (name, output) in [("stdout", process.stdout()), ("stderr", process.stderr())] {
            let _ = write!(text, "{}", end_of(name, output));
        }
    }
    text.push('\n');
    for observed in stage.session.observe() {
        let _ = write!(text, "{observed}");
    }
    text
}

/// `ringctl inspect` of a ring, or why that failed.
fn inspect(ring: &str) -> String {
    let Ok(this) = children::this_program() else { return String::new() };
    let output = Command::new(this).args(["inspect", ring]).stdin(Stdio::null()).output();
    match output {
        Ok(output) => String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        Err(error) => format!("{error}\n"),
    }
}

/// The last lines of an output.
fn end_of(name: &str, output: &Output) -> String {
    // An output that cannot be read is left out of the description.
    output.last_lines(LINES).unwrap_or_default().iter().map(|line| format!("  {name}: {line}\n")).collect()
}
