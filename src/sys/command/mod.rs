//! What only the commands need of the operating system. The re-exports are the few facts that they share with the
//! library.
//!
//! | module | gives |
//! |---|---|
//! | [`child`] | commands in process groups of their own, which end with the process that started them |
//! | [`hold`] | a background process that holds an item for a shell script |
//! | [`io`] | reading into and writing from shared memory, and how many bytes a pipe holds |
//! | [`named_semaphore`] | POSIX semaphores with a name, as any program may open them |
//! | [`process`] | the processors that this process runs on, and processes that end with it |
//! | [`relay`] | signals that are passed on to a command |
//! | [`signal`] | the signals that ask this process to end |
//! | [`stdio`] | which standard descriptors this process was started with |
//! | [`stream_lock`] | the right to write to a shared pipe |
//! | [`textbook`] | the buffer of the textbooks, in which a death is never noticed |
//! | [`trace`] | how many system calls a process makes |

pub mod child;
pub mod hold;
pub mod io;
pub mod named_semaphore;
pub mod process;
pub mod relay;
pub mod signal;
pub mod stdio;
pub mod stream_lock;
pub mod textbook;
pub mod trace;

pub use super::segment::{DIRECTORY, check_directory};
pub use super::size::Size;
pub use super::truncation::{has_happened as memory_was_lost, survive_truncation};
pub use super::waiting::Awaited;
pub use super::{abi, clock, fence, random};
