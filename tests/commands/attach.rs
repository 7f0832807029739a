//! How `producer` and `consumer` come to a ring: what is waited for, how long, and what is not.

use crate::support::*;
use ringpipe::{Consumer, Producer, Ring, RingOptions};

/// All the places of a ring of two: those of an exclusive one, or of one for many.
fn take_all(ring: &Ring) -> (Vec<Producer>, Option<Consumer>) {
    let consumer = ring.is_exclusive().then(|| ring.consumer().unwrap());
    let producers = if consumer.is_some() { 1 } else { 2 };
    ((0..producers).map(|_| ring.producer().unwrap()).collect(), consumer)
}

fn full_rings() -> [TestName; 2] {
    let options = RingOptions::new().capacity(8);
    let exclusive = TestName::made("exclusive", &options.clone().exclusive(true));
    [exclusive, TestName::made("crowded", &options.participants(2))]
}

/// What has no business with a ring that does not exist yet ends at once, with 3 and a hint, whatever else is asked for.
#[test]
fn drain_and_no_wait_do_not_wait_for_a_missing_ring() {
    let ring = TestName::new("missing");
    for args in [
        &["--drain"][..],
        &["--no-wait"],
        &["--drain", "--timeout", "1h"],
        &["--drain", "--follow"],
        &["--drain", "--idle-exit", "1h"],
        &["--no-wait", "--idle-exit", "1h", "-n", "3"],
    ] {
        let out = consumer(&ring, args).run().with_code(3).saying("does not exist\nhint: ");
        assert_eq!(out.stderr.lines().count(), 2, "{args:?}: {}", out.stderr);
    }
    producer(&ring, &["--no-create", "--timeout", "1h"]).run().with_code(3).saying("does not exist\nhint: ");
    for verb in ["inspect", "peek", "close", "rm", "repair", "requeue", "watch"] {
        Run::new(env!("CARGO_BIN_EXE_ringctl")).args(&[verb, &ring.name]).run().with_code(3).saying("hint: ");
    }
}

#[test]
fn a_place_in_a_full_ring_is_waited_for_within_the_timeout() {
    for ring in full_rings() {
        let places = take_all(&ring.open());
        let sender = producer(&ring, &["--item", "x", "--timeout", "1h"]).spawn();
        sender.wait_for_stderr("waiting for a place in ring");
        let receiver = consumer(&ring, &["-n", "1", "--follow", "--timeout", "1h"]).spawn();
        receiver.wait_for_stderr("waiting for a place in ring");
        drop(places);
        sender.end().with_code(0);
        assert_eq!(receiver.end().with_code(0).text(), "x\n");
    }
}

#[test]
fn a_full_table_is_exit_code_4_after_a_timeout_and_1_without_one() {
    for ring in full_rings() {
        let _places = take_all(&ring.open());
        let runs = |args: &[&str]| {
            let sender = producer(&ring, &[&["--item", "x"], args].concat()).run();
            [sender, consumer(&ring, args).run()]
        };
        for (limit, waited) in [("50ms", "waited 50ms"), ("0", "waited 0s")] {
            for out in runs(&["--timeout", limit]) {
                let out = out.with_code(4).saying(waited).saying("hint: ");
                assert!(out.stderr.contains(" has "), "{}", out.stderr);
            }
        }
        for out in runs(&[]).into_iter().chain(runs(&["--no-wait"])) {
            out.with_code(1).saying("--timeout waits for a place");
        }
        // A ring that exists is not what --drain does not wait for.
        consumer(&ring, &["--drain", "--timeout", "50ms"]).run().with_code(4).saying("waited 50ms");
    }
}

#[test]
fn a_wait_for_a_place_ends_by_a_signal_and_with_the_ring() {
    for ring in full_rings() {
        let _places = take_all(&ring.open());
        let wait = |run: Run| {
            let running = run.spawn();
            running.wait_for_stderr("waiting for a place in ring");
            running
        };
        let [sender, receiver] =
            [producer(&ring, &["--timeout", "1h"]), consumer(&ring, &["--timeout", "1h"])].map(wait);
        for one in [sender, receiver] {
            one.signal(libc::SIGTERM);
            one.end().by_signal(libc::SIGTERM);
        }
        let sender = wait(producer(&ring, &["--no-create", "--timeout", "1h"]));
        let receiver = wait(consumer(&ring, &["--drain", "--timeout", "1h"]));
        ring.open().remove().unwrap();
        sender.end().with_code(3).saying("does not exist");
        receiver.end().with_code(3).saying("does not exist");
    }
}
