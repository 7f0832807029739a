//! Both commands together: what goes in comes out, one test for each promise.

use std::io::Write;

use crate::support::*;
use ringpipe::{Ring, RingOptions};

#[test]
fn two_hundred_thousand_lines_pass_unchanged() {
    let ring = TestName::new("through");
    let receiver = consumer(&ring, &["-q"]).spawn();
    let sender = producer(&ring, &[]).input(seq(200_000)).spawn();
    let out = receiver.end().with_code(0).quiet();
    sender.end().with_code(0).quiet();
    assert!(out.stdout == seq(200_000).as_bytes());
    assert!(!ring.exists(), "the last one out removes it");
}

#[test]
fn two_hundred_thousand_lines_pass_an_exclusive_ring_unchanged() {
    let ring = TestName::new("exclusive");
    let sender = producer(&ring, &["--exclusive"]).input(seq(200_000)).spawn();
    let out = consumer(&ring, &["-q"]).run().with_code(0);
    sender.end().with_code(0);
    assert!(out.stdout == seq(200_000).as_bytes());
}

#[test]
fn three_producers_and_three_consumers_share_real_files_without_loss_or_repetition() {
    let sources: Vec<_> = ["consumer", "producer", "ctl"]
        .map(|name| format!("{}/src/cli/{name}/mod.rs", env!("CARGO_MANIFEST_DIR")))
        .to_vec();
    let ring = TestName::made("three", &RingOptions::new().capacity(256).expected_producers(3));
    let receivers: Vec<_> = (0..3).map(|_| consumer(&ring, &[]).spawn()).collect();
    let args: Vec<&str> = sources.iter().map(String::as_str).collect();
    let senders: Vec<_> =
        (0..3).map(|n| producer(&ring, &[args[n], args[(n + 1) % 3], args[(n + 2) % 3]]).spawn()).collect();
    senders.into_iter().for_each(|sender| drop(sender.end().with_code(0)));
    let outputs: Vec<_> = receivers.into_iter().map(|one| one.end().with_code(0)).collect();
    let mut received: Vec<&str> = outputs.iter().flat_map(Ended::lines).collect();
    let texts: Vec<String> = sources.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let mut sent: Vec<&str> = texts.iter().flat_map(|text| text.lines()).collect::<Vec<_>>().repeat(3);
    received.sort_unstable();
    sent.sort_unstable();
    assert!(received == sent, "{} lines of {}", received.len(), sent.len());
}

#[test]
fn binary_files_survive_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(1_000_003);
    let path = file(&dir, "noise", &bytes);
    let ring = TestName::new("raw");
    let receiver = consumer(&ring, &["-q", "--raw"]).spawn();
    producer(&ring, &["--raw", &path]).run().with_code(0);
    assert!(receiver.end().with_code(0).stdout == bytes);

    let frames: Vec<u8> = [&bytes[..70_000], b"", b"\n", &bytes[70_000..70_100]]
        .iter()
        .flat_map(|item| [&(item.len() as u32).to_be_bytes(), *item].concat())
        .collect();
    let ring = TestName::new("len32");
    producer(&ring, &["--frame", "len32"]).input(frames.clone()).run().with_code(0);
    assert!(consumer(&ring, &["--frame", "len32"]).run().with_code(0).stdout == frames);
}

#[test]
fn whole_files_are_one_item_each() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (file(&dir, "a", b"one\ntwo\n"), file(&dir, "b", b""));
    let ring = TestName::new("whole");
    producer(&ring, &["--whole-file", &a, &b, &a]).run().with_code(0);
    assert_eq!(consumer(&ring, &["-n", "1", "--whole-file"]).run().with_code(0).text(), "one\ntwo\n");
    let out = consumer(&ring, &["--frame", "len32"]).run().with_code(0);
    assert_eq!(out.stdout, b"\0\0\0\0\0\0\0\x08one\ntwo\n");
}

#[test]
fn raw_keeps_a_missing_last_newline_missing() {
    let ring = TestName::new("newline");
    producer(&ring, &["--raw"]).input("one\n\ntwo").run().with_code(0);
    assert_eq!(consumer(&ring, &["--raw"]).run().with_code(0).text(), "one\n\ntwo");
}

#[test]
fn data_waits_for_a_late_consumer() {
    let ring = TestName::new("late-consumer");
    producer(&ring, &[]).input(seq(100)).run().with_code(0);
    assert!(ring.exists());
    assert_eq!(consumer(&ring, &[]).run().with_code(0).quiet().text(), seq(100));
    assert!(!ring.exists());
}

#[test]
fn an_ephemeral_ring_is_created_again_for_the_next_stream() {
    let ring = TestName::new("again");
    for text in ["first", "second", "third"] {
        producer(&ring, &["--item", text]).run().with_code(0);
        assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), format!("{text}\n"));
        assert!(Ring::open(&ring.name).is_err());
    }
}

#[test]
fn an_item_arrives_while_the_producer_still_reads() {
    let ring = TestName::new("at-once");
    let mut sender = producer(&ring, &[]).open_input().spawn();
    let receiver = consumer(&ring, &["-q"]).spawn();
    sender.stdin.as_mut().unwrap().write_all(b"now\n").unwrap();
    receiver.wait_for_stdout(b"now\n");
    sender.close_input();
    sender.end().with_code(0);
    receiver.end().with_code(0);
}
