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
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::sys::trace::tracees::{Next, Run, Scope, Stop, Tracees, Why};

/// The signal by which a process marks where its count begins and ends. It has no effect on a process that is not
/// traced, since it is ignored unless caught; a tracer sees it.
const MARK: Signal = Signal::SIGURG;
const MARK_NUMBER: i32 = MARK as i32;

/// The part of a process's work in which its system calls count.
#[derive(Debug)]
pub struct Counted(Pid);

impl Counted {
    /// Marks the beginning of the part.
    pub fn begin() -> Self {
        // Read before the count begins, since reading it is a system call.
        let this = Counted(Pid::this());
        this.mark();
        this
    }

    /// Marks its end.
    pub fn end(self) {
        self.mark();
    }

    /// Makes one system call, which the tracer sees: a process may always signal itself.
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
    let mut counted: Vec<Count> = ids.iter().map(|&id| Count::new(id)).collect();
    let mut tracees = Tracees::new(Scope::Thread, Run::ToCall);
    for one in &counted {
        tracees.seize(one.id)?;
        // Only a stopped process can be told to stop at its next call.
        tracees.interrupt(one.id)?;
    }
    // If the caller is gone, nothing receives this.
    let _ = seized.send(());
    while counted.iter().any(|one| one.phase != Phase::Over) {
        let Next::Stop(stop) = tracees.next(None)? else {
            return Err(io::Error::other("a traced process has died"));
        };
        let one = counted.iter_mut().find(|one| one.id == stop.thread);
        match one.map(|one| one.after(&stop)) {
            Some(Phase::Over) => tracees.detach(&stop)?,
            _ => tracees.resume(&stop)?,
        }
    }
    Ok(counted.iter().map(|one| one.calls).collect())
}

/// One process.
#[derive(Debug)]
struct Count {
    id: Pid,
    phase: Phase,
    calls: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Before,
    Counted,
    Over,
}

impl Count {
    fn new(id: u32) -> Self {
        Count { id: Pid::from_raw(id as i32), phase: Phase::Before, calls: 0 }
    }

    /// The phase after this stop of the process, which counts if it is a call.
    fn after(&mut self, stop: &Stop) -> Phase {
        match (stop.why, self.phase) {
            (Why::Entry(_), Phase::Counted) => self.calls += 1,
            (Why::Signal(MARK_NUMBER), Phase::Before) => self.phase = Phase::Counted,
            (Why::Signal(MARK_NUMBER), _) => {
                // The call that marks the end is not a part of the work.
                self.calls = self.calls.saturating_sub(1);
                self.phase = Phase::Over;
            }
            _ => {}
        }
        self.phase
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
