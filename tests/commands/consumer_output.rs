//! `consumer` and its output: where it goes, what stops it, and that nothing is lost by that.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use crate::support::*;
use ringpipe::{Activity, Liveness, RingOptions, Role};

fn small() -> RingOptions {
    RingOptions::new().capacity(64)
}

/// Waits until consumers hold items and make no progress.
fn wait_until_stuck(ring: &TestName) {
    let look = || ring.open().snapshot().unwrap();
    wait_until("a consumer that is stuck with its items", || {
        let before = look();
        std::thread::sleep(std::time::Duration::from_millis(100));
        let after = look();
        !after.held.is_empty() && before.totals == after.totals && before.held == after.held
    });
}

#[test]
fn a_full_output_loses_nothing() {
    let ring = TestName::made("full", &small());
    ring.send(&["1", "2", "3"]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let out = consumer(&ring, &[]).stdout(full).run().with_code(1);
    assert!(out.stderr.starts_with("consumer: standard output: No space left on device"), "{}", out.stderr);
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "1\n2\n3\n");
}

#[test]
fn a_closed_output_is_an_error_and_loses_nothing() {
    let ring = TestName::made("closed", &small());
    ring.send(&["1", "2", "3"]);
    shell(&ring, "exec $C $R >&-").run().with_code(1).saying("standard output is closed");
    assert_eq!(ring.open().snapshot().unwrap().totals.received, 0);
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "1\n2\n3\n");
}

#[test]
fn output_to_dev_null_takes_everything() {
    // As Python and Node open it: for reading and writing, as Rust's runtime does for closed ones.
    let ring = TestName::new("nowhere");
    producer(&ring, &[]).input(seq(100)).run().with_code(0);
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    consumer(&ring, &[]).stdout(null).run().with_code(0).quiet();
    assert!(!ring.exists());
}

#[test]
fn an_output_without_a_reader_ends_the_consumer_quietly_and_returns_the_items() {
    let ring = TestName::made("unread", &small());
    ring.send(&["1", "2", "3"]);
    let (reader, writer) = std::io::pipe().unwrap();
    close_reader(reader);
    consumer(&ring, &[]).stdout(writer).run().with_code(0).quiet();
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "1\n2\n3\n");
}

#[test]
fn head_ends_a_consumer_quietly_also_while_nothing_comes() {
    let ring = TestName::made("head", &small());
    let _stays = ring.open().producer().unwrap();
    ring.send(&["1", "2", "3"]);
    let out = shell(&ring, "$C $R | head -1; exit ${PIPESTATUS[0]}").run().with_code(0).quiet();
    assert_eq!(out.text(), "1\n");
}

#[test]
fn items_that_went_out_before_the_reader_left_are_acknowledged_and_the_others_go_back() {
    let ring = TestName::made("part", &RingOptions::new().capacity(32768));
    let sender = producer(&ring, &[]).input(seq(100_000)).spawn();
    let (reader, writer) = std::io::pipe().unwrap();
    let receiver = consumer(&ring, &[]).stdout(writer).spawn();
    wait_until_stuck(&ring);
    // What is in the pipe was written, in whole items.
    let mut reader = reader;
    let mut start = vec![0; 4000];
    std::io::Read::read_exact(&mut reader, &mut start).unwrap();
    close_reader(reader);
    receiver.end().with_code(0).quiet();
    let acknowledged = ring.open().snapshot().unwrap().totals.acknowledged;
    assert!(acknowledged > 0);
    let out = consumer(&ring, &[]).run().with_code(0);
    sender.end().with_code(0);
    let mut rest: Vec<u64> = out.lines().iter().map(|line| line.parse().unwrap()).collect();
    rest.sort_unstable();
    assert!(rest.iter().copied().eq(acknowledged + 1..=100_000), "{acknowledged}, {}", rest.len());
}

#[test]
fn a_non_blocking_output_is_waited_for() {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let ring = TestName::new("non-blocking");
    let sender = producer(&ring, &[]).input(seq(100_000)).spawn();
    let (mut reader, writer) = std::io::pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    let receiver = consumer(&ring, &["-q"]).stdout(writer).spawn();
    sender_is_stuck(&ring);
    let mut all = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut all).unwrap();
    receiver.end().with_code(0).quiet();
    sender.end().with_code(0);
    assert!(all == seq(100_000).as_bytes());
}

fn sender_is_stuck(ring: &TestName) {
    ring.wait_for(Role::Producer, Activity::WaitingForRoom);
}

#[test]
fn two_consumers_on_one_pipe_do_not_mix_their_lines() {
    // It stays: one of them may be so late that the other has seen the end.
    let ring = TestName::made("one-pipe", &RingOptions::new().capacity(65536));
    producer(&ring, &[]).input(seq(50_000)).run().with_code(0);
    let out = shell(&ring, "{ $C $R & $C $R & wait; } | cat").run().with_code(0);
    let mut numbers: Vec<u64> = out.lines().iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=50_000));
}

