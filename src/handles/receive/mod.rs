//! The receiving side: one core, and the types that hand out its items.

mod batch;
mod consumer;
mod content;
mod core;
mod item;
mod owned_item;
mod scan;

#[cfg(feature = "cli")]
pub use batch::HeldBatch;
pub use batch::{Batch, BatchItem};
pub use consumer::{Consumer, Items};
pub use item::Item;
pub use owned_item::OwnedItem;
