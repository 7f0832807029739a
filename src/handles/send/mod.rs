//! The sending side: one core, and the types that write items with it.

mod batch;
mod claim;
mod core;
mod drop_observer;
mod drop_oldest;
mod producer;
mod reservation;
mod scan;
mod wait;

pub use core::OnFull;
#[cfg(feature = "tokio")]
pub(super) use core::{Core, Place, RoomWait};
pub use drop_observer::DropObserver;
pub use producer::Producer;
pub use reservation::Reservation;
