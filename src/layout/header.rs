//! The words of an item's header, at the slot where the item begins: where each lies, and how it is encoded.
//!
//! One more part of the header, the length (32 bits), is in an array of its own (`Geometry::lengths`). A consumer reads the
//! length of each item, and these words only if its caller asks for the key, the failures or the time. So their cache lines
//! stay with the producer.
//!
//! The producer that owns the slot writes all of it before it publishes. The participant that claimed the item
//! reads it, and so do observers, which may see meaningless values. A process that recovers a held run reads the length, too. Each
//! reader limits the length to the run.
//!
//! One byte has a second writer: the number of failures, in the top byte of the word at [`SEQUENCE`].
//!
//! - The producer writes 0 with the sequence number, so a new item never has the failures of an earlier one.
//! - The consumer that holds the item adds one for each failed attempt at processing it, and stops at 255. No other
//!   process writes the word while the item is held. Giving the item back changes nothing here.
//! - The next holder of the item reads it: E3 orders the store before its claim.
//! - A holder that dies before the store leaves the old number, one that dies after it leaves the new one. The
//!   item is delivered again in both cases.

/// The offset of the only word of a header in a ring of fixed items: the position at which an item was sent, in the low 56
/// bits, and its failures in the high 8 bits. No process writes it for an item that is sent, received and acknowledged.
///
/// - The word belongs to the item in the slot only if the item's state word is renewed, or if it has the item's position.
///   Otherwise it is of an earlier item, and the item has no failures.
/// - A producer that is about to step over a held item for the first time writes it before it renews the state word: see
///   `protocol::names`. The holder writes it as in other rings. Both exchange the word that they read, after which they
///   saw that the item was still there, so they cannot change the word of a later item.
/// - A death before either exchange leaves the word of an earlier item, which no process takes for this item's.
pub const NAME: u64 = 0;

/// The producer's serial number, in the low 32 bits; the others are 0.
pub const PRODUCER: u64 = 0;
/// The producer's count of its items, from 0, in the low 56 bits; the number of failures in the high 8 bits.
pub const SEQUENCE: u64 = 8;
/// When it was sent, nanoseconds since 1970; only in rings with timestamps.
pub const TIME: u64 = 16;

/// The producer's serial number in the word at [`PRODUCER`].
#[inline]
pub(crate) fn producer_in(word: u64) -> u32 {
    word as u32
}

/// The serial number that stands for no record of a producer: in a ring of fixed items.
pub(crate) const NO_PRODUCER: u32 = u32::MAX;

/// The largest sequence number: a producer that sends a billion items a second reaches it after two years.
pub(crate) const MAX_SEQUENCE: u64 = (1 << FAILURES_SHIFT) - 1;

const FAILURES_SHIFT: u32 = 56;

/// The sequence number in the word at [`SEQUENCE`].
#[inline]
pub(crate) fn sequence_in(word: u64) -> u64 {
    word & MAX_SEQUENCE
}

/// The word at [`NAME`] of an item that was sent at `position` and has no failures.
#[inline]
pub(crate) fn name(position: u64) -> u64 {
    position & MAX_SEQUENCE
}

/// The number of failures in that word.
#[inline]
pub(crate) fn failures_in(word: u64) -> u8 {
    (word >> FAILURES_SHIFT) as u8
}

/// That word after one more failure. At 255 failures it stays as it is: an overflow would change the count to 0.
pub(crate) fn with_failure(word: u64) -> u64 {
    match failures_in(word) {
        u8::MAX => word,
        _ => word + (1 << FAILURES_SHIFT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_beside_the_sequence_number_and_stop_at_255() {
        for sequence in [0, 1, 1 << 55, MAX_SEQUENCE] {
            let mut word = sequence;
            for failures in 0..=u8::MAX {
                assert_eq!((sequence_in(word), failures_in(word)), (sequence, failures));
                word = with_failure(word);
            }
            assert_eq!(with_failure(word), word);
            assert_eq!((sequence_in(word), failures_in(word)), (sequence, u8::MAX));
        }
    }
}
