//! Faults at chosen points in the life of a program: the Nth system call, or the Nth instruction.
//!
//! A [`Plan`] says what is counted, and which [`Strike`] happens at which number: a kill, a signal, a stop, or a system
//! call that fails. A [`Trace`] carries it out on any program, with its threads and child processes. [`Outcome`] says
//! whether the fault struck, and where; a test whose fault did not strike has tested nothing.
//!
//! ```
//! use std::process::Command;
//! use ringpipe::testing::point::{Calls, Plan, Strike, Trace, Unit, has_ended};
//!
//! # let folder = std::env::temp_dir().join(format!("doc-point-{}", std::process::id()));
//! # std::fs::create_dir_all(&folder)?;
//! let file = folder.join("out");
//! let mut command = Command::new("sh");
//! command.args(["-c", "echo one >> out; echo two >> out"]).current_dir(&folder);
//!
//! // Killed where it is about to write to a file in this folder for the second time.
//! let writes = Unit::Syscall(Calls::named(&["write"])?);
//! let plan = Plan::count(writes).below(&folder).at(2, Strike::Kill);
//! let (mut child, trace) = match Trace::start(command, plan) {
//!     Ok(started) => started,
//!     // A sandbox forbids tracing.
//!     Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Ok(()),
//!     Err(error) => return Err(error.into()),
//! };
//! let struck = trace.outcome()?.struck.expect("it writes twice");
//! assert_eq!(struck.call.as_deref(), Some("write"));
//! while !has_ended(child.id()) {
//!     std::thread::yield_now();
//! }
//! assert!(!child.wait()?.success());
//! assert_eq!(std::fs::read_to_string(&file)?, "one\n");
//! # std::fs::remove_dir_all(&folder)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Limits
//!
//! While a child of this process is traced, `Child::wait` and `try_wait` for it can return too early, and
//! take away a stop for which the tracer then waits. Wait until [`has_ended`] is true before you call them.
//!
//! A process has one tracer at a time, so a program under a debugger or `strace` cannot be traced. Containers and
//! security modules may forbid tracing. A traced program is slower: a system call, or an instruction where instructions
//! are counted, takes some ten microseconds more. Attaching to a program that runs interrupts the calls in which it
//! waits; most continue, but `epoll_wait` and a few others return `EINTR`, as after a stop by SIGSTOP and SIGCONT.

pub use crate::sys::trace::{
    Begin, Calls, Lasting, Outcome, Plan, Strike, Struck, Trace, Unit, UnknownCall, has_ended,
};
