//! The ways to send.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringpipe::{DropObserver, Error, ErrorKind, ItemKey, OnFull, Producer, Ring, StopFlag};

use crate::support::actor::RemoteActor;
use crate::support::{Random, TestName, join_soon, options, seed};

fn ring(what: &str, capacity: u64) -> (TestName, Ring) {
    let name = TestName::new(what);
    let ring = options().capacity(capacity).slot_size(64).create(&name).unwrap();
    (name, ring)
}

fn received(ring: &Ring) -> Vec<String> {
    let mut consumer = ring.consumer().unwrap();
    let mut texts = Vec::new();
    while let Ok(item) = consumer.try_recv() {
        texts.push(String::from_utf8(item.to_vec()).unwrap());
        item.ack();
    }
    texts
}

#[test]
fn a_full_ring_fails_drops_the_newest_or_drops_the_oldest_as_asked_and_counts() {
    let (_name, ring) = ring("policies", 4);
    let mut producer = ring.producer().unwrap();
    for n in 0..4 {
        producer.send(n.to_string().as_bytes()).unwrap();
    }
    producer.set_on_full(OnFull::Fail).unwrap();
    assert!(matches!(producer.send(b"failed"), Err(Error::Full)));
    assert!(matches!(producer.send_batch(&["failed"]), Err(Error::Full)));
    assert!(matches!(producer.reserve(1), Err(Error::Full)));
    producer.set_on_full(OnFull::DropNewest).unwrap();
    producer.send(b"dropped").unwrap();
    producer.set_on_full(OnFull::DropOldest).unwrap();
    producer.send(b"4").unwrap();
    producer.send(&[b'5'; 100]).unwrap();
    let totals = ring.snapshot().unwrap().totals;
    assert_eq!((totals.dropped_newest, totals.dropped_oldest, totals.sent), (1, 3, 6));
    assert_eq!(received(&ring), ["3", "4", &"5".repeat(100)]);
    ring.remove().unwrap();
}

#[test]
fn dropping_the_oldest_leaves_held_items_alone() {
    let (_name, ring) = ring("oldest", 4);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    producer.set_on_full(OnFull::DropOldest).unwrap();
    (0..4).for_each(|n: u8| producer.send(&[n]).unwrap());
    let held = consumer.recv().unwrap();
    for n in 4..50 {
        producer.send(&[n]).unwrap();
    }
    assert_eq!(*held, [0]);
    held.ack();
    let rest: Vec<Vec<u8>> = std::iter::from_fn(|| {
        let item = consumer.try_recv().ok()?;
        let bytes = item.to_vec();
        item.ack();
        Some(bytes)
    })
    .collect();
    assert_eq!(rest, [[47], [48], [49]]);
    ring.remove().unwrap();
}

