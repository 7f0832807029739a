//! The measured messages: how a sender writes them, and how a receiver checks them.
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// The smallest message: it has only its number.
pub const LEAST_SIZE: usize = 8;
/// Bits of the count in a number; the bits above say which process sends.
const COUNT_BITS: u32 = 56;
/// Messages begin at multiples of this, as slots do: otherwise some processors copy slowly.
const ALIGNMENT: usize = 64;

/// The first number of a sender.
pub fn first_number(sender: u8) -> u64 {
    u64::from(sender) << COUNT_BITS
}

/// A message to be sent.
pub struct Message {
    words: Vec<u64>,
    start: usize,
    size: usize,
}

impl Message {
    /// A message of `size` bytes, at least [`LEAST_SIZE`].
    pub fn new(size: usize) -> Self {
        let words = vec![0u64; size.div_ceil(8) + ALIGNMENT / 8];
        let start = words.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT / 8);
        Message { words, start, size }
    }

    /// Writes `number` into every word.
    #[inline]
    pub fn write(&mut self, number: u64) {
        let end = self.start + self.size.div_ceil(8);
        self.words[self.start..end].fill(number);
    }
}

impl AsRef<[u8]> for Message {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words[self.start..])[..self.size]
    }
}

/// The number of a message, if it has `size` bytes and every word is that number. So a mix of two messages, or
/// foreign bytes, is found.
#[inline]
pub fn number_of(message: &[u8], size: usize) -> Option<u64> {
    let (words, rest) = message.as_chunks::<8>();
    let number = u64::from_ne_bytes(*words.first()?);
    let wrong = words.iter().fold(0, |wrong, bytes| wrong | (u64::from_ne_bytes(*bytes) ^ number));
    let whole = wrong == 0 && message.len() == size && (rest.is_empty() || ends_so(rest, number));
    whole.then_some(number)
}

/// Not inlined: a size that is not a multiple of a word is rare, and comparing nothing costs a call.
#[cold]
fn ends_so(rest: &[u8], number: u64) -> bool {
    *rest == number.to_ne_bytes()[..rest.len()]
}

/// A multiset of numbers, as their count and a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// The sum of [`mix`] of each number: it shows a lost number even if another one is doubled.
    pub sum: u64,
}

impl Tally {
    /// All the numbers of a range.
    pub fn of(numbers: Range<u64>) -> Self {
        let mut tally = Tally::default();
        numbers.for_each(|number| tally.add(number));
        tally
    }

    #[inline]
    fn add(&mut self, number: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(mix(number));
    }

    /// The union of both.
    pub fn and(self, other: Tally) -> Self {
        Tally { count: self.count + other.count, sum: self.sum.wrapping_add(other.sum) }
    }
}

#[inline]
fn mix(number: u64) -> u64 {
    let product = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

/// Checks what one consumer receives.
pub struct Checker {
    size: usize,
    /// The smallest number that may come next, for each sender.
    next: [u64; 1 << (u64::BITS - COUNT_BITS)],
    tally: Tally,
}

impl Checker {
    /// For messages of `size` bytes.
    pub fn new(size: usize) -> Self {
        Checker { size, next: [0; 256], tally: Tally::default() }
    }

    /// Checks the next message. False: it is damaged, or its number may not come now. A redelivered message may
    /// come late.
    #[inline]
    #[must_use]
    pub fn take(&mut self, message: &[u8], redelivered: bool) -> bool {
        let Some(number) = number_of(message, self.size) else { return false };
        // One byte: every value is a valid index.
        let next = &mut self.next[(number >> COUNT_BITS) as usize];
        let in_order = number >= *next;
        if in_order {
            *next = number + 1;
        }
        self.tally.add(number);
        in_order || redelivered
    }

    /// The numbers that came so far.
    pub fn tally(&self) -> Tally {
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64, size: usize) -> Vec<u8> {
        let mut message = Message::new(size);
        message.write(number);
        message.as_ref().to_vec()
    }

    #[test]
    fn every_byte_of_a_message_is_checked() {
        for size in [8, 9, 15, 16, 100, 1024] {
            let mut bytes = message(77, size);
            assert_eq!(number_of(&bytes, size), Some(77));
            assert_eq!(number_of(&bytes, size + 1), None);
            for at in 8..size {
                bytes[at] ^= 1;
                assert_eq!(number_of(&bytes, size), None, "byte {at} of {size}");
                bytes[at] ^= 1;
            }
        }
        assert_eq!(number_of(b"short", 5), None);
    }

    #[test]
    fn messages_are_aligned_as_slots_are() {
        for size in [8, 100, 1 << 20] {
            assert_eq!(Message::new(size).as_ref().as_ptr() as usize % ALIGNMENT, 0);
        }
    }

    #[test]
    fn order_is_per_sender_and_only_a_redelivered_message_may_be_late() {
        let mut checker = Checker::new(16);
        let mut take = |number, redelivered| checker.take(&message(number, 16), redelivered);
        assert!(take(0, false) && take(5, false));
        assert!(take(first_number(255), false) && take(6, false));
        assert!(!take(6, false) && !take(4, false));
        assert!(take(4, true) && take(7, false));
    }

    #[test]
    fn a_lost_a_doubled_and_an_exchanged_message_change_the_tally() {
        let all = Tally::of(0..100);
        assert_eq!(Tally::of(0..50).and(Tally::of(50..100)), all);
        let without = |lost: u64| Tally::of(0..lost).and(Tally::of(lost + 1..100));
        assert_ne!(without(7), all);
        assert_ne!(without(7).and(Tally::of(8..9)), all);
        assert_ne!(Tally::of(first_number(1)..first_number(1) + 100), all);
    }
}
