//! The traced threads of one tracer: seizes them, waits for their stops, and lets them continue.
//!
//! Only the thread that seized a process can answer its stops. Group stops and signals have their usual effects.
//! The tracer collects the threads and descendants that end; it leaves the children of its own process to the code
//! that started them. Stops are not consumed: a stop ends when its thread continues.

use std::{
    collections::HashMap,
    io,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use libc::c_int;
use nix::{
    errno::Errno,
    sys::ptrace::{self, Options},
    unistd::Pid,
};

use super::{
    gate::Gate,
    relatives::{number_in_status, parent_of, process_of, relatives},
    request::{Call, Found, SYSCALL_GOOD, call, is_step, peek, request, survived, wait},
};

/// The time between two looks, where the tracer cannot sleep until the next stop.
const SLICE: Duration = Duration::from_micros(200);

/// Which threads and processes are traced besides those that were seized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// None.
    Thread,
    /// Threads that they create.
    Process,
    /// Threads and child processes that they create.
    Tree,
}

/// How far a thread runs until it stops again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// To a signal, a new program, or its end.
    On,
    /// As above, and to the entry or the exit of a system call.
    ToCall,
    /// As above, for one instruction.
    Step,
}

/// Why a thread has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It is about to make a system call.
    Entry(Call),
    /// It has made a system call.
    Exit,
    /// It has made one step.
    Stepped,
    /// A signal is on its way to it, and is delivered when it continues.
    Signal(c_int),
    /// It runs a new program.
    Exec,
    /// It is new, or was seized while it ran, or continues after a group stop.
    Present,
    /// Anything else.
    Other,
}

/// A thread that has stopped. It stays stopped until [`Tracees::resume`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// Its id.
    pub thread: Pid,
    /// The id of its process.
    pub process: Pid,
    /// Why.
    pub why: Why,
}

/// What [`Tracees::next`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// A thread that has stopped.
    Stop(Stop),
    /// The time is over.
    Late,
    /// No thread is left that could stop.
    Over,
}

/// All threads that the calling thread traces. When the calling thread ends, for any reason, the kernel kills
/// the threads that are still traced.
#[derive(Debug)]
pub struct Tracees {
    options: Options,
    /// How far a thread runs when it continues from now on.
    pub run: Run,
    is_leaving: bool,
    /// The process of each thread.
    threads: HashMap<Pid, Pid>,
    /// Children of this process that have ended, and have not been collected by the code that started them.
    ended: Vec<Pid>,
}

impl Tracees {
    /// None yet.
    pub fn new(scope: Scope, run: Run) -> Self {
        let always =
            Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL;
        let new = match scope {
            Scope::Thread => Options::empty(),
            Scope::Process => Options::PTRACE_O_TRACECLONE,
            Scope::Tree => {
                Options::PTRACE_O_TRACECLONE | Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK
            }
        };
        let (threads, ended) = (HashMap::new(), Vec::new());
        Tracees { options: always | new, run, is_leaving: false, threads, ended }
    }

    /// Traces one thread. It runs on, to its next signal or new program.
    ///
    /// # Errors
    /// The system forbids it, or there is no such thread.
    pub fn seize(&mut self, thread: Pid) -> io::Result<()> {
        ptrace::seize(thread, self.options).map_err(|errno| refusal(thread, errno))?;
        self.threads.insert(thread, process_of(thread));
        Ok(())
    }

    /// Starts a command, whose process is traced before its program begins.
    ///
    /// # Errors
    /// As [`seize`](Self::seize), and those of [`Command::spawn`].
    pub fn start(&mut self, mut command: Command) -> io::Result<Child> {
        let gate = Gate::before_exec(&mut command)?;
        thread::scope(|scope| {
            // `spawn` returns when the program begins, and this thread is the tracer.
            let spawned = scope.spawn(move || command.spawn());
            let passed = gate.pass(|child| self.seize(child));
            let child = spawned.join().map_err(|_| io::Error::other("the start has failed"))?;
            match passed {
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
                _ => child,
            }
        })
    }

    /// Stops a thread that runs, so that it can be told how far to run: [`Why::Present`]. A call that waits is
    /// interrupted; most calls then continue, a few return `EINTR`.
    pub fn interrupt(&self, thread: Pid) -> io::Result<()> {
        survived(ptrace::interrupt(thread)).map(drop)
    }

    /// Traces all threads of a process and of its descendants, and interrupts them.
    pub fn seize_tree(&mut self, process: Pid) -> io::Result<()> {
        self.seize(process)?;
        self.interrupt(process)?;
        // Repeat until no new thread is found: threads that are traced already report the threads that they
        // create.
        loop {
            let known = self.threads.len();
            let processes: Vec<Pid> = self.threads.values().copied().collect();
            for thread in processes.into_iter().flat_map(relatives) {
                if !self.threads.contains_key(&thread) && self.seize(thread).is_ok() {
                    self.interrupt(thread)?;
                }
            }
            if self.threads.len() == known {
                return Ok(());
            }
        }
    }

    /// Whether a thread is traced.
    pub fn contains(&self, thread: Pid) -> bool {
        self.threads.contains_key(&thread)
    }