#[test]
fn output_to_a_file_is_appended_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "out", b"before\n");
    let ring = TestName::new("file");
    producer(&ring, &[]).input(seq(1000)).run().with_code(0);
    let append = File::options().append(true).open(&path).unwrap();
    consumer(&ring, &[]).stdout(append).run().with_code(0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("before\n{}", seq(1000)));
    assert_eq!(std::fs::metadata(&path).unwrap().size(), 7 + 3893);
}

#[test]
fn a_signal_ends_a_consumer_that_waits_for_items() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let ring = TestName::made("signal", &small());
        let running = consumer(&ring, &[]).spawn();
        ring.wait_for(Role::Consumer, Activity::WaitingForItems);
        running.signal(signal);
        running.end().by_signal(signal).quiet();
        assert!(ring.open().participants().is_empty(), "it did not leave");
    }
}

#[test]
fn a_signal_ends_a_consumer_that_waits_for_the_ring() {
    let ring = TestName::new("signal");
    let running = consumer(&ring, &[]).spawn();
    running.wait_for_stderr("waiting for ring");
    running.signal(libc::SIGINT);
    running.end().by_signal(libc::SIGINT);
}

#[test]
fn a_signal_ends_a_consumer_whose_output_is_blocked_and_nothing_is_lost() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let ring = TestName::made("blocked", &RingOptions::new().capacity(32768));
        producer(&ring, &[]).input(seq(20_000)).run().with_code(0);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let running = consumer(&ring, &["--ack", "write"]).stdout(writer).spawn();
        wait_until_stuck(&ring);
        running.signal(signal);
        running.end().by_signal(signal).quiet();
        assert!(ring.open().participants().is_empty(), "it did not leave");
        let mut first = String::new();
        std::io::Read::read_to_string(&mut reader, &mut first).unwrap();
        let rest = consumer(&ring, &[]).run().with_code(0);
        let all = first.lines().chain(rest.lines()).map(|line| line.parse::<u64>().unwrap());
        let mut all: Vec<u64> = all.collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(1..=20_000), "signal {signal}");
    }
}

#[test]
fn a_second_signal_ends_it_at_once_and_its_items_go_to_another() {
    let at_once = || {
        let ring = TestName::made("second", &RingOptions::new().capacity(32768));
        producer(&ring, &[]).input(seq(20_000)).run().with_code(0);
        let (reader, writer) = std::io::pipe().unwrap();
        let running = consumer(&ring, &[]).stdout(writer).spawn();
        wait_until_stuck(&ring);
        running.signals_at_once(&[libc::SIGTERM, libc::SIGHUP]);
        let ended = running.end();
        assert!(matches!(ended.signal, Some(libc::SIGTERM | libc::SIGHUP)), "{ended:?}");
        let left: Vec<_> = ring.open().participants();
        let without_leaving = left.len() == 1 && left[0].liveness == Liveness::Dead;
        let acknowledged = ring.open().snapshot().unwrap().totals.acknowledged;
        let out = consumer(&ring, &["--stats"]).run().with_code(0).saying(" redelivered");
        assert_eq!(out.lines().len() as u64, 20_000 - acknowledged);
        close_reader(reader);
        without_leaving
    };
    assert!((0..10).any(|_| at_once()));
}

#[test]
fn an_ignored_hangup_stays_ignored() {
    let ring = TestName::made("nohup", &small());
    let running = consumer(&ring, &["-n", "1"]).with_signals(&[libc::SIGHUP]).spawn();
    ring.wait_for(Role::Consumer, Activity::WaitingForItems);
    running.signal(libc::SIGHUP);
    ring.send(&["still here"]);
    assert_eq!(running.end().with_code(0).text(), "still here\n");
}

#[test]
fn an_ignored_interrupt_stays_ignored() {
    let ring = TestName::made("background", &small());
    let running = consumer(&ring, &["-n", "1"]).with_signals(&[libc::SIGINT]).spawn();
    ring.wait_for(Role::Consumer, Activity::WaitingForItems);
    running.signal(libc::SIGINT);
    ring.send(&["still here"]);
    assert_eq!(running.end().with_code(0).text(), "still here\n");
}

#[test]
fn a_killed_consumers_items_go_to_another() {
    let ring = TestName::made("killed", &RingOptions::new().capacity(32768));
    producer(&ring, &[]).input(seq(20_000)).run().with_code(0);
    let (reader, writer) = std::io::pipe().unwrap();
    let running = consumer(&ring, &[]).stdout(writer).spawn();
    wait_until_stuck(&ring);
    running.signal(libc::SIGKILL);
    running.end().by_signal(libc::SIGKILL);
    close_reader(reader);
    let acknowledged = ring.open().snapshot().unwrap().totals.acknowledged;
    let out = consumer(&ring, &[]).run().with_code(0);
    assert_eq!(out.lines().len() as u64, 20_000 - acknowledged);
}
