//! Items that do not borrow their consumer: several in hand, on several threads, and after their consumer.

use std::collections::BTreeMap;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use ringpipe::{Activity, Consumer, Error, ErrorKind, OwnedItem, Ring};

use crate::support::actor::RemoteActor;
use crate::support::{Random, TestName, options, seed, wait_until, within};

const SLOTS: u64 = 16;

fn ring(what: &str, exclusive: bool) -> (TestName, Ring) {
    let name = TestName::new(what);
    let ring = options().capacity(SLOTS).slot_size(64).exclusive(exclusive).create(&name).unwrap();
    (name, ring)
}

/// Receives this number of items, each by itself.
fn own(consumer: &mut Consumer, count: usize) -> Vec<OwnedItem> {
    (0..count).map(|_| consumer.try_recv().unwrap().into_owned()).collect()
}

fn texts(items: &[OwnedItem]) -> Vec<String> {
    items.iter().map(|item| String::from_utf8(item.to_vec()).unwrap()).collect()
}

/// Receives and acknowledges what there is: texts and attempts.
fn rest(consumer: &mut Consumer) -> Vec<(String, u8)> {
    let mut came = Vec::new();
    while let Ok(item) = consumer.try_recv() {
        came.push((String::from_utf8(item.to_vec()).unwrap(), item.attempt()));
        item.ack();
    }
    came
}

#[test]
fn an_owned_item_has_the_bytes_and_metadata_of_its_item() {
    let name = TestName::new("says");
    let ring = options().capacity(SLOTS).slot_size(64).timestamps(true).create(&name).unwrap();
    let mut producer = ring.producer().unwrap();
    let long = "l".repeat(150);
    producer.send(b"before").unwrap();
    producer.send(long.as_bytes()).unwrap();
    let mut consumer = ring.consumer().unwrap();
    consumer.recv().unwrap().ack();
    drop(consumer.recv().unwrap());
    let item = consumer.recv().unwrap();
    let said =
        (item.len(), item.producer(), item.sequence(), item.attempt(), item.sent_at(), item.in_place());
    let item = item.into_owned();
    assert_eq!(
        said,
        (item.len(), item.producer(), item.sequence(), item.attempt(), item.sent_at(), item.in_place())
    );
    assert_eq!((item.sequence(), item.attempt(), item.redelivered()), (1, 2, true));
    assert!(item.sent_at().is_some() && !item.is_empty() && item.check().is_ok());
    assert!(ring.snapshot().unwrap().held[0].since.is_some());
    let mut beginning = [0; 10];
    assert_eq!(item.copy_to(&mut beginning), 10);
    assert_eq!(beginning, [b'l'; 10]);
    assert_eq!(&*item, long.as_bytes());
    item.ack();
    assert_eq!(consumer.totals().acknowledged, 2);
    ring.remove().unwrap();
}

#[test]
fn owned_items_are_acknowledged_in_any_order() {
    for exclusive in [false, true] {
        let (_name, ring) = ring("any-order", exclusive);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let mut random = Random::new(seed());
        let long = "l".repeat(150);
        let items = ["a", &long, "b", "c", "d", &long, "e"];
        // So that each comes to lie in each slot.
        for round in 1..=100 {
            items.iter().for_each(|item| producer.send(item.as_bytes()).unwrap());
            let mut held = own(&mut consumer, items.len());
            assert_eq!(texts(&held), items);
            assert_eq!(ring.snapshot().unwrap().held.len(), items.len());
            while !held.is_empty() {
                let next = random.below(held.len() as u64) as usize;
                held.swap_remove(next).ack();
            }
            let snapshot = ring.snapshot().unwrap();
            assert_eq!((snapshot.used_slots, snapshot.totals.acknowledged), (0, round * items.len() as u64));
        }
        assert!(matches!(consumer.try_recv(), Err(Error::Empty)));
        ring.remove().unwrap();
    }
}

