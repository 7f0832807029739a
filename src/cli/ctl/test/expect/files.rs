//! What the outputs and the files of a run must contain.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use regex_lite::Regex;
use sha2::{Digest, Sha256};

use super::Complaints;
use crate::cli::common::exit::Failure;
use crate::cli::ctl::test::beside::beside;
use crate::cli::ctl::test::run::stage::Stage;
use crate::cli::ctl::test::scenario::Expect;
use crate::testing::{Output, Process};

/// Bytes that are read at a time.
const BUFFER: usize = 64 << 10;

/// How many differing lines are shown.
const SHOWN: usize = 3;

/// A line for each output or file that is not as expected.
///
/// # Errors
/// An output cannot be read.
pub fn judge(expect: &Expect, stage: &Stage<'_>) -> Result<Complaints, Failure> {
    let mut complaints = Complaints::new();
    let mut add = |key, lines: Vec<String>| complaints.extend(lines.into_iter().map(|line| (key, line)));
    add("stdout", outputs(&expect.stdout, "standard output", stage, Process::stdout)?);
    add("stderr", outputs(&expect.stderr, "standard error", stage, Process::stderr)?);
    for (left, right) in &expect.equal {
        let (first, second) = (path(stage, left)?, path(stage, right)?);
        let names = (left.clone(), right.clone());
        let compared = beside(stage.stop, move || compare((&names.0, &first), (&names.1, &second)));
        let differ =
            compared.map_err(|error| Failure::io(format!("comparing {left} and {right}"), &error))?;
        add("equal", differ.into_iter().collect());
    }
    for (file, sum) in &expect.sha256 {
        let path = path(stage, file)?;
        let hashed = beside(stage.stop, move || hash(&path)).map_err(|error| Failure::io(file, &error))?;
        let line = match hashed {
            Ok(found) if found == sum.to_lowercase() => continue,
            Ok(found) => format!("SHA-256 of {file} is {found}, expected {sum}"),
            Err(error) => format!("{file}: {error}"),
        };
        add("sha256", vec![line]);
    }
    Ok(complaints)
}

fn outputs(
    expected: &BTreeMap<String, Vec<Regex>>,
    what: &str,
    stage: &Stage<'_>,
    output: fn(&Process) -> &Output,
) -> Result<Vec<String>, Failure> {
    let mut complaints = Vec::new();
    for (name, patterns) in expected {
        let outputs = stage.instances_of(name).map(|instance| output(&instance.process).clone()).collect();
        let patterns = patterns.clone();
        let missing = beside(stage.stop, move || unmatched(outputs, patterns));
        let missing = missing.map_err(|error| Failure::io(format!("{what} of {name}"), &error))??;
        complaints
            .extend(missing.iter().map(|pattern| format!("{what} of {name} does not match {pattern:?}")));
    }
    Ok(complaints)
}

/// The patterns that the text of all these outputs does not match.
fn unmatched(outputs: Vec<Output>, patterns: Vec<Regex>) -> Result<Vec<String>, Failure> {
    let mut text = String::new();
    for output in outputs {
        text += &output.text().map_err(|error| Failure::io(format!("{:?}", output.path()), &error))?;
    }
    let missing = patterns.iter().filter(|pattern| !pattern.is_match(&text));
    Ok(missing.map(|pattern| pattern.as_str().to_string()).collect())
}

fn path(stage: &Stage<'_>, file: &str) -> Result<PathBuf, Failure> {
    let file = stage.names.fill(file, 1).map_err(|error| Failure::io(file, &error))?;
    Ok(stage.names.folder().join(file))
}

/// Compares the sorted lines of two files, which have names and paths.
fn compare((left, left_path): (&str, &Path), (right, right_path): (&str, &Path)) -> Option<String> {
    let (first, second) = match (fs::read(left_path), fs::read(right_path)) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(error), _) => return Some(format!("{left}: {error}")),
        (_, Err(error)) => return Some(format!("{right}: {error}")),
    };
    let (first, second) = (sorted(&first), sorted(&second));
    if first == second {
        return None;
    }
    let only = |these: &[&[u8]], others: &[&[u8]]| -> Vec<String> {
        let (mut rest, mut only) = (others.iter().peekable(), Vec::new());
        for line in these {
            while rest.peek().is_some_and(|other| *other < line) {
                rest.next();
            }
            if rest.next_if(|other| *other == line).is_none() {
                only.push(String::from_utf8_lossy(line).into_owned());
            }
        }
        only
    };
    let list = |file: &str, lines: Vec<String>| {
        let shown: Vec<_> = lines.iter().take(SHOWN).map(|line| format!("{line:?}")).collect();
        let more = if lines.len() > SHOWN { ", ..." } else { "" };
        match lines.len() {
            0 => String::new(),
            1 => format!("; 1 line is only in {file}: {}", shown[0]),
            count => format!("; {count} lines are only in {file}: {}{more}", shown.join(", ")),
        }
    };
    let (in_first, in_second) = (only(&first, &second), only(&second, &first));
    let lines = [list(left, in_first), list(right, in_second)].concat();
    Some(format!("the sorted lines of {left} and {right} differ{lines}"))
}

/// The lines of a file, sorted; a last one without an end is a line.
fn sorted(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines.sort_unstable();
    lines
}

fn hash(path: &PathBuf) -> io::Result<String> {
    let (mut file, mut sum, mut buffer) = (File::open(path)?, Sha256::new(), vec![0; BUFFER]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => sum.update(&buffer[..read]),
        }
    }
    Ok(sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
