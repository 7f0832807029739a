//! Follows a process with its threads and children (ptrace), counts its system calls or instructions, and strikes at
//! a chosen one.
//!
//! | module | gives |
//! |---|---|
//! | [`tracees`] | the traced threads, their stops, and what those mean |
//! | [`plan`] | what is counted, where a fault strikes, and what it does |
//! | [`strike`] | the thread that carries out a plan |
//! | [`request`] | requests to the kernel about them, and signals |
//! | `relatives` | what /proc shows of a thread |
//! | [`gate`] | a child that waits before its program begins |
//! | [`names`] | names and numbers of system calls |
//! | [`registers`] | a call that does not happen, for each processor |
//! | [`files`] | the file that a call works on |

pub mod files;
pub mod gate;
pub mod names;
pub mod plan;
pub mod registers;
mod relatives;
pub mod request;
pub mod strike;
pub mod tracees;

use std::{
    io,
    process::{Child, Command},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use nix::{sys::signal::SigSet, unistd::Pid};

use gate::Gate;
pub use plan::{Begin, Calls, Lasting, Outcome, Plan, Strike, Struck, Unit, UnknownCall};
pub use request::has_ended;

#[cfg(test)]
mod tests;

/// What the caller and the tracing thread share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Errors are kept as kind and text, which can be copied.
    outcome: OnceLock<Result<Outcome, (io::ErrorKind, String)>>,
    is_released: AtomicBool,
}

impl Shared {
    fn publish(&self, outcome: io::Result<Outcome>) {
        let _ = self.outcome.set(outcome.map_err(|error| (error.kind(), error.to_string())));
    }

    fn is_released(&self) -> bool {
        self.is_released.load(Ordering::Relaxed)
    }
}

/// If the tracer panics, its waiting callers get an error.
struct PublishAtEnd(Arc<Shared>);

impl Drop for PublishAtEnd {
    fn drop(&mut self) {
        self.0.publish(Err(io::Error::other("the tracer has failed")));
    }
}

/// A process that is traced by a thread of this one, until the plan is carried out or all traced processes have ended.
///
/// The kernel kills the traced processes if this process dies. While a child of this process is traced, a `Child::wait`
/// or `try_wait` for it can return too early, and take a stop away from the tracer: ask [`has_ended`] first.
///
/// Dropping this ends nothing: the fault still strikes. See [`release`](Self::release).
#[derive(Debug)]
pub struct Trace(Arc<Shared>);

impl Trace {
    /// Traces a process that runs, or that waits before it becomes another program. `pid` is its process id.
    ///
    /// # Errors
    /// `PermissionDenied`: the system forbids tracing, or the process is already traced. `NotFound`: there is no
    /// such process.
    pub fn attach(pid: u32, plan: Plan) -> io::Result<Trace> {
        let (seized, answer) = mpsc::channel();
        let trace = Trace::spawn(plan, move |follower| {
            let result = follower.seize(Pid::from_raw(pid as i32));
            let is_seized = result.is_ok();
            let _ = seized.send(result);
            Ok(is_seized)
        })?;
        // A thread that ends without an answer has published why.
        match answer.recv() {
            Ok(result) => result.map(|()| trace),
            Err(_) => trace.outcome().and(Err(io::ErrorKind::Other.into())),
        }
    }

    /// Starts a command, traced from its first instruction on.
    ///
    /// # Errors
    /// As [`attach`](Self::attach), and those of [`Command::spawn`].
    pub fn start(mut command: Command, plan: Plan) -> io::Result<(Child, Trace)> {
        let gate = Gate::before_exec(&mut command)?;
        let (failed, failure) = mpsc::channel();
        let trace = Trace::spawn(plan, move |follower| {
            let passed = gate.pass(|child| follower.seize(child));
            // The caller has the error from here, and nothing waits for the outcome.
            Ok(passed.map_err(|error| failed.send(error)).is_ok())
        })?;
        match command.spawn() {
            Ok(child) => Ok((child, trace)),
            // The reason is the tracer's, if it has one.
            Err(error) => {
                // Ends the tracer's wait for the child.
                drop(command);
                let reason = failure.recv().ok();
                Err(reason.filter(|reason| reason.kind() != io::ErrorKind::UnexpectedEof).unwrap_or(error))
            }
        }
    }

    fn spawn(
        plan: Plan,
        begin: impl FnOnce(&mut strike::Follower) -> io::Result<bool> + Send + 'static,
    ) -> io::Result<Trace> {
        let shared = Arc::new(Shared::default());
        let trace = Trace(Arc::clone(&shared));
        // A thread traces a process, and only that thread can answer its stops.
        thread::Builder::new().name("tracer".into()).spawn(move || {
            // Other threads of this process handle its signals.
            let _ = SigSet::all().thread_block();
            let _end = PublishAtEnd(Arc::clone(&shared));
            let mut follower = strike::Follower::new(plan, Arc::clone(&shared));
            let result = begin(&mut follower).and_then(|begun| if begun { follower.run() } else { Ok(()) });
            // Nothing changes what was published before.
            shared.publish(result.map(|()| follower.outcome()));
        })?;
        Ok(trace)
    }

    /// Whether the fault has struck, or no traced process is left.
    pub fn is_over(&self) -> bool {
        self.0.outcome.get().is_some()
    }

    /// Waits until the fault has struck or all traced processes have ended. A fault that lasts continues afterwards.
    ///
    /// # Errors
    /// The error of the system.
    pub fn outcome(self) -> io::Result<Outcome> {
        self.0.outcome.wait().clone().map_err(|(kind, text)| io::Error::new(kind, text))
    }

    /// Gives up the plan: each thread of the traced processes continues untraced from its next stop on.
    pub fn release(&self) {
        self.0.is_released.store(true, Ordering::Relaxed);
    }
}
