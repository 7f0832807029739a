//! A command that runs.

use std::ffi::c_int;
use std::io::{self, PipeReader, PipeWriter};
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::guard::Groups;

/// A command that was started. Dropping it kills its group and reaps it.
#[derive(Debug)]
pub struct Running {
    /// The pipe to its standard input.
    pub stdin: Option<PipeWriter>,
    /// The pipe from its standard output.
    pub stdout: Option<PipeReader>,
    /// The pipe from its standard error.
    pub stderr: Option<PipeReader>,
    pub(super) pid: Pid,
    /// Where its group's number is, and the slot there, if it has a group of its own.
    pub(super) group: Option<(Arc<Groups>, usize)>,
    pub(super) ended: Option<OwnedFd>,
    pub(super) reaped: bool,
}

impl Running {
    /// A descriptor that becomes readable when the first process of the group has ended. `None`: this kernel
    /// does not support it; call [`has_ended`](Self::has_ended) from time to time.
    pub fn ended_fd(&self) -> Option<BorrowedFd<'_>> {
        self.ended.as_ref().map(AsFd::as_fd)
    }

    /// The process id of the first process, which is also the number of the group.
    pub fn id(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    /// Whether the first process of the group has ended.
    pub fn has_ended(&self) -> bool {
        // After an error there is no such child: `reap` reports that.
        self.reaped || !matches!(self.look(libc::WNOHANG), Ok(false) | Err(Errno::EINTR))
    }

    /// Sends a signal to all processes of the group; to the first process alone, if it has no group of its own.
    pub fn signal(&self, signal: Signal) {
        // While the first process is not reaped, the number is the group's; otherwise it may be another group's.
        if !self.reaped && matches!(self.look(libc::WNOHANG), Ok(_) | Err(Errno::EINTR)) {
            // Fails only if all have ended.
            let _ = if self.group.is_some() { killpg(self.pid, signal) } else { kill(self.pid, signal) };
        }
    }

    /// Whether the first process has ended. Does not reap it. Does not use nix, whose functions fail when a
    /// real-time signal has ended a process.
    fn look(&self, flags: c_int) -> Result<bool, Errno> {
        let flags = libc::WEXITED | libc::WNOWAIT | flags;
        // SAFETY: all zeros is a valid `siginfo_t`, which the kernel writes to; it has the number of a process, or
        // zeros.
        unsafe {
            let mut info: libc::siginfo_t = mem::zeroed();
            Errno::result(libc::waitid(libc::P_PID, self.pid.as_raw() as libc::id_t, &mut info, flags))?;
            Ok(info.si_pid() != 0)
        }
    }

    /// Waits for the end of the first process, kills what is left of the group, and reaps the first process.
    ///
    /// # Errors
    /// The error of the system. If the first process is not a child of this process any more, nothing is killed.
    pub fn reap(&mut self) -> io::Result<ExitStatus> {
        self.wait()?;
        if self.group.is_some() {
            // Its number is the group's until it is reaped. Fails only if no process of the group is left.
            let _ = killpg(self.pid, Signal::SIGKILL);
        }
        self.collect()
    }

    /// Waits for the end of the first process, and reaps it. What is left of the group goes on.
    ///
    /// # Errors
    /// The error of the system.
    pub fn leave(&mut self) -> io::Result<ExitStatus> {
        self.wait()?;
        self.collect()
    }

    fn wait(&mut self) -> io::Result<()> {
        while let Err(error) = self.look(0) {
            if error != Errno::EINTR {
                self.gone();
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Removes the group's number: from now on it may be another process's.
    fn gone(&mut self) {
        if let Some((groups, slot)) = &self.group {
            groups.all()[*slot].store(0, Ordering::SeqCst);
        }
        self.reaped = true;
    }

    fn collect(&mut self) -> io::Result<ExitStatus> {
        self.gone();
        let mut status = 0;
        // SAFETY: the pointer is to a local.
        while unsafe { libc::waitpid(self.pid.as_raw(), &mut status, 0) } < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        Ok(ExitStatus::from_raw(status))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::SIGKILL);
            let _ = self.reap();
        }
    }
}

/// The number of the signal that ended a process.
pub fn signal_of(status: ExitStatus) -> Option<i32> {
    status.signal()
}
