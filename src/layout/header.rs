//! The words of an item's header, at the slot where the item begins: where each lies, and how it is encoded.
//!
//! The producer that owns the slot writes them before it publishes. The participant that claimed the item
//! reads them, and so do observers, which may see meaningless values.

/// Length in the low 32 bits, the producer's serial number in the high 32 bits.
pub const LENGTH_AND_PRODUCER: u64 = 0;
/// The producer's count of its items, from 0.
pub const SEQUENCE: u64 = 8;
/// When it was sent, nanoseconds since 1970; only in rings with timestamps.
pub const TIME: u64 = 16;

/// The word at [`LENGTH_AND_PRODUCER`] of an item of `len` bytes, at most 2^32 - 1.
#[inline]
pub(crate) fn length_and_producer(len: u64, producer: u32) -> u64 {
    len | u64::from(producer) << 32
}

/// The length in that word, unchecked.
#[inline]
pub(crate) fn length_in(word: u64) -> u64 {
    u64::from(word as u32)
}

/// The producer's serial number in that word.
#[inline]
pub(crate) fn producer_in(word: u64) -> u32 {
    (word >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::geometry::MAX_ITEM_BYTES;

    #[test]
    fn length_and_producer_are_read_as_they_were_written() {
        for len in [0, 1, 64, MAX_ITEM_BYTES] {
            for producer in [0, 1, u32::MAX] {
                let word = length_and_producer(len, producer);
                assert_eq!((length_in(word), producer_in(word)), (len, producer));
            }
        }
        assert_eq!((length_in(u64::MAX), producer_in(u64::MAX)), (MAX_ITEM_BYTES, u32::MAX));
    }
}
