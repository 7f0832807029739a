//! The items of a producer keep their order, also when the stream is full and producers compete for room.

use std::collections::HashMap;

use crate::server::{Server, consumer, producer};
use crate::support::seq;

/// Producer, sequence and attempt of what a consumer has received.
fn check_order(output: &str, items: u64) {
    let mut next: HashMap<u64, u64> = HashMap::new();
    let mut total = 0;
    for line in output.lines() {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(object["attempt"], 1, "{object}");
        let (producer, sequence) =
            (object["producer"].as_u64().unwrap(), object["sequence"].as_u64().unwrap());
        let expected = next.entry(producer).or_default();
        assert_eq!(sequence, *expected, "item of producer {producer}, after {total} items");
        *expected += 1;
        total += 1;
    }
    assert_eq!(total, items);
}

/// Sends from several producers through a stream of `capacity` items, to one consumer.
fn send(capacity: &str, producers: usize, items: u64) {
    let Some(server) = Server::start() else { return };
    let jobs = server.name("jobs");
    let expected = producers.to_string();
    let senders: Vec<_> = (0..producers)
        .map(|_| {
            let run = producer(&jobs, &["--capacity", capacity, "--producers", &expected]);
            run.input(seq(items)).spawn()
        })
        .collect();
    let ended = consumer(&jobs, &["--json", "--ack", "write"]).run().succeeds();
    senders.into_iter().for_each(|one| drop(one.end().succeeds()));
    check_order(ended.text(), items * producers as u64);
}

#[test]
fn in_a_stream_that_is_always_full() {
    send("7", 1, 3000);
}

#[test]
fn with_producers_that_compete_for_room() {
    send("16", 3, 1500);
}

#[test]
fn with_producers_that_compete_without_a_full_stream() {
    send("100000", 3, 4000);
}
