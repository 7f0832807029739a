//! Consumers that wait for a ring before it exists: each takes part in the ring, or sees its end, however short the
//! ring's life is.
//!
//! `cargo test --test commands waiting_consumers::` takes some rounds. A thousand:
//!
//! ```text
//! RINGPIPE_WAITERS=1000 cargo test --test commands waiting_consumers:: -- --nocapture
//! ```

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::*;
use ringpipe::{Error, RingOptions};

/// Processor time taken from the consumers, so that their looks come late.
fn with_busy_processors(work: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        over.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// Whether a process waits for a name: it holds the directory of all segments open.
fn waits_for_a_name(consumer: &Running) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{}/fd", consumer.pid())) else { return false };
    descriptors
        .flatten()
        .any(|one| std::fs::read_link(one.path()).is_ok_and(|to| to == Path::new("/dev/shm")))
}

#[test]
fn no_waiting_consumer_misses_a_short_ring() {
    let rounds = std::env::var("RINGPIPE_WAITERS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    with_busy_processors(|| {
        for round in 0..rounds {
            let (waiting, lines) = (1 + round % 4, 1 + (round * 7 % 50) as u64);
            let ring = TestName::new("short");
            let consumers: Vec<_> = (0..waiting).map(|_| consumer(&ring, &["-q"]).spawn()).collect();
            wait_until("all wait", || consumers.iter().all(waits_for_a_name));
            // The lock comes right after the descriptor.
            std::thread::sleep(std::time::Duration::from_millis(2));
            producer(&ring, &["-q"]).input(seq(lines)).run().with_code(0);
            let mut received: Vec<u64> = Vec::new();
            for consumer in consumers {
                let ended = consumer.end().with_code(0);
                received.extend(ended.lines().iter().map(|line| line.parse::<u64>().expect("a number")));
            }
            received.sort_unstable();
            assert!(received.iter().copied().eq(1..=lines), "round {round}: {received:?}");
            assert!(!ring.exists(), "round {round}: the last one out removes it");
        }
    });
    eprintln!("{rounds} rounds, no consumer missed its ring");
}

#[test]
fn an_ephemeral_ring_is_left_to_a_consumer_that_waits_for_its_name() {
    use ringpipe::RingName;
    use ringpipe::internal::sys::waiting::Awaited;

    let ring = TestName::new("left");
    let awaited = Awaited::new(&RingName::parse(&ring.name).unwrap()).unwrap();
    let through = || {
        let ring = RingOptions::new().ephemeral(true).open_or_create(&ring.name).unwrap();
        ring.producer().unwrap().send(b"x").unwrap();
        ring.consumer().unwrap().recv().unwrap().ack();
    };
    through();
    assert!(ring.exists(), "a consumer waits for it");
    let mut late = ring.open().consumer().unwrap();
    drop(awaited);
    assert!(matches!(late.recv(), Err(Error::Ended)), "it sees the end");
    drop(late);
    assert!(!ring.exists(), "the last one out removes it");
    through();
    assert!(!ring.exists(), "none waits for it");
}

#[test]
fn a_consumer_that_stops_waiting_leaves_nothing() {
    let ring = TestName::new("gives-up");
    let waiting = consumer(&ring, &["-q"]).spawn();
    wait_until("it waits", || waits_for_a_name(&waiting));
    waiting.signal(libc::SIGTERM);
    waiting.end().by_signal(libc::SIGTERM);
    consumer(&ring, &["-q", "--timeout", "50ms"]).run().with_code(4);
    producer(&ring, &["-q"]).input(seq(3)).run().with_code(0);
    assert_eq!(consumer(&ring, &["-q"]).run().with_code(0).lines(), ["1", "2", "3"]);
    assert!(!ring.exists());
}