/// Notes what it is told, and fails when it is to.
#[derive(Debug, Clone, Default)]
struct Notes(Arc<Mutex<(Vec<String>, Option<&'static str>)>>);

impl Notes {
    fn note(&self, what: &'static str, key: ItemKey, attempt: u8) -> std::io::Result<()> {
        let mut notes = self.0.lock().unwrap();
        if notes.1 == Some(what) {
            return Err(std::io::Error::other("no room"));
        }
        notes.0.push(format!("{what} {} {attempt}", key.sequence));
        Ok(())
    }

    fn fail(&self, what: Option<&'static str>) {
        self.0.lock().unwrap().1 = what;
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().0)
    }
}

impl DropObserver for Notes {
    fn dropping(&mut self, key: ItemKey, attempt: u8) -> std::io::Result<()> {
        self.note("dropping", key, attempt)
    }

    fn dropped(&mut self, key: ItemKey, attempt: u8) -> std::io::Result<()> {
        self.note("dropped", key, attempt)
    }
}

#[test]
fn an_observer_is_told_which_items_are_dropped_and_can_refuse() {
    let (_name, ring) = ring("observed", 4);
    let (mut producer, notes) = (ring.producer().unwrap(), Notes::default());
    producer.set_on_full(OnFull::DropOldest).unwrap();
    producer.set_drop_observer(Box::new(notes.clone()));
    for n in 0..4 {
        producer.send(n.to_string().as_bytes()).unwrap();
    }
    assert_eq!(notes.take(), Vec::<String>::new());
    // Returned once, item 0 is dropped in its second delivery.
    drop(ring.consumer().unwrap().recv().unwrap());
    producer.send(b"4").unwrap();
    assert_eq!(notes.take(), ["dropping 0 2", "dropped 0 2"]);
    producer.send_batch(&["5"]).unwrap();
    assert_eq!(notes.take(), ["dropping 1 1", "dropped 1 1"]);
    notes.fail(Some("dropping"));
    let error = producer.send(b"no").unwrap_err();
    assert!(error.kind() == ErrorKind::Io && error.to_string().contains("no room"), "{error}");
    assert_eq!((notes.take(), ring.snapshot().unwrap().totals.dropped_oldest), (vec![], 2));
    notes.fail(Some("dropped"));
    assert_eq!(producer.send(b"no").unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(
        (notes.take(), ring.snapshot().unwrap().totals.dropped_oldest),
        (vec!["dropping 2 2".into()], 3)
    );
    notes.fail(None);
    producer.send(b"6").unwrap();
    assert_eq!(received(&ring), ["3", "4", "5", "6"]);
    ring.remove().unwrap();
}

/// Panics at each item.
#[derive(Debug)]
struct Panics;

impl DropObserver for Panics {
    fn dropping(&mut self, _: ItemKey, _: u8) -> std::io::Result<()> {
        panic!("as it is told to")
    }

    fn dropped(&mut self, _: ItemKey, _: u8) -> std::io::Result<()> {
        unreachable!("no item is dropped")
    }
}

#[test]
fn an_item_is_delivered_whose_drop_observer_has_panicked() {
    let (_name, ring) = ring("panicked", 2);
    let mut producer = ring.producer().unwrap();
    producer.set_on_full(OnFull::DropOldest).unwrap();
    producer.set_drop_observer(Box::new(Panics));
    producer.send(b"0").unwrap();
    producer.send(b"1").unwrap();
    let sent = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| producer.send(b"no")));
    assert!(sent.is_err());
    drop(producer);
    let mut consumer = ring.consumer().unwrap();
    let mut received = [(); 2].map(|()| {
        let item = consumer.recv_timeout(Duration::from_secs(60)).unwrap();
        let bytes = item.to_vec();
        item.ack();
        bytes
    });
    received.sort();
    assert_eq!(received, [b"0", b"1"]);
    ring.remove().unwrap();
}

#[test]
fn a_consumer_waiting_gets_what_a_producer_could_not_drop() {
    let (_name, ring) = ring("undropped", 2);
    let (mut producer, notes) = (ring.producer().unwrap(), Notes::default());
    producer.set_on_full(OnFull::DropOldest).unwrap();
    producer.set_drop_observer(Box::new(notes.clone()));
    producer.send(b"0").unwrap();
    producer.send(b"1").unwrap();
    notes.fail(Some("dropping"));
    producer.send(b"no").unwrap_err();
    let mut consumer = ring.consumer().unwrap();
    let item = consumer.recv_timeout(Duration::from_secs(60)).unwrap();
    assert_eq!((&*item, item.attempt()), (&b"0"[..], 2));
    item.ack();
    assert_eq!(received(&ring), ["1"]);
    ring.remove().unwrap();
}

#[test]
fn an_exclusive_ring_cannot_drop_its_oldest() {
    let name = TestName::new("exclusive-oldest");
    let ring = options().capacity(4).exclusive(true).create(&name).unwrap();
    let mut producer = ring.producer().unwrap();
    assert_eq!(producer.set_on_full(OnFull::DropOldest).unwrap_err().kind(), ErrorKind::Unsupported);
    ring.remove().unwrap();
}

