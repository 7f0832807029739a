//! The ways to receive, acknowledge and give back.

use std::time::{Duration, Instant};

use ringpipe::{Activity, Consumer, Error, Ring};

use crate::support::actor::RemoteActor;
use crate::support::{TestName, join_soon, options, report, wait_until, within};

fn ring(what: &str) -> (TestName, Ring) {
    let name = TestName::new(what);
    let ring = options().capacity(16).slot_size(64).create(&name).unwrap();
    (name, ring)
}

#[test]
fn items_given_back_or_dropped_are_delivered_again_and_marked_so() {
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
fn the_rest_of_a_batch_is_delivered_again_in_order() {
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
    let mut all: Vec<u64> = receivers.into_iter().flat_map(join_soon).collect();
    all.sort();
    assert!(all == (0..20_000).collect::<Vec<u64>>());
    ring.remove().unwrap();
}

/// The slowness of the survivor is what makes its way to the end of the queue a long one.
#[test]
fn a_busy_consumer_gets_a_dead_consumers_items_long_before_the_ring_is_empty() {
    const ITEMS: usize = 3000;
    let name = TestName::new("backlog");
    let ring = options().capacity(8192).slot_size(8).create(&name).unwrap();
    let mut producer = ring.producer().unwrap();
    assert_eq!(producer.send_batch(&["x"; ITEMS]).unwrap(), ITEMS);
    let mut holder = RemoteActor::attached(&name, "consumer");
    assert_eq!(holder.does("recv"), "got 1 x");
    let mut survivor = ring.consumer().unwrap();
    let mut receive = move || {
        let item = survivor.recv().unwrap();
        std::thread::sleep(Duration::from_millis(1));
        let redelivered = item.redelivered();
        item.ack();
        redelivered
    };
    assert!((0..100).all(|_| !receive()), "the holder lives");
    drop(holder);
    let more = within("it comes again", move || (1..).find(|_| receive()).unwrap());
    assert!(more < ITEMS / 2, "it came only after {more} items");
    drop(producer);
    ring.remove().unwrap();
}

/// What a look found that does not wait, or waits no longer: the first byte and the attempt.
type Try = fn(&mut Consumer) -> Result<(u8, u8), Error>;

const TRIES: [Try; 3] = [
    |consumer| consumer.try_recv().map(|item| (item[0], item.attempt())),
    |consumer| {
        let batch = consumer.recv_batch_timeout(4, Duration::ZERO)?;
        let first = batch.iter().next().unwrap();
        Ok((first.to_vec()[0], first.attempt()))
    },
    |consumer| consumer.recv_timeout(Duration::from_nanos(1)).map(|item| (item[0], item.attempt())),
];

#[test]
fn a_try_finds_a_killed_consumers_items() {
    for look in TRIES {
        let (name, mut ring) = ring("try-held");
        ring.set_death_watch(false);
        let mut producer = ring.producer().unwrap();
        let mut consumer = ring.consumer().unwrap();
        producer.send(b"x").unwrap();
        let mut holder = RemoteActor::attached(&name, "consumer");
        assert_eq!(holder.does("recv"), "got 1 x");
        assert!(matches!(look(&mut consumer), Err(Error::Empty | Error::TimedOut)), "it is held");
        name.killed_unnoticed(&ring, holder);
        assert_eq!(look(&mut consumer).unwrap(), (b'x', 2));
        ring.remove().unwrap();
    }
}

#[test]
fn a_try_finds_items_behind_a_killed_producers_claim() {
    for look in TRIES {
        let (name, mut ring) = ring("try-behind");
        ring.set_death_watch(false);
        let mut producer = ring.producer().unwrap();
        let mut consumer = ring.consumer().unwrap();
        let mut writer = RemoteActor::attached(&name, "producer");
        // The claim takes several slots.
        assert_eq!(writer.does(&format!("reserve {}", "w".repeat(150))), "reserved");
        producer.send(b"x").unwrap();
        assert!(matches!(look(&mut consumer), Err(Error::Empty | Error::TimedOut)));
        name.killed_unnoticed(&ring, writer);
        assert_eq!(look(&mut consumer).unwrap(), (b'x', 1));
        ring.remove().unwrap();
    }
}

#[test]
fn repeated_tries_pass_a_slow_producer_in_the_end() {
    for look in TRIES {
        let (_name, ring) = ring("try-slow");
        let (mut slow, mut producer) = (ring.producer().unwrap(), ring.producer().unwrap());
        let mut consumer = ring.consumer().unwrap();
        let mut reservation = slow.reserve(1).unwrap();
        producer.send(b"x").unwrap();
        let mut found = None;
        wait_until("it is passed", || {
            found = look(&mut consumer).ok();
            found.is_some()
        });
        assert!(found.is_some_and(|(byte, _)| byte == b'x'));
        assert!(reservation.write_at(0, b"l"));
        reservation.commit();
        consumer.recv().unwrap().ack();
        ring.remove().unwrap();
    }
}

#[test]
fn a_forgotten_guards_item_is_recovered_when_its_handle_is_dropped() {
    type Forget = fn(&Ring);
    let forget_item: Forget = |ring| {
        ring.producer().unwrap().send_batch(&["a", "b"]).unwrap();
        std::mem::forget(ring.consumer().unwrap().recv().unwrap());
    };
    let forget_batch: Forget = |ring| {
        ring.producer().unwrap().send_batch(&["a", "b"]).unwrap();
        std::mem::forget(ring.consumer().unwrap().recv_batch(2).unwrap());
    };
    let forget_reservation: Forget = |ring| {
        std::mem::forget(ring.producer().unwrap().reserve(1).unwrap());
        ring.producer().unwrap().send_batch(&["a", "b"]).unwrap();
    };
    for (forget, attempts) in [(forget_item, [2, 1]), (forget_batch, [2, 2]), (forget_reservation, [1, 1])] {
        let name = TestName::new("forgotten");
        // The two that come next get the number of the one that forgot.
        let ring = options().capacity(4).participants(2).create(&name).unwrap();
        forget(&ring);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let mut came = Vec::new();
        for _ in 0..2 {
            let item = consumer.recv_timeout(Duration::from_secs(20)).unwrap();
            came.push((item.to_vec(), item.attempt()));
            item.ack();
        }
        came.sort();
        assert_eq!(came, [(b"a".to_vec(), attempts[0]), (b"b".to_vec(), attempts[1])]);
        (0..4).for_each(|_| producer.send_timeout(b"x", Duration::from_secs(20)).unwrap());
        ring.remove().unwrap();
    }
}

#[test]
fn two_sleeping_consumers_wake_when_items_are_published_out_of_order() {
    let (_name, ring) = ring("overtaken");
    let (mut first, mut second) = (ring.producer().unwrap(), ring.producer().unwrap());
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let (tell, hear) = std::sync::mpsc::channel();
        let sleepers: Vec<_> = (0..2)
            .map(|_| {
                let (mut consumer, tell) = (ring.consumer().unwrap(), tell.clone());
                std::thread::spawn(move || {
                    let item = consumer.recv().unwrap();
                    tell.send((item.to_vec(), Instant::now())).unwrap();
                    item.ack();
                })
            })
            .collect();
        wait_until("both wait", || {
            let all = ring.participants();
            all.iter().filter(|one| one.activity == Activity::WaitingForItems).count() == 2
        });
        std::thread::sleep(Duration::from_millis(5));
        let mut reservation = first.reserve(1).unwrap();
        assert!(reservation.write_at(0, b"1"));
        second.send(b"2").unwrap();
        let committed = Instant::now();
        reservation.commit();
        let mut came = [(); 2].map(|()| hear.recv_timeout(Duration::from_secs(20)).expect("both come"));
        longest = came.iter().map(|(_, at)| at.duration_since(committed)).max().unwrap().max(longest);
        came.sort();
        assert_eq!(came.map(|(bytes, _)| bytes), [b"1", b"2"]);
        sleepers.into_iter().for_each(join_soon);
    }
    report(&format!("receiving: the second of two sleepers had its item after {longest:?} at most"));
    ring.remove().unwrap();
}
