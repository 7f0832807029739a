//! Counts the system calls of a process by tracing it (ptrace).
//!
//! No counter of the kernel reports them without privileges. A process may trace its own children without
//! privileges, except where a sandbox or a security module forbids all tracing. A traced process stops twice at
//! each call, at its entry and at its exit, so a call takes many times as long: the count is exact, the time is
//! not.

use std::{
    io,
    sync::mpsc::{self, Sender},
    thread::{self, JoinHandle},
};

use nix::{
    errno::Errno,
    sys::{
        ptrace::{self, Options},
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, WaitStatus, waitid},
    },
    unistd::Pid,
};

/// The signal by which a process marks where its count begins and ends. It has no effect on a process that is not
/// traced, since it is ignored unless caught; a tracer sees it.
const MARK: Signal = Signal::SIGURG;

/// The part of a process's work in which its system calls count.
#[derive(Debug)]
pub struct Counted(Pid);

impl Counted {
    /// It begins.
    pub fn begin() -> Self {
        // Read before the count begins, since reading it is a system call.
        let this = Counted(Pid::this());
        this.mark();
        this
    }

    /// It ends.
    pub fn end(self) {
        self.mark();
    }

    /// One system call. A process may always signal itself.
    fn mark(&self) {
        let _ = kill(self.0, MARK);
    }
}

/// Counts the system calls of some children of this process.
#[derive(Debug)]
pub struct Tracer(JoinHandle<io::Result<Vec<u64>>>);

impl Tracer {
    /// Begins with these processes, which have not begun their counted work yet. Each is detached at the end of
    /// that work.
    ///
    /// # Errors
    /// The error of the system: tracing is forbidden here.
    pub fn of(ids: Vec<u32>) -> io::Result<Self> {
        let (seized, answer) = mpsc::channel();
        // A thread traces a process, and only that thread can answer its stops.
        let thread = thread::Builder::new().name("tracer".into());
        let thread = thread.spawn(move || count(&ids, &seized))?;
        match answer.recv() {
            Ok(()) => Ok(Tracer(thread)),
            // The thread has ended, and its result has the reason.
            Err(_) => Err(joined(thread).err().unwrap_or_else(|| io::ErrorKind::Other.into())),
        }
    }

    /// The counts, in the order of the ids, once all have ended their counted work or died.
    ///
    /// # Errors
    /// The error of the system, or one of the processes has died before that.
    pub fn counts(self) -> io::Result<Vec<u64>> {
        joined(self.0)
    }
}

fn joined(thread: JoinHandle<io::Result<Vec<u64>>>) -> io::Result<Vec<u64>> {
    thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
}

fn count(ids: &[u32], seized: &Sender<()>) -> io::Result<Vec<u64>> {
    let mut traced: Vec<Traced> = ids.iter().map(|&id| Traced::new(id)).collect();
    for one in &traced {
        // When this thread ends, for any reason, the kernel ends the traced processes too.
        ptrace::seize(one.id, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_EXITKILL)?;
        // Only a stopped process can be told to stop at its next call.
        ptrace::interrupt(one.id)?;
    }
    // If the caller is gone, nothing receives this.
    let _ = seized.send(());
    // Does not wait for their exits, which the process that started them collects. ECHILD: none is left that could
    // stop.
    let of_this_thread = WaitPidFlag::WSTOPPED | WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
    while traced.iter().any(|one| one.phase != Phase::Over) {
        match waitid(Id::All, of_this_thread) {
            Ok(status) => {
                if let Some(one) = traced.iter_mut().find(|one| Some(one.id) == status.pid()) {
                    one.stopped(status)?;
                }
            }
            Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return Err(io::Error::other("a traced process has died")),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(traced.iter().map(|one| one.calls).collect())
}

/// One process.
#[derive(Debug)]
struct Traced {
    id: Pid,
    phase: Phase,
    /// It has entered a call that it has not left.
    inside: bool,
    calls: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Before,
    Counted,
    Over,
}

impl Traced {
    fn new(id: u32) -> Self {
        Traced { id: Pid::from_raw(id as i32), phase: Phase::Before, inside: false, calls: 0 }
    }

    /// The process has stopped: counts the stop and continues the process.
    fn stopped(&mut self, status: WaitStatus) -> io::Result<()> {
        let signal = match status {
            WaitStatus::PtraceSyscall(_) => {
                self.inside = !self.inside;
                self.calls += u64::from(self.inside && self.phase == Phase::Counted);
                None
            }
            // The signal is on its way to the process, which ignores it.
            WaitStatus::PtraceEvent(_, MARK, 0) => {
                self.marked();
                None
            }
            WaitStatus::PtraceEvent(_, signal, 0) => Some(signal),
            // The interruption from `seize`, at the beginning.
            _ => None,
        };
        let told = match self.phase {
            Phase::Over => ptrace::detach(self.id, signal),
            _ => ptrace::syscall(self.id, signal),
        };
        match told {
            // Killed meanwhile.
            Err(Errno::ESRCH) => Ok(()),
            told => Ok(told?),
        }
    }

    fn marked(&mut self) {
        self.phase = match self.phase {
            Phase::Before => Phase::Counted,
            _ => {
                // The call that marks the end is not a part of the work.
                self.calls = self.calls.saturating_sub(1);
                Phase::Over
            }
        };
    }
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;
    use crate::sys::testing::Child;
    use nix::{
        sys::signal::{SaFlags, SigAction, SigHandler, SigSet, sigaction},
        unistd::getppid,
    };

    const CALLS: u64 = 100;

    extern "C" fn work(_: libc::c_int) {
        getppid();
        let counted = Counted::begin();
        for _ in 0..CALLS {
            getppid();
        }
        counted.end();
        getppid();
    }

    /// A child that works when it is told to.
    fn worker() -> Child {
        let handler = SigAction::new(SigHandler::Handler(work), SaFlags::empty(), SigSet::empty());
        // SAFETY: `work` only makes system calls that are async-signal-safe.
        Child::pausing(move || unsafe { sigaction(Signal::SIGUSR1, &handler) }.is_ok())
    }

    #[test]
    fn the_calls_between_the_marks_are_counted_and_no_others() {
        let workers = [worker(), worker()];
        let tracer = match Tracer::of(workers.iter().map(Child::id).collect()) {
            Ok(tracer) => tracer,
            // A sandbox forbids tracing: then the commands report that, and their tests check it.
            Err(error) => return assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        };
        workers.iter().for_each(|worker| worker.signal(Signal::SIGUSR1));
        assert_eq!(tracer.counts().unwrap(), [CALLS, CALLS]);
    }

    #[test]
    fn a_process_that_dies_before_its_work_ends_makes_the_count_fail() {
        let worker = worker();
        if let Ok(tracer) = Tracer::of(vec![worker.id()]) {
            worker.signal(Signal::SIGKILL);
            assert!(tracer.counts().is_err());
        }
    }

    #[test]
    fn tracing_a_process_that_does_not_exist_fails() {
        assert!(Tracer::of(vec![i32::MAX as u32]).is_err());
    }
}
