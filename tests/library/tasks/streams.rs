//! Many items, in order, and nothing but them.

use crate::support::options;
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use ringpipe::{Error, Ring};

use super::{run, runtimes};
use crate::support::{TestName, consumer, producer, seq};

const MANY: u64 = 1_000_000;

fn number(bytes: &[u8]) -> u64 {
    std::str::from_utf8(bytes).unwrap().parse().unwrap()
}

#[test]
fn a_million_items_from_another_process_come_in_order_to_a_stream() {
    for runtime in runtimes() {
        let ring = TestName::made("to-stream", &options().capacity(1024).slot_size(8));
        let sender = producer(&ring, &[]).input(seq(MANY)).spawn();
        run(&runtime, "a million items", async {
            let mut items = ring.open().async_consumer().unwrap();
            let mut expected = 1;
            while let Some(item) = items.next().await {
                assert_eq!(number(&item.unwrap()), expected);
                expected += 1;
            }
            assert_eq!(expected, MANY + 1);
        });
        sender.end().with_code(0);
    }
}

#[test]
fn a_million_items_in_batches_reach_another_process_in_order() {
    for runtime in runtimes() {
        let ring = TestName::made("from-batches", &options().capacity(1024).slot_size(8));
        let receiver = consumer(&ring, &[]).spawn();
        run(&runtime, "a million items", async {
            let mut producer = ring.open().async_producer().unwrap();
            let items: Vec<String> = (1..=MANY).map(|n| n.to_string()).collect();
            let mut rest = &items[..];
            while !rest.is_empty() {
                let sent = producer.send_batch(&rest[..rest.len().min(300)]).await.unwrap();
                rest = &rest[sent..];
            }
        });
        assert!(receiver.end().with_code(0).text() == seq(MANY));
    }
}

#[test]
fn single_items_reach_another_process_in_order_through_a_small_exclusive_ring() {
    let ring = TestName::made("from-single", &options().capacity(16).exclusive(true));
    let receiver = consumer(&ring, &[]).spawn();
    run(&runtimes()[0], "single items", async {
        let mut producer = ring.open().async_producer().unwrap();
        for n in 1..=20_000 {
            producer.send(n.to_string().as_bytes()).await.unwrap();
        }
    });
    assert!(receiver.end().with_code(0).text() == seq(20_000));
}

#[test]
fn a_stream_forwarded_to_a_sink_passes_everything_on_in_order() {
    for runtime in runtimes() {
        let first = TestName::made("forward-from", &options().capacity(64));
        let second = TestName::made("forward-to", &options().capacity(8));
        let sender = producer(&first, &[]).input(seq(100_000)).spawn();
        let receiver = consumer(&second, &[]).spawn();
        run(&runtime, "forwarding", async {
            let from = first.open().async_consumer().unwrap();
            from.forward(second.open().async_producer().unwrap()).await.unwrap();
        });
        assert!(receiver.end().with_code(0).text() == seq(100_000));
        sender.end().with_code(0);
    }
}

#[test]
fn a_sink_keeps_what_finds_no_room_and_flushes_it_before_what_comes_next() {
    let ring = TestName::made("sink", &options().capacity(2));
    run(&runtimes()[0], "flushing", async {
        let mut producer = ring.open().async_producer().unwrap();
        for text in ["1", "2", "3"] {
            producer.feed(text).await.unwrap();
        }
        assert_eq!((ring.ready(), producer.get_ref().sent()), (2, 2));
        // It does not take another, however it is polled.
        let refused = producer.start_send_unpin("4");
        assert!(matches!(refused, Err(Error::Full)));
        let receiver = tokio::task::spawn_blocking({
            let ring = ring.open();
            move || ring.consumer().unwrap().items().map(Result::unwrap).collect::<Vec<_>>()
        });
        producer.flush().await.unwrap();
        assert_eq!(producer.get_ref().sent(), 3);
        producer.feed("4").await.unwrap();
        producer.send(b"5").await.unwrap();
        drop(producer);
        assert_eq!(receiver.await.unwrap(), [b"1", b"2", b"3", b"4", b"5"]);
    });
}

#[test]
fn a_stream_acknowledges_when_the_next_is_asked_for_and_gives_back_when_dropped() {
    let ring = TestName::made("acknowledge", &options());
    ring.send(&["1", "2"]);
    run(&runtimes()[0], "a stream of two", async {
        let mut items = ring.open().async_consumer().unwrap();
        assert_eq!(items.next().await.unwrap().unwrap(), b"1");
        assert_eq!(held(&ring.open()), 1);
        assert_eq!(items.next().await.unwrap().unwrap(), b"2");
        assert_eq!((held(&ring.open()), ring.ready()), (1, 0));
        drop(items);
        let mut again = ring.open().async_consumer().unwrap();
        let item = again.recv().await.unwrap();
        assert_eq!((&*item, item.attempt()), (&b"2"[..], 2));
        item.ack();
        // The end is the end, however often one asks.
        assert!(again.try_next().await.unwrap().is_none());
        assert!(again.try_next().await.unwrap().is_none());
    });
}

fn held(ring: &Ring) -> usize {
    ring.snapshot().unwrap().held.len()
}

#[test]
fn an_owned_item_of_a_task_keeps_its_failures_and_its_key() {
    for runtime in runtimes() {
        let ring = TestName::made("owned", &options().capacity(4).slot_size(8));
        run(&runtime, "one item twice", async {
            let mut producer = ring.open().async_producer().unwrap();
            producer.send(b"job").await.unwrap();
            let mut consumer = ring.open().async_consumer().unwrap();
            let item = consumer.recv().await.unwrap().into_owned();
            let key = item.key();
            let failed = tokio::spawn(async move {
                let failures = item.record_failure();
                item.give_back();
                failures
            });
            assert_eq!(failed.await.unwrap(), 1);
            let again = consumer.recv().await.unwrap().into_owned();
            assert_eq!((again.failures(), again.attempt(), again.key()), (1, 2, key));
            again.ack();
        });
    }
}