#[test]
fn an_item_may_have_half_of_the_ring_and_not_a_byte_more() {
    for exclusive in [false, true] {
        for capacity in [2, 4, 8, 64] {
            let name = TestName::new("largest");
            let options = options().capacity(capacity).slot_size(64).exclusive(exclusive);
            let ring = options.create(&name).unwrap();
            let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
            let most = ring.max_item();
            assert_eq!(most, capacity / 2 * 64);
            assert_eq!(producer.max_item(), most);
            for round in 0..3 * capacity {
                let bytes: Vec<u8> = (0..most).map(|n| (n + round) as u8).collect();
                producer.send(&bytes).unwrap();
                let item = consumer.recv().unwrap();
                assert_eq!(*item, bytes);
                item.ack();
                // An odd item shifts the next large one towards the end of the ring.
                if round % 3 == 0 {
                    producer.send(b"").unwrap();
                    let item = consumer.recv().unwrap();
                    assert!(item.is_empty());
                    item.ack();
                }
            }
            let larger = vec![0; most as usize + 1];
            match producer.send(&larger) {
                Err(Error::TooLarge { len, limit }) => assert_eq!((len, limit), (most + 1, most)),
                other => panic!("{other:?}"),
            }
            assert_eq!(producer.reserve(most + 1).unwrap_err().kind(), ErrorKind::TooLarge);
            assert_eq!(producer.send_batch(&[&larger]).unwrap_err().kind(), ErrorKind::TooLarge);
            assert_eq!(producer.send_batch(&[&larger[..1], &larger]).unwrap(), 1);
            ring.remove().unwrap();
        }
    }
}

/// One side of a walk through a ring, compared with a queue of what must be in it.
#[test]
fn every_capacity_carries_items_of_every_size_in_order() {
    let seed = seed();
    for (capacity, exclusive) in (2..=64).flat_map(|capacity| [(capacity, false), (capacity, true)]) {
        let name = TestName::new("sizes");
        let options = options().capacity(capacity).slot_size(8).exclusive(exclusive);
        let ring = options.create(&name).unwrap();
        assert_eq!(ring.capacity(), capacity.next_power_of_two());
        walk(&ring, &mut Random::new(seed ^ capacity), &format!("seed {seed}, capacity {capacity}"));
        ring.remove().unwrap();
    }
}

fn walk(ring: &Ring, random: &mut Random, context: &str) {
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let mut expected: VecDeque<Vec<u8>> = VecDeque::new();
    for _ in 0..400 {
        let most = if random.one_in(3) { ring.max_item() } else { 8 };
        let len = random.below(most + 1);
        let bytes: Vec<u8> = (0..len).map(|_| random.next() as u8).collect();
        match random.below(6) {
            0 | 1 => match producer.try_send(&bytes) {
                Ok(()) => expected.push_back(bytes),
                Err(Error::Full) => assert!(!expected.is_empty(), "{context}: full of nothing"),
                Err(error) => panic!("{context}: {error}"),
            },
            2 => {
                let items = vec![bytes; 1 + random.below(5) as usize];
                let sent = producer.send_batch_timeout(&items, std::time::Duration::ZERO).unwrap_or(0);
                expected.extend(items.into_iter().take(sent));
            }
            3 => {
                let spare = random.below(ring.max_item() - len + 1);
                let room = producer.reserve_timeout(len + spare, std::time::Duration::ZERO);
                if let Ok(mut reservation) = room {
                    assert!(reservation.write_at(0, &bytes));
                    assert!(!reservation.write_at(len + spare, b"x"));
                    if random.one_in(3) {
                        drop(reservation);
                    } else {
                        reservation.commit_first(len);
                        expected.push_back(bytes);
                    }
                }
            }
            4 => match consumer.try_recv() {
                Ok(item) => {
                    assert_eq!(Some(item.to_vec()), expected.pop_front(), "{context}");
                    assert_eq!(item.attempt(), 1, "{context}");
                    item.ack();
                }
                Err(Error::Empty) => assert!(expected.is_empty(), "{context}: {} left", expected.len()),
                Err(error) => panic!("{context}: {error}"),
            },
            _ => {
                let most = 1 + random.below(6) as usize;
                let Ok(mut batch) = consumer.recv_batch_timeout(most, std::time::Duration::ZERO) else {
                    assert!(expected.is_empty(), "{context}: {} left", expected.len());
                    continue;
                };
                for item in batch.iter() {
                    assert_eq!(Some(item.to_vec()), expected.pop_front(), "{context}");
                }
                if random.one_in(2) {
                    batch.ack_first();
                }
                batch.ack();
            }
        }
    }
}

