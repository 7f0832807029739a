//! Futures that are dropped before they are ready: no item is lost or doubled, and no process hangs.

use crate::support::options;
use ringpipe::{AsyncConsumer, AsyncProducer, Error};

use super::{moment, run, runtimes};
use crate::support::{Random, report, seed};
use crate::support::{TestName, consumer, producer, seq};

/// Lets a future be polled a few times, at random, before it is dropped; sometimes for a moment.
async fn whim(random: &mut Random) {
    match random.below(16) {
        0 => moment().await,
        _ => {
            for _ in 0..random.below(4) {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Receives to the end of the stream, and drops as many futures as it likes. Answers with how many, too.
async fn receive(mut consumer: AsyncConsumer, mut random: Random) -> (Vec<u64>, u64) {
    let (mut received, mut dropped) = (Vec::new(), 0);
    loop {
        tokio::select! {
            biased;
            item = consumer.recv() => match item {
                Ok(item) => {
                    assert!(!item.redelivered());
                    received.push(std::str::from_utf8(&item).unwrap().parse().unwrap());
                    item.ack();
                }
                Err(Error::Ended) => return (received, dropped),
                Err(error) => panic!("{error}"),
            },
            () = whim(&mut random) => dropped += 1,
        }
    }
}

async fn send(producer: &mut AsyncProducer, item: String, random: &mut Random) -> u64 {
    let mut dropped = 0;
    loop {
        tokio::select! {
            biased;
            sent = producer.send(item.as_bytes()) => {
                sent.unwrap();
                return dropped;
            }
            () = whim(random) => dropped += 1,
        }
    }
}

#[test]
fn receiving_futures_dropped_by_the_thousand_lose_and_double_nothing() {
    let seed = seed();
    report(&format!("seed {seed}"));
    for runtime in runtimes() {
        let ring = TestName::made("drop-receive", &options().capacity(2));
        let sender = producer(&ring, &[]).input(seq(30_000)).spawn();
        let consumer = ring.open().async_consumer().unwrap();
        let (received, dropped) = run(&runtime, "all items", receive(consumer, Random::new(seed)));
        assert!(received.iter().copied().eq(1..=30_000));
        assert!(dropped > 300, "only {dropped} futures were dropped");
        sender.end().with_code(0);
    }
}

#[test]
fn many_consumers_that_drop_futures_beside_another_process_get_each_item_once() {
    let seed = seed();
    report(&format!("seed {seed}"));
    for runtime in runtimes() {
        let ring = TestName::made("drop-crowd", &options().capacity(4));
        let beside = consumer(&ring, &["--delay", "100us"]).spawn();
        let sender = producer(&ring, &[]).input(seq(20_000)).spawn();
        let mut all = run(&runtime, "all items", async {
            let tasks: Vec<_> = (0..4)
                .map(|n| {
                    let consumer = ring.open().async_consumer().unwrap();
                    tokio::spawn(receive(consumer, Random::new(seed + n)))
                })
                .collect();
            let mut all = Vec::new();
            for task in tasks {
                let (received, _) = task.await.unwrap();
                assert!(received.is_sorted());
                all.extend(received);
            }
            all
        });
        let beside = beside.end().with_code(0);
        all.extend(beside.lines().iter().map(|line| line.parse::<u64>().unwrap()));
        all.sort_unstable();
        assert!(all.iter().copied().eq(1..=20_000));
        sender.end().with_code(0);
    }
}

#[test]
fn sending_futures_dropped_by_the_thousand_have_sent_nothing() {
    let seed = seed();
    report(&format!("seed {seed}"));
    for runtime in runtimes() {
        let ring = TestName::made("drop-send", &options().capacity(2));
        let receiver = consumer(&ring, &[]).spawn();
        run(&runtime, "all items", async {
            let mut random = Random::new(seed);
            let mut producer = ring.open().async_producer().unwrap();
            let mut dropped = 0;
            for n in 1..=20_000 {
                dropped += send(&mut producer, n.to_string(), &mut random).await;
            }
            assert!(dropped > 200, "only {dropped} futures were dropped");
        });
        assert!(receiver.end().with_code(0).text() == seq(20_000));
    }
}

#[test]
fn both_sides_drop_futures_with_items_of_one_and_of_several_slots() {
    let seed = seed();
    report(&format!("seed {seed}"));
    for runtime in runtimes() {
        let ring = TestName::made("drop-both", &options().capacity(8).slot_size(8));
        run(&runtime, "all items", async {
            let mut producer = ring.open().async_producer().unwrap();
            let mut random = Random::new(seed);
            let sending = tokio::spawn(async move {
                for n in 1..=5_000u64 {
                    // Up to half of the ring; the number is what is left without its zeros.
                    let width = 1 + random.below(32) as usize;
                    send(&mut producer, format!("{n:0width$}"), &mut random).await;
                }
            });
            let consumer = ring.open().async_consumer().unwrap();
            let (received, _) = receive(consumer, Random::new(seed + 1)).await;
            sending.await.unwrap();
            assert!(received.iter().copied().eq(1..=5_000));
        });
    }
}
