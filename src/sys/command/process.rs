//! The processors that this process runs on, and processes that end with it.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

pub use super::super::process::processors;

/// Makes the kernel send TERM to the process that `command` will start, as soon as the thread that starts it ends
/// for any reason.
pub fn end_with_parent(command: &mut Command) {
    let ask = || {
        // SAFETY: a system call without memory; it is allowed between fork and exec.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: `ask` only makes a system call, and reads errno.
    unsafe { command.pre_exec(ask) };
}

/// Whether this process is in the foreground group of its controlling terminal, the only one that may read from it.
pub fn is_in_foreground() -> bool {
    // SAFETY: system calls without memory.
    File::open("/dev/tty").is_ok_and(|tty| unsafe { libc::tcgetpgrp(tty.as_raw_fd()) == libc::getpgrp() })
}

/// Restricts the calling thread, and the threads that it starts afterwards, to processor `cpu`.
///
/// # Errors
/// The error of the system; `InvalidInput` for a processor that does not exist or that this process may not use.
pub fn run_on(cpu: u32) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu as usize)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// The processors that the calling thread may run on, in ascending order; empty if the system does not report
/// them.
pub fn allowed_processors() -> Vec<u32> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).map(|cpu| cpu as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_runs_where_it_is_told_to() {
        std::thread::spawn(|| {
            let before = allowed_processors();
            let last = *before.last().unwrap();
            run_on(last).unwrap();
            assert_eq!(allowed_processors(), [last]);
            assert!(run_on(1023).is_err() && run_on(u32::MAX).is_err());
            assert_eq!(allowed_processors(), [last]);
        })
        .join()
        .unwrap();
    }
}
