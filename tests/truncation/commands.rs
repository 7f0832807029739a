//! The three commands, which survive it: one line, exit code 6, and nothing acknowledged.

use std::fs::File;
use std::io::Read;

use ringpipe::layout::geometry::Geometry;
use ringpipe::{Activity, RingOptions, Role, SlotState};

use crate::common::{Run, TestRing, consumer, producer, wait_until};
use crate::cut;

const LOST: &str = "was truncated by another program, and what was in it is lost";

fn ringctl(args: &[&str]) -> Run {
    Run::new(env!("CARGO_BIN_EXE_ringctl")).args(args)
}

#[test]
fn a_waiting_consumer_ends_with_one_line() {
    for len in [0, 1000, 4096] {
        let ring = TestRing::made("cut-waiting", &RingOptions::new());
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
            let ring = TestRing::made(&format!("cut-busy-{label}"), &options);
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
    let options = RingOptions::new().capacity(64).slot_size(4096);
    let ring = TestRing::made("cut-held", &options);
    let geometry = Geometry::new(64, 4096, 1024, 1, 0).unwrap();
    let bytes = "x".repeat(4096);
    ring.send(&vec![bytes.as_str(); 60]);
    // A pipe that nobody reads takes 16 of the 60.
    let (mut reader, writer) = std::io::pipe().unwrap();
    let holds = consumer(&ring, &["--raw"]).stdout(writer).spawn();
    let others = ring.open();
    let free = || others.slots().filter(|slot| slot.state == SlotState::Free).count();
    wait_until("a full pipe", || free() == 4 + 16);
    // The slots' words stay.
    cut(&ring.name, geometry.payload);
    let mut written = Vec::new();
    reader.read_to_end(&mut written).unwrap();
    holds.end().with_code(6).saying(LOST);
    assert!(written == [b'x'; 16 * 4096], "{} bytes", written.len());
    assert_eq!(free(), 4 + 16, "nothing more is acknowledged");
}

#[test]
fn who_looks_ends_with_one_line() {
    let ring = TestRing::made("cut-looked-at", &RingOptions::new());
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