#[test]
fn a_reservation_is_sent_whole_or_in_part_or_not_at_all() {
    let (_name, ring) = ring("reserve", 8);
    let mut producer = ring.producer().unwrap();
    let mut reservation = producer.reserve(200).unwrap();
    assert!(reservation.write_at(0, &[b'a'; 200]));
    drop(reservation);
    let mut reservation = producer.reserve(200).unwrap();
    reservation.write_all(&[b'b'; 200]).unwrap();
    assert_eq!(reservation.write(b"more").unwrap(), 0);
    reservation.commit_first(70);
    let mut reservation = producer.reserve(3).unwrap();
    assert!(!reservation.write_at(1, b"abc") && !reservation.write_at(u64::MAX, b"a"));
    assert!(reservation.write_at(0, b"abc"));
    reservation.commit();
    assert_eq!(producer.sent(), 2);
    assert_eq!(received(&ring), ["b".repeat(70), "abc".into()]);
    ring.remove().unwrap();
}

#[test]
fn streams_of_bytes_go_through_writer_and_reader() {
    let (_name, ring) = ring("bytes", 64);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let bytes: Vec<u8> = (0..100_000u32).map(|n| ((n * 7) >> 3) as u8).collect();
    let sent = bytes.clone();
    let sender = std::thread::spawn(move || producer.writer(1000).write_all(&sent).unwrap());
    let mut received = Vec::new();
    consumer.reader().read_to_end(&mut received).unwrap();
    join_soon(sender);
    assert!(received == bytes);
    ring.remove().unwrap();
}

#[test]
fn typed_handles_carry_values_and_refuse_other_bytes() {
    let (_name, ring) = ring("typed", 8);
    ring.producer().unwrap().send(b"abc").unwrap();
    let mut values = ring.producer().unwrap().typed::<[u32; 4]>();
    values.send(&[1, 2, 3, 4]).unwrap();
    let mut consumer = ring.consumer().unwrap().typed::<[u32; 4]>();
    assert_eq!(consumer.recv().unwrap_err().kind(), ErrorKind::Mismatch);
    // What was no value went back; the untyped handle can take it.
    let mut consumer = consumer.into_inner();
    let item = consumer.recv().unwrap();
    assert_eq!((&*item, item.attempt()), (&b"abc"[..], 2));
    item.ack();
    let mut consumer = consumer.typed::<[u32; 4]>();
    let value = consumer.recv().unwrap();
    assert_eq!((*value, value.item().attempt()), ([1, 2, 3, 4], 1));
    value.ack();
    ring.remove().unwrap();
}

#[test]
fn timestamps_tell_when_items_were_sent() {
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let name = TestName::new("times");
    let ring = options().capacity(8).timestamps(true).create(&name).unwrap();
    let before = now();
    let mut producer = ring.producer().unwrap();
    producer.send(b"x").unwrap();
    producer.send_batch(&["y", "z"]).unwrap();
    let after = now();
    let mut consumer = ring.consumer().unwrap();
    for _ in 0..2 {
        let item = consumer.recv().unwrap();
        assert!((before..=after).contains(&item.sent_at().unwrap()));
        item.ack();
    }
    let peeked = ring.peek(5);
    assert_eq!((peeked.len(), &*peeked[0].bytes), (1, &b"z"[..]));
    assert!((before..=after).contains(&peeked[0].sent_at.unwrap()));
    assert!(ring.snapshot().unwrap().oldest_age.is_some());
    ring.remove().unwrap();
}

