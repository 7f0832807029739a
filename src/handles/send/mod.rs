//! The sending side: one core, and the types that write items with it.

mod batch;
mod claim;
mod core;
mod drop_observer;
mod producer;
mod reservation;

pub use core::OnFull;
#[cfg(feature = "tokio")]
pub(super) use core::{Core, Place, RoomWait};
pub use drop_observer::DropObserver;
pub use producer::Producer;
pub use reservation::Reservation;
