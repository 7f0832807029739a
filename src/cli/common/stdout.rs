//! Writes a consumer's items to standard output, and tracks how many bytes got out.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileTypeExt;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::exit::Failure;
use super::signals::{self, Ready};
use crate::StopFlag;
use crate::sys::command::io::{self as file_io, Wait};
use crate::sys::command::stdio;
use crate::sys::command::stream_lock::StreamLock;

/// A pipe that is ready accepts this much without blocking, and does not mix it with other writers' bytes.
const PIPE_PIECE: usize = 4096;
/// How often a process that writes to a shared stream without pause checks whether another one waits to write.
const TURN: Duration = Duration::from_millis(2);

/// Standard output, written without a buffer.
#[derive(Debug)]
pub struct Output {
    file: File,
    /// Whether it is a pipe, so that the system reports what its reader has not taken yet.
    is_pipe: bool,
    /// Whether a write may wait for a reader.
    may_block: bool,
    /// Cleared once the system has refused to promise that a write does not wait.
    never_waits: bool,
    stop: StopFlag,
    /// Excludes other processes that write to the same pipe or socket; `None` for other outputs.
    lock: Option<StreamLock>,
    /// When this process last saw that no other process waits for the lock.
    turn: Instant,
}

/// Why a write was incomplete.
#[derive(Debug)]
pub enum Cut {
    /// The output has no reader any more.
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
        Self::of(file, stop).map_err(|e| failed(&e))
    }

    /// Any open file as the output.
    ///
    /// # Errors
    /// The error of the system if it does not say what kind of file this is.
    pub(in crate::cli) fn of(file: File, stop: &StopFlag) -> io::Result<Self> {
        let kind = file.metadata()?.file_type();
        let device = kind.is_block_device() || kind.is_char_device() && !file.is_terminal();
        let may_block = !kind.is_file() && !device;
        let is_pipe = kind.is_fifo() && file_io::unread(file.as_fd()).is_some();
        let lock = (kind.is_fifo() || kind.is_socket()).then(StreamLock::default);
        let (stop, turn) = (stop.clone(), Instant::now());
        Ok(Output { file, is_pipe, may_block, never_waits: true, stop, lock, turn })
    }

    /// Whether it is a pipe or FIFO.
    pub fn is_pipe(&self) -> bool {
        self.is_pipe
    }

    /// Whether a write may wait for a reader.
    pub fn may_block(&self) -> bool {
        self.may_block
    }

    /// Bytes in the pipe that its reader has not taken, including those of other writers; also after the reader
    /// has left.
    pub fn unread(&self) -> Option<u64> {
        file_io::unread(self.file.as_fd())
    }

    /// Writes `bytes`, which are items that end at `ends`. Returns how many bytes were written, and why not all of
    /// them.
    pub fn write(&mut self, bytes: &[u8], ends: &[usize]) -> (usize, Option<Cut>) {
        let mut written = 0;
        while written < bytes.len() {
            let result = match self.room(Duration::MAX) {
                Ok(Ready::Stopped) => return (written, Some(Cut::Stopped)),
                Ok(_) => self.write_piece(bytes, written, ends),
                Err(error) => Err(error),
            };
            match result {
                Ok(0) if self.stop.is_raised() => return (written, Some(Cut::Stopped)),
                Ok(n) => written += n,
                Err(error) => return (written, Some(Cut::from(error))),
            }
        }
        (written, None)
    }

    /// Waits for room for a piece, at most `limit`.
    ///
    /// # Errors
    /// The error of the system.
    pub fn room(&self, limit: Duration) -> io::Result<Ready> {
        match self.may_block {
            true => signals::ready_in_time(limit, self.file.as_fd(), PollFlags::POLLOUT, &self.stop),
            false => Ok(Ready::Yes),
        }
    }

    /// Sleeps for at most `limit` while the output has a reader. `Ready::Yes`: it has none any more.
    pub fn rest(&self, limit: Duration) -> Ready {
        if !self.may_block {
            return if signals::sleep(limit, &self.stop) { Ready::NotYet } else { Ready::Stopped };
        }
        let told = signals::ready_in_time(limit, self.file.as_fd(), PollFlags::empty(), &self.stop);
        told.unwrap_or_else(|_| match signals::sleep(limit, &self.stop) {
            true => Ready::NotYet,
            false => Ready::Stopped,
        })
    }

    /// Writes a piece of `bytes` from `from` on, for which there should be room; `ends` as in
    /// [`write`](Self::write). 0: there was no room after all.
    ///
    /// To a pipe, it writes whole items if they are short enough.
    ///
    /// # Errors
    /// The error of the system.
    pub fn write_piece(&mut self, bytes: &[u8], from: usize, ends: &[usize]) -> io::Result<usize> {
        let until = if self.may_block { piece_end(from, bytes.len(), ends) } else { bytes.len() };
        let result = (&self.file).write(&bytes[from..until]);
        self.some(result)
    }

    /// Writes a piece of an item that has `left` bytes left, as [`write_piece`](Self::write_piece) does, by
    /// calling `write` with the maximum number of bytes, the descriptor, and whether the write may wait.
    ///
    /// # Errors
    /// The system's answer.
    pub fn write_by(
        &mut self,
        left: u64,
        mut write: impl FnMut(u64, BorrowedFd<'_>, Wait) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let careful = self.may_block && self.never_waits;
        let result = match (careful, self.may_block) {
            (true, _) => write(left, self.file.as_fd(), Wait::Never),
            (false, true) => write(left.min(PIPE_PIECE as u64), self.file.as_fd(), Wait::Allowed),
            (false, false) => write(left, self.file.as_fd(), Wait::Allowed),
        };
        match result {
            Err(error) if careful && file_io::is_unsupported(&error) => {
                self.never_waits = false;
                self.write_by(left, write)
            }
            result => self.some(result),
        }
    }

    fn some(&mut self, result: io::Result<usize>) -> io::Result<usize> {
        match result {
            Ok(0) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            // Another process that shares the output has set it to non-blocking, and it has less room than poll
            // reported.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.may_block = true;
                signals::sleep(Duration::from_millis(1), &self.stop);
                Ok(0)
            }
            result => result,
        }
    }

    /// Whether the pipe's readers have left.
    pub fn is_abandoned(&self) -> bool {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::empty())];
        let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
        self.may_block
            && poll(&mut fds, PollTimeout::ZERO).is_ok_and(|n| n > 0)
            && fds[0].revents().is_some_and(|seen| seen.intersects(gone))
    }

    /// Whether this process may begin an item, because no other process is in the middle of one. False: not yet.
    /// After a long turn, this process lets others go first.
    pub fn lock(&mut self) -> bool {
        let Some(lock) = &mut self.lock else { return true };
        if lock.is_held() {
            if self.turn.elapsed() < TURN {
                return true;
            }
            self.turn = Instant::now();
            if !lock.is_wanted(&self.file) {
                return true;
            }
            lock.release(&self.file);
        }
        let locked = lock.try_acquire(&self.file);
        if locked {
            self.turn = Instant::now();
        }
        locked
    }

    /// Whether others may have to wait for this process.
    pub fn is_locked(&self) -> bool {
        self.lock.is_some_and(StreamLock::is_held)
    }

    /// Lets other processes write; this process has completed its items.
    pub fn unlock(&mut self) {
        if let Some(lock) = &mut self.lock {
            lock.release(&self.file);
        }
    }
}

/// The end of the piece that starts at `from`: after as many whole items as fit, or within a long item.
fn piece_end(from: usize, len: usize, ends: &[usize]) -> usize {
    let most = len.min(from + PIPE_PIECE);
    let fitting = ends.partition_point(|&end| end <= most);
    ends[..fitting].last().copied().filter(|&end| end > from).unwrap_or(most)
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Cut::Closed,
            _ => Cut::Failed(error),
        }
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
