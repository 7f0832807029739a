//! Where a consumer's items go: standard output, and how far they got.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::exit::Failure;
use super::signals;
use crate::sys::io::{self as file_io, Wait};
use crate::sys::stdio;
use crate::{BatchItem, StopFlag};

/// A pipe that is ready takes this much without blocking, and does not mix it with what others write.
const PIPE_PIECE: usize = 4096;

/// Standard output, written without a buffer.
#[derive(Debug)]
pub struct Output {
    file: File,
    /// Whether a write may wait for a reader.
    may_block: bool,
    /// Whether the system has not refused yet to promise that a write does not wait.
    never_waits: bool,
    stop: StopFlag,
}

/// Why not everything was written.
#[derive(Debug)]
pub enum Cut {
    /// Nobody reads any more.
    Closed,
    /// The stop flag was raised while there was no room.
    Stopped,
    /// The system refused.
    Failed(io::Error),
}

impl Output {
    /// Standard output.
    ///
    /// # Errors
    /// A [`Failure`] if it is closed.
    pub fn stdout(stop: &StopFlag) -> Result<Self, Failure> {
        let failed = |error: &io::Error| Failure::io("standard output", error);
        if !stdio::was_open(1) {
            return Err(Failure::closed("standard output"));
        }
        let file = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(|e| failed(&e))?);
        let kind = file.metadata().map_err(|e| failed(&e))?.file_type();
        let device = kind.is_block_device() || kind.is_char_device() && !file.is_terminal();
        let may_block = !kind.is_file() && !device;
        Ok(Output { file, may_block, never_waits: true, stop: stop.clone() })
    }

    /// Writes `bytes`, which are items that end at `ends`; answers how many bytes went out, and why not all.
    ///
    /// What goes to a pipe goes in whole items where they are short enough, so that the items of several
    /// consumers on one pipe do not mix.
    pub fn write(&mut self, bytes: &[u8], ends: &[usize]) -> (usize, Option<Cut>) {
        let mut written = 0;
        while written < bytes.len() {
            let until = if self.may_block { piece_end(written, bytes.len(), ends) } else { bytes.len() };
            match self.write_some(&bytes[written..until]) {
                Ok(Some(n)) => written += n,
                Ok(None) => return (written, Some(Cut::Stopped)),
                Err(error) => return (written, Some(cut(error))),
            }
        }
        (written, None)
    }

    /// Writes the bytes of an item straight from its slots; answers as [`write`](Self::write).
    pub fn write_item(&mut self, item: &BatchItem<'_>) -> (usize, Option<Cut>) {
        let mut written = 0;
        while written < item.len() {
            let (at, left) = (written as u64, (item.len() - written) as u64);
            let (careful, blocking) = (self.may_block && self.never_waits, self.may_block);
            let result = self.attempt(|file| match (careful, blocking) {
                (true, _) => item.write_to(at, left, file.as_fd(), Wait::Never),
                (false, true) => item.write_to(at, left.min(PIPE_PIECE as u64), file.as_fd(), Wait::Allowed),
                (false, false) => item.write_to(at, left, file.as_fd(), Wait::Allowed),
            });
            match result {
                Ok(Some(n)) => written += n,
                Ok(None) => return (written, Some(Cut::Stopped)),
                Err(error) if careful && file_io::is_unsupported(&error) => self.never_waits = false,
                Err(error) => return (written, Some(cut(error))),
            }
        }
        (written, None)
    }

    /// One write; `None`: the flag was raised while there was no room.
    fn write_some(&mut self, bytes: &[u8]) -> io::Result<Option<usize>> {
        self.attempt(|mut file| file.write(bytes))
    }

    /// One `write`; `None`: the flag was raised while there was no room.
    fn attempt(&mut self, write: impl Fn(&File) -> io::Result<usize>) -> io::Result<Option<usize>> {
        loop {
            if self.may_block && !signals::ready(self.file.as_fd(), PollFlags::POLLOUT, &self.stop)? {
                return Ok(None);
            }
            match write(&self.file) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => return Ok(Some(n)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Set to not blocking by whoever shares it, and with less room than poll knows of.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.may_block = true;
                    if !signals::sleep(std::time::Duration::from_millis(1), &self.stop) {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the readers of a pipe have gone.
    pub fn is_abandoned(&self) -> bool {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::empty())];
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
        self.may_block
            && poll(&mut fds, PollTimeout::ZERO).is_ok_and(|n| n > 0)
            && fds[0].revents().is_some_and(|seen| seen.intersects(gone))
    }
}

/// The end of the piece that starts at `from`: after as many whole items as fit, or within a long item.
fn piece_end(from: usize, len: usize, ends: &[usize]) -> usize {
    let most = len.min(from + PIPE_PIECE);
    let fitting = ends.partition_point(|&end| end <= most);
    ends[..fitting].last().copied().filter(|&end| end > from).unwrap_or(most)
}

fn cut(error: io::Error) -> Cut {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Cut::Closed,
        _ => Cut::Failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_items_where_they_fit() {
        assert_eq!(piece_end(0, 10, &[3, 6, 10]), 10);
        assert_eq!(piece_end(0, 9000, &[4000, 4096, 9000]), 4096);
        assert_eq!(piece_end(0, 9000, &[4000, 4097, 9000]), 4000);
        assert_eq!(piece_end(4000, 9000, &[4000, 9000]), 8096);
        assert_eq!(piece_end(8096, 9000, &[4000, 9000]), 9000);
        assert_eq!(piece_end(0, 5000, &[5000]), 4096);
    }
}
