//! Waiting: how the two sides of a ring, and the waiters of named objects, wait and wake each other.
//!
//! A waiting handle checks the slots. If it finds nothing, it sleeps for a bounded slice and checks again.
//! The details depend on the ring's [`Discipline`](crate::Discipline). Each discipline has a strategy in a
//! file of its own: `adaptive` (the default), `semaphore`, `polling`, `monitor`. They differ in what they do
//! around a check; only the slots say what there is.
//!
//! A wake-up is only a reason to check. A post may be lost with a waiter that is killed or stopped, and an
//! extra post does no harm. So every sleep is bounded, and no count needs to be exact.
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
//! interrupts the other side's processors for the heavy fence (membarrier).

mod adaptive;
pub mod backend;
mod chosen;
mod monitor;
mod mutex;
mod polling;
mod seen;
mod semaphore;
mod signal;
mod stop;
mod strategy;
#[cfg(test)]
mod testing;

pub use adaptive::Waiter;
pub use backend::light_fence;
pub use chosen::Strategy;
pub use mutex::{Mutex, TurnPatience, owner_of};
pub(crate) use seen::Seen;
pub use signal::Signal;
pub use stop::StopFlag;
#[cfg(feature = "tokio")]
pub(crate) use strategy::Slices;
pub use strategy::{
    Depth, Endpoint, LONG_SLICE, RingState, SLICE, Sleepers, WaitProgress, WaitRequest, WaitStrategy,
};
