//! Locks, semaphores, conditions and events between processes, by name and without a ring; and how rings wait.
//!
//! | | is | like |
//! |---|---|---|
//! | [`Lock`] | held by one at a time | `threading.Lock` |
//! | [`Semaphore`] | held by as many as there are permits | `threading.Semaphore` |
//! | [`Condition`] | a lock, and a place to wait for what it protects to change | `threading.Condition` |
//! | [`Event`] | set, or waited for | `threading.Event`; with `take`, a semaphore that begins with 0 |
//!
//! Each is a small named object in shared memory, made by `create`, attached to by `open`, or either by
//! `open_or_create`, and removed by `remove`; names are as [`RingName`](crate::RingName) says, and shared with rings. Any process may
//! be killed at any instruction: what it held goes to the next one, who is told where that matters
//! ([`LockGuard::is_abandoned`]). A stopped process is alive, and is never robbed. A child made by `fork` must
//! open the object anew: handles of its parent answer [`Error::Forked`](crate::Error::Forked).
//!
//! ```
//! # let name = format!("doc-sync-{}", std::process::id());
//! use ringpipe::sync::Lock;
//! let mut lock = Lock::open_or_create(&name)?;
//! let guard = lock.lock()?;
//! if guard.is_abandoned() {
//!     // Its last holder died: put in order what it may have left half changed.
//! }
//! drop(guard);
//! lock.remove()?;
//! # Ok::<(), ringpipe::Error>(())
//! ```
//!
//! # How rings wait
//!
//! Look, and if there is nothing, sleep in bounded slices and look again after each. How that is done is the
//! ring's [`Discipline`](crate::Discipline), and each has a strategy of its own, in a file of its own in
//! `strategy`: `adaptive` (the default), `semaphore`, `polling`, `monitor`. They differ in what surrounds a look
//! at the slots, which alone tell what there is.
//!
//! A wake-up is only a reason to look: posts may be lost with a waiter that is killed or stopped, and
//! extra posts do no harm. So no wait is unbounded, and no count needs to be right.
//!
//! ```text
//!   sleeper                                  waker
//!   -------                                  -----
//!   waiting += 1                             stores the slot's word
//!   heavy fence          <----- E4 ----->    light fence
//!   looks at the slots                       looks at waiting
//!   sleeps                                   waiting -= n, posts n
//! ```
//!
//! E4: at least one of the two sees the other's store. The light fence costs nothing where the kernel
//! interrupts the other side's processors for the heavy one (membarrier).

mod mutex;
mod named;
#[doc(hidden)]
pub mod parts;
mod signal;
mod stop;
mod strategy;
#[cfg(test)]
mod testing;

#[doc(hidden)]
pub use mutex::{Mutex, owner_of};
pub use named::{Condition, ConditionGuard, Event, Lock, LockGuard, Permit, Semaphore, remove};
#[doc(hidden)]
pub use signal::{Signal, light_fence};
pub use stop::StopFlag;
#[cfg(feature = "tokio")]
pub(crate) use strategy::Slices;
#[doc(hidden)]
pub use strategy::{Around, Look, Made, SLICE, Side, Sleepers, Strategy, WaitStrategy, Waiter, Wanted};
