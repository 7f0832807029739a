//! Where a producer's items come from.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::poll::PollFlags;

use super::exit::{Failure, code};
use super::signals;
use crate::sys::io::{self as file_io, Wait};
use crate::sys::stdio;
use crate::{Reservation, StopFlag};

/// Bytes of a pipe that many are read from: the most that the system gives everybody.
const WIDE_PIPE: i32 = 1 << 20;

/// A file, a pipe or a terminal, read without a buffer of its own; a raised stop flag interrupts a read
/// that waits.
#[derive(Debug)]
pub struct Input {
    file: File,
    /// The name in messages.
    pub name: String,
    stop: StopFlag,
    source: Source,
    /// It was found that no read waits.
    in_memory: bool,
}

/// How to know beforehand what a read will find, so that room for just that can be claimed.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// A file with so many bytes left.
    File(u64),
    /// A pipe or a socket, which tells what waits in it.
    Stream,
    /// Not at all.
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
        // Not blocking, so that a FIFO is waited for in `read`, where the flag is looked at.
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let file = file.map_err(|error| Failure::io(&name, &error))?;
        if file.metadata().is_ok_and(|about| about.is_dir()) {
            return Err(Failure::new(code::RUNTIME, format!("{name}: this is a directory; expected a file")));
        }
        Ok(Self::new(file, name, stop))
    }

    fn new(mut file: File, name: String, stop: &StopFlag) -> Self {
        let source = Source::of(&mut file);
        Input { file, name, stop: stop.clone(), source, in_memory: false }
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
        Ok(Self::new(File::from(fd), name.into(), stop))
    }

    /// Asks for a roomier pipe, if this is one: its writer and this process then take turns less often. One that
    /// is refused, or none, is no loss.
    pub fn widen(&self) {
        if matches!(self.source, Source::Stream) {
            let _ = fcntl(&self.file, FcntlArg::F_SETPIPE_SZ(WIDE_PIPE));
        }
    }

    /// Bytes that [`read_directly`](Self::read_directly) would find at once; 0: none, or it is not known.
    pub fn waiting(&self) -> u64 {
        match self.source {
            Source::File(left) => left,
            Source::Stream => file_io::waiting(self.file.as_fd()),
            Source::Unknown => 0,
        }
    }

    /// One read into `room`, of up to `len` bytes, that does not wait unless it `may_wait`. `None`: there is
    /// nothing to be had this way now; `read` tells more.
    ///
    /// # Errors
    /// The system's answer, but for interruptions.
    pub fn read_directly(
        &mut self,
        room: &mut Reservation<'_>,
        len: u64,
        may_wait: bool,
    ) -> io::Result<Option<u64>> {
        let wait = if may_wait || self.in_memory { Wait::Allowed } else { Wait::Never };
        match room.read_from(self.file.as_fd(), len, wait) {
            Ok(read) if read > 0 => {
                self.took(read);
                Ok(Some(read))
            }
            // It became shorter, or somebody else reads it too.
            Ok(_) => Ok(self.is_unknown()),
            Err(error) if file_io::is_unsupported(&error) && file_io::is_in_memory(self.file.as_fd()) => {
                self.in_memory = true;
                self.read_directly(room, len, true)
            }
            Err(error) if file_io::is_unsupported(&error) => Ok(self.is_unknown()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// From here on only `read` reads it.
    fn is_unknown(&mut self) -> Option<u64> {
        self.source = Source::Unknown;
        None
    }

    fn took(&mut self, bytes: u64) {
        if let Source::File(left) = &mut self.source {
            *left = left.saturating_sub(bytes);
        }
    }
}

impl Read for Input {
    /// Answers `Interrupted` when the flag was raised.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !signals::ready(self.file.as_fd(), PollFlags::POLLIN, &self.stop)? {
                return Err(ErrorKind::Interrupted.into());
            }
            match self.file.read(buffer) {
                // Somebody else read what there was, or set the descriptor to not blocking.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(read) => {
                    self.took(read as u64);
                    return Ok(read);
                }
                failed => return failed,
            }
        }
    }
}
