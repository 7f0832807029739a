//! Live corruption: while producers, consumers and `ringctl` work on a ring, another process writes random bytes
//! over any part of it, posts and drains its semaphores, cuts its file and grows it again.
//!
//! What comes out of such a ring may be nonsense. But no process dies by a signal or panics, each ends by itself or
//! when it is asked to, with a documented exit code and one line that says why, and a fresh ring works.
//!
//! `RINGPIPE_CORRUPTION=10m` says how long; 10 seconds otherwise.

mod acts;
mod round;
mod worker;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::{Random, report, seed};

/// Not a test: the process that damages, and the ones that use the library.
#[test]
fn another_process() {
    acts::run_if_told();
    worker::run_if_told();
}

#[test]
fn while_a_ring_is_overwritten_its_processes_end_cleanly_and_a_fresh_ring_works() {
    let time = std::env::var("RINGPIPE_CORRUPTION").ok();
    let time =
        time.map_or(Duration::from_secs(10), |text| humantime::parse_duration(&text).expect("a duration"));
    let seed = seed();
    let mut random = Random::new(seed);
    let mut seen = Seen::default();
    let begin = Instant::now();
    while begin.elapsed() < time {
        round::run(&mut random, &mut seen);
    }
    let Seen { rounds, processes, asked, acts, ends } = seen;
    report(&format!(
        "corruption: seed {seed}, {rounds} rounds, {acts} acts, {processes} processes, {asked} of them asked to end"
    ));
    for (end, count) in ends {
        report(&format!("  {count:7} {end}"));
    }
    assert!(rounds > 0);
}

/// What was seen in all rounds.
#[derive(Default)]
struct Seen {
    rounds: u64,
    processes: u64,
    /// Processes that did not end by themselves in time, and did when they were asked to.
    asked: u64,
    acts: u64,
    /// Program, exit code, and the kind of its line.
    ends: BTreeMap<String, u64>,
}
