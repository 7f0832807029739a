//! Hours of coming and going: producers and consumers that attach, work, leave, and are killed, ten a second, and
//! rings that are made anew. What lives on is measured in between, at rest: its memory, descriptors and threads,
//! the segments and their bytes; and every line is accounted for.
//!
//! Some seconds in `cargo test`. In full, on a machine that does nothing else:
//! `RINGPIPE_SOAK=1h cargo test --release --test deaths soak:: -- --nocapture`

mod churn;
mod lines;
mod measure;
mod reattach;

use std::time::{Duration, Instant};

use ringpipe::RingOptions;

use crate::support::{TestName, namespace};
use churn::Churn;
use lines::Residents;
use measure::Table;
use reattach::Reattacher;

/// Between two kills.
const KILL_EVERY: Duration = Duration::from_millis(100);

#[test]
fn memory_threads_and_descriptors_do_not_grow_while_processes_come_and_go() {
    let alone = "mount -t tmpfs -o size=256m none /dev/shm";
    if !namespace::is_inside() && namespace::run_inside(namespace::this_test!(), alone) {
        return;
    }
    let length = std::env::var("RINGPIPE_SOAK").map_or(Duration::from_secs(5), |text| {
        humantime::parse_duration(&text).expect("RINGPIPE_SOAK is a duration")
    });
    // A line a minute, and at least sixteen in all.
    let stretches = length.as_secs().div_ceil(60).max(16);
    let stretch = length.div_f64(stretches as f64);
    let ring = TestName::made("soak", &RingOptions::new().capacity(1024));
    let other = TestName::new("soak-other").stays();
    let mut residents = Residents::start(&ring);
    let mut reattacher = Reattacher::start(&other);
    let mut churn = Churn::new(&ring, &other, &residents.account);
    let mut table = Table::new();
    let start = Instant::now();
    for _ in 0..stretches {
        let (begin, before) = (Instant::now(), residents.received());
        residents.work();
        while begin.elapsed() < stretch {
            reattacher.go_on();
            churn.kill_one_and_replace();
            std::thread::sleep(KILL_EVERY);
        }
        let rate = (residents.received() - before) as f64 / begin.elapsed().as_secs_f64();
        churn.end();
        residents.rest(&ring, &churn);
        reattacher.rest();
        let _ = std::fs::remove_file(other.path());
        let processes = residents.processes().chain([("attaches anew", reattacher.pid())]);
        table.sample(start.elapsed(), processes, rate, &churn, &residents);
    }
    table.print();
    residents.end(&ring);
    reattacher.end();
    table.is_flat();
}
