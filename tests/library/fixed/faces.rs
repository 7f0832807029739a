//! The ways to send and to receive items of one length.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ringpipe::{DropObserver, Error, ErrorKind, ItemKey, OnFull, Producer, Ring, RingOptions, SlotState};

use super::{item, key, ring};
use crate::support::{TestName, options, within};

const LENGTHS: [u64; 5] = [1, 8, 13, 64, 1 << 20];

fn is_mismatch<T: std::fmt::Debug>(result: Result<T, Error>, len: u64, expected: u64) {
    let found = result.unwrap_err();
    assert_eq!(found.kind(), ErrorKind::Mismatch);
    let is_this = |error: &Error| matches!(error, Error::Mismatch { len: l, expected: e } if (*l, *e) == (len, expected));
    assert!(is_this(&found), "{found}");
}

fn send_all(producer: &mut Producer, items: &[Vec<u8>]) {
    let mut rest = items;
    while !rest.is_empty() {
        rest = &rest[producer.send_batch(rest).unwrap()..];
    }
}

#[test]
fn each_way_to_send_gives_the_items_whole_and_in_order_at_each_length() {
    for (bytes, exclusive) in LENGTHS.iter().flat_map(|&bytes| [(bytes, false), (bytes, true)]) {
        let (_name, ring) = ring("fixed-ways", bytes, 8, exclusive);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        // So that each way comes to each slot, and the ring wraps.
        for round in 0..if bytes > 64 { 14 } else { 40 } {
            let bytes_of = |more: u64| item(2 * round + more, bytes);
            match round % 8 {
                0 => producer.send(&bytes_of(0)).unwrap(),
                1 => producer.try_send(&bytes_of(0)).unwrap(),
                2 => producer.send_timeout(&bytes_of(0), Duration::from_secs(60)).unwrap(),
                3 => send_all(&mut producer, &[bytes_of(0), bytes_of(1)]),
                4 => {
                    let mut room = producer.reserve(bytes).unwrap();
                    assert!(room.write_at(0, &bytes_of(0)) && !room.write_at(1, &bytes_of(0)));
                    room.commit();
                }
                5 => {
                    let mut room = producer.reserve(bytes).unwrap();
                    room.write_all(&bytes_of(0)).unwrap();
                    // All of it is sent: no item is shorter.
                    room.commit_first(1);
                }
                6 => {
                    let both = [bytes_of(0), bytes_of(1)].concat();
                    let mut rest = &both[..];
                    while !rest.is_empty() {
                        rest = &rest[producer.send_packed(rest).unwrap() * bytes as usize..];
                    }
                }
                _ => assert_eq!(producer.send_batch(&[bytes_of(0)]).unwrap(), 1),
            }
            let count = 1 + u64::from(matches!(round % 8, 3 | 6));
            for more in 0..count {
                let got = consumer.recv().unwrap();
                assert_eq!(got.len() as u64, bytes);
                assert!(*got == bytes_of(more), "{bytes} bytes, exclusive {exclusive}, round {round}");
                assert_eq!((got.producer(), got.attempt(), got.sent_at()), (ItemKey::NO_PRODUCER, 1, None));
                got.ack();
            }
        }
        let totals = ring.snapshot().unwrap().totals;
        assert_eq!(totals.bytes_sent, totals.sent * bytes);
        assert_eq!(
            (totals.sent, totals.received, totals.acknowledged),
            (producer.sent(), totals.sent, totals.sent)
        );
        ring.remove().unwrap();
    }
}

