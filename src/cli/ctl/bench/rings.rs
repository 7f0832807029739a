//! The rings that are compared.
use crate::{
    Discipline, RingOptions,
    cli::{ctl::own_ring::OwnRing, exit::Failure},
};

/// A way to make a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingKind {
    /// What it is called in reports.
    pub title: &'static str,
    /// One producer and one consumer have it to themselves.
    pub exclusive: bool,
    /// How its sides wait for each other.
    pub sync: Discipline,
}

/// All of them, in the order of a round.
pub const RINGS: [RingKind; 2] = [EXCLUSIVE, SHARED];
const EXCLUSIVE: RingKind = RingKind { title: "exclusive", exclusive: true, sync: Discipline::Adaptive };
/// For many producers and consumers.
pub const SHARED: RingKind = RingKind { title: "for many", exclusive: false, sync: Discipline::Adaptive };

/// Bytes of payload that a ring has room for,
const DEPTH_BYTES: usize = 256 << 10;
/// unless that are fewer messages than these; for large messages at most so many bytes.
const LEAST_SLOTS: usize = 64;
const MOST_SLOTS: usize = 4096;
const MOST_BYTES: usize = 16 << 20;

impl RingKind {
    /// Such a ring under another discipline.
    pub fn under(self, sync: Discipline) -> Self {
        RingKind { sync, ..self }
    }

    /// Makes such a ring for messages of `size` bytes, each of which takes a slot.
    pub fn make(self, size: usize, producers: usize) -> Result<OwnRing, Failure> {
        let slots = (DEPTH_BYTES / size).clamp(LEAST_SLOTS, MOST_SLOTS).min((MOST_BYTES / size).max(4));
        let options = RingOptions::new()
            .capacity(slots as u64)
            .slot_size(size as u64)
            .expected_producers(producers as u32)
            .exclusive(self.exclusive)
            .sync(self.sync);
        OwnRing::make("bench", &options)
    }
}
