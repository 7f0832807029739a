//! The names of items: unique, and the same at each delivery, whatever happens to the slot and to the holder.

use std::collections::HashSet;
use std::time::Duration;

use nix::sys::signal::Signal;
use ringpipe::{ItemKey, Ring};

use super::{key, ring};
use crate::support::actor::RemoteActor;
use crate::support::{wait_until, within};

/// Sends and receives this many items, `at_a_time` at a time, so that the ring wraps and producers step over what is held.
/// Returns their names, each of which is new.
fn go_round(ring: &Ring, items: u64, at_a_time: u64) -> HashSet<u64> {
    let ring = ring.clone();
    within("the ring goes round", move || {
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let mut names = HashSet::new();
        for first in (0..items).step_by(at_a_time as usize) {
            // In batches and singly: rows of items have other words.
            let group: Vec<[u8; 8]> = (first..first + at_a_time).map(u64::to_le_bytes).collect();
            let mut rest = &group[..];
            while !rest.is_empty() {
                let some = if first % 2 == 0 { &rest[..1] } else { rest };
                rest = &rest[producer.send_batch(some).unwrap()..];
            }
            for expected in &group {
                let item = consumer.recv().unwrap();
                assert_eq!((&*item, item.attempt(), item.failures()), (&expected[..], 1, 0));
                assert!(names.insert(item.sequence()), "item {} has the name of an earlier one", item.key());
                item.ack();
            }
        }
        names
    })
}

/// Waits until the ring has no participant, not even a dead one.
fn wait_for_recovery(ring: &Ring) {
    wait_until("its place is free", || {
        ring.repair();
        ring.participants().is_empty()
    });
}

/// The key, the attempt, the failures and the text of the next item, which is acknowledged.
fn take(ring: &Ring) -> (ItemKey, u8, u8, String) {
    let mut consumer = ring.consumer().unwrap();
    let item = consumer.recv_timeout(Duration::from_secs(120)).unwrap();
    let text = String::from_utf8(item.to_vec()).unwrap();
    let taken = (item.key(), item.attempt(), item.failures(), text);
    item.ack();
    taken
}

#[test]
fn an_item_that_is_given_back_or_whose_holder_dies_keeps_its_name_and_its_failures() {
    for exclusive in [false, true] {
        let (name, ring) = ring("fixed-again", 8, 4, exclusive);
        ring.producer().unwrap().send_batch(&["first---", "second--"]).unwrap();
        let mut holder = RemoteActor::attached(&name, "consumer");
        assert_eq!(holder.does("recv"), "got 1 first---");
        assert_eq!((holder.does("key"), holder.does("back")), ("-:0".into(), "done".into()));
        assert_eq!(
            (holder.does("own"), holder.does("own")),
            ("owns 2 first---".into(), "owns 1 second--".into())
        );
        assert_eq!(
            (holder.does("fail second--"), holder.does("fail second--")),
            ("failed 1".into(), "failed 2".into())
        );
        holder.told("fails second--");
        assert!(holder.end().is_some());
        wait_for_recovery(&ring);
        let seen: Vec<_> = ring.peek(4).into_iter().map(|one| (one.sequence, one.failures)).collect();
        assert_eq!(seen, [(0, 0), (1, 3)]);
        let snapshot = ring.snapshot().unwrap();
        assert_eq!((snapshot.ready, snapshot.returned, snapshot.failed), (2, 2, 1));
        assert_eq!(take(&ring), (key(0), 3, 0, "first---".into()));
        assert_eq!(take(&ring), (key(1), 2, 3, "second--".into()));
        ring.remove().unwrap();
    }
}

#[test]
fn a_failure_is_not_inherited_by_the_next_items_in_the_slot() {
    for exclusive in [false, true] {
        let (_name, ring) = ring("fixed-inherit", 8, 4, exclusive);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        for round in 0..60_u64 {
            match round % 3 {
                0 => producer.send(&round.to_le_bytes()).unwrap(),
                1 => assert_eq!(producer.send_batch(&[round.to_le_bytes()]).unwrap(), 1),
                _ => producer.reserve(8).unwrap().commit(),
            }
            let item = consumer.recv().unwrap().into_owned();
            assert_eq!((item.key(), item.failures()), (key(round), 0), "exclusive {exclusive}");
            // Not each one, so that a slot has items with and without failures in turn.
            if round % 5 != 4 {
                assert_eq!(item.record_failure(), 1);
                item.give_back();
                let again = consumer.recv().unwrap().into_owned();
                assert_eq!((again.key(), again.attempt(), again.failures()), (key(round), 2, 1));
                assert_eq!(again.record_failure(), 2);
                again.ack();
            } else {
                item.ack();
            }
        }
        ring.remove().unwrap();
    }
}

#[test]
fn a_held_item_that_producers_step_over_keeps_its_name() {
    let (name, ring) = ring("fixed-step", 8, 4, false);
    let mut holder = RemoteActor::attached(&name, "consumer");
    ring.producer().unwrap().send(b"held----").unwrap();
    assert_eq!(holder.does("recv"), "got 1 held----");
    let mut names = go_round(&ring, 300, 3);
    assert_eq!(holder.does("key"), "-:0");
    let held = ring.slots().find(|slot| slot.owner.is_some()).unwrap();
    assert!(held.position > 100, "no producer stepped over it: {held:?}");
    assert_eq!(ring.slot_item(&held, 8).unwrap().sequence, 0);
    assert_eq!(holder.does("back"), "done");
    // While it waits to be delivered again, producers go on to step over it.
    let seen: Vec<_> = ring.peek(4).into_iter().map(|one| (one.sequence, one.bytes)).collect();
    assert_eq!(seen, [(0, b"held----".to_vec())]);
    assert_eq!(take(&ring), (key(0), 2, 0, "held----".into()));
    // The slot is used again, for items with names of their own.
    names.extend(go_round(&ring, 300, 3));
    assert!(names.len() == 600 && !names.contains(&0), "{}", names.len());
    ring.remove().unwrap();
}

