//! The ways to receive, acknowledge and give back.

use std::time::Duration;

use ringpipe::{Error, Ring, RingOptions};

use crate::processes::TestName;

fn ring(what: &str) -> (TestName, Ring) {
    let name = TestName::new(what);
    let ring = RingOptions::new().capacity(16).slot_size(64).create(&name).unwrap();
    (name, ring)
}

#[test]
fn what_is_given_back_or_dropped_comes_again_and_says_so() {
    let (_name, ring) = ring("back");
    ring.producer().unwrap().send(b"x").unwrap();
    let mut consumer = ring.consumer().unwrap();
    let item = consumer.recv().unwrap();
    assert_eq!((item.attempt(), item.redelivered()), (1, false));
    item.give_back();
    let item = consumer.recv().unwrap();
    assert_eq!((item.attempt(), item.redelivered()), (2, true));
    drop(item);
    let batch = consumer.recv_batch(4).unwrap();
    assert_eq!(
        batch.iter().map(|item| (item.attempt(), item.redelivered())).collect::<Vec<_>>(),
        [(3, true)]
    );
    drop(batch);
    for attempt in 4..300_u32 {
        let item = consumer.recv().unwrap();
        match attempt {
            ..128 => assert_eq!(item.attempt() as u32, attempt),
            _ => assert!(item.attempt() >= 128),
        }
    }
    consumer.recv().unwrap().ack();
    assert!(matches!(consumer.recv(), Err(Error::Ended)));
    ring.remove().unwrap();
}

#[test]
fn the_rest_of_a_batch_comes_again_in_order() {
    let (_name, ring) = ring("rest");
    let long = "d".repeat(150);
    let items = ["a", "b", "c", &long, "e", "f"];
    assert_eq!(ring.producer().unwrap().send_batch(&items).unwrap(), 6);
    let mut consumer = ring.consumer().unwrap();
    let mut batch = consumer.recv_batch(5).unwrap();
    assert_eq!(batch.len(), 5);
    assert!(batch.ack_first() && batch.ack_first());
    drop(batch);
    let mut came = Vec::new();
    while let Ok(item) = consumer.recv() {
        came.push((String::from_utf8(item.to_vec()).unwrap(), item.attempt(), item.sequence()));
        item.ack();
    }
    let expected = [("c", 2, 2), (&*long, 2, 3), ("e", 2, 4), ("f", 1, 5)];
    assert_eq!(came, expected.map(|(text, attempt, sequence)| (text.to_string(), attempt, sequence)));
    assert_eq!(ring.snapshot().unwrap().used_slots, 0);
    ring.remove().unwrap();
}

#[test]
fn a_batch_takes_no_more_than_was_asked_for() {
    let (_name, ring) = ring("most");
    let mut producer = ring.producer().unwrap();
    assert_eq!(producer.send_batch(&["a"; 8]).unwrap(), 8);
    let mut consumer = ring.consumer().unwrap();
    let mut batch = consumer.recv_batch(3).unwrap();
    assert_eq!(batch.len(), 3);
    while batch.ack_first() {}
    assert!(batch.is_empty());
    drop(batch);
    let batch = consumer.recv_batch(100).unwrap();
    assert_eq!(batch.len(), 5);
    batch.ack();
    assert!(matches!(consumer.recv_batch_timeout(1, Duration::ZERO), Err(Error::TimedOut)));
    ring.remove().unwrap();
}

#[test]
fn the_iterator_acknowledges_an_item_when_the_next_is_asked_for() {
    let (_name, ring) = ring("iterator");
    ring.producer().unwrap().send_batch(&["a", "b", "c"]).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let mut items = consumer.items();
    assert_eq!(items.next().unwrap().unwrap(), b"a");
    assert_eq!(ring.snapshot().unwrap().totals.acknowledged, 0);
    assert_eq!(items.next().unwrap().unwrap(), b"b");
    assert_eq!(ring.snapshot().unwrap().totals.acknowledged, 1);
    drop(items);
    let item = consumer.recv().unwrap();
    assert_eq!((&*item, item.attempt()), (&b"b"[..], 2));
    item.ack();
    assert_eq!(consumer.items().map(Result::unwrap).collect::<Vec<_>>(), [b"c"]);
    assert_eq!(ring.snapshot().unwrap().totals.acknowledged, 3);
    ring.remove().unwrap();
}

#[test]
fn an_item_goes_to_one_consumer_only() {
    let (_name, ring) = ring("shared");
    let mut producer = ring.producer().unwrap();
    let receive = |_| {
        let mut consumer = ring.consumer().unwrap();
        std::thread::spawn(move || {
            let mut sequences = Vec::new();
            while let Ok(item) = consumer.recv() {
                sequences.push(item.sequence());
                item.ack();
            }
            assert!(sequences.is_sorted(), "first deliveries keep the producer's order");
            sequences
        })
    };
    let receivers: Vec<_> = (0..4).map(receive).collect();
    for n in 0..20_000_u32 {
        producer.send(&n.to_le_bytes()).unwrap();
    }
    drop(producer);
    let mut all: Vec<u64> = receivers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    all.sort();
    assert!(all == (0..20_000).collect::<Vec<u64>>());
    ring.remove().unwrap();
}
