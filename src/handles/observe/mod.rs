//! Observes a ring without changing it.

mod observer;
mod slots;
mod snapshot;

pub use observer::RingObserver;
pub use slots::{Slot, SlotItem, SlotState};
pub use snapshot::{Held, Liveness, ParticipantInfo, Peeked, PidNamespace, Snapshot, Totals};

use crate::membership::memory::SegmentMemory;

/// The contents of an item's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub len: u64,
    pub producer: u32,
    pub sequence: u64,
    pub failures: u8,
    pub time: Option<u64>,
}

impl Header {
    /// Reads the header of the item at `slot`, whose claim has `run` slots from there.
    #[inline]
    pub fn read(memory: &SegmentMemory, slot: u64, run: u64) -> Self {
        let (len, producer) = memory.length_and_producer(slot, run);
        let (sequence, failures) = (memory.sequence(slot), memory.failures(slot));
        Header { len, producer, sequence, failures, time: memory.time(slot) }
    }
}