#[test]
fn each_way_to_receive_gives_the_items_whole_and_in_order_at_each_length() {
    for (bytes, exclusive) in LENGTHS.iter().flat_map(|&bytes| [(bytes, false), (bytes, true)]) {
        let (_name, ring) = ring("fixed-receive", bytes, 8, exclusive);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let items: Vec<Vec<u8>> = (0..4).map(|number| item(number, bytes)).collect();
        for round in 0..30 {
            send_all(&mut producer, &items);
            let positions = 4 * round..4 * round + 4;
            match round % 5 {
                0 => {
                    for (expected, position) in items.iter().zip(positions) {
                        let got = consumer.try_recv().unwrap();
                        assert!(*got == **expected && got.key() == key(position));
                        got.ack();
                    }
                }
                1 => {
                    let batch = consumer.recv_batch(8).unwrap();
                    assert_eq!(batch.len(), 4);
                    for ((expected, position), got) in items.iter().zip(positions).zip(batch.iter()) {
                        assert!(got.to_vec() == *expected && got.key() == key(position));
                    }
                    batch.ack();
                }
                2 => {
                    let owned: Vec<_> = (0..4).map(|_| consumer.recv().unwrap().into_owned()).collect();
                    for ((expected, position), got) in items.iter().zip(positions).zip(&owned) {
                        assert!(**got == **expected && got.key() == key(position));
                    }
                    owned.into_iter().rev().for_each(|got| got.ack());
                }
                3 => {
                    let batch = consumer.recv_batch(8).unwrap();
                    let mut packed = vec![0; 4 * bytes as usize];
                    assert!(batch.copy_packed(&mut packed) == 4 && packed == items.concat());
                    assert_eq!(batch.copy_packed(&mut packed[..2 * bytes as usize]), 2);
                    batch.ack();
                }
                _ => {
                    let mut text = vec![0; 4 * bytes as usize];
                    consumer.reader().read_exact(&mut text).unwrap();
                    assert!(text == items.concat());
                }
            }
            assert_eq!(ring.snapshot().unwrap().used_slots, 0);
        }
        ring.remove().unwrap();
    }
}

#[test]
fn an_item_of_another_length_is_refused_by_each_way_to_send() {
    for exclusive in [false, true] {
        let (_name, ring) = ring("fixed-lengths", 13, 4, exclusive);
        let mut producer = ring.producer().unwrap();
        // 16 bytes would fit into a slot.
        for len in [0, 1, 12, 14, 16, 17, 1000] {
            let wrong = vec![1; len as usize];
            is_mismatch(producer.send(&wrong), len, 13);
            is_mismatch(producer.try_send(&wrong), len, 13);
            is_mismatch(producer.send_timeout(&wrong, Duration::ZERO), len, 13);
            is_mismatch(producer.send_batch(&[&wrong]), len, 13);
            is_mismatch(producer.reserve(len).map(drop), len, 13);
            is_mismatch(producer.reserve_timeout(len, Duration::ZERO).map(drop), len, 13);
        }
        let as_another = producer.send_as(key(7), &[1; 13]).unwrap_err();
        assert_eq!(as_another.kind(), ErrorKind::Usage, "{as_another}");
        assert_eq!((producer.sent(), ring.snapshot().unwrap().used_slots), (0, 0));
        // A batch ends before such an item.
        let batch = [vec![1; 13], vec![2; 13], vec![3; 12], vec![4; 13]];
        assert_eq!(producer.send_batch(&batch).unwrap(), 2);
        is_mismatch(producer.send_batch(&batch[2..]), 12, 13);
        assert_eq!(ring.peek(9).iter().map(|item| item.bytes[0]).collect::<Vec<_>>(), [1, 2]);
        ring.remove().unwrap();
    }
}

#[test]
fn an_item_that_does_not_fit_is_refused_before_the_ring_is_full() {
    let (_name, ring) = ring("fixed-full", 8, 2, false);
    let mut producer = ring.producer().unwrap();
    while producer.try_send(&[1; 8]).is_ok() {}
    is_mismatch(producer.send(b"seven b"), 7, 8);
    assert!(matches!(producer.try_send(&[1; 8]), Err(Error::Full)));
    ring.remove().unwrap();
}

