//! Items under the key of another one: answers, and items that go from one ring to the next.

use std::time::Duration;

use ringpipe::{Error, ErrorKind, ItemKey, OnFull, Ring};

use crate::support::{TestName, join_soon, options};

const MOMENT: Duration = Duration::from_millis(5);

fn ring(what: &str, exclusive: bool) -> (TestName, Ring) {
    let name = TestName::new(what);
    let ring = options().capacity(4).slot_size(64).exclusive(exclusive).create(&name).unwrap();
    (name, ring)
}

#[test]
fn a_key_goes_from_ring_to_ring_and_the_producers_own_count_does_not_advance() {
    for exclusive in [false, true] {
        let (_from, from) = ring("keys-from", exclusive);
        let (_to, to) = ring("keys-to", exclusive);
        // So that the producers of the two rings have other numbers.
        drop(to.producer().unwrap());
        let mut sender = from.producer().unwrap();
        let (mut worker, mut forward) = (from.consumer().unwrap(), to.producer().unwrap());
        let mut end = to.consumer().unwrap();
        let texts = ["first".to_string(), "l".repeat(100), String::new()];
        let mut keys = Vec::new();
        for (n, text) in texts.iter().enumerate() {
            sender.send(text.as_bytes()).unwrap();
            let item = worker.recv().unwrap().into_owned();
            assert_eq!(item.key(), ItemKey { producer: sender.id(), sequence: n as u64 });
            item.record_failure();
            forward.send_as(item.key(), &item).unwrap();
            keys.push(item.key());
            item.ack();
            let item = end.recv().unwrap();
            assert_eq!((item.key(), &*item, item.failures()), (keys[n], text.as_bytes(), 0));
            assert_eq!((item.producer(), item.sequence()), (sender.id(), n as u64));
            item.ack();
        }
        assert_ne!(sender.id(), forward.id());
        assert_eq!((forward.sent(), forward.totals().sent), (0, 3));
        forward.send(b"its own").unwrap();
        let batch = end.recv_batch(4).unwrap();
        let own = ItemKey { producer: forward.id(), sequence: 0 };
        assert_eq!(batch.iter().map(|item| item.key()).collect::<Vec<_>>(), [own]);
        batch.ack();
        // The stream ends as it does otherwise.
        forward.send_as(own, b"last").unwrap();
        drop(forward);
        end.recv().unwrap().ack();
        assert!(matches!(end.recv(), Err(Error::Ended)));
        from.remove().unwrap();
        to.remove().unwrap();
    }
}

#[test]
fn items_under_another_key_obey_the_limits_and_policies_of_others() {
    let (_name, ring) = ring("keys-full", false);
    let key = ItemKey { producer: 9, sequence: 5 };
    let mut producer = ring.producer().unwrap();
    let kind = |result: Result<(), Error>| result.unwrap_err().kind();
    assert_eq!(kind(producer.send_as(key, &[0; 129])), ErrorKind::TooLarge);
    let beyond = ItemKey { sequence: ItemKey::MAX_SEQUENCE + 1, ..key };
    assert_eq!(kind(producer.send_as(beyond, b"x")), ErrorKind::Usage);
    assert_eq!(ring.snapshot().unwrap().used_slots, 0);
    (0..4).for_each(|_| producer.send_as_timeout(key, b"x", MOMENT).unwrap());
    assert_eq!(kind(producer.send_as_timeout(key, b"x", MOMENT)), ErrorKind::TimedOut);
    producer.set_on_full(OnFull::Fail).unwrap();
    assert_eq!(kind(producer.send_as(key, b"x")), ErrorKind::Full);
    producer.set_on_full(OnFull::DropNewest).unwrap();
    producer.send_as(key, b"x").unwrap();
    assert_eq!((producer.totals().dropped_newest, producer.totals().sent), (1, 4));
    producer.set_on_full(OnFull::DropOldest).unwrap();
    producer.send_as(key, b"y").unwrap();
    let texts: Vec<_> = ring.peek(4).into_iter().map(|item| (item.bytes, item.sequence)).collect();
    assert_eq!(texts, [b"x", b"x", b"x", b"y"].map(|text| (text.to_vec(), 5)));
    ring.close();
    assert_eq!(kind(producer.send_as(key, b"x")), ErrorKind::Closed);
    assert_eq!(producer.sent(), 0);
    ring.remove().unwrap();
}

#[test]
fn a_send_under_another_key_waits_for_room() {
    let (_name, ring) = ring("keys-wait", false);
    let key = ItemKey { producer: 9, sequence: 5 };
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    (0..4).for_each(|_| producer.send(b"x").unwrap());
    let sends = std::thread::spawn(move || producer.send_as(key, b"answer"));
    crate::support::wait_until("it waits", || {
        ring.participants().iter().any(|one| one.activity == ringpipe::Activity::WaitingForRoom)
    });
    let mut last = None;
    for _ in 0..5 {
        let item = consumer.recv().unwrap();
        last = Some((item.to_vec(), item.key()));
        item.ack();
    }
    join_soon(sends).unwrap();
    assert_eq!(last, Some((b"answer".to_vec(), key)));
    ring.remove().unwrap();
}

#[test]
fn items_of_a_batch_have_the_keys_lengths_and_times_that_single_ones_would_have() {
    let name = TestName::new("keys-batch");
    for exclusive in [false, true] {
        let ring =
            options().capacity(8).slot_size(8).timestamps(true).exclusive(exclusive).create(&name).unwrap();
        // So that the producer's number is not 0, which fresh memory has.
        drop(ring.producer().unwrap());
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let mut sequence = 0;
        // Five items in eight slots: each slot had an item of another length, key and number of failures before.
        for round in 0..40 {
            let items: Vec<Vec<u8>> = (0..4).map(|n| vec![b'x'; (round + 4 * n) % 9]).collect();
            let mut rest = &items[..];
            while !rest.is_empty() {
                let begin = now();
                let sent = producer.send_batch(rest).unwrap();
                let batch = consumer.recv_batch(sent).unwrap();
                assert_eq!(batch.len(), sent);
                for (item, bytes) in batch.iter().zip(rest) {
                    assert_eq!(item.to_vec(), *bytes);
                    assert_eq!((item.len(), item.sequence(), item.failures()), (bytes.len(), sequence, 0));
                    assert_eq!(item.producer(), producer.id());
                    assert!((begin..=now()).contains(&item.sent_at().unwrap()));
                    sequence += 1;
                }
                batch.ack();
                rest = &rest[sent..];
            }
            producer.send(b"single").unwrap();
            let single = consumer.try_recv().unwrap().into_owned();
            assert_eq!((single.sequence(), single.failures()), (sequence, 0));
            assert_eq!(single.record_failure(), 1);
            single.ack();
            sequence += 1;
        }
        drop((producer, consumer));
        ring.remove().unwrap();
    }
}
