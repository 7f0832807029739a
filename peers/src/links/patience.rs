//! Waiting for carriers that only offer to try.

use std::hint::spin_loop;
use std::thread::yield_now;

/// About 20 us of tries, the time in which a peer that is awake has answered.
const SPINS: usize = 1000;

/// Tries until `done`: spins for a moment, then gives the processor away between tries.
pub fn until(mut done: impl FnMut() -> bool) {
    for _ in 0..SPINS {
        if done() {
            return;
        }
        spin_loop();
    }
    while !done() {
        yield_now();
    }
}
