//! Holding back for a larger item.
//!
//! An item of several slots needs them all at once. In a full ring, producers of smaller items would take
//! each slot the moment it becomes free, and the larger one would wait for ever. So who waits for several
//! slots says so next to tail, and the others treat the ring as full for a moment.
//!
//! The word is a request, and a hint: 0, or a time in coarse monotonic milliseconds above the number of the
//! one who asks. Its asker renews it while it waits and clears it; a dead one's request passes with time.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::ring::word::MAX_PARTICIPANTS;
use crate::sync::SLICE;
use crate::sys::clock;

/// How long the others hold back unless the request is renewed, which happens at every slice.
const HOLD_MS: u64 = 2 * SLICE.as_millis() as u64;

fn now_ms() -> u64 {
    clock::coarse_ns() / 1_000_000
}

/// Asks the others to hold back for participant `me`, unless somebody else has asked.
pub(super) fn ask(word: &AtomicU64, me: u32) {
    // Relaxed, here and below: a request, it hands nothing over.
    let before = word.load(Relaxed);
    if before == 0 || asker(before) == me {
        let request = (now_ms() + HOLD_MS) * MAX_PARTICIPANTS as u64 + me as u64;
        let _ = word.compare_exchange(before, request, Relaxed, Relaxed);
    }
}

/// Takes the request of participant `me` back.
pub(super) fn thank(word: &AtomicU64, me: u32) {
    let request = word.load(Relaxed);
    if request != 0 && asker(request) == me {
        let _ = word.compare_exchange(request, 0, Relaxed, Relaxed);
    }
}

/// Whether participant `me` is asked to hold back.
#[inline]
pub(super) fn is_asked(word: &AtomicU64, me: u32) -> bool {
    let request = word.load(Relaxed);
    request != 0 && asker(request) != me && is_valid(word, request)
}

#[cold]
fn is_valid(word: &AtomicU64, request: u64) -> bool {
    let left = (request / MAX_PARTICIPANTS as u64).saturating_sub(now_ms());
    let valid = (1..=HOLD_MS).contains(&left);
    if !valid {
        // Over, or a lie.
        let _ = word.compare_exchange(request, 0, Relaxed, Relaxed);
    }
    valid
}

fn asker(request: u64) -> u32 {
    (request % MAX_PARTICIPANTS as u64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_hold_back_until_thanked() {
        let word = AtomicU64::new(0);
        ask(&word, 3);
        assert!(is_asked(&word, 4));
        assert!(!is_asked(&word, 3));
        thank(&word, 4);
        assert!(is_asked(&word, 4));
        thank(&word, 3);
        assert!(!is_asked(&word, 4));
    }

    #[test]
    fn who_asks_second_does_not_take_the_place_of_the_first() {
        let word = AtomicU64::new(0);
        ask(&word, 3);
        ask(&word, 5);
        assert!(is_asked(&word, 5));
        assert!(!is_asked(&word, 3));
    }

    #[test]
    fn a_request_that_is_over_or_impossible_is_cleared() {
        for request in [7, u64::MAX] {
            let word = AtomicU64::new(request);
            assert!(!is_asked(&word, 1));
            assert_eq!(word.load(Relaxed), 0);
        }
    }
}
