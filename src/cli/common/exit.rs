//! Exit codes, and the one-line message of a command that fails.

use std::fmt::Display;
use std::io::{self, Write};

use nix::errno::Errno;

use super::{color, escape, users};
use crate::sys::command::DIRECTORY;
use crate::{Error, ErrorKind};

/// Exit codes, with the same meaning for all three commands.
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
    /// A test could not be judged: its fault did not strike.
    pub const INCONCLUSIVE: u8 = 11;
    /// Items failed for good in a worker's commands.
    pub const FAILED_ITEMS: u8 = 123;
    /// A worker's command cannot be executed.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// A worker's command was not found.
    pub const NOT_FOUND: u8 = 127;
}

/// A failed command: one line, sometimes a hint with the next command, and an exit code.
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
        Self::new(code::RUNTIME, format!("{what}: {}", plain(error))).hint_at(way_out(error))
    }

    fn hint_at(self, hint: Option<&str>) -> Self {
        Failure { hint: hint.map(str::to_string), ..self }
    }

    /// Standard output or standard error is needed, but was closed when the command was started.
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
            // These errors begin with the ring's name.
            Error::NotFound(_) | Error::Exists(_) => format!("ring {error}"),
            Error::Incompatible { name, why } => {
                format!("{name:?} is not a ring that this program can use: {why}")
            }
            Error::Untrusted { name, owner } => {
                let owner = users::user(*owner);
                format!("ring {name:?} belongs to {owner}; expected one of your own, or of root")
            }
            // These errors contain the ring's name.
            Error::Name { .. } | Error::Busy(_) | Error::Options(_) => error.to_string(),
            Error::Io { what, source } if ring.is_empty() || what.contains(&format!("{ring:?}")) => {
                format!("{what}: {}", plain(source))
            }
            Error::Io { what, source } => format!("ring {ring:?}: {what}: {}", plain(source)),
            _ => format!("ring {ring:?}: {error}"),
        };
        let failure = Self::new(code, line);
        let ring = escape::argument(ring);
        if let Error::Untrusted { owner, .. } = error {
            let owner = users::user_name(*owner);
            return failure.hint(format!("--owner {owner} accepts that user, --shared any"));
        }
        match error.kind() {
            ErrorKind::NotFound => failure.hint("ringctl list shows the rings that exist".to_string()),
            ErrorKind::Exists => failure.hint(format!("ringctl inspect {ring}, or ringctl rm {ring}")),
            ErrorKind::NoSpace if matches!(error, Error::MemoryLimit { .. }) => failure
                .hint("use a smaller --capacity or --slot-size, or a larger number in that file".to_string()),
            ErrorKind::NoSpace => failure.hint(
                "use a smaller --capacity or --slot-size; df /dev/shm shows the free space".to_string(),
            ),
            ErrorKind::TooLarge => failure.hint(MORE_ROOM),
            ErrorKind::Mismatch => {
                failure.hint("a ring that is made without --fixed takes items of any length")
            }
            ErrorKind::Incompatible | ErrorKind::Damaged => {
                failure.hint(format!("ringctl rm -f {ring} removes it if it is a damaged or unfinished ring"))
            }
            ErrorKind::Truncated => failure.hint(format!("ringctl rm -f {ring} removes the rest of it")),
            ErrorKind::Busy => failure.hint(format!("ringctl inspect {ring} lists its processes")),
            _ => failure.hint_at(way_out_of(error)),
        }
    }

    /// Prints the failure to standard error as `program: line`, and the hint on its own line. Ignores errors of
    /// standard error.
    pub fn print(&self, program: &str) {
        let (bad, notable, plain) = match color::is_on(&io::stderr()) {
            true => ("\x1b[1;31m", "\x1b[33m", "\x1b[0m"),
            false => ("", "", ""),
        };
        let mut text = format!("{bad}{program}:{plain} {}\n", escape::text(&self.line));
        if let Some(hint) = &self.hint {
            text.push_str(&format!("{notable}hint:{plain} {}\n", escape::text(hint)));
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

/// A hint for an error of the system about shared memory.
pub fn way_out_of(error: &Error) -> Option<&'static str> {
    let Error::Io { what, source } = error else { return None };
    match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EROFS) => Some("as root: mount -o remount,rw /dev/shm"),
        Some(Errno::ENOENT | Errno::ENOTDIR) if what.contains(DIRECTORY) => {
            Some("as root: mkdir -p /dev/shm && mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm")
        }
        Some(Errno::ENOSPC) => Some("df -i /dev/shm shows whether it takes more files"),
        Some(Errno::EFBIG) => Some("ulimit -f unlimited lifts the limit, which counts shared memory, too"),
        _ => way_out(source),
    }
}

/// The hint where an item does not fit into the ring.
pub const MORE_ROOM: &str = "make the ring with more slots (--capacity) or larger ones (--slot-size)";

/// A hint for a limit of the system.
fn way_out(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error().map(Errno::from_raw)? {
        Errno::EMFILE => Some("ulimit -n 256 allows more open files"),
        Errno::ENOMEM => Some("ulimit -v shows how much memory a process may map"),
        Errno::ENFILE => Some("sysctl fs.file-max shows how many open files the system allows"),
        Errno::EFBIG => Some("ulimit -f shows how large a file may be"),
        _ => None,
    }
}

/// The system's error without "(os error N)".
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_string()
}
