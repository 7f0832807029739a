//! Fairness requests: other producers hold back while one waits for several slots.
//!
//! An item of several slots needs them all at once. In a full ring, producers of smaller items would take
//! each slot the moment it becomes free, and the larger item would wait for ever. So a producer that waits
//! for several slots sets a request next to the tail counter, and the other producers treat the ring as full
//! for a moment.
//!
//! The request is a hint: 0, or a count above the number of the requesting participant. The requester renews
//! it with a new count while it waits, and clears it afterwards. The word contains no time, because processes
//! may have different clocks. Each handle that reads a request remembers since when it has seen the same one,
//! and clears it if it was not renewed for a long time. Recovery clears the request of a dead participant.

use std::cell::Cell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::layout::head::RequestWord;
use crate::sys::clock;
use crate::wait::{LONG_SLICE, SLICE, Seen};

/// How long other producers hold back for a request that is not renewed. A requester renews it in every
/// slice, and the longest slices are half as long as this.
const HOLD_NS: u64 = 2 * nanos(LONG_SLICE);
/// A requester that asks again within this time leaves its request unchanged.
const RENEWED_NS: u64 = nanos(SLICE) / 2;

const fn nanos(time: Duration) -> u64 {
    time.as_nanos() as u64
}

/// What one handle knows about requests: its own, and the latest one of another participant.
#[derive(Debug)]
pub(crate) struct FairnessRequest {
    /// The last request of another participant that this handle saw.
    seen: Seen,
    /// The count in this handle's last request. No count is used twice, since others would take it for an old
    /// request.
    count: Cell<u64>,
    /// When this handle last set its request.
    requested_at: Cell<u64>,
}

impl FairnessRequest {
    pub fn new() -> Self {
        // The clock only makes the counts differ from those of earlier holders of the same number.
        let count = Cell::new(clock::monotonic_ns() / 1_000);
        FairnessRequest { seen: Seen::default(), count, requested_at: Cell::new(0) }
    }

    /// Asks the others to hold back for participant `me`, unless another participant's request is set.
    #[cold]
    pub fn request(&self, word: &AtomicU64, me: u32) {
        self.request_at(word, me, clock::coarse_ns());
    }

    fn request_at(&self, word: &AtomicU64, me: u32, now: u64) {
        // Relaxed, here and below: a request is a hint and publishes no other data.
        let before = word.load(Relaxed);
        if before != 0
            && (requester(before) != me || now.saturating_sub(self.requested_at.get()) < RENEWED_NS)
        {
            return;
        }
        let count = self.count.get().wrapping_add(1) & RequestWord::MAX_COUNT;
        // Skip 0, which means no request.
        let count = count.max(1);
        let request = RequestWord { number: me, count }.write();
        if word.compare_exchange(before, request, Relaxed, Relaxed).is_ok() {
            self.count.set(count);
            self.requested_at.set(now);
        }
    }

    /// Whether another participant's request asks `me` to hold back.
    #[inline]
    pub fn holds_back(&self, word: &AtomicU64, me: u32) -> bool {
        let request = word.load(Relaxed);
        request != 0 && requester(request) != me && self.is_valid(word, request)
    }

    #[cold]
    fn is_valid(&self, word: &AtomicU64, request: u64) -> bool {
        self.is_valid_at(word, request, clock::coarse_ns())
    }

    fn is_valid_at(&self, word: &AtomicU64, request: u64, now: u64) -> bool {
        let valid = self.seen.age(request, now).unwrap_or(0) < HOLD_NS;
        if !valid {
            let _ = word.compare_exchange(request, 0, Relaxed, Relaxed);
        }
        valid
    }
}

/// Clears the request of participant `me`.
pub(crate) fn withdraw(word: &AtomicU64, me: u32) {
    let request = word.load(Relaxed);
    if request != 0 && requester(request) == me {
        let _ = word.compare_exchange(request, 0, Relaxed, Relaxed);
    }
}

/// The participant that made a nonzero request.
fn requester(request: u64) -> u32 {
    RequestWord::read(request).map_or(0, |request| request.number)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two handles, and the request word.
    fn two() -> (FairnessRequest, FairnessRequest, AtomicU64) {
        (FairnessRequest::new(), FairnessRequest::new(), AtomicU64::new(0))
    }

    #[test]
    fn others_hold_back_until_the_request_is_withdrawn() {
        let (one, other, word) = two();
        one.request(&word, 3);
        assert!(other.holds_back(&word, 4));
        assert!(!one.holds_back(&word, 3));
        withdraw(&word, 4);
        assert!(other.holds_back(&word, 4));
        withdraw(&word, 3);
        assert!(!other.holds_back(&word, 4));
    }

    #[test]
    fn a_second_request_does_not_replace_the_first() {
        let (one, other, word) = two();
        one.request(&word, 3);
        other.request(&word, 5);
        assert!(other.holds_back(&word, 5));
        assert!(!one.holds_back(&word, 3));
    }

    #[test]
    fn a_request_holds_as_long_as_the_reader_sees_it_renewed_whatever_value_it_has() {
        for request in [7, 1 << 20, u64::MAX] {
            let (_, reader, word) = two();
            word.store(request, Relaxed);
            assert!(reader.is_valid_at(&word, request, 1_000));
            assert!(reader.is_valid_at(&word, request, 1_000 + HOLD_NS - 1));
            assert_eq!(word.load(Relaxed), request);
            // A renewed request holds again for the full time.
            assert!(reader.is_valid_at(&word, request ^ 1 << 30, 1_000 + HOLD_NS));
            assert!(reader.is_valid_at(&word, request, 1_001 + HOLD_NS));
            assert!(!reader.is_valid_at(&word, request, 1_001 + 2 * HOLD_NS));
            assert_eq!(word.load(Relaxed), 0, "it is over");
        }
    }

    #[test]
    fn a_repeated_request_uses_no_count_twice_and_is_renewed_once_in_a_while() {
        let (one, reader, word) = two();
        one.request_at(&word, 3, 1_000);
        let first = word.load(Relaxed);
        one.request_at(&word, 3, 999 + RENEWED_NS);
        assert_eq!(word.load(Relaxed), first);
        one.request_at(&word, 3, 1_000 + RENEWED_NS);
        assert_ne!(word.load(Relaxed), first);
        // When another handle clears an expired request, the requester sets it again at once.
        let second = word.load(Relaxed);
        assert!(reader.is_valid_at(&word, second, 0) && !reader.is_valid_at(&word, second, HOLD_NS));
        one.request_at(&word, 3, 1_001 + RENEWED_NS);
        let third = word.load(Relaxed);
        assert!(third != 0 && third != second && third != first);
        assert!(reader.is_valid_at(&word, third, HOLD_NS));
    }
}
