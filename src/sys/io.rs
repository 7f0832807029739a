//! Moves bytes between a descriptor and shared memory, without a buffer in between.
//!
//! No reference to the shared bytes is made: the kernel alone touches them. Where another process has
//! cut the segment short, these calls answer `EFAULT` instead of ending this one with SIGBUS.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr::NonNull,
};

/// Writes up to `len` bytes from `ptr` to the descriptor and says how many it took.
///
/// # Errors
/// The system's answer, `EINTR` included: the caller looks at its stop flag and tries again.
///
/// # Safety
/// The `len` bytes at `ptr` stay mapped during the call. Other processes may change them meanwhile.
pub unsafe fn write_from(fd: BorrowedFd<'_>, ptr: NonNull<u8>, len: usize) -> io::Result<usize> {
    // SAFETY: the kernel reads at most `len` bytes at `ptr`, which the caller keeps mapped.
    count(unsafe { libc::write(fd.as_raw_fd(), ptr.as_ptr().cast(), len) })
}

/// Reads up to `len` bytes from the descriptor to `ptr` and says how many came; 0 is the end of the input.
///
/// # Errors
/// The system's answer, `EINTR` included: the caller looks at its stop flag and tries again.
///
/// # Safety
/// The `len` bytes at `ptr` stay mapped during the call, are the caller's to write, and this process holds
/// no reference to them.
pub unsafe fn read_into(fd: BorrowedFd<'_>, ptr: NonNull<u8>, len: usize) -> io::Result<usize> {
    // SAFETY: the kernel writes at most `len` bytes at `ptr`, which are mapped and the caller's to write.
    count(unsafe { libc::read(fd.as_raw_fd(), ptr.as_ptr().cast(), len) })
}

fn count(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn bytes_cross_a_pipe_and_then_it_ends() {
        let (read, write) = std::io::pipe().unwrap();
        let mut out = *b"across";
        let mut back = [0u8; 16];
        // SAFETY: both arrays live through the calls and are used through these pointers only.
        unsafe {
            let out = NonNull::from(&mut out).cast();
            let back = NonNull::from(&mut back).cast();
            assert_eq!(write_from(write.as_fd(), out, 6).unwrap(), 6);
            assert_eq!(read_into(read.as_fd(), back, 16).unwrap(), 6);
            drop(write);
            assert_eq!(read_into(read.as_fd(), back, 16).unwrap(), 0);
        }
        assert_eq!(&back[..6], b"across");
    }

    #[test]
    fn the_systems_refusal_is_passed_on() {
        let (read, _write) = std::io::pipe().unwrap();
        let mut byte = 0u8;
        // SAFETY: the byte lives through the call.
        let result = unsafe { write_from(read.as_fd(), NonNull::from(&mut byte), 1) };
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
