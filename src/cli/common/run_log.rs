//! The log of what this process does with items: `--log`, `RINGPIPE_LOG`. `ringctl check` reads it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clap::Args;

use super::exit::Failure;
use crate::Error;
use crate::testing::history::{Entry, EventKind, Log};

/// Names the folder for the logs of all processes.
pub const VARIABLE: &str = "RINGPIPE_LOG";

/// Where to log.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Write what happens to each item to this file, for ringctl check
    ///
    /// An event is in the file before the call that it announces, so that a history is complete even if
    /// processes are killed at any moment. An item whose event cannot be written is neither sent nor
    /// acknowledged. New events go to the end of a file that exists; two processes cannot write to one. With
    /// the environment variable RINGPIPE_LOG, every producer and consumer writes a log of its own into the
    /// folder that it names. A producer then copies its items, and reads none in place.
    #[arg(long, value_name = "FILE", help_heading = "History (ringctl check reads it)")]
    log: Option<PathBuf>,
}

impl LogArgs {
    /// Opens the log that was asked for, by the option or else by the environment; `program` becomes a part of its name.
    ///
    /// # Errors
    /// The [`Failure`] of a file that cannot be written.
    pub fn open(&self, program: &str) -> Result<Option<RunLog>, Failure> {
        match &self.log {
            Some(path) => RunLog::open(path, || Log::open(path)).map(Some),
            None => from_environment(program),
        }
    }
}

/// Opens the log that the environment asks for, if it does.
///
/// # Errors
/// The [`Failure`] of a folder or file that cannot be written.
pub fn from_environment(program: &str) -> Result<Option<RunLog>, Failure> {
    let Some(folder) = env::var_os(VARIABLE).filter(|folder| folder != OsStr::new("")) else {
        return Ok(None);
    };
    let folder = Path::new(&folder);
    let create = || fs::create_dir_all(folder).and_then(|()| Log::create_in(folder, program));
    RunLog::open(folder, create).map(Some)
}

/// The log of this process, shared by its threads and by all rings that it takes part in.
#[derive(Debug, Clone)]
pub struct RunLog(Arc<Mutex<Log>>);

impl RunLog {
    fn open(path: &Path, open: impl FnOnce() -> io::Result<Log>) -> Result<Self, Failure> {
        let log = open().map_err(|error| {
            let failure = Failure::io(format!("log {path:?}"), &error);
            match error.kind() {
                ErrorKind::WouldBlock => {
                    let line =
                        format!("log {path:?}: another process writes it; expected a file for each process");
                    Failure { line, ..failure }
                }
                ErrorKind::InvalidData => failure.hint("expected a new file, or a log"),
                _ => failure,
            }
        })?;
        Ok(RunLog(Arc::new(Mutex::new(log))))
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an event of these items.
    ///
    /// # Errors
    /// The system's error, of this write or an earlier one.
    pub fn write(&self, kind: EventKind, items: impl IntoIterator<Item = Entry>) -> io::Result<()> {
        self.log().write(kind, items)
    }

    /// Fails if a write has failed.
    ///
    /// # Errors
    /// The error of that write.
    pub fn check(&self) -> Result<(), Error> {
        match self.log().failure() {
            Some(source) => Err(unwritten(source)),
            None => Ok(()),
        }
    }

    /// The result of a run with this log: if a write has failed, that failure.
    ///
    /// # Errors
    /// The failure of the log, or else that of `result`.
    pub fn or_failure<T>(&self, result: Result<T, Failure>) -> Result<T, Failure> {
        let log = self.log();
        match log.failure() {
            Some(error) => Err(Failure::io(format!("log {:?}", log.path()), &error)),
            None => result,
        }
    }
}

/// The error of an end of a ring whose event could not be written.
pub fn unwritten(source: io::Error) -> Error {
    Error::Io { what: "writing the log".into(), source }
}
