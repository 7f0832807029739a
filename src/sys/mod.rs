//! The operating system and nothing else: every fact about Linux that the modules above rely on.
//!
//! | module | gives |
//! |---|---|
//! | `memory_limit` | how much memory the control groups of this process still allow |
//! | [`name`] | names of rings |
//! | [`owners`] | whose objects a process accepts |
//! | [`segment`] | named shared memory that appears complete or not at all |
//! | [`semaphore`] | process-shared POSIX semaphores, to sleep and to wake |
//! | `gnu_semaphore` | sleeps on glibc's semaphores, and posts them, whatever a peer writes there |
//! | [`liveness`] | whether a participant is alive: one kernel-held lock each |
//! | [`watch`] | a thread that wakes when a process dies |
//! | [`clock`] | monotonic time and deadlines |
//! | [`process`] | this process, and what can be displayed about others |
//! | [`fence`] | asymmetric memory fences across processes |
//! | `command` | what only the commands need |
//! | `tree` | processes that end with this one, and their descendants |
//! | `descriptors` | closing all but a few, keeping a number free, files in memory |
//! | `connect` | TCP connections that are begun without waiting |
//! | `trace` | faults at chosen system calls and instructions of other processes |
//! | [`copy`] | short copies without a call |
//! | [`prefetch`] | asking for a cache line before it is read |
//! | [`random`] | random identities |
//! | [`truncation`] | surviving the truncation of a segment |
//! | [`abi`] | whether two processes can share memory |

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("ringpipe needs 64-bit Linux: locks beyond 2^40, 64-bit atomics, /dev/shm and /proc");

pub mod abi;
pub mod clock;
#[cfg(feature = "cli")]
pub mod command;
#[cfg(feature = "testing")]
pub mod connect;
pub mod copy;
#[cfg(feature = "testing")]
pub mod descriptors;
pub mod fence;
#[cfg(target_env = "gnu")]
mod gnu_semaphore;
pub mod liveness;
mod memory_limit;
pub mod name;
pub mod owners;
pub mod prefetch;
pub mod process;
pub mod random;
pub mod segment;
pub mod semaphore;
pub mod size;
#[cfg(feature = "testing")]
pub mod trace;
#[cfg(feature = "testing")]
pub mod tree;
pub mod truncation;
pub mod waiting;
pub mod watch;

#[cfg(test)]
pub(crate) mod testing;
