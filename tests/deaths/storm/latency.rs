//! How soon other processes continue after one is killed. Measured and printed; a machine under load may take
//! longer than it says, so that only a watchdog judges.
//!
//! `RINGPIPE_RECOVERIES=1000 cargo test --release --test deaths storm::latency:: -- --nocapture` measures more.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ringpipe::{Liveness, Ring, RingOptions};

use crate::support::actor::RemoteActor;
use crate::support::{TestName, env_number, report, wait_until, within};

fn trials() -> usize {
    env_number("RINGPIPE_RECOVERIES").unwrap_or(15) as usize
}

fn ring(capacity: u64) -> (TestName, Ring) {
    let name = TestName::new("latency");
    let ring = RingOptions::new().capacity(capacity).slot_size(64).create(&name).expect("a ring");
    (name, ring)
}

/// Runs the trials and prints how long they took.
fn measure(what: &str, mut trial: impl FnMut() -> Duration) {
    let mut times: Vec<Duration> = (0..trials()).map(|_| trial()).collect();
    times.sort();
    let of = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    let (half, most, longest) = (of(0.5), of(0.99), of(1.0));
    let count = times.len();
    report(&format!("latency: {what}: p50 {half:.1?}, p99 {most:.1?}, longest {longest:.1?} of {count}"));
}

/// The time from a kill to the next item that a waiting consumer gets, which must be `expected`.
fn from_kill_to_item(ring: &Ring, victim: RemoteActor, expected: &'static str, attempt: u8) -> Duration {
    let mut waiting = ring.consumer().expect("a place");
    let receiver = std::thread::spawn(move || {
        within("the item comes", move || {
            let item = waiting.recv().expect("the victim's item");
            let at = Instant::now();
            assert_eq!((&*item, item.attempt()), (expected.as_bytes(), attempt));
            item.ack();
            at
        })
    });
    // Time enough to fall asleep, and to have watched for a while; not always at the same point of a slice.
    std::thread::sleep(Duration::from_micros(fastrand::u64(60_000..90_000)));
    let begin = Instant::now();
    victim.signal(Signal::SIGKILL);
    receiver.join().expect("it received").saturating_duration_since(begin)
}

/// A consumer is killed that holds the only item of a ring.
fn kill_a_holder(capacity: u64, watch: bool) -> Duration {
    let (name, mut ring) = ring(capacity);
    ring.set_death_watch(watch);
    let mut producer = ring.producer().expect("a place");
    let mut victim = RemoteActor::attached(&name, "consumer");
    producer.send(b"held").expect("room");
    assert_eq!(victim.does("recv"), "got 1 held");
    let time = from_kill_to_item(&ring, victim, "held", 2);
    ring.remove().expect("it was there");
    time
}

#[test]
fn an_item_of_a_killed_consumer_is_soon_delivered_to_another() {
    measure("killed consumer's item at a waiting one", || kill_a_holder(8, true));
    measure("the same without the death watch", || kill_a_holder(8, false));
}

#[test]
fn in_larger_rings_an_item_of_a_killed_consumer_is_soon_delivered_too() {
    for capacity in [1 << 13, 1 << 17, 1 << 20] {
        let what = format!("killed consumer's item at a waiting one, {capacity} slots");
        measure(&what, || kill_a_holder(capacity, true));
    }
}

#[test]
fn a_repair_is_quick_in_rings_of_any_size() {
    for capacity in [1 << 3, 1 << 13, 1 << 17, 1 << 20] {
        measure(&format!("a repair after a death, {capacity} slots"), || {
            let (name, mut ring) = ring(capacity);
            ring.set_death_watch(false);
            ring.producer().expect("a place").send(b"held").expect("room");
            let mut victim = RemoteActor::attached(&name, "consumer");
            assert_eq!(victim.does("recv"), "got 1 held");
            victim.signal(Signal::SIGKILL);
            wait_until("it is dead", || ring.participants().iter().all(|one| one.liveness == Liveness::Dead));
            let begin = Instant::now();
            let recovered = ring.repair();
            let time = begin.elapsed();
            assert_eq!((recovered.participants, recovered.returned), (1, 1));
            ring.remove().expect("it was there");
            time
        });
    }
}

#[test]
fn a_writer_killed_during_a_reservation_soon_blocks_no_process() {
    measure("item behind a killed writer's reservation", || {
        let (name, ring) = ring(8);
        let mut producer = ring.producer().expect("a place");
        let mut victim = RemoteActor::attached(&name, "producer");
        // Of two slots: a slow writer of one would be passed after a moment.
        assert_eq!(victim.does(&format!("reserve {}", "x".repeat(100))), "reserved");
        producer.send(b"behind").expect("room");
        let time = from_kill_to_item(&ring, victim, "behind", 1);
        ring.remove().expect("it was there");
        time
    });
}
