//! Exit codes, and the one line with which a command says why it ends.

use std::fmt::Display;
use std::io::{self, Write};

use crate::{Error, ErrorKind};

/// Exit codes of the three commands, the same meaning everywhere.
pub mod code {
    /// Done.
    pub const DONE: u8 = 0;
    /// A runtime error: the system refused, memory ran out, a file could not be read.
    pub const RUNTIME: u8 = 1;
    /// A bad argument.
    pub const USAGE: u8 = 2;
    /// Empty, or not found.
    pub const EMPTY: u8 = 3;
    /// Full, or timed out.
    pub const FULL: u8 = 4;
    /// The ring is closed.
    pub const CLOSED: u8 = 5;
    /// Damaged or incompatible.
    pub const DAMAGED: u8 = 6;
    /// An assertion failed.
    pub const ASSERTION: u8 = 10;
}

/// Why a command ends other than well: one line, perhaps a hint with the next command, and a code.
#[derive(Debug)]
pub struct Failure {
    /// What was wrong, and the expected form.
    pub line: String,
    /// The next command to try.
    pub hint: Option<String>,
    /// The exit code.
    pub code: u8,
}

impl Failure {
    /// A failure with this code and line.
    pub fn new(code: u8, line: impl Into<String>) -> Self {
        Failure { line: line.into(), hint: None, code }
    }

    /// A runtime error about `what`.
    pub fn io(what: impl Display, error: &io::Error) -> Self {
        Self::new(code::RUNTIME, format!("{what}: {}", plain(error)))
    }

    /// Standard output, or standard error, was closed when the command was started, and is needed.
    pub fn closed(stream: &str) -> Self {
        Self::new(code::RUNTIME, format!("{stream} is closed; expected a file, a pipe or a terminal"))
    }

    /// Adds a hint.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A library error about ring `ring`.
    pub fn of_ring(ring: &str, error: &Error) -> Self {
        let code = code_of(error.kind());
        let line = match error {
            // These begin with its name.
            Error::NotFound(_) | Error::Exists(_) => format!("ring {error}"),
            Error::Incompatible { name, why } => {
                format!("{name:?} is not a ring that this program can use: {why}")
            }
            // These name the ring themselves.
            Error::Name { .. } | Error::Busy(_) | Error::Options(_) => error.to_string(),
            Error::Io { what, source } if ring.is_empty() || what.contains(&format!("{ring:?}")) => {
                format!("{what}: {}", plain(source))
            }
            Error::Io { what, source } => format!("ring {ring:?}: {what}: {}", plain(source)),
            _ => format!("ring {ring:?}: {error}"),
        };
        let failure = Self::new(code, line);
        match error.kind() {
            ErrorKind::NotFound => failure.hint("ringctl list shows the rings that exist".to_string()),
            ErrorKind::Exists => failure.hint(format!("ringctl inspect {ring}, or ringctl rm {ring}")),
            ErrorKind::NoSpace => {
                failure.hint("less --capacity or --slot-size; df /dev/shm shows the room".to_string())
            }
            ErrorKind::Incompatible | ErrorKind::Damaged => {
                failure.hint(format!("ringctl rm -f {ring} removes it if it is a damaged or half-made ring"))
            }
            ErrorKind::Truncated => failure.hint(format!("ringctl rm -f {ring} removes what is left of it")),
            ErrorKind::Busy => failure.hint(format!("ringctl inspect {ring} shows who takes part")),
            _ => failure,
        }
    }

    /// Prints the failure to standard error as `program: line`, and the hint on a line of its own. A
    /// standard error that takes nothing is nobody's loss.
    pub fn print(&self, program: &str) {
        let mut text = format!("{program}: {}\n", self.line);
        if let Some(hint) = &self.hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        let _ = io::stderr().write_all(text.as_bytes());
    }
}

/// The exit code of a kind of error.
pub fn code_of(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage => code::USAGE,
        ErrorKind::NotFound | ErrorKind::Empty => code::EMPTY,
        ErrorKind::Full | ErrorKind::TimedOut => code::FULL,
        ErrorKind::Closed => code::CLOSED,
        ErrorKind::Incompatible | ErrorKind::Damaged | ErrorKind::Truncated => code::DAMAGED,
        _ => code::RUNTIME,
    }
}

/// The system's error without "(os error N)".
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_string()
}