/// Forged: a consumer was killed after it had stepped over an abandoned slot and before it freed it.
#[test]
fn a_long_item_passes_an_abandoned_slot_behind_head() {
    use ringpipe::internal::layout::geometry::Geometry;
    use ringpipe::internal::protocol::word::{Codec, Tag};
    use std::os::unix::fs::FileExt;

    let name = TestName::new("behind");
    let ring = options().capacity(4).slot_size(8).participants(4).create(&name).unwrap();
    let mut producer = ring.producer().unwrap();
    (0..4u8).for_each(|n| producer.send(&[n]).unwrap());
    let mut consumer = ring.consumer().unwrap();
    (0..4).for_each(|_| consumer.recv().unwrap().ack());
    let abandoned = Codec::new(4).pack(Tag::Abandoned, 1, 1, 0, 0);
    let at = Geometry::new(4, 8, 4, 1, 0).unwrap().words + 8;
    let file = std::fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    file.write_all_at(&abandoned.0.to_le_bytes(), at).unwrap();
    for _ in 0..8 {
        producer.try_send(b"two slots").unwrap();
        consumer.recv().unwrap().ack();
    }
    ring.remove().unwrap();
}

#[test]
fn a_lone_producer_may_give_up_any_number_of_reservations() {
    for exclusive in [false, true] {
        let name = TestName::new("given-up");
        let ring = options().capacity(4).slot_size(64).exclusive(exclusive).create(&name).unwrap();
        let mut producer = ring.producer().unwrap();
        for len in [1, 100].repeat(20) {
            drop(producer.reserve_timeout(len, std::time::Duration::ZERO).unwrap());
        }
        (0..2).for_each(|_| producer.try_send(b"x").unwrap());
        ring.remove().unwrap();
    }
}

#[test]
fn dropping_the_oldest_drops_nothing_behind_a_held_batch() {
    let (_name, ring) = ring("held-batch", 64);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    assert_eq!(producer.send_batch(&["x"; 4]).unwrap(), 4);
    let held = consumer.recv_batch(4).unwrap();
    producer.set_on_full(OnFull::DropOldest).unwrap();
    (0..60).for_each(|_| producer.send(b"x").unwrap());
    let refused = producer.send_timeout(b"y", std::time::Duration::from_millis(50));
    assert!(matches!(refused, Err(Error::TimedOut)), "{refused:?}");
    assert_eq!((ring.snapshot().unwrap().ready, producer.totals().dropped_oldest), (60, 0));
    held.ack();
    (0..5).for_each(|_| producer.send(b"y").unwrap());
    assert_eq!((ring.snapshot().unwrap().ready, producer.totals().dropped_oldest), (64, 1));
    ring.remove().unwrap();
}

#[test]
#[allow(unsafe_code)]
fn a_reservation_is_not_committed_by_a_forked_child() {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    let (_name, ring) = ring("forked-commit", 8);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let mut reservation = producer.reserve(6).unwrap();
    assert!(reservation.write_at(0, b"parent"));
    // SAFETY: the child calls only what neither allocates nor locks anything, and _exit.
    match unsafe { fork() }.unwrap() {
        ForkResult::Child => {
            let refused = !reservation.write_at(0, b"child!");
            reservation.commit();
            // SAFETY: ends the child without running what belongs to the parent.
            unsafe { libc::_exit(if refused { 0 } else { 1 }) }
        }
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
        }
    }
    assert!(matches!(consumer.try_recv(), Err(Error::Empty)));
    reservation.commit();
    producer.send(b"next").unwrap();
    for (sequence, expected) in ["parent", "next"].into_iter().enumerate() {
        let item = consumer.try_recv().unwrap();
        assert_eq!((&*item, item.sequence()), (expected.as_bytes(), sequence as u64));
        item.ack();
    }
    ring.remove().unwrap();
}

