//! Waiting: look, and if there is nothing, sleep in bounded slices and look again after each.
//!
//! How that is done is the ring's [`Discipline`](crate::layout::discipline::Discipline), and each has a
//! [`WaitStrategy`] of its own, in a file of its own: `wait` (adaptive, the default), `semaphore`, `polling`,
//! `monitor`. They differ in what surrounds a look at the slots, which alone tell what there is.
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

mod monitor;
mod mutex;
mod polling;
mod semaphore;
mod signal;
mod stop;
mod strategy;
mod wait;

pub use mutex::{Mutex, owner_of};
pub use signal::{Signal, light_fence};
pub use stop::StopFlag;
#[cfg(feature = "tokio")]
pub use strategy::Slices;
pub use strategy::{Around, Look, Made, SLICE, Side, Sleepers, Strategy, WaitStrategy, Wanted};
pub use wait::Waiter;
