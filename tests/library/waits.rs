//! What a wait, a wake-up and a refusal leave in the segment, looked at right afterwards. Slices and later looks make good
//! what is missing here, at a price.

use std::time::Duration;

use ringpipe::internal::layout::head;
use ringpipe::{Activity, Discipline, Error, OnFull, Ring, RingOptions};

use crate::support::{TestName, join_soon, wait_until, within};

fn ring(what: &str, discipline: Discipline) -> (TestName, Ring) {
    let name = TestName::new(what);
    let mut ring = RingOptions::new().capacity(8).slot_size(64).sync(discipline).create(&name).unwrap();
    ring.set_death_watch(false);
    (name, ring)
}

#[test]
fn each_sleeper_is_posted_once_and_no_other_participant() {
    let (name, ring) = ring("posted", Discipline::Adaptive);
    let mut producer = ring.producer().unwrap();
    name.forge(head::ITEMS_WAITING, 2);
    for (sent, left) in [(1, 1), (2, 0), (3, 0)] {
        producer.send(b"x").unwrap();
        assert_eq!(name.word(head::ITEMS_WAITING), left);
        assert_eq!(ring.snapshot().unwrap().items_semaphore.0, sent.min(2));
    }
    ring.remove().unwrap();
}

#[test]
fn a_finished_wait_is_no_longer_announced() {
    for discipline in [Discipline::Adaptive, Discipline::Monitor(Default::default())] {
        let (name, ring) = ring("announced", discipline);
        let mut consumer = ring.consumer().unwrap();
        for _ in 0..3 {
            assert!(matches!(consumer.recv_timeout(Duration::from_millis(30)), Err(Error::TimedOut)));
            assert_eq!(name.word(head::ITEMS_WAITING), 0, "{discipline}");
        }
        let waiter = std::thread::spawn(move || consumer.recv().map(|item| item.ack()));
        wait_until("it is announced", || name.word(head::ITEMS_WAITING) == 1);
        ring.close();
        assert!(join_soon(waiter).is_err());
        ring.remove().unwrap();
    }
}

#[test]
fn a_producer_of_a_large_item_makes_a_fairness_request_and_withdraws_it() {
    let (name, ring) = ring("asks", Discipline::Adaptive);
    let mut producer = ring.producer().unwrap();
    (0..8).for_each(|_| producer.send(b"x").unwrap());
    let mut consumer = ring.consumer().unwrap();
    let waiter = std::thread::spawn(move || {
        producer.send(&[1; 200]).unwrap();
        producer
    });
    wait_until("it asks", || name.word(head::FAIRNESS) != 0);
    let mut other = ring.producer().unwrap();
    within("it has its room", move || {
        (0..8).for_each(|_| consumer.recv().unwrap().ack());
        drop(consumer);
    });
    let producer = join_soon(waiter);
    assert_eq!(name.word(head::FAIRNESS), 0, "it has thanked them");
    let doing: Vec<Activity> = ring.participants().iter().map(|one| one.activity).collect();
    assert_eq!(doing, [Activity::Busy; 2], "it waits no more");
    other.try_send(b"y").unwrap();
    drop((producer, other));
    ring.remove().unwrap();
}

#[test]
fn a_fairness_request_makes_the_ring_full_for_other_producers() {
    let (name, ring) = ring("asked", Discipline::Adaptive);
    let mut producer = ring.producer().unwrap();
    // Whatever the word says: the requesting process may have any clock.
    let mut request = 7;
    let mut asked = |name: &TestName| {
        request += 1024;
        name.forge(head::FAIRNESS, request);
    };
    // A request ends so soon that a busy machine may be too late.
    wait_until("it is refused", || {
        asked(&name);
        let refused = matches!(producer.try_send(b"x"), Err(Error::Full));
        ring.consumer().unwrap().try_recv().map(|item| item.ack()).ok();
        refused
    });
    wait_until("it waits", || {
        asked(&name);
        let waited = matches!(producer.send_timeout(b"x", Duration::from_millis(1)), Err(Error::TimedOut));
        ring.consumer().unwrap().try_recv().map(|item| item.ack()).ok();
        waited
    });
    wait_until("the request ends", || producer.try_send(b"x").is_ok());
    ring.remove().unwrap();
}

#[test]
fn a_dropped_item_no_longer_counts() {
    let (_name, ring) = ring("dropped", Discipline::Semaphore);
    let mut producer = ring.producer().unwrap();
    producer.set_on_full(OnFull::DropOldest).unwrap();
    // It makes its own room, and waits for no process.
    (0..10).for_each(|_| producer.send_timeout(b"x", Duration::from_secs(5)).unwrap());
    let snapshot = ring.snapshot().unwrap();
    assert_eq!((snapshot.items_semaphore.0, snapshot.room_semaphore.0), (8, 0));
    ring.remove().unwrap();
}

#[test]
fn an_ephemeral_ring_stays_until_its_first_consumer_has_attached() {
    let name = TestName::new("no-consumer");
    let ring = RingOptions::new().capacity(8).ephemeral(true).create(&name).unwrap();
    drop(ring.producer().unwrap());
    assert!(name.exists());
    drop(ring.consumer().unwrap());
    assert!(!name.exists());
}

#[test]
fn giving_up_a_claim_wakes_a_consumer_that_waits_for_an_item_behind_it() {
    let (name, ring) = ring("given-up", Discipline::Adaptive);
    let mut producer = ring.producer().unwrap();
    name.forge(head::ITEMS_WAITING, 2);
    drop(producer.reserve(1).unwrap());
    assert_eq!(name.word(head::ITEMS_WAITING), 1);
    assert_eq!(ring.snapshot().unwrap().items_semaphore.0, 1);
    ring.remove().unwrap();
}