#[test]
fn a_try_to_send_takes_a_killed_producers_slot_and_passes_a_killed_consumers_items() {
    type Try = fn(&mut Producer) -> Result<(), Error>;
    let reserve: Try = |producer| producer.reserve_timeout(1, Duration::ZERO).map(|room| room.commit());
    let tries: [Try; 3] =
        [|producer| producer.try_send(b"x"), |producer| producer.send_timeout(b"x", Duration::ZERO), reserve];
    for attempt in tries {
        for consumer_dies in [false, true] {
            let name = TestName::new("try-room");
            let mut ring = options().capacity(8).slot_size(64).create(&name).unwrap();
            ring.set_death_watch(false);
            let mut producer = ring.producer().unwrap();
            let victim = if consumer_dies {
                // It holds a run of several slots, which producers may not pass.
                producer.send_batch(&["a", "b", "c"]).unwrap();
                let mut holder = RemoteActor::attached(&name, "consumer");
                assert_eq!(holder.does("hold 3"), "got 1 a b c");
                (0..4).for_each(|_| producer.try_send(b"x").unwrap());
                let mut consumer = ring.consumer().unwrap();
                consumer.recv_batch(2).unwrap().ack();
                producer.try_send(b"x").unwrap();
                holder
            } else {
                let mut writer = RemoteActor::attached(&name, "producer");
                assert_eq!(writer.does("reserve half"), "reserved");
                (0..7).for_each(|_| producer.try_send(b"x").unwrap());
                writer
            };
            assert!(attempt(&mut producer).is_err());
            name.killed_unnoticed(&ring, victim);
            attempt(&mut producer).unwrap();
            ring.remove().unwrap();
        }
    }
}
/// What each policy does in a full ring of 8 slots, at once where it must not wait.
#[test]
fn policies_that_must_not_wait_never_wait() {
    use ringpipe::internal::layout::head;
    use std::time::Duration;

    // A consumer holds three single items; a batch was given back; a batch is held; another's request stands;
    // a reservation is in the way, of which the producer knows nothing; consumers have passed one, and gave back what
    // lies behind it.
    for state in ["waiting", "held", "returned", "held batch", "requested", "writing", "late", "abandoned"] {
        for policy in [OnFull::Block, OnFull::Fail, OnFull::DropNewest, OnFull::DropOldest] {
            for len in [1, 100] {
                let (name, ring) = ring("table", 8);
                let context = format!("{state}, {policy:?}, {len} bytes");
                let (mut producer, mut other) = (ring.producer().unwrap(), ring.producer().unwrap());
                let mut consumers: Vec<_> = (0..3).map(|_| ring.consumer().unwrap()).collect();
                let mut writer = ring.producer().unwrap();
                let reservation = match state {
                    "writing" | "late" | "abandoned" => Some(writer.reserve(1).unwrap()),
                    _ => None,
                };
                while other.try_send(b"x").is_ok() {}
                let mut held = Vec::new();
                let mut batch = None;
                match state {
                    "held" => held.extend(consumers.iter_mut().map(|one| one.recv().unwrap())),
                    "returned" => drop(consumers[0].recv_batch(8).unwrap()),
                    "late" => drop(consumers[0].recv_timeout(Duration::from_secs(20)).unwrap()),
                    "held batch" => batch = Some(consumers[0].recv_batch(4).unwrap()),
                    "requested" => name.forge(head::FAIRNESS, 1024 * 77 + 99),
                    _ => {}
                }
                match state {
                    "abandoned" => drop(reservation),
                    _ => std::mem::forget(reservation),
                }
                producer.set_on_full(policy).unwrap();
                let sent = match policy {
                    OnFull::Block => producer.send_timeout(&vec![7; len], Duration::from_millis(1)),
                    // Nothing but what is held as one run makes it wait.
                    OnFull::DropOldest => {
                        let held = matches!(state, "held batch");
                        let wait = Duration::from_millis(if held { 1 } else { 20_000 });
                        producer.send_timeout(&vec![7; len], wait)
                    }
                    _ => producer.send(&vec![7; len]),
                };
                let dropped = producer.totals();
                match policy {
                    _ if state == "abandoned" && len == 1 => {}
                    OnFull::Block => assert!(matches!(sent, Err(Error::TimedOut)), "{context}: {sent:?}"),
                    OnFull::Fail => assert!(matches!(sent, Err(Error::Full)), "{context}: {sent:?}"),
                    OnFull::DropNewest => {
                        assert!(sent.is_ok(), "{context}: {sent:?}");
                        assert_eq!(dropped.dropped_newest, 1, "{context}");
                    }
                    OnFull::DropOldest if state == "held batch" => {
                        assert!(matches!(sent, Err(Error::TimedOut)), "{context}: {sent:?}");
                        assert_eq!(dropped.dropped_oldest, 0, "{context}");
                    }
                    OnFull::DropOldest => {
                        assert!(sent.is_ok(), "{context}: {sent:?}");
                        assert!(dropped.dropped_oldest > 0, "{context}");
                    }
                }
                drop((held, batch));
                drop((producer, other, writer, consumers));
                ring.remove().unwrap();
            }
        }
    }
}

