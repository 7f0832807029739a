//! Victims: commands that are traced from one system call to the next, and are killed at one, or have one fail.
//!
//! What comes before the first call with a path in /dev/shm is the loader's, the runtime's and the parser's of
//! arguments, and does not count. Only the main thread is traced: threads that wait for signals continue beside it.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
pub use ringpipe::internal::sys::trace::request::Call;
use ringpipe::internal::sys::trace::tracees::{Next, Run, Scope, Stop, Tracees, Why};
use ringpipe::internal::sys::trace::{files, registers};

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
pub fn run(mut command: Command, plan: Plan, look: impl FnMut()) -> io::Result<Outcome> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut tracees = Tracees::new(Scope::Thread, Run::ToCall);
    let child = tracees.start(watched(command))?;
    let mut victim = Victim { plan, calls: Vec::new(), begun: false, look };
    while let Next::Stop(stop) = tracees.next(None)? {
        victim.at(&stop)?;
        tracees.resume(&stop)?;
    }
    Ok(collect(child, victim.calls))
}

/// The command, which ends itself if it hangs.
pub fn watched(mut command: Command) -> Command {
    // SAFETY: a system call without memory, which is allowed between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::alarm(WATCHDOG * times_slower());
            Ok(())
        })
    };
    command
}

/// The pipes hold more than any victim writes, so they are read afterwards.
fn collect(mut child: Child, calls: Vec<Call>) -> Outcome {
    let status = child.wait().expect("a child");
    let text = |from: Option<&mut dyn Read>| {
        let mut bytes = Vec::new();
        from.expect("piped").read_to_end(&mut bytes).expect("a pipe");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    let stdout = text(child.stdout.as_mut().map(|out| out as _));
    let stderr = text(child.stderr.as_mut().map(|err| err as _));
    Outcome { status, calls, stdout, stderr }
}

struct Victim<L> {
    plan: Plan,
    calls: Vec<Call>,
    begun: bool,
    look: L,
}

impl<L: FnMut()> Victim<L> {
    fn at(&mut self, stop: &Stop) -> nix::Result<()> {
        let entry = match stop.why {
            Why::Entry(call) => {
                self.enter(stop.thread, call);
                true
            }
            Why::Exit => false,
            _ => return Ok(()),
        };
        let Some(call) = self.calls.len().checked_sub(1) else { return Ok(()) };
        if self.plan.kill == Some(Moment { call, after: !entry }) {
            (self.look)();
            // Nothing that it has not done yet happens any more.
            return kill(stop.process, Signal::SIGKILL);
        }
        match self.plan.fail {
            Some((first, _)) if !self.is_to_fail(first, call) => Ok(()),
            Some(_) if entry => registers::skip_call(stop.thread),
            Some((_, errno)) => registers::answer(stop.thread, errno as i32),
            None => Ok(()),
        }
    }

    fn enter(&mut self, thread: Pid, call: Call) {
        self.begun |= is_about_shared_memory(thread, &call);
        if self.plan.halt.is_some_and(|is_meant| is_meant(thread, &call)) {
            self.plan.halt = None;
            (self.look)();
        }
        if self.begun {
            self.calls.push(call);
        }
    }

    fn is_to_fail(&self, first: usize, call: usize) -> bool {
        let again = || first < call && self.calls[first].number == self.calls[call].number;
        first == call || (self.plan.for_good && again())
    }
}

/// Whether a call has a path in /dev/shm.
pub fn is_about_shared_memory(thread: Pid, call: &Call) -> bool {
    let path = match call.number {
        libc::SYS_openat | libc::SYS_statx | libc::SYS_newfstatat | libc::SYS_linkat => call.arguments[1],
        libc::SYS_statfs => call.arguments[0],
        _ => return false,
    };
    // Unreadable is not it.
    files::word(thread, path).unwrap_or(0).to_ne_bytes() == *b"/dev/shm"
}