#[test]
fn failures_of_a_held_item_stay_with_it_when_producers_step_over_it() {
    let (name, ring) = ring("fixed-step-failures", 8, 4, false);
    let mut holder = RemoteActor::attached(&name, "consumer");
    ring.producer().unwrap().send_batch(&["before--", "after---"]).unwrap();
    assert_eq!(
        (holder.does("own"), holder.does("own")),
        ("owns 1 before--".into(), "owns 1 after---".into())
    );
    // One has failed before a producer steps over it, the other only afterwards.
    assert_eq!(holder.does("fail before--"), "failed 1");
    go_round(&ring, 100, 2);
    assert_eq!(
        (holder.does("fail before--"), holder.does("fail after---")),
        ("failed 2".into(), "failed 1".into())
    );
    go_round(&ring, 100, 2);
    assert_eq!(
        (holder.does("return before--"), holder.does("return after---")),
        ("done".into(), "done".into())
    );
    let mut taken = [take(&ring), take(&ring)];
    taken.sort_by_key(|one| one.0);
    assert_eq!(taken[0], (key(0), 2, 2, "before--".into()));
    assert_eq!(taken[1], (key(1), 2, 1, "after---".into()));
    // Each slot again: no later item has these failures.
    go_round(&ring, 40, 4);
    ring.remove().unwrap();
}

#[test]
fn an_item_keeps_its_name_when_its_holder_is_killed_after_producers_stepped_over_it() {
    let (name, ring) = ring("fixed-killed", 8, 4, false);
    for round in 0..10 {
        ring.producer().unwrap().send(b"mortal--").unwrap();
        let mut holder = RemoteActor::attached(&name, "consumer");
        assert_eq!(holder.does("own"), "owns 1 mortal--");
        let its_name = ring
            .slots()
            .find_map(|slot| slot.owner.and_then(|_| ring.slot_item(&slot, 0)))
            .map(|one| one.sequence)
            .unwrap();
        // In some rounds it has failed, and in some no producer steps over it.
        let failures = round % 2;
        (0..failures).for_each(|_| assert_eq!(holder.does("fail mortal--"), "failed 1"));
        let names = if round % 3 == 0 { HashSet::new() } else { go_round(&ring, 30, 3) };
        holder.signal(Signal::SIGKILL);
        assert!(holder.end().is_some());
        wait_for_recovery(&ring);
        assert_eq!(take(&ring), (key(its_name), 2, failures, "mortal--".into()), "round {round}");
        assert!(!names.contains(&its_name), "round {round}");
        // So that the next item is in another slot.
        go_round(&ring, 1, 1);
    }
    ring.remove().unwrap();
}

#[test]
fn an_item_that_is_published_late_has_the_position_of_its_claim() {
    for (laps, producer_dies) in [(0, false), (25, false), (25, true)] {
        let (name, ring) = ring("fixed-late", 8, 4, false);
        let mut writer = RemoteActor::attached(&name, "producer");
        assert_eq!(writer.does("reserve late----"), "reserved");
        ring.producer().unwrap().send(b"in time-").unwrap();
        // The consumer moves past the writer.
        assert_eq!(take(&ring), (key(1), 1, 0, "in time-".into()));
        let names = go_round(&ring, laps * 3, 3);
        assert!(!names.contains(&0) && !names.contains(&1));
        if producer_dies {
            writer.signal(Signal::SIGKILL);
            assert!(writer.end().is_some());
            wait_for_recovery(&ring);
            assert_eq!(ring.snapshot().unwrap().used_slots, 0, "what was not published is no item");
        } else {
            writer.told("commit");
            wait_until("it is published", || ring.snapshot().unwrap().returned == 1);
            assert_eq!(ring.peek(4)[0].sequence, 0);
            go_round_behind(&ring);
            let (found, attempt, failures, text) = take(&ring);
            assert_eq!((found, failures, text.as_str()), (key(0), 0, "late----"));
            assert!(attempt <= 2, "{attempt}");
            assert_eq!(writer.answer(), "done");
        }
        go_round(&ring, 40, 4);
        ring.remove().unwrap();
    }
}

/// Fills the slots that are left, so that a producer steps over an item that waits to be delivered again, and empties them
/// without taking that item: its owner is asked for it last.
fn go_round_behind(ring: &Ring) {
    let mut producer = ring.producer().unwrap();
    let mut sent = 0;
    while producer.try_send(b"ordinary").is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 3);
    let mut consumer = ring.consumer().unwrap();
    let mut kept = Vec::new();
    for _ in 0..4 {
        let item = consumer.recv().unwrap().into_owned();
        match &*item {
            b"ordinary" => item.ack(),
            _ => kept.push(item),
        }
    }
    assert_eq!(kept.len(), 1);
    kept.pop().unwrap().give_back();
}
