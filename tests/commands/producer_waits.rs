//! `producer` while it waits, for input, its pace or room: what of the ring's state ends it.

use std::io::Write;

use crate::support::*;
use ringpipe::{Activity, RingOptions, Role};

fn small() -> RingOptions {
    RingOptions::new().capacity(64)
}

/// One that has sent a line, and waits for the next of a pipe that stays open.
fn waits_for_input(ring: &TestName, args: &[&str], first: &[u8]) -> Running {
    let mut running = producer(ring, args).open_input().spawn();
    running.stdin.as_mut().unwrap().write_all(first).unwrap();
    wait_until("first item", || ring.open().snapshot().unwrap().tail >= 1);
    running
}

const FRAMINGS: [(&[&str], &[u8]); 4] = [
    (&[], b"first\n"),
    (&["--raw"], b"first\n"),
    (&["--block", "1K"], b"first\n"),
    (&["--frame", "len32"], b"\0\0\0\x06first\n"),
];

#[test]
fn closing_ends_a_producer_that_waits_for_input_and_keeps_its_items() {
    for (args, first) in FRAMINGS {
        let ring = TestName::made("close-input", &small());
        let running = waits_for_input(&ring, args, first);
        ring.open().close();
        let line = format!("producer: ring {:?}: the ring is closed\n", ring.name);
        assert_eq!(running.end().with_code(5).stderr, line, "{args:?}");
        assert_eq!(consumer(&ring, args).run().with_code(0).stdout, first);
    }
}

#[test]
fn removal_ends_a_producer_that_waits_for_input_and_attached_consumers_get_its_items() {
    for (args, first) in FRAMINGS {
        let ring = TestName::made("rm-input", &small());
        let running = waits_for_input(&ring, args, first);
        let attached = consumer(&ring, args).spawn();
        attached.wait_for_stdout(first);
        ring.open().remove().unwrap();
        let line = format!("producer: ring {:?} was removed\n", ring.name);
        assert_eq!(running.end().with_code(5).stderr, line, "{args:?}");
        assert_eq!(attached.end().with_code(0).stdout, first);
    }
}

#[test]
fn closing_ends_a_producer_that_waits_for_a_fifo_without_a_writer_or_for_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (_terminal, side) = terminal::pair(0, 0);
    let name = nix::unistd::ttyname(&side).unwrap();
    for path in [fifo, name] {
        let ring = TestName::made("close-fifo", &small());
        let running = producer(&ring, &[]).arg(&path).spawn();
        ring.wait_for(Role::Producer, Activity::Busy);
        ring.open().close();
        running.end().with_code(5).saying("the ring is closed");
    }
}

#[test]
fn producers_that_share_a_pipe_all_notice_the_end_of_their_ring() {
    // Each line wakes all of them, and one gets it.
    let producers = "{ for i in {1..8}; do $P $R <&3 & done; wait; } 3<&0";
    for _ in 0..10 {
        let ring = TestName::made("shared-pipe", &small());
        let mut running = shell(&ring, producers).open_input().spawn();
        wait_until("all producers", || ring.open().participants().len() == 8);
        for sent in 1..=20 {
            running.stdin.as_mut().unwrap().write_all(b"line\n").unwrap();
            wait_until("the item", || ring.ready() == sent);
        }
        ring.open().close();
        running.end().with_code(0);
    }
}

#[test]
fn closing_ends_a_producer_that_keeps_a_pace() {
    for args in [["--rate", "1/h"], ["--delay", "1h"]] {
        for raw in [&[][..], &["--raw"]] {
            let ring = TestName::made("close-pace", &small());
            let running = producer(&ring, &args).args(raw).input(noise(100_000)).arg("--").arg("-").spawn();
            wait_until("first item", || ring.open().snapshot().unwrap().tail >= 1);
            ring.open().close();
            running.end().with_code(5).saying("the ring is closed");
        }
    }
}

#[test]
fn a_truncated_ring_ends_a_producer_that_waits_for_input() {
    let ring = TestName::made("cut-input", &small());
    let running = waits_for_input(&ring, &[], b"x\n");
    std::fs::File::options().write(true).open(ring.path()).unwrap().set_len(0).unwrap();
    running.end().with_code(6);
}

#[test]
fn late_input_is_sent() {
    let ring = TestName::new("late");
    let mut running = producer(&ring, &[]).open_input().spawn();
    ring.wait_for(Role::Producer, Activity::Busy);
    for part in ["a", "b\nc", "\n"] {
        running.stdin.as_mut().unwrap().write_all(part.as_bytes()).unwrap();
        // Longer than it waits without a check of its ring.
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    running.close_input();
    running.end().with_code(0).quiet();
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "ab\nc\n");
}

const UNTIL_GONE: &str = "--until-consumers-gone";

