//! Observes a ring without changing it.

mod observer;
mod slots;
mod snapshot;

pub use observer::RingObserver;
pub use slots::{Slot, SlotItem, SlotState};
pub use snapshot::{Held, Liveness, ParticipantInfo, Peeked, PidNamespace, Snapshot, Totals};

use crate::membership::memory::SegmentRingCore;
use crate::protocol::word::Word;

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
    /// Reads the header of the item at `slot` and `position` by its state word, whose claim has `run` slots from there.
    #[inline]
    pub fn read(slots: &SegmentRingCore, position: u64, word: Word, run: u64) -> Self {
        let (memory, slot) = (slots.memory(), slots.codec().slot(position));
        let name = slots.name_of(position, word);
        let (producer, sequence) = memory.producer_and_sequence(slot, name);
        let (len, failures) = (memory.length(slot, run), memory.failures(slot, name));
        Header { len, producer, sequence, failures, time: memory.time(slot) }
    }
}
