//! Where a producer's items come from.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;
use nix::poll::PollFlags;

use super::exit::{Failure, code};
use super::signals;
use crate::StopFlag;
use crate::sys::stdio;

/// A file, a pipe or a terminal, read without a buffer of its own; a raised stop flag interrupts a read
/// that waits.
#[derive(Debug)]
pub struct Input {
    file: File,
    /// The name in messages.
    pub name: String,
    stop: StopFlag,
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
        Ok(Input { file, name, stop: stop.clone() })
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
        Ok(Input { file: File::from(fd), name: name.into(), stop: stop.clone() })
    }
}

impl Read for Input {
    /// Answers `Interrupted` when the flag was raised.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !signals::ready(self.file.as_fd(), PollFlags::POLLIN, &self.stop)? {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match self.file.read(buffer) {
                // Somebody else read what there was, or set the descriptor to not blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }
}
