//! `consumer` and the reader of its pipe: what the reader has not taken is not acknowledged, and comes again.

use std::io::{PipeReader, Read, Write};
use std::time::Duration;

use crate::support::*;
use ringpipe::{Activity, RingOptions, Role};

const ITEMS: u64 = 20_000;

/// A ring with the numbers from 1 on, and a producer that stays.
fn numbers(label: &str) -> TestName {
    let ring = TestName::made(label, &RingOptions::new().capacity(32_768));
    producer(&ring, &[]).input(seq(ITEMS)).run().with_code(0);
    ring
}

/// Takes this number of bytes.
fn take(reader: &mut PipeReader, bytes: usize) -> Vec<u8> {
    let mut taken = vec![0; bytes];
    reader.read_exact(&mut taken).unwrap();
    taken
}

fn whole_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// What another consumer gets are the items from `first` on.
#[track_caller]
fn rest_begins_at(ring: &TestName, first: u64) {
    let rest = consumer(ring, &["--drain"]).run().with_code(0);
    let mut rest: Vec<u64> = rest.lines().iter().map(|line| line.parse().unwrap()).collect();
    rest.sort_unstable();
    assert!(rest.iter().copied().eq(first..=ITEMS), "{first}: {:?}, {}", rest.first(), rest.len());
}

fn waits_for_its_reader(ring: &TestName, items: u64) {
    wait_until("items that are written and unread", || {
        let seen = ring.open().snapshot().unwrap();
        seen.totals.received - seen.totals.acknowledged - seen.totals.returned == items
    });
}

#[test]
fn items_the_reader_took_are_acknowledged_and_the_rest_is_delivered_again() {
    for bytes in [2, 3, 4000, 60_001] {
        let ring = numbers("left");
        let (mut reader, writer) = std::io::pipe().unwrap();
        let running = consumer(&ring, &[]).stdout(writer).spawn();
        let taken = take(&mut reader, bytes);
        close_reader(reader);
        running.end().with_code(0).quiet();
        assert_eq!(ring.acknowledged(), whole_lines(&taken), "after {bytes} bytes");
        rest_begins_at(&ring, whole_lines(&taken) + 1);
    }
}

#[test]
fn a_killed_reader_costs_only_the_items_it_had_taken() {
    let ring = numbers("shot");
    let script = "$C $R | { read a; read b; kill -9 $BASHPID; }; exit ${PIPESTATUS[0]}";
    shell(&ring, script).run().with_code(0);
    assert_eq!(ring.acknowledged(), 2);
    rest_begins_at(&ring, 3);
}

#[test]
fn a_consumer_holds_at_most_one_unread_item() {
    let ring = numbers("one");
    let (reader, writer) = std::io::pipe().unwrap();
    let running = consumer(&ring, &[]).stdout(writer).spawn();
    waits_for_its_reader(&ring, 1);
    let out = consumer(&ring, &["--drain"]).run().with_code(0);
    assert_eq!(out.lines().len() as u64, ITEMS - 1, "another consumer gets the others");
    close_reader(reader);
    // It says so if the other consumer takes seconds, in which the reader takes nothing.
    running.end().with_code(0);
    assert_eq!(consumer(&ring, &["--drain"]).run().with_code(0).text(), "1\n");
}

#[test]
fn a_worker_loop_shares_out_the_items_among_slow_workers() {
    let ring = TestName::new("loop");
    producer(&ring, &[]).input(seq(9)).run().with_code(0);
    // A worker whose reader has had three lines is not asked to take more: the others have theirs by then.
    let script = "for i in 1 2 3; do
            { $C $R & } | { for n in 1 2 3; do read -r x; echo $x; sleep .2; done; } &
        done; wait";
    let out = shell(&ring, script).run().with_code(0);
    let mut lines: Vec<u64> = out.lines().iter().map(|line| line.parse().unwrap()).collect();
    lines.sort_unstable();
    assert_eq!(lines, Vec::from_iter(1..=9));
    wait_until("the end of the ring", || !ring.exists());
}

#[test]
fn bytes_of_other_writers_delay_acknowledgements_and_never_advance_them() {
    let ring = numbers("others");
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b'x'; 5000]).unwrap();
    let running = consumer(&ring, &[]).stdout(writer.try_clone().unwrap()).spawn();
    waits_for_its_reader(&ring, 1);
    take(&mut reader, 4999);
    writer.write_all(&[b'y'; 1000]).unwrap();
    // The last x, "1\n" and most of the others: one item is read, and for what the system tells it may not be.
    take(&mut reader, 900);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(ring.acknowledged(), 0);
    take(&mut reader, 103);
    wait_until("the first item's acknowledgement", || ring.acknowledged() > 0);
    let taken = take(&mut reader, 1000);
    drop((reader, writer));
    running.end().with_code(0).quiet();
    assert_eq!(ring.acknowledged(), 1 + whole_lines(&taken));
}

#[test]
fn the_last_items_are_waited_for_until_they_are_read_or_the_reader_leaves() {
    for options in [&["-n", "1"][..], &["-n", "1", "--json"], &["-q", "-n", "1", "--frame", "len32"]] {
        let ring = numbers("last");
        let start = |ring: &TestName| {
            let (reader, writer) = std::io::pipe().unwrap();
            let running = consumer(ring, options).stdout(writer).spawn();
            waits_for_its_reader(ring, 1);
            (reader, running)
        };
        let (reader, mut running) = start(&ring);
        std::thread::sleep(Duration::from_millis(30));
        assert!(running.is_running());
        close_reader(reader);
        running.end().with_code(0).quiet();
        assert_eq!(ring.acknowledged(), 0);
        let (mut reader, running) = start(&ring);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        running.end().with_code(0).quiet();
        assert_eq!(ring.acknowledged(), 1);
    }
}

