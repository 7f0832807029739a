//! Reading into and writing from memory that is shared with other processes, where no slice may be made.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};

/// Whether a call may wait for data or space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// As the descriptor is set.
    Allowed,
    /// Never, not even for a disk: the call returns `WouldBlock`, or `Unsupported` where the system cannot promise
    /// it.
    Never,
}

impl Wait {
    fn flags(self) -> libc::c_int {
        match self {
            Wait::Allowed => 0,
            Wait::Never => libc::RWF_NOWAIT,
        }
    }
}

/// Reads up to `len` bytes at the descriptor's position; returns 0 at its end.
///
/// # Errors
/// The error of the system; `Interrupted` by a signal; see [`Wait::Never`].
///
/// # Safety
/// `len` bytes from `to` on are mapped and writable, and this process does not access them during the call.
pub unsafe fn read_into(fd: BorrowedFd<'_>, to: NonNull<u8>, len: usize, wait: Wait) -> io::Result<usize> {
    let piece = libc::iovec { iov_base: to.as_ptr().cast(), iov_len: len };
    // SAFETY: one iovec, a local that lives through the call; the caller vouches for its range. Offset -1 stands
    // for the descriptor's own position.
    answer(unsafe { libc::preadv2(fd.as_raw_fd(), &piece, 1, -1, wait.flags()) })
}

/// As [`read_into`] with [`Wait::Never`], into memory of this process.
///
/// # Errors
/// As [`read_into`].
pub fn read_now(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let len = buffer.len();
    // SAFETY: a slice is mapped and writable, and borrowed for this call alone.
    unsafe { read_into(fd, NonNull::from(buffer).cast(), len, Wait::Never) }
}

/// Writes up to `len` bytes at the descriptor's position.
///
/// # Errors
/// As [`read_into`].
///
/// # Safety
/// `len` bytes from `from` on are mapped and readable.
pub unsafe fn write_from(fd: BorrowedFd<'_>, from: NonNull<u8>, len: usize, wait: Wait) -> io::Result<usize> {
    let piece = libc::iovec { iov_base: from.as_ptr().cast(), iov_len: len };
    // SAFETY: as in `read_into`; the system only reads the range of the iovec.
    answer(unsafe { libc::pwritev2(fd.as_raw_fd(), &piece, 1, -1, wait.flags()) })
}

fn answer(bytes: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(bytes).map_err(|_| io::Error::last_os_error())
}

/// Bytes to read in a pipe, a socket or a terminal; 0 where the system does not report it.
pub fn waiting(fd: BorrowedFd<'_>) -> u64 {
    unread(fd).unwrap_or(0)
}

/// Bytes in a pipe that no reader has taken yet. Works from either end, also after all readers have left. `None`
/// where the system does not report it.
pub fn unread(fd: BorrowedFd<'_>) -> Option<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: FIONREAD writes one int, which is a local.
    let told = unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONREAD, &mut bytes) } == 0;
    if told { u64::try_from(bytes).ok() } else { None }
}

/// Whether the file lies in memory, so that reading it never waits for a device or a network.
pub fn is_in_memory(fd: BorrowedFd<'_>) -> bool {
    fstatfs(fd).is_ok_and(|about| about.filesystem_type() == TMPFS_MAGIC)
}

/// Whether the system has no way to promise [`Wait::Never`] for this kind of file.
pub fn is_unsupported(error: &io::Error) -> bool {
    error.raw_os_error().map(Errno::from_raw) == Some(Errno::EOPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    fn read(fd: BorrowedFd<'_>, buffer: &mut [u8], wait: Wait) -> io::Result<usize> {
        let (to, len) = (NonNull::new(buffer.as_mut_ptr()).unwrap(), buffer.len());
        // SAFETY: a slice of this test.
        unsafe { read_into(fd, to, len, wait) }
    }

    #[test]
    fn a_pipe_returns_its_bytes_and_reports_how_many_there_are() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        assert_eq!(waiting(reader.as_fd()), 0);
        writer.write_all(b"hello").unwrap();
        assert_eq!(waiting(reader.as_fd()), 5);
        let mut buffer = [0; 16];
        assert_eq!(read(reader.as_fd(), &mut buffer[..3], Wait::Allowed).unwrap(), 3);
        assert_eq!(&buffer[..3], b"hel");
        let mut rest = [0; 2];
        reader.read_exact(&mut rest).unwrap();
        drop(writer);
        assert_eq!(read(reader.as_fd(), &mut buffer, Wait::Allowed).unwrap(), 0);
    }

    #[test]
    fn a_call_that_must_not_wait_returns_would_block() {
        let (reader, writer) = io::pipe().unwrap();
        let error = read(reader.as_fd(), &mut [0; 16], Wait::Never).unwrap_err();
        // An older kernel does not promise it for pipes.
        assert!(error.kind() == io::ErrorKind::WouldBlock || is_unsupported(&error), "{error}");
        let bytes = vec![7u8; 1 << 20];
        let from = NonNull::from(&bytes[0]);
        // SAFETY: a vector of this test.
        match unsafe { write_from(writer.as_fd(), from, bytes.len(), Wait::Never) } {
            Ok(written) => assert!(written < bytes.len()),
            Err(error) => assert!(is_unsupported(&error), "{error}"),
        }
    }
}
