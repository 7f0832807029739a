//! The number of failures of an item: kept with it over redeliveries and deaths, and with no other item.

use ringpipe::{Consumer, ItemKey, OwnedItem, Ring};

use crate::support::actor::RemoteActor;
use crate::support::{TestName, options, wait_until};

fn ring(what: &str, exclusive: bool) -> (TestName, Ring) {
    let name = TestName::new(what);
    let ring = options().capacity(4).slot_size(64).exclusive(exclusive).create(&name).unwrap();
    (name, ring)
}

fn own(consumer: &mut Consumer) -> OwnedItem {
    consumer.try_recv().unwrap().into_owned()
}

/// Waits until the ring has no consumer, not even a dead one.
fn wait_for_recovery(ring: &Ring) {
    wait_until("its place is free", || {
        ring.repair();
        ring.participants().is_empty()
    });
}

#[test]
fn failures_go_with_a_returned_item_to_the_next_process_and_to_observers() {
    for exclusive in [false, true] {
        let (name, ring) = ring("failures-returned", exclusive);
        ring.producer().unwrap().send_batch(&["a", "b"]).unwrap();
        let mut holder = RemoteActor::attached(&name, "consumer");
        assert_eq!(holder.does("own"), "owns 1 a");
        assert_eq!(holder.does("own"), "owns 1 b");
        assert_eq!((holder.does("fail b"), holder.does("fail b")), ("failed 1".into(), "failed 2".into()));
        assert_eq!((holder.does("return a"), holder.does("return b")), ("done".into(), "done".into()));
        assert_eq!(holder.does("leave"), "left");
        drop(holder);
        wait_for_recovery(&ring);

        let peeked: Vec<_> = ring.peek(4).into_iter().map(|item| (item.sequence, item.failures)).collect();
        assert_eq!(peeked, [(0, 0), (1, 2)]);
        let snapshot = ring.snapshot().unwrap();
        assert_eq!((snapshot.ready, snapshot.returned, snapshot.failed), (2, 2, 1));
        let slots: Vec<_> = ring.slots().filter_map(|slot| ring.slot_item(&slot, 0)).collect();
        assert_eq!(slots.iter().map(|item| (item.sequence, item.failures)).collect::<Vec<_>>(), peeked);

        let mut consumer = ring.consumer().unwrap();
        let first = consumer.try_recv().unwrap();
        assert_eq!((first.sequence(), first.attempt(), first.failures()), (0, 2, 0));
        first.ack();
        let batch = consumer.recv_batch(4).unwrap();
        let second = batch.iter().next().unwrap();
        assert_eq!((second.sequence(), second.attempt(), second.failures()), (1, 2, 2));
        assert_eq!(second.key(), ItemKey { producer: second.producer(), sequence: 1 });
        batch.ack();
        ring.remove().unwrap();
    }
}

#[test]
fn a_holder_killed_after_it_recorded_a_failure_leaves_it_with_the_item() {
    for exclusive in [false, true] {
        let (name, ring) = ring("failures-killed", exclusive);
        ring.producer().unwrap().send(b"x").unwrap();
        for round in 1..=3 {
            // Killed between the record and the return.
            let mut holder = RemoteActor::attached(&name, "consumer");
            assert_eq!(holder.does("own"), format!("owns {} x", 2 * round - 1));
            holder.told("fails x");
            assert!(holder.end().is_some());
            wait_for_recovery(&ring);
            // Killed before any record: not counted.
            let mut holder = RemoteActor::attached(&name, "consumer");
            assert_eq!(holder.does("own"), format!("owns {} x", 2 * round));
            drop(holder);
            wait_for_recovery(&ring);
            assert_eq!(ring.peek(1)[0].failures, round as u8);
        }
        let mut consumer = ring.consumer().unwrap();
        let item = own(&mut consumer);
        assert_eq!((&*item, item.sequence(), item.failures(), item.attempt()), (&b"x"[..], 0, 3, 7));
        item.ack();
        ring.remove().unwrap();
    }
}