#[test]
fn a_reader_that_takes_nothing_is_reported_and_the_end_of_the_stream_waits_for_it() {
    let ring = TestName::new("told");
    producer(&ring, &["--item", "x"]).run().with_code(0);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let running = consumer(&ring, &[]).stdout(writer).spawn();
    running.wait_for_stderr(
        "consumer: the reader has left an item in the pipe; --ack write does not wait for it\n",
    );
    assert_eq!(take(&mut reader, 2), b"x\n");
    running.end().with_code(0);
    assert!(!ring.exists());
}

#[test]
fn a_signal_acknowledges_what_was_read_and_gives_the_rest_back() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let ring = numbers("asked");
        let (mut reader, writer) = std::io::pipe().unwrap();
        let running = consumer(&ring, &[]).stdout(writer).spawn();
        let taken = take(&mut reader, 4000);
        running.signal(signal);
        running.end().by_signal(signal).quiet();
        close_reader(reader);
        assert_eq!(ring.acknowledged(), whole_lines(&taken));
        rest_begins_at(&ring, whole_lines(&taken) + 1);
    }
}

#[test]
fn unread_items_of_a_killed_consumer_are_delivered_again() {
    let ring = numbers("killed");
    let (mut reader, writer) = std::io::pipe().unwrap();
    let running = consumer(&ring, &[]).stdout(writer).spawn();
    let taken = take(&mut reader, 4000);
    running.signal(libc::SIGKILL);
    running.end().by_signal(libc::SIGKILL);
    let first = ring.acknowledged() + 1;
    assert!(first <= whole_lines(&taken) + 1);
    rest_begins_at(&ring, first);
}

#[test]
fn with_ack_write_an_item_is_done_when_it_is_in_the_pipe() {
    let ring = TestName::new("written");
    producer(&ring, &[]).input(seq(1000)).run().with_code(0);
    let (mut reader, writer) = std::io::pipe().unwrap();
    consumer(&ring, &["--ack", "write"]).stdout(writer).run().with_code(0).quiet();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert!(bytes == seq(1000).as_bytes());
}

#[test]
fn without_a_pipe_ack_read_says_that_it_has_no_effect() {
    let dir = tempfile::tempdir().unwrap();
    let ring = TestName::new("file");
    producer(&ring, &["--item", "x"]).run().with_code(0);
    let out = std::fs::File::create(dir.path().join("out")).unwrap();
    let said = consumer(&ring, &["--ack", "read"]).stdout(out).run().with_code(0).stderr;
    assert_eq!(said, "consumer: --ack read has no effect: standard output is not a pipe\n");
}

#[test]
fn a_fifo_is_a_pipe_and_its_next_reader_gets_what_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let ring = numbers("fifo");
    let script = format!(
        "mkfifo {0}/f; $C $R > {0}/f & exec 3< {0}/f; read -r a <&3; exec 4< {0}/f 3<&-; read -r b <&4; exec 4<&-; wait $!; echo $a $b",
        dir.path().display()
    );
    assert_eq!(shell(&ring, &script).run().with_code(0).text(), "1 2\n");
    assert_eq!(ring.acknowledged(), 2);
}

/// The producer's handle keeps the stream from ending.
#[test]
fn a_consumer_that_pauses_or_waits_notices_that_its_reader_has_left() {
    for options in [&["--delay", "1h"][..], &["--rate", "1/h"], &[]] {
        let ring = TestName::made("paced", &RingOptions::new().capacity(64));
        let sender = ring.open().producer().unwrap();
        ring.send(&["1"]);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut args = vec!["--ack", "write"];
        args.extend(options);
        for args in [options, &args[..]] {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let running = consumer(&ring, args).stdout(writer).spawn();
            take(&mut reader, 2);
            wait_until("the acknowledgement", || ring.open().snapshot().unwrap().used_slots == 0);
            close_reader(reader);
            running.end().with_code(0).quiet();
            ring.send(&["1"]);
        }
        // And that the ring is closed.
        let running = consumer(&ring, options).stdout(writer).spawn();
        take(&mut reader, 2);
        wait_until("the acknowledgement", || ring.open().snapshot().unwrap().used_slots == 0);
        ring.open().close();
        running.end().with_code(0).saying("it was closed; items received: 1");
        drop(sender);
    }
}

#[test]
fn the_streams_of_other_consumers_do_not_end_while_items_are_unread() {
    let ring = TestName::new("unended");
    producer(&ring, &["--item", "x"]).run().with_code(0);
    let (reader, writer) = std::io::pipe().unwrap();
    let first = consumer(&ring, &[]).stdout(writer).spawn();
    waits_for_its_reader(&ring, 1);
    let second = consumer(&ring, &[]).spawn();
    ring.wait_for(Role::Consumer, Activity::WaitingForItems);
    // Through some of the looks of both.
    std::thread::sleep(Duration::from_millis(300));
    close_reader(reader);
    first.end().with_code(0);
    assert_eq!(second.end().with_code(0).text(), "x\n");
}
