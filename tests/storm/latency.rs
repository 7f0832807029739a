//! How soon the living go on when somebody is killed. Measured and printed; a machine under load may take
//! longer than it says, so that only a watchdog judges.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ringpipe::{Ring, RingOptions};

use crate::processes::puppet::Puppet;
use crate::processes::{TestName, report, within_20_s};

const TRIALS: usize = 30;

fn ring() -> (TestName, Ring) {
    let name = TestName::new("latency");
    let ring = RingOptions::new().capacity(8).slot_size(64).create(&name).expect("a ring");
    (name, ring)
}

/// Runs the trials, prints the median and the longest, and answers with the median.
fn median(what: &str, mut trial: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..TRIALS).map(|_| trial()).collect();
    times.sort();
    let (median, most) = (times[TRIALS / 2], times[TRIALS - 1]);
    report(&format!("latency: {what}: median {median:.1?}, longest {most:.1?} of {TRIALS}"));
    median
}

/// The time from a kill to the next item that a waiting consumer gets, which must be `expected`.
fn from_kill_to_item(ring: &Ring, victim: Puppet, expected: &'static str, attempt: u8) -> Duration {
    let mut waiting = ring.consumer().expect("a place");
    let receiver = std::thread::spawn(move || {
        within_20_s("the item comes", move || {
            let item = waiting.recv().expect("the victim's item");
            let at = Instant::now();
            assert_eq!((&*item, item.attempt()), (expected.as_bytes(), attempt));
            item.ack();
            at
        })
    });
    // Time enough to fall asleep.
    std::thread::sleep(Duration::from_millis(5));
    let begin = Instant::now();
    victim.signal(Signal::SIGKILL);
    receiver.join().expect("it received").saturating_duration_since(begin)
}

#[test]
fn an_item_that_a_killed_consumer_held_soon_has_another_one() {
    median("killed consumer's item at a waiting one", || {
        let (name, ring) = ring();
        let mut producer = ring.producer().expect("a place");
        let mut victim = Puppet::attached(&name, "consumer");
        producer.send(b"held").expect("room");
        assert_eq!(victim.does("recv"), "got 1 held");
        let time = from_kill_to_item(&ring, victim, "held", 2);
        ring.remove().expect("it was there");
        time
    });
}

#[test]
fn a_writer_killed_in_the_middle_of_a_reservation_soon_blocks_nobody() {
    median("item behind a killed writer's reservation", || {
        let (name, ring) = ring();
        let mut producer = ring.producer().expect("a place");
        let mut victim = Puppet::attached(&name, "producer");
        // Of two slots: a slow writer of one would be passed after a moment.
        assert_eq!(victim.does(&format!("reserve {}", "x".repeat(100))), "reserved");
        producer.send(b"behind").expect("room");
        let time = from_kill_to_item(&ring, victim, "behind", 1);
        ring.remove().expect("it was there");
        time
    });
}
