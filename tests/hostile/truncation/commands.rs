//! The three commands, which survive it: one line, exit code 6, and nothing acknowledged.

use std::fs::File;
use std::io::Read;

use ringpipe::internal::sys::truncation::page_size;
use ringpipe::{Activity, RingOptions, Role, SlotState};

use crate::support::{Run, TestName, consumer, producer, wait_until};
use crate::truncation::{cut, cut_before_items};

const LOST: &str = "was truncated by another program, and its content is lost";

fn ringctl(args: &[&str]) -> Run {
    Run::new(env!("CARGO_BIN_EXE_ringctl")).args(args)
}

#[test]
fn a_waiting_consumer_ends_with_one_line() {
    for len in [0, 1000, page_size() as u64] {
        let ring = TestName::made("cut-waiting", &RingOptions::new());
        let waiting = consumer(&ring, &[]).spawn();
        ring.wait_for(Role::Consumer, Activity::WaitingForItems);
        cut(&ring.name, len);
        let ended = waiting.end().with_code(6).saying(LOST).saying("hint: ");
        assert_eq!(ended.stderr.lines().count(), 2, "{}", ended.stderr);
    }
}

#[test]
fn a_busy_producer_and_its_consumer_end_with_one_line_each() {
    for (label, options) in [("many", RingOptions::new()), ("exclusive", RingOptions::new().exclusive(true))]
    {
        for raw in [false, true] {
            let ring = TestName::made(&format!("cut-busy-{label}"), &options);
            let args: &[&str] = if raw { &["--raw", "/dev/zero"] } else { &["--whole-file", "-"] };
            let sends = match raw {
                true => producer(&ring, args).spawn(),
                false => {
                    let endless = r#"yes "a line of some length" | exec "$0" "$1""#;
                    Run::new("bash")
                        .args(&["-c", endless, env!("CARGO_BIN_EXE_producer"), &ring.name])
                        .spawn()
                }
            };
            let receives = consumer(&ring, if raw { &["--raw"] } else { &[] });
            let receives = receives.stdout(File::create("/dev/null").unwrap()).spawn();
            wait_until("a stream of items", || {
                ring.open().snapshot().unwrap().totals.acknowledged > 10_000 / if raw { 100 } else { 1 }
            });
            cut(&ring.name, 0);
            sends.end().with_code(6).saying(LOST);
            receives.end().with_code(6).saying(LOST);
        }
    }
}

#[test]
fn a_consumer_that_holds_items_acknowledges_none_of_them() {
    let (slot, (participants, payload)) = (page_size(), cut_before_items(64));
    let options = RingOptions::new().capacity(64).slot_size(slot as u64).participants(participants);
    let ring = TestName::made("cut-held", &options);
    let bytes = "x".repeat(slot);
    ring.send(&vec![bytes.as_str(); 60]);
    // A pipe without reads takes 16 of the 60.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let holds = consumer(&ring, &["--raw", "--ack", "write"]).stdout(writer).spawn();
    let others = ring.open();
    let free = || others.slots().filter(|slot| slot.state == SlotState::Free).count();
    wait_until("a full pipe", || free() == 4 + 16);
    // The slots' words stay.
    cut(&ring.name, payload);
    let mut written = Vec::new();
    reader.read_to_end(&mut written).unwrap();
    holds.end().with_code(6).saying(LOST);
    assert!(written == bytes.repeat(16).as_bytes(), "{} bytes", written.len());
    assert_eq!(free(), 4 + 16, "nothing more is acknowledged");
}

#[test]
fn a_consumer_whose_reader_is_slow_ends_when_its_memory_is_lost() {
    let (slot, (participants, payload)) = (page_size(), cut_before_items(64));
    let options = RingOptions::new().capacity(64).slot_size(slot as u64).participants(participants);
    let bytes = "x".repeat(slot);
    for left in [payload, 0] {
        let ring = TestName::made("cut-unread", &options);
        ring.send(&[bytes.as_str(); 3]);
        // One item is received in part, and held by the consumer until the reader has all of it.
        let (mut reader, writer) = std::io::pipe().unwrap();
        let holds = consumer(&ring, &["--raw", "-n", "1"]).stdout(writer).spawn();
        let mut written = vec![0];
        reader.read_exact(&mut written).unwrap();
        cut(&ring.name, left);
        reader.read_to_end(&mut written).unwrap();
        assert!(written == bytes.as_bytes(), "{} bytes", written.len());
        // With the slots' words there, it may have acknowledged the item, all of which was read.
        let end = holds.end();
        assert!(end.code == Some(6) || left > 0 && end.code == Some(0), "{:?} {}", end.code, end.stderr);
    }
}

#[test]
fn an_observing_command_ends_with_one_line() {
    let ring = TestName::made("cut-looked-at", &RingOptions::new());
    let waits = ringctl(&["wait", &ring.name, "--until", "producers=1"]).spawn();
    let watches = ringctl(&["watch", "--events", &ring.name]).spawn();
    wait_until("a look", || watches.has_printed("\n"));
    std::thread::sleep(std::time::Duration::from_millis(100));
    cut(&ring.name, 0);
    waits.end().with_code(6).saying("truncated");
    watches.end().with_code(6).saying("truncated");
    ringctl(&["inspect", &ring.name]).run().with_code(6).saying("not a ring");
    ringctl(&["rm", "-f", &ring.name]).run();
}
