//! Waiting: spin a little, then sleep on a semaphore in bounded slices, and look again after each.
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

mod signal;
mod stop;
mod wait;

pub use signal::{Signal, light_fence};
pub use stop::StopFlag;
#[cfg(feature = "tokio")]
pub use wait::slice;
pub use wait::{Look, SLICE, Waiter};