#[test]
fn a_returned_item_is_dropped_before_the_items_at_head() {
    let (_name, ring) = ring("returned-first", 4);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    producer.set_on_full(OnFull::DropOldest).unwrap();
    (0..4).for_each(|n: u8| producer.send(&[n]).unwrap());
    drop(consumer.recv().unwrap());
    producer.send(&[4]).unwrap();
    assert_eq!(consumer.recv().unwrap()[..], [1], "the returned one was the oldest");
    // All of them were returned, and nothing waits at head.
    drop(consumer.recv_batch(4).unwrap());
    let sent = producer.send_timeout(&[5], std::time::Duration::from_secs(20));
    assert!(sent.is_ok(), "{sent:?}");
    ring.remove().unwrap();
}

#[test]
fn a_producer_that_waits_to_drop_the_oldest_drops_an_item_given_back_meanwhile() {
    let (_name, ring) = ring("given-back", 4);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    assert_eq!(producer.send_batch(&["x"; 2]).unwrap(), 2);
    assert_eq!(producer.send_batch(&["x"; 2]).unwrap(), 2);
    producer.set_on_full(OnFull::DropOldest).unwrap();
    let held = consumer.recv_batch(4).unwrap();
    let waiter = std::thread::spawn(move || {
        let sent = producer.send_timeout(b"y", std::time::Duration::from_secs(20));
        (sent, producer.totals().dropped_oldest)
    });
    let waits = |one: &ringpipe::ParticipantInfo| one.activity == ringpipe::Activity::WaitingForRoom;
    crate::support::wait_until("it waits", || ring.participants().iter().any(waits));
    drop(held);
    let (sent, dropped) = join_soon(waiter);
    assert!(sent.is_ok(), "{sent:?}");
    assert_eq!(dropped, 1);
    drop(consumer);
    ring.remove().unwrap();
}

#[test]
fn a_returned_item_that_producers_have_stepped_over_is_dropped_first() {
    let (_name, ring) = ring("renewed", 4);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let mut other = ring.consumer().unwrap();
    producer.set_on_full(OnFull::DropOldest).unwrap();
    (0..4).for_each(|n: u8| producer.send(&[n]).unwrap());
    let held = consumer.recv().unwrap();
    // The second one goes, and producers step over the first, which is held.
    producer.send(&[4]).unwrap();
    drop(held);
    // It is now the oldest, and lies between newer ones.
    producer.send(&[5]).unwrap();
    let left: Vec<u8> = std::iter::from_fn(|| {
        let item = other.try_recv().ok()?;
        let byte = item[0];
        item.ack();
        Some(byte)
    })
    .collect();
    assert!(!left.contains(&0), "{left:?}");
    assert!(left.ends_with(&[4, 5]), "{left:?}");
    ring.remove().unwrap();
}

#[test]
fn a_producer_checks_its_stop_flag_before_each_further_drop() {
    let (_name, ring) = ring("stopped-dropper", 4);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let stop = StopFlag::new();
    producer.set_stop_flag(stop.clone());
    producer.set_on_full(OnFull::DropOldest).unwrap();
    (0..4).for_each(|n: u8| producer.send(&[n]).unwrap());
    let held = consumer.recv().unwrap();
    producer.send(&[4]).unwrap();
    drop(held);
    // The returned item is the oldest, and its slot is not the one that is needed: a second one would have to go.
    stop.raise();
    assert_eq!(producer.send(&[5]).unwrap_err().kind(), ErrorKind::Interrupted);
    assert_eq!(producer.totals().dropped_oldest, 2);
    ring.remove().unwrap();
}