#[test]
fn a_ring_of_fixed_items_has_no_times_and_no_length_but_its_own() {
    let name = TestName::new("fixed-options");
    let refused = |options: RingOptions| {
        let error = options.create(&name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
        error.to_string()
    };
    assert!(refused(options().fixed(8).timestamps(true)).contains("fixed items"));
    refused(options().fixed((1 << 30) + 1));
    refused(options().fixed(u64::MAX));
    let ring = options().capacity(2).fixed(8).fixed(0).slot_size(24).create(&name).unwrap();
    assert_eq!((ring.fixed(), ring.slot_size(), ring.snapshot().unwrap().fixed), (None, 24, None));
    ring.remove().unwrap();
    let ring = options().capacity(2).slot_size(24).fixed(13).create(&name).unwrap();
    let snapshot = Ring::open(&name).unwrap().snapshot().unwrap();
    assert_eq!((snapshot.fixed, snapshot.slot_size, ring.max_item()), (Some(13), 16, 13));
    ring.remove().unwrap();
}

#[test]
fn values_of_a_plain_type_go_through_a_ring_of_their_size() {
    #[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
    #[repr(C)]
    struct Reading {
        at: u64,
        value: f64,
        sensor: u64,
    }
    for exclusive in [false, true] {
        let name = TestName::new("fixed-typed");
        let ring = options().typed::<Reading>().capacity(4).exclusive(exclusive).create(&name).unwrap();
        assert_eq!(ring.fixed(), Some(24));
        let mut producer = ring.producer().unwrap().typed::<Reading>();
        let mut consumer = ring.consumer().unwrap().typed::<Reading>();
        for at in 0..10 {
            let reading = Reading { at, value: at as f64 / 4.0, sensor: 7 };
            producer.send(&reading).unwrap();
            let got = consumer.recv().unwrap();
            assert_eq!((*got, got.item().key()), (reading, key(at)));
            got.ack();
        }
        let readings = [1, 2, 3].map(|at| Reading { at, value: 0.5, sensor: 9 });
        let mut rest = &readings[..];
        while !rest.is_empty() {
            rest = &rest[producer.send_batch(rest).unwrap()..];
        }
        let mut got = Vec::new();
        while got.len() < 3 {
            let batch = consumer.recv_batch(3).unwrap();
            got.extend(batch.values().unwrap());
            batch.ack();
        }
        assert_eq!(got, readings);
        let mut others = producer.into_inner().typed::<u64>();
        is_mismatch(others.send(&1), 8, 24);
        others.into_inner().send(&[1; 24]).unwrap();
        is_mismatch(consumer.into_inner().typed::<u64>().recv().map(drop), 24, 8);
        assert_eq!(ring.snapshot().unwrap().ready, 1, "it stays for an untyped consumer");
        ring.remove().unwrap();
    }
}

#[test]
fn a_writer_cuts_what_it_gets_into_items_of_the_ring() {
    let (_name, ring) = ring("fixed-writer", 4, 8, false);
    let mut producer = ring.producer().unwrap();
    // Whatever chunk is asked for.
    for chunk in [1, 4, 100] {
        producer.writer(chunk).write_all(b"onetwo3four5").unwrap();
        let texts: Vec<Vec<u8>> = ring.peek(9).into_iter().map(|item| item.bytes).collect();
        assert_eq!(texts, [b"onet", b"wo3f", b"our5"]);
        let mut consumer = ring.consumer().unwrap();
        (0..3).for_each(|_| consumer.recv().unwrap().ack());
    }
    let error = producer.writer(4).write_all(b"whole, cut").unwrap_err();
    assert!(error.to_string().contains("expected 4"), "{error}");
    let mut text = [0; 8];
    ring.consumer().unwrap().reader().read_exact(&mut text).unwrap();
    assert_eq!(&text, b"whole, c");
    ring.remove().unwrap();
}

#[derive(Debug, Default)]
struct Dropped(Arc<Mutex<Vec<(bool, ItemKey, u8)>>>);

impl DropObserver for Dropped {
    fn dropping(&mut self, key: ItemKey, attempt: u8) -> std::io::Result<()> {
        self.0.lock().unwrap().push((false, key, attempt));
        Ok(())
    }

    fn dropped(&mut self, key: ItemKey, attempt: u8) -> std::io::Result<()> {
        self.0.lock().unwrap().push((true, key, attempt));
        Ok(())
    }
}

#[test]
fn the_oldest_item_is_dropped_by_its_name_and_a_held_one_stays() {
    let (_name, ring) = ring("fixed-oldest", 8, 4, false);
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let dropped = Dropped::default();
    let seen = Arc::clone(&dropped.0);
    producer.set_on_full(OnFull::DropOldest).unwrap();
    producer.set_drop_observer(Box::new(dropped));
    producer.send(&item(0, 8)).unwrap();
    let held = consumer.recv().unwrap();
    for number in 1..30 {
        producer.send(&item(number, 8)).unwrap();
    }
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    assert_eq!(ring.snapshot().unwrap().totals.dropped_oldest, 26);
    // Each was first announced and then dropped, each once.
    let halves: [Vec<ItemKey>; 2] =
        [false, true].map(|done| seen.iter().filter(|one| one.0 == done).map(|one| one.1).collect());
    assert!(halves[0] == halves[1] && halves[0].len() == 26, "{seen:?}");
    assert!(halves[0].is_sorted() && halves[0].iter().all(|one| *one != key(0)), "{seen:?}");
    let left: Vec<ItemKey> =
        ring.peek(9).iter().map(|one| ItemKey { producer: one.producer, sequence: one.sequence }).collect();
    assert!(left.len() == 3 && left.iter().all(|one| !halves[0].contains(one) && *one != key(0)), "{left:?}");
    assert_eq!((held.key(), &held[..]), (key(0), &item(0, 8)[..]));
    held.ack();
    ring.remove().unwrap();
}

#[test]
fn the_newest_item_is_dropped_or_refused_when_the_ring_is_full() {
    for exclusive in [false, true] {
        let (_name, ring) = ring("fixed-newest", 8, 2, exclusive);
        let mut producer = ring.producer().unwrap();
        (0..2).for_each(|number| producer.send(&item(number, 8)).unwrap());
        producer.set_on_full(OnFull::Fail).unwrap();
        assert!(matches!(producer.send(&item(2, 8)), Err(Error::Full)));
        assert!(matches!(producer.reserve(8), Err(Error::Full)));
        producer.set_on_full(OnFull::DropNewest).unwrap();
        producer.send(&item(3, 8)).unwrap();
        assert_eq!(ring.snapshot().unwrap().totals.dropped_newest, 1);
        let left: Vec<Vec<u8>> = ring.peek(9).into_iter().map(|one| one.bytes).collect();
        assert_eq!(left, [item(0, 8), item(1, 8)]);
        ring.remove().unwrap();
    }
}

#[test]
fn observers_see_each_item_in_its_slot() {
    for exclusive in [false, true] {
        let (_name, ring) = ring("fixed-slots", 13, 4, exclusive);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        // Some laps, so that the positions are not the numbers of slots.
        for number in 0..9 {
            producer.send(&item(number, 13)).unwrap();
            consumer.recv().unwrap().ack();
        }
        send_all(&mut producer, &[item(9, 13), item(10, 13)]);
        producer.send(&item(11, 13)).unwrap();
        let held = consumer.recv().unwrap();
        let seen: Vec<_> = ring.slots().map(|slot| (slot.state, ring.slot_item(&slot, 5))).collect();
        let states: Vec<SlotState> = seen.iter().map(|(state, _)| *state).collect();
        use SlotState::*;
        assert_eq!(states, [Free, Reading, Ready, Ready]);
        for (at, number) in [(1, 9), (2, 10), (3, 11)] {
            let found = seen[at].1.as_ref().unwrap();
            let whole = item(number, 13);
            assert_eq!((found.producer, found.sequence, found.len), (ItemKey::NO_PRODUCER, number, 13));
            assert_eq!((found.beginning.as_slice(), found.sent_at, found.failures), (&whole[..5], None, 0));
        }
        // In a ring for many, the latest item of a free slot is still there.
        let latest = seen[0].1.as_ref().map(|found| found.sequence);
        assert_eq!(latest, (!exclusive).then_some(8));
        let peeked: Vec<_> = ring.peek(9).into_iter().map(|one| (one.sequence, one.bytes)).collect();
        assert_eq!(peeked, [(10, item(10, 13)), (11, item(11, 13))]);
        assert_eq!(held.key(), key(9));
        held.ack();
        ring.remove().unwrap();
    }
}

#[test]
fn many_threads_share_the_items_each_once() {
    const EACH: u64 = 20_000;
    let (_name, ring) = ring("fixed-many", 8, 64, false);
    let mut got = within("all items are received", move || {
        let senders: Vec<_> = (0..3)
            .map(|sender| {
                let mut producer = ring.producer().unwrap();
                std::thread::spawn(move || {
                    let items: Vec<[u8; 8]> =
                        (0..EACH).map(|number| (sender * EACH + number).to_le_bytes()).collect();
                    let mut rest = &items[..];
                    while !rest.is_empty() {
                        rest = &rest[producer.send_batch(&rest[..rest.len().min(7)]).unwrap()..];
                    }
                })
            })
            .collect();
        let receivers: Vec<_> = (0..3)
            .map(|_| {
                let mut consumer = ring.consumer().unwrap();
                std::thread::spawn(move || {
                    let mut got = Vec::new();
                    while let Ok(batch) = consumer.recv_batch(5) {
                        for one in batch.iter() {
                            let number = u64::from_le_bytes(one.to_vec().try_into().unwrap());
                            got.push((number, one.sequence()));
                        }
                        batch.ack();
                    }
                    got
                })
            })
            .collect();
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        ring.close();
        let got: Vec<(u64, u64)> = receivers.into_iter().flat_map(|one| one.join().unwrap()).collect();
        ring.remove().unwrap();
        got
    });
    let mut names: Vec<u64> = got.iter().map(|one| one.1).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len() as u64, 3 * EACH, "each item has a name of its own");
    got.sort_unstable();
    assert!(got.iter().map(|one| one.0).eq(0..3 * EACH), "each item once");
}

