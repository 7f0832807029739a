//! The parameters of a ring, and the places of its parts in the segment.

use super::discipline::Discipline;
use crate::{Error, Result};

/// Bytes of the fixed part before the participants.
pub const HEAD_BYTES: u64 = 4096;
/// Most participants of a ring: a slot's word has ten bits for the number of one.
pub const MAX_PARTICIPANTS: u32 = 1024;
/// Bytes of one participant's entry.
pub const PARTICIPANT_BYTES: u64 = 128;
/// Least and most slots.
pub const CAPACITY_RANGE: std::ops::RangeInclusive<u64> = 2..=1 << 24;
/// Most bytes in a slot.
pub const MAX_SLOT_BYTES: u64 = 1 << 30;
/// Most bytes in an item: its length is kept in 32 bits.
pub const MAX_ITEM_BYTES: u64 = (1 << 32) - 1;

/// Bytes of the only word of a header in a ring of fixed items.
pub const FIXED_HEADER_BYTES: u64 = 8;

const PAGE: u64 = 4096;

/// One producer and one consumer have the ring to themselves.
pub const FLAG_EXCLUSIVE: u64 = 1;
/// Items carry the time at which they were sent.
pub const FLAG_TIMESTAMPS: u64 = 2;
/// The last participant to leave removes the ring once it is drained and ended.
pub const FLAG_EPHEMERAL: u64 = 4;
const ALL_FLAGS: u64 = FLAG_EXCLUSIVE | FLAG_TIMESTAMPS | FLAG_EPHEMERAL;

/// The checked parameters of a ring, and the places of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Slots: a power of two.
    pub capacity: u64,
    /// Bytes of payload in a slot.
    pub slot_size: u64,
    /// The `FLAG_` constants that are set.
    pub flags: u64,
    /// Entries in the participants' table.
    pub participants: u32,
    /// The stream does not end before at least this many producers have attached.
    pub expected_producers: u32,
    /// How handles wait.
    pub discipline: Discipline,
    /// The length in bytes of every item of a ring of fixed items; 0 in other rings.
    pub fixed: u64,
    /// Offset of the state words, 8 bytes each.
    pub words: u64,
    /// Offset of the items' lengths, 4 bytes for each slot; there are none in a ring of fixed items.
    pub lengths: u64,
    /// Offset of the rest of the item headers.
    pub headers: u64,
    /// Bytes of one item header.
    pub header_stride: u64,
    /// Offset of the payload.
    pub payload: u64,
    /// Bytes in total.
    pub size: u64,
}

impl Geometry {
    /// Computes the layout of a ring. An error says which limit was exceeded.
    pub fn new(
        capacity: u64,
        slot_size: u64,
        participants: u32,
        expected_producers: u32,
        flags: u64,
    ) -> Result<Self> {
        let refuse = |text: String| Err(Error::Options(text.into()));
        if !CAPACITY_RANGE.contains(&capacity) || !capacity.is_power_of_two() {
            return refuse(format!("bad capacity {capacity}: expected 2 to 16777216 slots, a power of two"));
        }
        if slot_size == 0 || slot_size > MAX_SLOT_BYTES || !slot_size.is_multiple_of(8) {
            return refuse(format!("bad slot size {slot_size}: expected 8 bytes to 1G, a multiple of 8"));
        }
        let exclusive = flags & FLAG_EXCLUSIVE != 0;
        let fits = if exclusive { participants == 2 } else { (2..=MAX_PARTICIPANTS).contains(&participants) };
        if !fits || flags & !ALL_FLAGS != 0 {
            return refuse(format!("bad number of participants {participants}: expected 2 to 1024"));
        }
        let geometry = Geometry {
            capacity,
            slot_size,
            flags,
            participants,
            expected_producers,
            discipline: Discipline::default(),
            fixed: 0,
            words: 0,
            lengths: 0,
            headers: 0,
            header_stride: if flags & FLAG_TIMESTAMPS != 0 { 32 } else { 16 },
            payload: 0,
            size: 0,
        };
        Ok(geometry.placed())
    }