#[test]
fn a_ring_lends_an_item_for_each_slot_and_takes_more_as_they_are_acknowledged() {
    for exclusive in [false, true] {
        let (_name, ring) = ring("all-slots", exclusive);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        (0..SLOTS).for_each(|n| producer.try_send(n.to_string().as_bytes()).unwrap());
        let mut held = own(&mut consumer, SLOTS as usize);
        assert!(matches!(producer.try_send(b"more"), Err(Error::Full)));
        held.remove(5).ack();
        // A producer of an exclusive ring steps over nothing: it waits for the oldest.
        let sent = producer.try_send(b"more");
        match exclusive {
            false => sent.unwrap(),
            true => {
                assert!(matches!(sent, Err(Error::Full)));
                (0..5).for_each(|_| held.remove(0).ack());
                (0..6).for_each(|_| producer.try_send(b"more").unwrap());
            }
        }
        assert!(matches!(producer.try_send(b"too many"), Err(Error::Full)));
        drop(held);
        let came = rest(&mut consumer);
        let (old, new): (Vec<_>, Vec<_>) = came.into_iter().partition(|(text, _)| text != "more");
        let (expected_old, expected_new) = if exclusive { (10, 6) } else { (15, 1) };
        assert_eq!((old.len(), new.len()), (expected_old, expected_new));
        assert!(old.iter().all(|(_, attempt)| *attempt == 2) && new.iter().all(|(_, attempt)| *attempt == 1));
        ring.remove().unwrap();
    }
}

#[test]
fn owned_items_given_back_or_dropped_are_delivered_again_to_any_consumer() {
    for exclusive in [false, true] {
        let (_name, ring) = ring("again", exclusive);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        ["a", "b", "c", "d"].iter().for_each(|item| producer.send(item.as_bytes()).unwrap());
        let mut held = own(&mut consumer, 4);
        held.remove(1).give_back();
        drop(held.pop());
        assert_eq!(ring.snapshot().unwrap().totals.returned, 2);
        let mut again = own(&mut consumer, 2);
        again.sort_by_key(|item| item.sequence());
        assert_eq!(texts(&again), ["b", "d"]);
        assert!(again.iter().all(|item| item.attempt() == 2));
        if exclusive {
            drop(consumer);
            assert_eq!(ring.consumer().unwrap_err().kind(), ErrorKind::Busy, "its items keep its place");
        } else {
            again.remove(0).give_back();
            assert_eq!(rest(&mut ring.consumer().unwrap()), [("b".to_string(), 3)]);
        }
        drop((held, again));
        let mut came = rest(&mut ring.consumer().unwrap());
        came.sort();
        let expected: &[(&str, u8)] = match exclusive {
            true => &[("a", 2), ("b", 3), ("c", 2), ("d", 3)],
            false => &[("a", 2), ("c", 2), ("d", 3)],
        };
        assert_eq!(came, expected.iter().map(|(text, n)| (text.to_string(), *n)).collect::<Vec<_>>());
        ring.remove().unwrap();
    }
}

#[test]
fn a_waiting_consumer_gets_an_item_that_another_thread_gives_back() {
    let (_name, ring) = ring("waits", false);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    producer.send(b"x").unwrap();
    let item = consumer.recv().unwrap().into_owned();
    let waits = std::thread::spawn(move || {
        let item = consumer.recv().unwrap();
        let attempt = item.attempt();
        item.ack();
        attempt
    });
    std::thread::sleep(Duration::from_millis(5));
    std::thread::spawn(move || item.give_back()).join().unwrap();
    assert_eq!(within("it comes again", move || waits.join().unwrap()), 2);
    drop(producer);
    ring.remove().unwrap();
}

