//! Locks, semaphores, conditions, events and barriers between processes, by name and without a ring.
//!
//! | | is | like |
//! |---|---|---|
//! | [`Lock`] | held by one at a time | `threading.Lock` |
//! | [`Semaphore`] | held by as many as there are permits | `threading.Semaphore` |
//! | [`Condition`] | a lock, and a place to wait for what it protects to change | `threading.Condition` |
//! | [`Event`] | set, or waited for | `threading.Event`; with `take`, a semaphore that begins with 0 |
//! | [`Barrier`] | a place to wait until a number of processes has come | `threading.Barrier` |
//!
//! Each is a small named object in shared memory. `create` makes one, `open` attaches to one,
//! `open_or_create` does either, and `remove` removes the name. Names follow the rules of
//! [`RingName`](crate::RingName), and rings and objects share them. Any process may be killed at any
//! instruction: what it held goes to the next handle, which is told so where that matters
//! ([`LockGuard::is_abandoned`]). A stopped process is alive and keeps what it holds. A child made by `fork`
//! must open the object anew: its parent's handles return [`Error::Forked`](crate::Error::Forked).
//!
//! ```
//! # let name = format!("doc-sync-{}", std::process::id());
//! use ringpipe::sync::Lock;
//! let mut lock = Lock::open_or_create(&name)?;
//! let guard = lock.lock()?;
//! if guard.is_abandoned() {
//!     // Its last holder died: repair what it may have left half changed.
//! }
//! drop(guard);
//! lock.remove()?;
//! # Ok::<(), ringpipe::Error>(())
//! ```

mod barrier;
mod condition;
mod ephemeral;
mod event;
mod lock;
mod object;
mod opening;
mod options;
mod semaphore;
mod signals;
#[cfg(test)]
mod tests;

pub use barrier::Barrier;
pub use condition::{Condition, ConditionGuard};
pub use event::Event;
pub use lock::{Lock, LockGuard};
pub use object::remove;
pub use options::ObjectOptions;
pub use semaphore::{Permit, Semaphore};