    /// The same with the offsets of its parts.
    fn placed(self) -> Self {
        let words = HEAD_BYTES + (self.participants as u64 * PARTICIPANT_BYTES).next_multiple_of(PAGE);
        let lengths = (words + self.capacity * 8).next_multiple_of(PAGE);
        let length_bytes = if self.fixed > 0 { 0 } else { 4 };
        let headers = (lengths + self.capacity * length_bytes).next_multiple_of(PAGE);
        let payload = (headers + self.capacity * self.header_stride).next_multiple_of(PAGE);
        // At most 2^24 * 2^30, so this cannot overflow.
        let size = (payload + self.capacity * self.slot_size).next_multiple_of(PAGE);
        Geometry { words, lengths, headers, payload, size, ..self }
    }

    /// The same ring with items of exactly `bytes` bytes, if that is not 0: each has one slot.
    pub fn with_fixed(self, bytes: u64) -> Result<Self> {
        if bytes == 0 {
            return Ok(self);
        }
        let refuse = |text: String| Err(Error::Options(text.into()));
        if self.has_timestamps() {
            return refuse(
                "a ring of fixed items has no headers, and so no times: expected one of both".into(),
            );
        }
        if bytes.checked_next_multiple_of(8) != Some(self.slot_size) {
            let expected = bytes.saturating_add(7) / 8 * 8;
            let slot_size = self.slot_size;
            return refuse(format!(
                "bad slot size {slot_size} for items of {bytes} bytes: expected {expected}"
            ));
        }
        Ok(Geometry { fixed: bytes, header_stride: FIXED_HEADER_BYTES, ..self }.placed())
    }

    /// The same ring with another discipline.
    pub fn with_discipline(self, discipline: Discipline) -> Result<Self> {
        discipline.check(self.capacity)?;
        Ok(Geometry { discipline, ..self })
    }

    /// The largest item in bytes: half of the slots, or the length of a fixed item.
    pub fn max_item(&self) -> u64 {
        if self.fixed > 0 {
            return self.fixed;
        }
        (self.capacity / 2 * self.slot_size).min(MAX_ITEM_BYTES)
    }

    /// The number of slots for an item of `len` bytes: at least one.
    #[inline]
    pub fn span(&self, len: u64) -> u64 {
        if len <= self.slot_size || self.fixed > 0 { 1 } else { len.div_ceil(self.slot_size) }
    }

    /// Whether one producer and one consumer have the ring to themselves.
    #[inline]
    pub fn is_exclusive(&self) -> bool {
        self.flags & FLAG_EXCLUSIVE != 0
    }

    /// Whether items carry the time at which they were sent.
    #[inline]
    pub fn has_timestamps(&self) -> bool {
        self.flags & FLAG_TIMESTAMPS != 0
    }

    /// Whether the last participant to leave removes the ring.
    pub fn is_ephemeral(&self) -> bool {
        self.flags & FLAG_EPHEMERAL != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_ring_does_not_overflow() {
        let geometry = Geometry::new(1 << 24, MAX_SLOT_BYTES, 1024, 1, FLAG_TIMESTAMPS).unwrap();
        assert!(geometry.size > 1 << 54);
        assert_eq!(geometry.max_item(), MAX_ITEM_BYTES);
    }

    #[test]
    fn a_ring_of_fixed_items_has_a_slot_for_each_and_a_short_header() {
        let general = Geometry::new(8, 16, 4, 1, 0).unwrap();
        let fixed = general.with_fixed(13).unwrap();
        assert_eq!((fixed.max_item(), fixed.span(13), fixed.header_stride), (13, 1, 8));
        assert_eq!((general.headers - general.lengths, fixed.headers - fixed.lengths), (PAGE, 0));
        assert_eq!(general.with_fixed(0).unwrap(), general);
        for bytes in [1, 8, 17, u64::MAX] {
            assert!(general.with_fixed(bytes).is_err(), "{bytes}");
        }
        assert!(Geometry::new(8, 16, 4, 1, FLAG_TIMESTAMPS).unwrap().with_fixed(16).is_err());
    }
}
