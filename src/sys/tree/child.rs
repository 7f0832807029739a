//! One process that was started: its end, and signals to it.

use std::mem;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// The first process of a group of its own. It is reaped when its tree is dropped, so its number names it, and its group,
/// until then.
#[derive(Debug)]
pub struct Child {
    pub(super) pid: Pid,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl Child {
    /// Its process id, and the number of its group.
    pub fn id(&self) -> Pid {
        self.pid
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Errors
    /// The error of the system: another part of this process has reaped it.
    pub fn ended(&self) -> Result<Option<Ended>, Errno> {
        let flags = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG;
        loop {
            // SAFETY: all zeros is a valid `siginfo_t`, which the kernel writes to; its fields are read as the call
            // for the end of a process fills them, or zeros.
            let (result, pid, code, status) = unsafe {
                let mut info: libc::siginfo_t = mem::zeroed();
                let result = libc::waitid(libc::P_PID, self.pid.as_raw() as libc::id_t, &mut info, flags);
                (Errno::result(result), info.si_pid(), info.si_code, info.si_status())
            };
            match result {
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
                Ok(_) if pid == 0 => return Ok(None),
                Ok(_) if code == libc::CLD_EXITED => return Ok(Some(Ended::Code(status))),
                Ok(_) if [libc::CLD_KILLED, libc::CLD_DUMPED].contains(&code) => {
                    return Ok(Some(Ended::Signal(status)));
                }
                // A stop of a process that a thread of this process traces.
                Ok(_) => return Ok(None),
            }
        }
    }

    /// Sends a signal to all processes of the group.
    ///
    /// # Errors
    /// The error of the system; `ESRCH`: no process of the group is left.
    pub fn signal(&self, signal: Signal) -> Result<(), Errno> {
        killpg(self.pid, signal)
    }
}

/// Limits the address space of a process to this number of bytes.
///
/// # Errors
/// The error of the system: the process has ended, or belongs to another user.
pub fn limit_memory(pid: Pid, bytes: u64) -> std::io::Result<()> {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: the limit is a local, and the old one is not wanted.
    Errno::result(unsafe { libc::prlimit(pid.as_raw(), libc::RLIMIT_AS, &limit, std::ptr::null_mut()) })?;
    Ok(())
}
