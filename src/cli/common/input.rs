//! Reads the input of a producer: a file, a pipe or a terminal.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::poll::PollFlags;

use crate::StopFlag;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::signals;
use crate::sys::command::io::{self as file_io, Wait};
use crate::sys::command::stdio;

/// The longest wait for input before the caller may check other things.
const SLICE: Duration = Duration::from_millis(80);
/// The size of a pipe from which a producer reads much: the most that the system allows every user.
const WIDE_PIPE: i32 = 1 << 20;

/// A file, a pipe or a terminal, read without a buffer of its own. Raising the stop flag interrupts a waiting
/// read.
#[derive(Debug)]
pub struct Input {
    file: File,
    /// The name in messages.
    pub name: String,
    stop: StopFlag,
    source: Source,
    /// The position of the next byte in a file.
    position: u64,
    /// Another process may continue to read where this one stops: the input is standard input with a position.
    shared: bool,
    /// Reads of this input never wait.
    in_memory: bool,
}

/// How to know in advance how much a read will return, so that the producer can claim exactly that much room.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// A file with this many bytes left.
    File(u64),
    /// A pipe or a socket, which reports how many bytes it holds.
    Stream,
    /// Unknown.
    Unknown,
}

impl Source {
    fn of(file: &mut File) -> Self {
        let Ok(about) = file.metadata() else { return Source::Unknown };
        if about.file_type().is_fifo() || about.file_type().is_socket() {
            return Source::Stream;
        }
        match file.stream_position() {
            Ok(position) if about.is_file() => Source::File(about.len().saturating_sub(position)),
            _ => Source::Unknown,
        }
    }
}

/// The number of bytes left in the file at this path, or on standard input for `-`, if it is a regular file.
pub fn size(path: &Path) -> Option<u64> {
    let (about, read) = if path == Path::new("-") {
        let mut file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
        let about = file.metadata().ok()?;
        (about.clone(), if about.is_file() { file.stream_position().ok()? } else { 0 })
    } else {
        (path.metadata().ok()?, 0)
    };
    about.is_file().then(|| about.len().saturating_sub(read))
}

