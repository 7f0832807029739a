//! A program to start, and when one of its processes is ready.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

/// The first number after those of the standard streams.
const FIRST: i32 = 3;

/// What [`Session::start`](super::Session::start) starts.
///
/// Standard output and error of each process are files in the session's folder.
#[derive(Debug, Clone)]
pub struct Program {
    pub(super) name: String,
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: BTreeMap<OsString, OsString>,
    pub(super) folder: Option<PathBuf>,
    pub(super) input: Input,
    pub(super) ready: Ready,
    /// The number of a descriptor, and the folder of the file to which it writes.
    pub(super) log: Option<(i32, PathBuf)>,
}

/// What a process reads as its standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    Nothing,
    Bytes(Vec<u8>),
    File(PathBuf),
}

impl Program {
    /// A program by its path, or by its name if it is found in `PATH`. Processes are named after it.
    pub fn new(program: impl Into<OsString>) -> Self {
        let program = program.into();
        let name = Path::new(&program).file_name().unwrap_or(&program).to_string_lossy().into_owned();
        Program {
            name,
            program,
            arguments: Vec::new(),
            environment: BTreeMap::new(),
            folder: None,
            input: Input::Nothing,
            ready: Ready::Started,
            log: None,
        }
    }

    /// A line for `/bin/sh -c`.
    pub fn shell(line: impl AsRef<OsStr>) -> Self {
        Program::new("/bin/sh").arg("-c").arg(line)
    }

    /// The name of its processes: the first is NAME-1. A `/` in it is replaced by `_`.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into().replace('/', "_");
        self
    }

    /// Adds an argument.
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().into());
        self
    }

    /// Adds arguments.
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().into()));
        self
    }

    /// Sets a variable of its environment, which is otherwise that of this process.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// The folder in which it runs, instead of the session's folder.
    pub fn current_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Its standard input has these bytes, instead of none.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// Its standard input is this file.
    pub fn stdin_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.input = Input::File(file.into());
        self
    }

    /// When a process is ready, instead of as soon as it is started.
    pub fn ready(mut self, ready: Ready) -> Self {
        self.ready = ready;
        self
    }

    /// The descriptor with this number, from 3 up, writes to the end of a file of each process: NAME-N.fd.log in this
    /// folder, which is made. The children of a process inherit the descriptor. Another number, or that of
    /// [`Ready::Descriptor`], is an error when a process is started (`InvalidInput`).
    pub fn log(mut self, number: i32, folder: impl Into<PathBuf>) -> Self {
        self.log = Some((number, folder.into()));
        self
    }

    /// Whether each number of a descriptor can be given to a process.
    ///
    /// # Errors
    /// `InvalidInput`: a number is that of a standard stream, is none, or is given twice.
    pub(super) fn check_descriptors(&self) -> io::Result<()> {
        let ready = match self.ready {
            Ready::Descriptor(number) => Some((number, "Ready::Descriptor")),
            _ => None,
        };
        let log = self.log.as_ref().map(|(number, _)| (*number, "Program::log"));
        let wrong = |line: String| Err(io::Error::new(io::ErrorKind::InvalidInput, line));
        for (number, what) in ready.into_iter().chain(log) {
            if number < FIRST {
                return wrong(format!("descriptor {number} of {what}; expected a number from {FIRST} up"));
            }
        }
        match (ready, log) {
            (Some((number, _)), Some((other, _))) if number == other => wrong(format!(
                "descriptor {number} of both Ready::Descriptor and Program::log; expected two numbers"
            )),
            _ => Ok(()),
        }
    }
}

/// When a process is ready for its test.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum Ready {
    /// As soon as it is started.
    #[default]
    Started,
    /// When it has written a line to its standard output for which this is true.
    Stdout(Condition<str>),
    /// When it has written a line to its standard error for which this is true.
    Stderr(Condition<str>),
    /// When this file exists.
    File(PathBuf),
    /// When a TCP connection to this address (`HOST:PORT`) succeeds.
    Tcp(String),
    /// When it has written something to the descriptor with this number, from 3 up, or has closed it. Another number is an
    /// error when a process is started (`InvalidInput`).
    Descriptor(i32),
    /// When this is true of its process id.
    When(Condition<u32>),
}

/// A condition on a line or on a process.
pub type Condition<T> = Arc<dyn Fn(&T) -> bool + Send + Sync>;

impl Ready {
    /// When it has written a line to its standard output that contains `text`.
    pub fn printed(text: impl Into<String>) -> Self {
        let text = text.into();
        Ready::Stdout(Arc::new(move |line| line.contains(&text)))
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ready::Started => f.write_str("Started"),
            Ready::Stdout(_) => f.write_str("Stdout(..)"),
            Ready::Stderr(_) => f.write_str("Stderr(..)"),
            Ready::File(file) => f.debug_tuple("File").field(file).finish(),
            Ready::Tcp(address) => f.debug_tuple("Tcp").field(address).finish(),
            Ready::Descriptor(number) => f.debug_tuple("Descriptor").field(number).finish(),
            Ready::When(_) => f.write_str("When(..)"),
        }
    }
}
