//! The stopped cost only what they hold.

use std::time::Duration;

use nix::sys::signal::Signal;
use ringpipe::{Error, Ring};

use crate::support::actor::RemoteActor;
use crate::support::{TestName, join_soon, options, within};

fn ring(what: &str, capacity: u64) -> (TestName, Ring) {
    let name = TestName::new(what);
    let ring = options().capacity(capacity).slot_size(64).create(&name).unwrap();
    (name, ring)
}

/// Sends and receives this number of items, some at a time, so that the ring wraps many times.
fn go_round(ring: &Ring, items: u64, at_a_time: u64) {
    let ring = ring.clone();
    within("the ring goes round", move || {
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        for first in (0..items).step_by(at_a_time as usize) {
            for n in first..first + at_a_time {
                producer.send(&n.to_le_bytes()).unwrap();
            }
            for n in first..first + at_a_time {
                let item = consumer.recv().unwrap();
                assert_eq!((&*item, item.attempt()), (&n.to_le_bytes()[..], 1));
                item.ack();
            }
        }
    });
}

/// Every slot takes an item.
fn assert_whole(ring: &Ring) {
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for _ in 0..ring.capacity() {
        producer.try_send(b"x").unwrap();
    }
    assert!(matches!(producer.try_send(b"x"), Err(Error::Full)));
    for _ in 0..ring.capacity() {
        consumer.recv().unwrap().ack();
    }
}

#[test]
fn a_suspended_consumer_keeps_its_items_and_costs_only_their_slots() {
    let (name, ring) = ring("holder", 4);
    let mut holder = RemoteActor::attached(&name, "consumer");
    ring.producer().unwrap().send(b"held").unwrap();
    assert_eq!(holder.does("recv"), "got 1 held");
    holder.stop();
    go_round(&ring, 3000, 3);
    assert_eq!(ring.snapshot().unwrap().held.len(), 1, "it was not robbed");
    let mut producer = ring.producer().unwrap();
    (0..3).for_each(|_| producer.try_send(b"x").unwrap());
    assert!(matches!(producer.try_send(b"x"), Err(Error::Full)));
    let mut consumer = ring.consumer().unwrap();
    (0..3).for_each(|_| consumer.recv().unwrap().ack());
    drop((producer, consumer));
    holder.signal(Signal::SIGCONT);
    assert_eq!(holder.does("ack"), "done");
    assert_eq!(ring.snapshot().unwrap().used_slots, 0);
    assert_whole(&ring);
    assert_eq!(ring.snapshot().unwrap().totals.acknowledged, 1 + 3000 + 3 + 4);
    ring.remove().unwrap();
}

/// An hour is thousands of laps here. Each lap uses every slot that is not held.
#[test]
fn an_item_held_for_an_hour_costs_one_slot_with_its_consumer_running_or_suspended() {
    const LAPS: u64 = 5000;
    let (name, ring) = ring("hour", 8);
    let mut holders = [RemoteActor::attached(&name, "consumer"), RemoteActor::attached(&name, "consumer")];
    for (holder, text) in holders.iter_mut().zip(["working", "stopped"]) {
        ring.producer().unwrap().send(text.as_bytes()).unwrap();
        assert_eq!(holder.does("recv"), format!("got 1 {text}"));
    }
    let [mut working, stopped] = holders;
    stopped.stop();
    for _ in 0..5 {
        // Six at a time: all that is free, not one more and not one less.
        go_round(&ring, LAPS / 5 * 6, 6);
        let mut producer = ring.producer().unwrap();
        (0..6).for_each(|_| producer.try_send(b"x").unwrap());
        assert!(matches!(producer.try_send(b"x"), Err(Error::Full)));
        let mut consumer = ring.consumer().unwrap();
        (0..6).for_each(|_| consumer.recv().unwrap().ack());
        assert_eq!(ring.snapshot().unwrap().held.len(), 2, "both items are still held");
    }
    assert_eq!(working.does("ack"), "done");
    stopped.signal(Signal::SIGKILL);
    let mut consumer = ring.consumer().unwrap();
    let item = consumer.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!((&*item, item.attempt()), (&b"stopped"[..], 2));
    item.ack();
    assert!(matches!(consumer.try_recv(), Err(Error::Empty | Error::Ended)));
    drop(consumer);
    assert_whole(&ring);
    assert_eq!(ring.snapshot().unwrap().totals.acknowledged, 2 + LAPS * 6 + 5 * 6 + 8);
    ring.remove().unwrap();
}