#[test]
fn until_consumers_gone_ends_every_kind_of_wait() {
    for (args, input) in [
        (&[][..], Some(seq(1000))),
        (&["--on-full", "drop-newest"], None),
        (&["--on-full", "drop-oldest"], None),
        (&["--timeout", "1h"], Some(seq(1000))),
        (&["--rate", "20/s"], Some(seq(1_000_000))),
        (&[], Some("1\n".into())),
    ] {
        let ring = TestName::made("gone", &small());
        let endless = "yes | exec $P --until-consumers-gone --on-full \"$POLICY\" $R";
        let running = match input {
            Some(text) => {
                let mut running = producer(&ring, &[UNTIL_GONE]).args(args).open_input().spawn();
                let mut pipe = running.stdin.take().unwrap();
                std::thread::spawn(move || {
                    // It ends before it has read everything.
                    let _ = pipe.write_all(text.as_bytes());
                    std::thread::sleep(watchdog());
                });
                running
            }
            None => shell(&ring, endless).env("POLICY", args[1]).spawn(),
        };
        wait_until("first item", || ring.ready() > 0);
        // It has had none yet.
        consumer(&ring, &["-n", "1"]).run().with_code(0);
        let line = format!("producer: ring {:?}: all consumers have left: ", ring.name);
        let ended = running.end().with_code(5);
        assert!(ended.stderr.starts_with(&line) && ended.stderr.lines().count() == 1, "{}", ended.stderr);
    }
}

#[test]
fn until_consumers_gone_counts_dead_consumers_as_gone() {
    let ring = TestName::made("gone-dead", &small());
    let running = waits_for_input(&ring, &[UNTIL_GONE], b"x\n");
    let killed = consumer(&ring, &["--follow"]).spawn();
    // Its output comes first.
    wait_until("it is acknowledged", || ring.acknowledged() == 1);
    killed.signal(libc::SIGKILL);
    running.end().with_code(5).saying("all consumers have left: 0 items were not received");
}

#[test]
fn until_consumers_gone_waits_for_a_first_consumer_and_ignores_earlier_ones() {
    let ring = TestName::made("gone-first", &small());
    consumer(&ring, &["--drain"]).run().with_code(0);
    let mut running = waits_for_input(&ring, &[UNTIL_GONE], b"x\n");
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(running.is_running(), "{}", running.messages());
    let stays = consumer(&ring, &["--follow"]).spawn();
    stays.wait_for_stdout(b"x\n");
    consumer(&ring, &["--drain"]).run().with_code(0);
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(running.is_running(), "one is there: {}", running.messages());
    stays.signal(libc::SIGTERM);
    running.end().with_code(5);
}

#[test]
fn until_consumers_gone_is_done_when_the_input_is_sent() {
    let ring = TestName::made("gone-done", &small());
    producer(&ring, &[UNTIL_GONE]).input(seq(10)).run().with_code(0).quiet();
}

fn unlink(ring: &TestName) {
    std::fs::remove_file(ring.path()).unwrap();
}

#[test]
fn a_producer_that_waits_for_input_or_its_pace_notices_that_its_ring_lost_its_name() {
    for args in [&[][..], &["--rate", "2/m"]] {
        let ring = TestName::made("nameless", &small());
        let running = waits_for_input(&ring, args, b"1\n2\n");
        unlink(&ring);
        let ended = running.end().with_code(5);
        let count = if args.is_empty() { "2 items were" } else { "1 item was" };
        let line = format!("ring {:?} was removed and has no consumer: {count} not received", ring.name);
        assert_eq!(ended.stderr, format!("producer: {line}\n"));
    }
}

#[test]
fn a_ring_without_name_is_used_until_its_consumer_leaves() {
    let ring = TestName::made("nameless-used", &small());
    let mut running = waits_for_input(&ring, &[], b"1\n");
    let receiver = consumer(&ring, &["-q"]).spawn();
    receiver.wait_for_stdout(b"1\n");
    unlink(&ring);
    // Longer than the time between two checks of the name.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    running.stdin.as_mut().unwrap().write_all(b"2\n").unwrap();
    receiver.wait_for_stdout(b"1\n2\n");
    running.close_input();
    running.end().with_code(0).quiet();
    assert_eq!(receiver.end().with_code(0).text(), "1\n2\n");
}

#[test]
fn items_lost_with_the_rings_name_are_reported_at_the_end() {
    for replaced in [false, true] {
        let ring = TestName::made("nameless-end", &small());
        let mut running = waits_for_input(&ring, &[], b"1\n2\n3\n");
        wait_until("all items", || ring.ready() == 3);
        unlink(&ring);
        if replaced {
            small().create(&ring.name).unwrap();
        }
        running.close_input();
        let line = format!("ring {:?} was removed and has no consumer: 3 items were not received", ring.name);
        assert_eq!(running.end().with_code(5).stderr, format!("producer: {line}\n"));
    }
}

#[test]
fn items_lost_with_the_rings_name_are_reported_after_a_signal() {
    let ring = TestName::made("nameless-signal", &small());
    let running = waits_for_input(&ring, &[], b"1\n");
    running.signal(libc::SIGSTOP);
    unlink(&ring);
    running.signal(libc::SIGTERM);
    running.signal(libc::SIGCONT);
    running.end().by_signal(libc::SIGTERM).saying("1 item was not received");
}