#[cfg(feature = "tokio")]
#[test]
fn tasks_send_and_receive_items_of_one_length() {
    use futures_util::{SinkExt, StreamExt};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for exclusive in [false, true] {
        let (_name, ring) = ring("fixed-tasks", 13, 4, exclusive);
        let mut producer = ring.async_producer().unwrap();
        let mut consumer = ring.async_consumer().unwrap();
        let limit = tokio::time::Duration::from_secs(120);
        runtime.block_on(async {
            let test = async {
                for number in 0..20 {
                    match number % 3 {
                        0 => producer.send(&item(number, 13)).await.unwrap(),
                        1 => assert_eq!(producer.send_batch(&[item(number, 13)]).await.unwrap(), 1),
                        _ => SinkExt::send(&mut producer, item(number, 13)).await.unwrap(),
                    }
                    is_mismatch(producer.send(&[1; 12]).await, 12, 13);
                    if number % 2 == 0 {
                        let got = consumer.recv().await.unwrap();
                        assert_eq!((&*got, got.key()), (&item(number, 13)[..], key(number)));
                        got.ack();
                    } else {
                        assert_eq!(consumer.next().await.unwrap().unwrap(), item(number, 13));
                    }
                }
            };
            tokio::time::timeout(limit, test).await.expect("watchdog");
        });
        drop((producer, consumer));
        ring.remove().unwrap();
    }
}