#[test]
fn suspended_consumers_block_a_ring_only_when_they_hold_all_its_slots() {
    let (name, ring) = ring("holders", 8);
    let mut holders: Vec<RemoteActor> = (0..7).map(|_| RemoteActor::attached(&name, "consumer")).collect();
    let mut producer = ring.producer().unwrap();
    for (n, holder) in holders.iter_mut().enumerate() {
        // Spread over the laps.
        go_round(&ring, n as u64 * 3, 1);
        producer.send(n.to_string().as_bytes()).unwrap();
        assert_eq!(holder.does("recv"), format!("got 1 {n}"));
        holder.stop();
    }
    go_round(&ring, 500, 1);
    producer.try_send(b"the last slot").unwrap();
    assert!(matches!(producer.try_send(b"x"), Err(Error::Full)));
    // Half of them go on, the others die.
    for (n, mut holder) in holders.into_iter().enumerate() {
        if n % 2 == 0 {
            holder.signal(Signal::SIGCONT);
            assert_eq!(holder.does("ack"), "done");
        }
    }
    let mut returned = Vec::new();
    let mut consumer = ring.consumer().unwrap();
    while returned.len() < 4 {
        let item = consumer.recv_timeout(Duration::from_secs(20)).unwrap();
        returned.push((String::from_utf8(item.to_vec()).unwrap(), item.attempt()));
        item.ack();
    }
    returned.sort();
    let texts: Vec<_> = returned.iter().map(|(text, attempt)| (text.as_str(), *attempt)).collect();
    assert_eq!(texts, [("1", 2), ("3", 2), ("5", 2), ("the last slot", 1)]);
    drop((producer, consumer));
    assert_whole(&ring);
    ring.remove().unwrap();
}

#[test]
fn a_suspended_writer_is_passed_and_its_item_is_delivered_late() {
    let (name, ring) = ring("writer", 4);
    let mut writer = RemoteActor::attached(&name, "producer");
    assert_eq!(writer.does("reserve late"), "reserved");
    writer.stop();
    go_round(&ring, 600, 3);
    writer.signal(Signal::SIGCONT);
    assert_eq!(writer.does("commit"), "done");
    assert_eq!(writer.does("send after"), "sent");
    let mut consumer = ring.consumer().unwrap();
    for (sequence, expected) in ["late", "after"].into_iter().enumerate() {
        let item = consumer.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!((&*item, item.sequence()), (expected.as_bytes(), sequence as u64));
        item.ack();
    }
    drop(consumer);
    assert_whole(&ring);
    ring.remove().unwrap();
}

#[test]
fn a_passed_writer_that_gives_up_or_dies_frees_its_slot() {
    for killed in [false, true] {
        let (name, ring) = ring("given-up", 4);
        let mut writer = RemoteActor::attached(&name, "producer");
        assert_eq!(writer.does("reserve never"), "reserved");
        writer.stop();
        go_round(&ring, 30, 3);
        if killed {
            writer.signal(Signal::SIGKILL);
        } else {
            writer.signal(Signal::SIGCONT);
            assert_eq!(writer.does("back"), "done");
        }
        drop(writer);
        ring.repair();
        assert_eq!(ring.snapshot().unwrap().used_slots, 0, "killed: {killed}");
        assert_whole(&ring);
        ring.remove().unwrap();
    }
}

