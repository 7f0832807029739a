//! The operating system and nothing else: every fact about Linux that the floors above rely on.
//!
//! | module | gives |
//! |---|---|
//! | [`name`] | names of rings |
//! | [`segment`] | named shared memory that appears whole or not at all |
//! | [`semaphore`] | process-shared POSIX semaphores, to sleep and to wake |
//! | `gnu_semaphore` | how one sleeps on those of glibc, and posts them, whatever a peer writes there |
//! | `named_semaphore` | POSIX semaphores with a name, as any program may open them |
//! | [`liveness`] | who is alive: one kernel-held lock per participant |
//! | [`watch`] | to be told of deaths |
//! | [`clock`] | monotonic time and deadlines |
//! | [`process`] | this process, and what can be shown about others |
//! | [`fence`] | asymmetric memory fences across processes |
//! | [`copy`] | short copies without a call |
//! | [`random`] | random identities |
//! | [`signal`] | signals that ask this process to end |
//! | [`io`] | reading into and writing from shared memory |
//! | [`stdio`] | which standard descriptors this process was started with |
//! | [`trace`] | how many system calls a process makes |
//! | [`truncation`] | what becomes of memory that somebody cuts off |
//! | [`abi`] | what must be equal on both sides before memory can be shared |

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("ringpipe needs 64-bit Linux: locks beyond 2^40, 64-bit atomics, /dev/shm and /proc");

pub mod abi;
pub mod clock;
pub mod copy;
pub mod fence;
#[cfg(target_env = "gnu")]
mod gnu_semaphore;
#[cfg(feature = "cli")]
pub mod io;
pub mod liveness;
pub mod name;
#[cfg(feature = "cli")]
pub mod named_semaphore;
pub mod process;
pub mod random;
pub mod segment;
pub mod semaphore;
#[cfg(feature = "cli")]
pub mod signal;
#[cfg(feature = "cli")]
pub mod stdio;
#[cfg(feature = "cli")]
pub mod trace;
pub mod truncation;
pub mod watch;

#[cfg(test)]
pub(crate) mod testing;