#[test]
fn owned_items_of_a_killed_process_are_delivered_again() {
    for exclusive in [false, true] {
        let (name, ring) = ring("killed", exclusive);
        let mut producer = ring.producer().unwrap();
        let mut holder = RemoteActor::attached(&name, "consumer");
        for text in ["a", "b", "c", "d", "e"] {
            producer.send(text.as_bytes()).unwrap();
            assert_eq!(holder.does("own"), format!("owns 1 {text}"));
        }
        assert_eq!(holder.does("settle b"), "done");
        // Also without the consumer that received them.
        if exclusive {
            assert_eq!(holder.does("leave"), "left");
        }
        producer.send(b"f").unwrap();
        drop(holder);
        wait_until("its place is free", || {
            ring.repair();
            ring.participants().len() == 1
        });
        let mut came = rest(&mut ring.consumer().unwrap());
        came.sort();
        let expected = [("a", 2), ("c", 2), ("d", 2), ("e", 2), ("f", 1)];
        assert_eq!(came, expected.map(|(text, attempt)| (text.to_string(), attempt)));
        assert_eq!(ring.snapshot().unwrap().used_slots, 0);
        ring.remove().unwrap();
    }
}

#[test]
fn a_dropped_consumer_stays_attached_until_its_last_item_is_gone() {
    let name = TestName::new("stays");
    let ring = options().capacity(SLOTS).ephemeral(true).create(&name).unwrap();
    let mut producer = ring.producer().unwrap();
    let mut consumer = ring.consumer().unwrap();
    ["a", "b"].iter().for_each(|item| producer.send(item.as_bytes()).unwrap());
    drop(producer);
    let mut held = own(&mut consumer, 2);
    drop(consumer);
    assert_eq!(ring.participants().len(), 1);
    assert_eq!(ring.snapshot().unwrap().held.len(), 2);
    held.remove(1).ack();
    assert_eq!(ring.participants().len(), 1);
    assert!(name.exists());
    held.remove(0).ack();
    assert_eq!(ring.participants().len(), 0);
    assert_eq!(ring.snapshot().unwrap().totals.acknowledged, 2);
    assert!(!name.exists(), "the last one out has removed the ring");
}

#[test]
fn other_consumers_streams_end_when_the_owned_items_are_acknowledged() {
    let (_name, ring) = ring("end", false);
    let mut holder = ring.consumer().unwrap();
    let mut other = ring.consumer().unwrap();
    ring.producer().unwrap().send(b"x").unwrap();
    let item = holder.try_recv().unwrap().into_owned();
    assert!(matches!(other.try_recv(), Err(Error::Empty)), "it may come again");
    // Its own consumer has nothing else to wait for.
    assert!(matches!(holder.recv(), Err(Error::Ended)));
    item.give_back();
    let item = holder.recv().unwrap().into_owned();
    assert_eq!(item.attempt(), 2);
    // Nor does it help that the holder waits for more.
    holder.set_follow(true);
    let waits = std::thread::spawn(move || holder.recv().map(drop));
    wait_until("it waits", || {
        ring.participants().iter().any(|one| one.activity == Activity::WaitingForItems)
    });
    for _ in 0..10 {
        let end = other.recv_timeout(Duration::from_millis(20)).map(drop);
        assert!(matches!(end, Err(Error::TimedOut)), "{end:?}");
    }
    item.ack();
    let end = within("the stream ends", move || other.recv().map(drop));
    assert!(matches!(end, Err(Error::Ended)));
    ring.close();
    assert!(matches!(within("it ends, too", move || waits.join().unwrap()), Err(Error::Ended)));
    ring.remove().unwrap();
}