#[test]
fn a_batch_held_by_a_killed_consumer_comes_back_in_order() {
    let (name, ring) = ring("batch", 8);
    let mut producer = ring.producer().unwrap();
    assert_eq!(producer.send_batch(&["a", "b", "c", "d"]).unwrap(), 4);
    let mut holder = RemoteActor::attached(&name, "consumer");
    assert_eq!(holder.does("hold 4"), "got 1 a b c d");
    assert_eq!(holder.does("first"), "done");
    holder.signal(Signal::SIGKILL);
    let mut consumer = ring.consumer().unwrap();
    for expected in ["b", "c", "d"] {
        let item = consumer.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!((&*item, item.attempt()), (expected.as_bytes(), 2));
        item.ack();
    }
    drop((producer, consumer));
    assert_whole(&ring);
    ring.remove().unwrap();
}

/// A ring of 8 slots with a stopped consumer that holds slot 2; the next item goes to slot 0.
fn held_in_slot_2() -> (TestName, Ring, RemoteActor) {
    let (name, ring) = ring("slot-2", 8);
    go_round(&ring, 2, 1);
    let mut holder = RemoteActor::attached(&name, "consumer");
    ring.producer().unwrap().send(b"held").unwrap();
    assert_eq!(holder.does("recv"), "got 1 held");
    holder.stop();
    go_round(&ring, 5, 1);
    let snapshot = ring.snapshot().unwrap();
    assert_eq!((snapshot.tail, snapshot.held[0].slot), (8, 2));
    (name, ring, holder)
}

#[test]
fn an_item_of_several_slots_passes_a_held_slot_that_leaves_too_few_before_it() {
    let (_name, ring, mut holder) = held_in_slot_2();
    ring.producer().unwrap().try_send(&[4; 200]).unwrap();
    let item = ring.consumer().unwrap().recv().map(|item| item.to_vec()).unwrap();
    assert_eq!(item, [4; 200]);
    holder.signal(Signal::SIGCONT);
    assert_eq!(holder.does("ack"), "done");
    ring.consumer().unwrap().recv().unwrap().ack();
    assert_whole(&ring);
    ring.remove().unwrap();
}

#[test]
fn small_and_large_items_pass_a_held_slot_together() {
    let (_name, ring, mut holder) = held_in_slot_2();
    let (mut large, mut small) = (ring.producer().unwrap(), ring.producer().unwrap());
    let mut consumer = ring.consumer().unwrap();
    consumer.set_follow(true);
    within("both go through", move || {
        let larges = std::thread::spawn(move || (0..200).for_each(|_| large.send(&[4; 200]).unwrap()));
        let smalls = std::thread::spawn(move || (0..2000).for_each(|_| small.send(b"1").unwrap()));
        for _ in 0..2200 {
            consumer.recv().unwrap().ack();
        }
        join_soon(larges);
        join_soon(smalls);
    });
    holder.signal(Signal::SIGCONT);
    assert_eq!(holder.does("ack"), "done");
    assert_whole(&ring);
    ring.remove().unwrap();
}

/// The only consumer holds the item: no other consumer passes the gaps that the larger item leaves.
#[test]
fn a_lone_producer_finds_room_for_a_larger_item_at_any_tail_beside_any_held_slot() {
    for capacity in [4, 8] {
        for (held, tail) in (0..capacity).flat_map(|held| (0..capacity).map(move |tail| (held, tail))) {
            let (_name, ring) = ring("lone", capacity);
            let (mut producer, mut holder) = (ring.producer().unwrap(), ring.consumer().unwrap());
            go_round(&ring, held, 1);
            producer.try_send(b"held").unwrap();
            let item = holder.recv().unwrap();
            go_round(&ring, (tail + capacity - held - 1) % capacity, 1);
            let large = vec![7; 64 * capacity as usize / 2];
            let sent = producer.try_send(&large);
            assert!(sent.is_ok(), "capacity {capacity}, held {held}, tail {tail}: {sent:?}");
            item.ack();
            let item = holder.recv().unwrap();
            assert_eq!(*item, large);
            item.ack();
            drop((producer, holder));
            assert_whole(&ring);
            ring.remove().unwrap();
        }
    }
}