#[test]
fn giving_back_and_dropping_record_no_failure() {
    let (_name, ring) = ring("failures-given-back", false);
    ring.producer().unwrap().send(b"x").unwrap();
    let mut consumer = ring.consumer().unwrap();
    assert_eq!(own(&mut consumer).record_failure(), 1);
    own(&mut consumer).give_back();
    consumer.try_recv().unwrap().give_back();
    drop(consumer.try_recv().unwrap());
    consumer.recv_batch(4).unwrap().give_back();
    let item = own(&mut consumer);
    assert_eq!((item.failures(), item.attempt()), (1, 6));
    item.ack();
    ring.remove().unwrap();
}

#[test]
fn a_new_item_in_the_slot_of_a_failed_one_has_no_failures() {
    for exclusive in [false, true] {
        let (_name, ring) = ring("failures-new", exclusive);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let key = ItemKey { producer: 7, sequence: 7 };
        let mut sequence = 0;
        // Each way to send, so that each comes after a failed item in each slot.
        for round in 0..40 {
            match round % 5 {
                0 => producer.send(b"one").unwrap(),
                1 => assert_eq!(producer.send_batch(&["one"]).unwrap(), 1),
                2 => producer.reserve(3).unwrap().commit(),
                3 => producer.send(&[1; 100]).unwrap(),
                _ => producer.send_as(key, b"one").unwrap(),
            }
            let item = own(&mut consumer);
            assert_eq!(item.failures(), 0, "round {round}");
            if round % 5 < 4 {
                assert_eq!(item.sequence(), sequence);
                sequence += 1;
            }
            assert_eq!((item.record_failure(), item.record_failure()), (1, 2));
            item.ack();
        }
        ring.remove().unwrap();
    }
}

#[test]
fn failures_stop_at_255_and_leave_the_key_as_it_is() {
    let (_name, ring) = ring("failures-most", false);
    let mut producer = ring.producer().unwrap();
    let key = ItemKey { producer: u32::MAX, sequence: ItemKey::MAX_SEQUENCE };
    producer.send_as(key, b"x").unwrap();
    let mut consumer = ring.consumer().unwrap();
    let item = own(&mut consumer);
    for round in 1..=300_u32 {
        let failures = item.record_failure();
        assert_eq!((u32::from(failures), item.failures()), (round.min(255), failures));
        assert_eq!(item.key(), key);
    }
    item.give_back();
    let item = own(&mut consumer);
    assert_eq!((item.failures(), item.key(), item.sent_at().is_some()), (255, key, ring.has_timestamps()));
    item.ack();
    ring.remove().unwrap();
}

#[test]
fn threads_that_share_an_owned_item_record_each_failure_once() {
    let (_name, ring) = ring("failures-threads", false);
    ring.producer().unwrap().send(b"x").unwrap();
    let item = own(&mut ring.consumer().unwrap());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..50).for_each(|_| assert!(item.record_failure() > 0)));
        }
    });
    assert_eq!((item.failures(), item.sequence()), (200, 0));
    item.ack();
    ring.remove().unwrap();
}

/// Its item has another holder by then.
#[test]
fn an_evicted_consumer_records_no_failure() {
    let (name, ring) = ring("failures-evicted", false);
    ring.producer().unwrap().send(b"x").unwrap();
    let mut loses = RemoteActor::attached(&name, "consumer");
    assert_eq!(loses.does("own"), "owns 1 x");
    assert_eq!(loses.does("fail x"), "failed 1");
    assert_eq!(loses.does("lose"), "lost");
    wait_for_recovery(&ring);
    let item = own(&mut ring.consumer().unwrap());
    assert_eq!(loses.does("fail x"), "failed 1");
    assert_eq!((item.failures(), item.attempt()), (1, 2));
    item.ack();
    ring.remove().unwrap();
}
