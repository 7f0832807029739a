//! The public face: [`Ring`], [`Producer`], [`Consumer`] and what they hand out.
#![forbid(unsafe_code)]

mod adapters;
mod batch;
mod burial;
mod consumer;
mod courtesy;
mod door;
mod end;
mod item;
mod memory;
mod options;
mod participant;
mod producer;
mod reservation;
mod ring;
mod room;
mod search;
mod send_batch;
mod slots;
mod stats;
#[cfg(feature = "tokio")]
mod tasks;
#[cfg(test)]
mod testing;
mod typed;
mod watch;

pub use adapters::{ReadItems, WriteItems};
pub use batch::{Batch, BatchItem};
pub use burial::Buried;
pub use consumer::{Consumer, Items};
pub use item::Item;
pub use options::RingOptions;
pub use participant::Activity;
pub use producer::{OnFull, Producer};
pub use reservation::Reservation;
pub use ring::Ring;
pub use slots::{Slot, SlotItem, SlotState};
pub use stats::{Held, Liveness, ParticipantInfo, Peeked, Snapshot, Totals};
#[cfg(feature = "tokio")]
pub use tasks::{AsyncConsumer, AsyncProducer};
pub use typed::{TypedConsumer, TypedItem, TypedProducer};

/// What a participant is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// It sends items.
    Producer,
    /// It receives them.
    Consumer,
}

impl Role {
    fn other(self) -> Self {
        match self {
            Role::Producer => Role::Consumer,
            Role::Consumer => Role::Producer,
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Role::Producer => "producer",
            Role::Consumer => "consumer",
        })
    }
}
