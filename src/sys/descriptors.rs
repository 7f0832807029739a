//! Descriptors: closing all but a few, keeping a number free, and files in memory.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// Closes all descriptors from `first` on except those in `keep`, which is sorted, by calling `close`. Makes
/// only system calls. No object of this process may own a closed descriptor.
pub fn close_all_but(mut first: RawFd, keep: &[RawFd], close: fn(RawFd, RawFd)) {
    for fd in keep {
        if first < *fd {
            close(first, fd - 1);
        }
        first = first.max(fd + 1);
    }
    close(first, RawFd::MAX);
}

/// Closes the descriptors from `first` to `last`.
pub fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: a system call without memory.
    if unsafe { libc::syscall(libc::SYS_close_range, first as libc::c_uint, last as libc::c_uint, 0) } < 0 {
        // The kernel is older than Linux 5.9, or a filter refuses.
        close_each(first, last);
    }
}

/// As [`close_range`], one by one, up to the limit of descriptors (at least `LEAST`, at most `MOST`). The
/// system gives out the lowest free number, so a higher number is in use only if it was opened before the
/// limit was lowered.
pub fn close_each(first: RawFd, last: RawFd) {
    const LEAST: RawFd = 1 << 10;
    const MOST: RawFd = 1 << 16;
    let end = RawFd::try_from(limit()).map_or(MOST, |limit| limit.clamp(LEAST, MOST));
    for fd in first..=last.min(end - 1) {
        // SAFETY: a system call without memory.
        unsafe { libc::close(fd) };
    }
}

/// The limit of descriptors (`ulimit -n`): a number that is opened is below it.
fn limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: 0 };
    // SAFETY: the kernel writes to a local, and leaves it as it is if it refuses.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    limit.rlim_cur
}

/// Makes reads from, or writes to, `fd` return at once.
///
/// # Errors
/// The error of the system.
pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let on: c_int = 1;
    // SAFETY: FIONBIO reads one int, which is a local.
    match unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::FIONBIO, &on) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Reserves the number `fd`: no descriptor that this process opens later gets it, so a command can be given
/// it. An unusable number fails here, before the first command is started.
///
/// # Errors
/// The error of the system; in words for a number above `ulimit -n`, where the system says no more than that it is invalid.
pub fn reserve(fd: RawFd) -> io::Result<()> {
    // SAFETY: a system call without memory.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0 {
        return Ok(());
    }
    // The lowest free number from here on: unlike dup2, this takes no number that another thread is just given.
    let null = File::open("/dev/null")?;
    if null.as_raw_fd() == fd {
        std::mem::forget(null);
        return Ok(());
    }
    let copy = fcntl(&null, FcntlArg::F_DUPFD_CLOEXEC(fd)).map_err(|error| match limit() {
        limit if error == Errno::EINVAL && fd as u64 >= limit => {
            let most = limit.saturating_sub(1);
            io::Error::other(format!(
                "descriptor {fd} is above ulimit -n ({limit}); expected a number up to {most}"
            ))
        }
        _ => error.into(),
    })?;
    if copy != fd {
        // SAFETY: a new descriptor of this process. The number is in use by now, and left as it is.
        drop(unsafe { OwnedFd::from_raw_fd(copy) });
    }
    Ok(())
}

/// A copy of `fd`, close-on-exec, whose number is `least` or higher, if the limit of descriptors allows that.
///
/// # Errors
/// The error of the system.
pub fn copy_above(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    match fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(least)) {
        // SAFETY: a new descriptor of this process.
        Ok(copy) => Ok(unsafe { OwnedFd::from_raw_fd(copy) }),
        Err(_) => fd.try_clone_to_owned(),
    }
}

/// A file in memory without a name, close-on-exec.
///
/// # Errors
/// The error of the system.
pub fn memory_file() -> io::Result<File> {
    // SAFETY: the name is a constant string.
    let fd = unsafe { libc::memfd_create(c"ringpipe".as_ptr(), libc::MFD_CLOEXEC) };
    match fd {
        // SAFETY: a new descriptor of this process.
        0.. => Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) })),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_above_the_limit_is_told_with_the_limit() {
        let error = reserve(RawFd::MAX).unwrap_err().to_string();
        let limit = limit();
        assert!(
            error.starts_with(&format!("descriptor {} is above ulimit -n ({limit}); ", RawFd::MAX)),
            "{error}"
        );
    }
}
