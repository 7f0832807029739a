//! The public face: [`Ring`], [`Producer`], [`Consumer`] and what they hand out.
#![forbid(unsafe_code)]

mod adapters;
#[cfg(feature = "tokio")]
mod asynchronous;
mod item_key;
mod observe;
mod options;
mod postponed;
mod receive;
mod ring;
mod send;
#[cfg(test)]
mod testing;
mod typed;

pub use crate::membership::{Activity, Repaired, Role};
pub use adapters::{ReadItems, WriteItems};
#[cfg(feature = "tokio")]
pub use asynchronous::{AsyncConsumer, AsyncProducer};
pub use item_key::ItemKey;
pub use observe::{
    Held, Liveness, ParticipantInfo, Peeked, PidNamespace, RingObserver, Slot, SlotItem, SlotState, Snapshot,
    Totals,
};
pub use options::RingOptions;
pub use postponed::Postponed;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub use receive::HeldBatch;
pub use receive::{Batch, BatchItem, Consumer, Item, Items, OwnedItem};
pub use ring::Ring;
pub use send::{DropObserver, OnFull, Producer, Reservation};
pub use typed::{TypedBatch, TypedConsumer, TypedItem, TypedProducer};
