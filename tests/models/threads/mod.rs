//! The ring's own code between real threads, over words in heap memory: for Miri, which makes each atomic load answer with any
//! value that the language allows, and for ThreadSanitizer. Both notice a missing order as a data race of the payload.
//!
//! ```text
//! MIRIFLAGS="-Zmiri-many-seeds=0..64" cargo +nightly miri test --no-default-features --test models threads::
//! RUSTFLAGS=-Zsanitizer=thread cargo +nightly test -Zbuild-std --target x86_64-unknown-linux-gnu \
//!     --no-default-features --test models threads::
//! ```
//!
//! RINGPIPE_THREADS says how often each story is told.

#[path = "../../support/heap/mod.rs"]
#[allow(clippy::duplicate_mod, reason = "the same stories on other words and threads")]
#[allow(dead_code, reason = "each model uses its part")]
mod heap;
mod world;

use heap::scenarios;
use heap::waking::{self, Both};

/// How often each story is told; under Miri once for each of its seeds.
fn times() -> u32 {
    let default = if cfg!(miri) {
        1
    } else if crate::scale::is_ci() {
        200
    } else {
        50
    };
    if cfg!(miri) {
        return default;
    }
    std::env::var("RINGPIPE_THREADS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn the_small_scenarios_pass() {
    for scenario in scenarios::all() {
        for _ in 0..times() {
            (0..scenario.deaths.max(1)).for_each(scenario.run);
        }
    }
}

#[test]
fn no_thread_sleeps_for_ever() {
    for _ in 0..times() {
        waking::consumer_is_woken::<Both>();
        waking::producer_is_woken::<Both>();
        waking::two_are_woken::<Both>();
        waking::all_wait::<Both>(2, 2, if cfg!(miri) { 2 } else { 20 });
    }
}
