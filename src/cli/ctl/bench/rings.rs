//! The compared kinds of rings.
use crate::{Discipline, RingOptions, cli::common::exit::Failure, cli::ctl::own_ring::OwnRing};

/// A way to make a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingKind {
    /// What it is called in reports.
    pub title: &'static str,
    /// Whether only one producer and one consumer use it.
    pub exclusive: bool,
    /// How its producers and consumers wait for each other.
    pub sync: Discipline,
}

/// All kinds, in the order of a round.
pub const RINGS: [RingKind; 2] = [EXCLUSIVE, SHARED];
const EXCLUSIVE: RingKind = RingKind { title: "exclusive", exclusive: true, sync: Discipline::Adaptive };
/// For many producers and consumers.
pub const SHARED: RingKind = RingKind { title: "for many", exclusive: false, sync: Discipline::Adaptive };

/// Bytes of payload for which a ring has room, within the limits below.
const DEPTH_BYTES: usize = 256 << 10;
/// The least and the largest number of slots, and for large messages the most bytes, of a ring.
const LEAST_SLOTS: usize = 64;
const MOST_SLOTS: usize = 4096;
const MOST_BYTES: usize = 16 << 20;

impl RingKind {
    /// The same kind of ring under another discipline.
    pub fn under(self, sync: Discipline) -> Self {
        RingKind { sync, ..self }
    }

    /// Creates such a ring for messages of `size` bytes, one per slot; with `fixed`, one of fixed items.
    pub fn make(self, size: usize, producers: usize, fixed: bool) -> Result<OwnRing, Failure> {
        let slots = (DEPTH_BYTES / size).clamp(LEAST_SLOTS, MOST_SLOTS).min((MOST_BYTES / size).max(4));
        let options = RingOptions::new()
            .capacity(slots as u64)
            .slot_size(size as u64)
            .fixed(if fixed { size as u64 } else { 0 })
            .expected_producers(producers as u32)
            .exclusive(self.exclusive)
            .sync(self.sync);
        OwnRing::make("bench", &options)
    }
}