#[test]
#[allow(unsafe_code)]
fn an_owned_item_in_a_forked_child_belongs_to_the_parent() {
    let (_name, ring) = ring("forked", false);
    let mut consumer = ring.consumer().unwrap();
    ring.producer().unwrap().send_batch(&["a", "b", "c"]).unwrap();
    let mut held = own(&mut consumer, 3);
    // SAFETY: the child calls only what answers before it allocates or locks anything, and _exit.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let refused = held.iter().all(|item| matches!(item.check(), Err(Error::Forked)));
            let recorded = held.iter().any(|item| item.record_failure() != 0);
            drop(consumer);
            held.remove(0).ack();
            held.remove(0).give_back();
            drop(held.pop());
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { libc::_exit(if refused && !recorded { 0 } else { 1 }) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
        }
    }
    assert_eq!((ring.participants().len(), ring.snapshot().unwrap().held.len()), (1, 3));
    assert!(held.iter().all(|item| item.failures() == 0));
    held.into_iter().for_each(OwnedItem::ack);
    assert!(matches!(consumer.recv(), Err(Error::Ended)));
    assert_eq!(ring.snapshot().unwrap().totals.acknowledged, 3);
    ring.remove().unwrap();
}

/// Its number and its item have another holder by then.
#[test]
fn an_evicted_consumers_owned_item_can_be_neither_acknowledged_nor_given_back() {
    for resolve in ["settle", "return"] {
        let (name, ring) = ring("evicted", false);
        ring.producer().unwrap().send(b"x").unwrap();
        let mut loses = RemoteActor::attached(&name, "consumer");
        assert_eq!(loses.does("own"), "owns 1 x");
        assert_eq!(loses.does("lose"), "lost");
        wait_until("it is taken for dead", || {
            ring.repair();
            ring.participants().is_empty()
        });
        let mut next = ring.consumer().unwrap();
        let item = next.recv().unwrap().into_owned();
        assert_eq!(item.attempt(), 2);
        assert_eq!(loses.does(&format!("{resolve} x")), "done");
        assert_eq!(ring.snapshot().unwrap().held.len(), 1, "after {resolve}");
        item.ack();
        assert!(matches!(next.recv(), Err(Error::Ended)));
        ring.remove().unwrap();
    }
}

/// While the consumer acknowledges some itself.
#[test]
fn many_threads_acknowledge_and_give_back_each_owned_item_once_with_right_counts() {
    const ITEMS: u64 = 20_000;
    const WORKERS: usize = 4;
    let name = TestName::new("threads");
    let ring = options().capacity(64).slot_size(8).create(&name).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let (give, take) = mpsc::channel::<OwnedItem>();
    let (take, done) = (Mutex::new(take), Mutex::new(BTreeMap::new()));
    let note = |sequence| *done.lock().unwrap().entry(sequence).or_insert(0) += 1;
    let mut returned = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            (0..ITEMS).for_each(|n| producer.send(&n.to_le_bytes()).unwrap());
        });
        let worker = || {
            let mut returned = 0;
            loop {
                let next = take.lock().unwrap().recv();
                let Ok(item) = next else { return returned };
                assert_eq!(*item, item.sequence().to_le_bytes());
                if item.sequence() % 5 == 1 && !item.redelivered() {
                    returned += 1;
                    item.give_back();
                } else {
                    note(item.sequence());
                    item.ack();
                }
            }
        };
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        while done.lock().unwrap().len() < ITEMS as usize {
            match consumer.recv_timeout(Duration::from_millis(1)) {
                Ok(item) if item.sequence() % 2 == 0 => {
                    note(item.sequence());
                    item.ack();
                }
                Ok(item) => give.send(item.into_owned()).unwrap(),
                Err(error) => assert!(matches!(error, Error::TimedOut), "{error}"),
            }
        }
        drop(give);
        returned = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
    });
    assert!(done.into_inner().unwrap().into_values().eq((0..ITEMS).map(|_| 1)));
    let totals = consumer.totals();
    assert_eq!((totals.acknowledged, totals.returned), (ITEMS, returned));
    assert_eq!(totals.received, ITEMS + returned);
    assert_eq!(ring.snapshot().unwrap().used_slots, 0);
    drop((producer, consumer));
    ring.remove().unwrap();
}

#[test]
fn an_owned_item_is_send_and_sync() {
    fn goes_anywhere<T: Send + Sync + 'static>() {}
    goes_anywhere::<OwnedItem>();
}
