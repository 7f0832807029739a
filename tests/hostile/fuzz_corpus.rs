//! The fuzz targets of fuzz/, with a stable compiler: on the corpus that was kept, on changed copies of it, and on
//! random bytes.
//!
//! In full, with a nightly compiler and `cargo install cargo-fuzz`, for each of `segment`, `preamble` and `framing`:
//! `cargo +nightly fuzz run segment -- -max_total_time=300 -timeout=10 -malloc_limit_mb=256`.

#[path = "../../fuzz/harness/mod.rs"]
mod harness;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{Random, env_number, report, seed, within};

type Target = fn(&[u8]);

/// Seconds for each target beyond its corpus.
fn seconds() -> u64 {
    env_number("RINGPIPE_FUZZ_SECONDS").unwrap_or(3)
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort_unstable();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Runs a target on `bytes`; what stops it is told with the bytes that did.
fn one(name: &'static str, target: Target, bytes: Vec<u8>) {
    let shown = bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    within(&format!("{name} on {shown}"), move || {
        let result = std::panic::catch_unwind(|| target(&bytes));
        assert!(result.is_ok(), "{name} panics on {shown}");
    });
}

fn all(name: &'static str, target: Target) {
    let kept = corpus(name);
    assert!(kept.len() > 10, "{name}: the corpus is gone");
    // Side by side: many of them wait.
    let each = kept.len().div_ceil(4);
    thread::scope(|scope| {
        for part in kept.chunks(each) {
            scope.spawn(move || part.iter().for_each(|bytes| one(name, target, bytes.clone())));
        }
    });
    let seed = seed();
    let mut random = Random::new(seed);
    let (begin, mut more) = (Instant::now(), 0);
    while begin.elapsed() < Duration::from_secs(seconds()) {
        one(name, target, changed(&kept, &mut random));
        more += 1;
    }
    report(&format!("{name}: {} kept inputs, {more} more from seed {seed}", kept.len()));
}

/// A kept input with some bytes changed, two in a row, or nothing but random bytes.
fn changed(kept: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let pick = |random: &mut Random| kept[random.below(kept.len() as u64) as usize].clone();
    let mut bytes = match random.below(3) {
        0 => (0..random.below(400)).map(|_| random.next() as u8).collect(),
        1 => pick(random),
        _ => [pick(random), pick(random)].concat(),
    };
    for _ in 0..random.below(8) {
        let at = random.below(bytes.len() as u64 + 1) as usize;
        match random.below(3) {
            0 => bytes.insert(at, random.next() as u8),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            _ if at < bytes.len() => bytes[at] = random.next() as u8,
            _ => {}
        }
    }
    bytes
}

#[test]
fn a_ring_whose_bytes_change_gives_values_or_errors() {
    all("segment", harness::segment::run);
}

#[test]
fn any_preamble_is_opened_or_refused() {
    all("preamble", harness::preamble::run);
}

#[test]
fn any_input_is_split_into_items_that_survive_a_round_trip_or_refused() {
    all("framing", harness::framing::run);
}