    /// From now on each thread is let go at its next stop, which is not reported.
    pub fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// Waits for the next stop.
    ///
    /// # Errors
    /// The error of the system.
    pub fn next(&mut self, until: Option<Instant>) -> io::Result<Next> {
        loop {
            // A child that has ended would hide all others from a wait for any of them.
            self.ended.retain(|&child| matches!(peek(Some(child), false), Ok(Some(_))));
            let found = match (self.ended.is_empty(), until) {
                (true, None) => peek(None, true),
                (true, Some(_)) => peek(None, false),
                (false, _) => self.peek_each(),
            };
            match found {
                Ok(Some(found)) => {
                    if let Some(stop) = self.decode(found)? {
                        return Ok(Next::Stop(stop));
                    }
                }
                Ok(None) => {
                    if until.is_some_and(|until| Instant::now() >= until) {
                        return Ok(Next::Late);
                    }
                    thread::sleep(SLICE);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => return Ok(Next::Over),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// As [`peek`], without the children that have ended.
    fn peek_each(&mut self) -> nix::Result<Option<Found>> {
        let mut left = false;
        let threads: Vec<Pid> = self.threads.keys().copied().collect();
        for thread in threads {
            match peek(Some(thread), false) {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => left = true,
                // Collected by other code.
                Err(Errno::ECHILD) => drop(self.threads.remove(&thread)),
                Err(error) => return Err(error),
            }
        }
        if left { Ok(None) } else { Err(Errno::ECHILD) }
    }

    /// Interprets a state. Handles the states that do not concern the caller.
    fn decode(&mut self, found: Found) -> io::Result<Option<Stop>> {
        let Found { thread, code, status } = found;
        if code != libc::CLD_TRAPPED {
            self.collect(thread)?;
            return Ok(None);
        }
        let process = *self.threads.entry(thread).or_insert_with(|| process_of(thread));
        let (signal, event) = (status & 0x7f, status >> 8);
        let is_group_stop = event == libc::PTRACE_EVENT_STOP && signal != libc::SIGTRAP;
        let why = match (signal, event) {
            _ if is_group_stop => Why::Other,
            (libc::SIGTRAP, 0) if status == libc::SIGTRAP | SYSCALL_GOOD => match call(thread) {
                Ok(Some(call)) => Why::Entry(call),
                Ok(None) => Why::Exit,
                Err(Errno::ESRCH) => Why::Other,
                Err(error) => return Err(error.into()),
            },
            (libc::SIGTRAP, 0) if self.run == Run::Step && is_step(thread) => Why::Stepped,
            (signal, 0) => Why::Signal(signal),
            (_, libc::PTRACE_EVENT_EXEC) => {
                // The thread may have taken the id of the first thread of its process. Until this stop is consumed,
                // the kernel takes each request for one to the former thread of that id, and refuses it.
                let _ = wait(Some(thread), libc::WSTOPPED | libc::WNOHANG);
                let former = ptrace::getevent(thread).map_or(thread, |id| Pid::from_raw(id as i32));
                if former != thread {
                    self.threads.remove(&former);
                }
                Why::Exec
            }
            (_, libc::PTRACE_EVENT_STOP) => Why::Present,
            (_, libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK) => {
                if let Ok(id) = ptrace::getevent(thread) {
                    let new = Pid::from_raw(id as i32);
                    self.threads.entry(new).or_insert_with(|| process_of(new));
                }
                Why::Other
            }
            _ => Why::Other,
        };
        let stop = Stop { thread, process, why };
        match self.is_leaving {
            true => self.detach(&stop)?,
            // It stays stopped, and reports when it continues.
            false if is_group_stop => drop(survived(request(libc::PTRACE_LISTEN, thread, 0))?),
            false => return Ok(Some(stop)),
        }
        Ok(None)
    }

    /// A thread or process has ended.
    fn collect(&mut self, thread: Pid) -> io::Result<()> {
        let process = self.threads.remove(&thread).unwrap_or_else(|| process_of(thread));
        if process == thread && parent_of(thread) == Some(Pid::this()) {
            self.ended.push(thread);
            return Ok(());
        }
        // Its own parent can collect it only after its tracer.
        match wait(Some(thread), libc::WEXITED | libc::WNOHANG) {
            Ok(_) | Err(Errno::ECHILD | Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets a thread continue. It may have been killed meanwhile.
    ///
    /// # Errors
    /// The error of the system.
    pub fn resume(&mut self, stop: &Stop) -> io::Result<()> {
        if self.is_leaving {
            return self.detach(stop);
        }
        let how = match self.run {
            Run::On => libc::PTRACE_CONT,
            Run::ToCall => libc::PTRACE_SYSCALL,
            Run::Step => libc::PTRACE_SINGLESTEP,
        };
        survived(request(how, stop.thread, stop.signal())).map(drop)
    }

    /// Lets a thread continue, and traces it no longer.
    ///
    /// # Errors
    /// The error of the system.
    pub fn detach(&mut self, stop: &Stop) -> io::Result<()> {
        // A thread that was killed stays in the table: it is collected when it has ended.
        if survived(request(libc::PTRACE_DETACH, stop.thread, stop.signal()))? {
            self.threads.remove(&stop.thread);
        }
        Ok(())
    }
}

impl Stop {
    /// The signal that the thread gets when it continues.
    fn signal(&self) -> c_int {
        if let Why::Signal(signal) = self.why { signal } else { 0 }
    }
}

/// Why a thread cannot be traced.
fn refusal(thread: Pid, errno: Errno) -> io::Error {
    let (kind, why) = match errno {
        Errno::ESRCH => (io::ErrorKind::NotFound, "there is no such process".to_string()),
        Errno::EPERM | Errno::EACCES | Errno::ENOSYS => {
            let tracer = number_in_status(thread, "TracerPid:").filter(|tracer| *tracer != 0);
            let traced = tracer.map(|tracer| format!("process {tracer} already traces it"));
            let why = traced.unwrap_or_else(|| "the system forbids tracing here (ptrace)".into());
            (io::ErrorKind::PermissionDenied, why)
        }
        _ => (io::Error::from(errno).kind(), errno.desc().to_string()),
    };
    io::Error::new(kind, format!("process {thread} cannot be traced: {why}"))
}
