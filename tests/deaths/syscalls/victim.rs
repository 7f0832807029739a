//! Victims: commands that are traced from one system call to the next, and are killed at one, or have one fail.
//!
//! What comes before the first call with a path in /dev/shm is the loader's, the runtime's and the parser's of
//! arguments, and does not count. Only the main thread is traced: threads that wait for signals continue beside it.

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::registers;
use crate::support::times_slower;

/// Seconds after which a victim ends itself by SIGALRM: it hangs.
const WATCHDOG: libc::c_uint = 20;

/// A moment in a victim's life: before or after its system call number `call`, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    pub call: usize,
    pub after: bool,
}

/// What happens to a victim.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plan {
    /// This call does not happen, and answers with this error.
    pub fail: Option<(usize, Errno)>,
    /// So do all later calls of the same number: what ran out does not come back.
    pub for_good: bool,
    /// It is killed then.
    pub kill: Option<Moment>,
    /// It stands still once, before the first call that is meant, and then goes on.
    pub halt: Option<fn(Pid, &Call) -> bool>,
}

/// A system call that a victim has made.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    pub number: u64,
    pub arguments: [u64; 6],
}

/// What became of a victim.
#[derive(Debug)]
pub struct Outcome {
    pub status: ExitStatus,
    pub calls: Vec<Call>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    pub fn is_killed(&self) -> bool {
        self.status.signal() == Some(libc::SIGKILL)
    }
}

/// Runs the command as planned. `look` is called while it stands at the moment of its death, before that, or where
/// it is to stand still.
///
/// # Errors
/// What the system answers where processes may not be traced.
pub fn run(mut command: Command, plan: Plan, look: impl FnMut()) -> nix::Result<Outcome> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: system calls without memory, which are allowed between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            libc::alarm(WATCHDOG * times_slower());
            Ok(ptrace::traceme()?)
        });
    }
    let child =
        command.spawn().map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?;
    let mut traced =
        Traced { pid: Pid::from_raw(child.id() as i32), plan, calls: Vec::new(), begun: false, look };
    let ended = traced.follow()?;
    let calls = traced.calls;
    Ok(collect(child, ended, calls))
}

/// The pipes hold more than any victim writes, so they are read afterwards.
fn collect(mut child: Child, status: ExitStatus, calls: Vec<Call>) -> Outcome {
    let text = |from: Option<&mut dyn Read>| {
        let mut bytes = Vec::new();
        from.expect("piped").read_to_end(&mut bytes).expect("a pipe");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let stdout = text(child.stdout.as_mut().map(|out| out as _));
    let stderr = text(child.stderr.as_mut().map(|err| err as _));
    Outcome { status, calls, stdout, stderr }
}

struct Traced<L> {
    pid: Pid,
    plan: Plan,
    calls: Vec<Call>,
    begun: bool,
    look: L,
}

impl<L: FnMut()> Traced<L> {
    fn follow(&mut self) -> nix::Result<ExitStatus> {
        let mut signal = None;
        // It stops first where it has become the command.
        let stop = waitpid(self.pid, None)?;
        assert!(matches!(stop, WaitStatus::Stopped(_, Signal::SIGTRAP)), "{stop:?}");
        let options = ptrace::Options::PTRACE_O_EXITKILL | ptrace::Options::PTRACE_O_TRACESYSGOOD;
        ptrace::setoptions(self.pid, options)?;
        loop {
            match ptrace::syscall(self.pid, signal.take()) {
                // Its end has come in between, and is waited for.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(errno),
            }
            match waitpid(self.pid, None)? {
                WaitStatus::PtraceSyscall(_) => self.at_call()?,
                WaitStatus::Stopped(_, other) => signal = Some(other),
                WaitStatus::Exited(_, code) => return Ok(ExitStatus::from_raw(code << 8)),
                WaitStatus::Signaled(_, by, _) => return Ok(ExitStatus::from_raw(by as i32)),
                status => panic!("the victim was to go on: {status:?}"),
            }
        }
    }

    fn at_call(&mut self) -> nix::Result<()> {
        let info = ptrace::syscall_info(self.pid)?;
        let entry = info.op == libc::PTRACE_SYSCALL_INFO_ENTRY;
        if entry {
            // SAFETY: this is the part of the union that the operation names.
            let (number, arguments) = unsafe { (info.u.entry.nr, info.u.entry.args) };
            let call = Call { number, arguments };
            self.begun |= self.is_about_shared_memory(&call);
            if self.plan.halt.is_some_and(|is_meant| is_meant(self.pid, &call)) {
                self.plan.halt = None;
                (self.look)();
            }
            if self.begun {
                self.calls.push(call);
            }
        }
        let Some(call) = self.calls.len().checked_sub(1) else { return Ok(()) };
        if self.plan.kill == Some(Moment { call, after: !entry }) {
            (self.look)();
            // Nothing that it has not done yet happens any more.
            nix::sys::signal::kill(self.pid, Signal::SIGKILL)?;
            return Ok(());
        }
        match self.plan.fail {
            Some((first, _)) if !self.is_to_fail(first, call) => Ok(()),
            Some(_) if entry => registers::skip_call(self.pid),
            Some((_, errno)) => registers::answer(self.pid, errno),
            None => Ok(()),
        }
    }

    fn is_to_fail(&self, first: usize, call: usize) -> bool {
        let again = || first < call && self.calls[first].number == self.calls[call].number;
        first == call || (self.plan.for_good && again())
    }

    fn is_about_shared_memory(&self, call: &Call) -> bool {
        let path = match call.number as libc::c_long {
            libc::SYS_openat | libc::SYS_statx | libc::SYS_newfstatat | libc::SYS_linkat => call.arguments[1],
            libc::SYS_statfs => call.arguments[0],
            _ => return false,
        };
        // Unreadable is not it.
        let begin = ptrace::read(self.pid, path as *mut libc::c_void).unwrap_or(0);
        begin.to_ne_bytes() == *b"/dev/shm"
    }
}