impl Input {
    /// Opens the file of this path, or standard input for `-`.
    ///
    /// # Errors
    /// A [`Failure`] if it cannot be opened, or is a directory.
    pub fn open(path: &Path, stop: &StopFlag) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Self::stdin(stop);
        }
        let name = path.display().to_string();
        // Not blocking, so that `read` waits for a FIFO's writer and can check the flag meanwhile.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let file = file.map_err(|error| Failure::io(&name, &error))?;
        if file.metadata().is_ok_and(|about| about.is_dir()) {
            return Err(Failure::new(code::RUNTIME, format!("{name}: this is a directory; expected a file")));
        }
        Ok(Self::new(file, name, stop))
    }

    fn new(mut file: File, name: String, stop: &StopFlag) -> Self {
        let source = Source::of(&mut file);
        let position = file.stream_position().unwrap_or(0);
        Input { file, name, stop: stop.clone(), source, position, shared: false, in_memory: false }
    }

    /// Standard input.
    ///
    /// # Errors
    /// A [`Failure`] if it is closed.
    pub fn stdin(stop: &StopFlag) -> Result<Self, Failure> {
        let name = "standard input";
        if !stdio::was_open(0) {
            let line = "standard input is closed; expected items on it, FILEs or --item";
            return Err(Failure::new(code::RUNTIME, line));
        }
        let fd = io::stdin().as_fd().try_clone_to_owned().map_err(|error| Failure::io(name, &error))?;
        let mut input = Self::new(File::from(fd), name.into(), stop);
        input.shared = input.file.stream_position().is_ok();
        Ok(input)
    }

    /// Leaves the last `bytes` that were read to the next process that reads this input. Not possible for a pipe,
    /// or after another process has read on.
    pub fn give_back(&mut self, bytes: u64) {
        if self.shared
            && bytes > 0
            && self.file.stream_position().is_ok_and(|now| now == self.position)
            && let Ok(bytes) = i64::try_from(bytes)
        {
            // A device with a position that cannot seek back keeps the bytes.
            let _ = self.file.seek(SeekFrom::Current(-bytes));
        }
    }

    /// The position of the next byte in a file.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Continues to read from `position`.
    ///
    /// # Errors
    /// A [`Failure`] with the error of the system.
    pub fn go_to(&mut self, position: u64) -> Result<(), Failure> {
        self.file.seek(SeekFrom::Start(position)).map_err(|error| Failure::io(&self.name, &error))?;
        self.position = position;
        self.source = Source::of(&mut self.file);
        Ok(())
    }

    /// The file's metadata.
    ///
    /// # Errors
    /// A [`Failure`] with the error of the system.
    pub fn about(&self) -> Result<Metadata, Failure> {
        self.file.metadata().map_err(|error| Failure::io(&self.name, &error))
    }

    /// The first bytes of the file; does not change the read position.
    ///
    /// # Errors
    /// A [`Failure`] with the error of the system.
    pub fn first_bytes(&self, count: u64) -> Result<Vec<u8>, Failure> {
        let mut bytes = vec![0; count as usize];
        self.file.read_exact_at(&mut bytes, 0).map_err(|error| Failure::io(&self.name, &error))?;
        Ok(bytes)
    }

    /// Enlarges the input if it is a pipe: its writer and this process then alternate less often. Ignores a
    /// refusal.
    pub fn widen(&self) {
        if matches!(self.source, Source::Stream) {
            let _ = fcntl(&self.file, FcntlArg::F_SETPIPE_SZ(WIDE_PIPE));
        }
    }

    /// Bytes left in a regular file.
    pub fn left(&self) -> Option<u64> {
        match self.source {
            Source::File(left) => Some(left),
            Source::Stream | Source::Unknown => None,
        }
    }

    /// Bytes that [`read_directly`](Self::read_directly) would read without waiting; 0 if there are none or the
    /// number is unknown.
    pub fn waiting(&self) -> u64 {
        match self.source {
            Source::File(left) => left,
            Source::Stream => file_io::waiting(self.file.as_fd()),
            Source::Unknown => 0,
        }
    }

    /// Reads once, by calling `read` with the file and whether the read may wait (only with `may_wait`). `None`:
    /// no bytes can be read this way now; call [`Read::read`].
    ///
    /// # Errors
    /// The error of the system, except interruptions.
    pub fn read_directly(
        &mut self,
        may_wait: bool,
        mut read: impl FnMut(BorrowedFd<'_>, Wait) -> io::Result<u64>,
    ) -> io::Result<Option<u64>> {
        let wait = if may_wait || self.in_memory { Wait::Allowed } else { Wait::Never };
        match read(self.file.as_fd(), wait) {
            Ok(bytes) if bytes > 0 => {
                self.took(bytes);
                Ok(Some(bytes))
            }
            // The file became shorter, or another process reads it too.
            Ok(_) => Ok(self.is_unknown()),
            Err(error) if file_io::is_unsupported(&error) && file_io::is_in_memory(self.file.as_fd()) => {
                self.in_memory = true;
                self.read_directly(true, read)
            }
            Err(error) if file_io::is_unsupported(&error) => Ok(self.is_unknown()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A read that does not wait for a stream: another process that reads the same stream may have taken the bytes
    /// since it was found ready.
    fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if matches!(self.source, Source::Stream) {
            match file_io::read_now(self.file.as_fd(), buffer) {
                Err(error) if file_io::is_unsupported(&error) => self.source = Source::Unknown,
                result => return result,
            }
        }
        self.file.read(buffer)
    }

    /// From here on, only `read` reads this input.
    fn is_unknown(&mut self) -> Option<u64> {
        self.source = Source::Unknown;
        None
    }

    fn took(&mut self, bytes: u64) {
        self.position += bytes;
        if let Source::File(left) = &mut self.source {
            *left = left.saturating_sub(bytes);
        }
    }
}

impl Read for Input {
    /// Returns `Interrupted` when the flag was raised, and when no byte has come for [`SLICE`]: then the caller
    /// checks whether to continue reading.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let is_file = matches!(self.source, Source::File(_));
        if !is_file && !signals::ready_within(SLICE, self.file.as_fd(), PollFlags::POLLIN, &self.stop)? {
            return Err(ErrorKind::Interrupted.into());
        }
        match self.read_now(buffer) {
            // Another process took the bytes.
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::Interrupted.into()),
            Ok(read) => {
                self.took(read as u64);
                Ok(read)
            }
            failed => failed,
        }
    }
}
