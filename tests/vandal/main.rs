//! A live vandal: while producers, consumers and `ringctl` work on a ring, another process writes random bytes
//! over any part of it, posts and drains its semaphores, cuts its file and grows it again.
//!
//! What comes out of such a ring may be nonsense. But no process dies by a signal or panics, each ends by itself or
//! when it is asked to, with a documented exit code and one line that says why, and a fresh ring works.
//!
//! `RINGPIPE_VANDAL=10m` says how long; 10 seconds otherwise.

#[path = "../common/mod.rs"]
mod common;
#[path = "../processes/mod.rs"]
mod processes;

mod round;
mod vandal;
mod worker;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use processes::{Random, report, seed};

/// Not a test: the process that damages, and those that use the library.
#[test]
fn another_process() {
    vandal::run_if_told();
    worker::run_if_told();
}

#[test]
fn whatever_a_vandal_does_everybody_ends_cleanly_and_a_fresh_ring_works() {
    let time = std::env::var("RINGPIPE_VANDAL").ok();
    let time =
        time.map_or(Duration::from_secs(10), |text| humantime::parse_duration(&text).expect("a duration"));
    let seed = seed();
    let mut random = Random::new(seed);
    let mut seen = Seen::default();
    let begin = Instant::now();
    while begin.elapsed() < time {
        round::run(&mut random, &mut seen);
    }
    let Seen { rounds, processes, asked, vandalisms, ends } = seen;
    report(&format!(
        "vandal: seed {seed}, {rounds} rounds, {vandalisms} acts, {processes} processes, {asked} of them asked to end"
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
    vandalisms: u64,
    /// Program, exit code, and the kind of its line.
    ends: BTreeMap<String, u64>,
}
