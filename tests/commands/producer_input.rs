//! `producer` and a standard input with a position: the next process reads on behind the last item that was sent.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use crate::support::*;
use ringpipe::{Activity, RingOptions, Role};

fn small() -> RingOptions {
    RingOptions::new().capacity(64)
}

/// A file with these bytes, at its beginning.
fn seekable(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// A producer that reads this file, whose position it shares.
fn reading(file: &File, ring: &TestName, args: &[&str]) -> Run {
    producer(ring, args).stdin(file.try_clone().unwrap())
}

#[track_caller]
fn left_in(mut file: File) -> Vec<u8> {
    let mut left = Vec::new();
    file.read_to_end(&mut left).unwrap();
    left
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[test]
fn count_leaves_the_rest_of_the_input_in_every_framing() {
    for (args, input, sent, left) in [
        (&[][..], &b"1\n2\n3\n4\n5"[..], &b"1\n2\n3\n"[..], &b"4\n5"[..]),
        (&[], b"1\n2\n3", b"1\n2\n3\n", b""),
        (&[], b"1\n2\n3\n", b"1\n2\n3\n", b""),
        (&["-0"], b"1\x002\0\x004\x005", b"1\x002\0\0", b"4\x005"),
        (&["-d", ","], b"1,2,3,4,5", b"1,2,3,", b"4,5"),
        (
            &["--frame", "len32"],
            b"\0\0\0\x01a\0\0\0\0\0\0\0\x01b\0\0\0\x01c",
            b"\0\0\0\x01a\0\0\0\0\0\0\0\x01b",
            b"\0\0\0\x01c",
        ),
        (&["--block", "4"], b"1\n2\n3\n4\n5\n6\n7\n8\n", b"1\n2\n3\n4\n5\n6\n", b"7\n8\n"),
        (&["--whole-file"], b"whole\n", b"whole\n", b""),
    ] {
        let ring = TestName::new("rest");
        let file = seekable(input);
        reading(&file, &ring, &["-n", "3"]).args(args).run().with_code(0).quiet();
        let args = if args.contains(&"--block") { &["--raw"][..] } else { args };
        assert_eq!(shown(&consumer(&ring, args).run().with_code(0).stdout), shown(sent), "{args:?}");
        assert_eq!(shown(&left_in(file)), shown(left), "{args:?}");
    }
}

#[test]
fn count_leaves_the_rest_of_raw_input() {
    let bytes = noise(1 << 20);
    for piece in
        [&["--capacity", "64", "--slot-size", "64"][..], &[], &["--exclusive"], &["--rate", "1000/s"]]
    {
        let ring = TestName::new("raw-rest");
        let file = seekable(&bytes);
        reading(&file, &ring, &["--raw", "-n", "3"]).args(piece).run().with_code(0).quiet();
        let mut all = consumer(&ring, &["--raw"]).run().with_code(0).stdout;
        assert!(!all.is_empty() && all.len() < bytes.len());
        all.extend(left_in(file));
        assert!(all == bytes, "{piece:?}");
    }
}

#[test]
fn a_shell_group_reads_on_from_a_file_and_a_second_producer_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "file", seq(100_000).as_bytes());
    let ring = TestName::new("group");
    let script = "exec < \"$INPUT\"; $P -n 3 $R; read -r line; echo $line; $P -n 2 $R; cat";
    let out = shell(&ring, script).env("INPUT", &path).run().with_code(0).quiet();
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "1\n2\n3\n5\n6\n");
    let rest: String = (7..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(out.text() == format!("4\n{rest}"));
}

/// Ends a producer that reads the numbers from 1 on, and checks that what it sent and what it left are the input.
#[track_caller]
fn ends(args: &[&str], input: &[u8], end: impl FnOnce(&TestName, Running)) {
    let ring = TestName::made("ways-out", &small());
    let file = seekable(input);
    let running = reading(&file, &ring, args).spawn();
    end(&ring, running);
    let raw = args.contains(&"--raw");
    let drain = if raw { &["--drain", "-q", "--raw"][..] } else { &["--drain", "-q"] };
    let mut all = consumer(&ring, drain).run().with_code(0).stdout;
    assert!(all.len() < input.len(), "nothing was left");
    all.extend(left_in(file));
    assert!(all == input, "{args:?}: {} bytes of {}", all.len(), input.len());
}

#[test]
fn a_producer_leaves_unsent_input_however_it_ends() {
    let lines = seq(100_000);
    let lines = lines.as_bytes();
    for raw in [&[][..], &["--raw"]] {
        let with = |args: &[&'static str]| [args, raw].concat();
        ends(&with(&[]), lines, |ring, running| {
            ring.wait_for(Role::Producer, Activity::WaitingForRoom);
            running.signal(libc::SIGTERM);
            running.end().by_signal(libc::SIGTERM);
        });
        ends(&with(&[]), lines, |ring, running| {
            ring.wait_for(Role::Producer, Activity::WaitingForRoom);
            ring.open().close();
            running.end().with_code(5);
        });
        ends(&with(&["--on-full", "fail"]), lines, |_, running| drop(running.end().with_code(4)));
        ends(&with(&["--timeout", "50ms"]), lines, |_, running| drop(running.end().with_code(4)));
        ends(&with(&["--rate", "1/h"]), lines, |ring, running| {
            wait_until("first item", || ring.ready() == 1);
            running.signal(libc::SIGINT);
            running.end().by_signal(libc::SIGINT);
        });
    }
    let long = [&b"1\n2\n"[..], &[b'x'; 5000], b"\n3\n"].concat();
    ends(&[], &long, |_, running| drop(running.end().with_code(1)));
    ends(&["--frame", "len32"], b"\0\0\0\x09abc", |_, running| drop(running.end().with_code(1)));
}

#[test]
fn the_input_position_does_not_go_back_before_where_it_began() {
    let ring = TestName::new("middle");
    let mut file = seekable(b"0\n1\n2\n3\n");
    file.seek(SeekFrom::Start(2)).unwrap();
    reading(&file, &ring, &["-n", "1"]).run().with_code(0);
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "1\n");
    assert_eq!(left_in(file), b"2\n3\n");
}

#[test]
fn input_read_by_another_process_meanwhile_is_not_read_again() {
    let ring = TestName::made("read-on", &small());
    let lines: Vec<u8> = (0..100_000).flat_map(|n| format!("{n}\n").into_bytes()).collect();
    let mut file = seekable(&lines);
    let sends = reading(&file, &ring, &["-n", "2", "--delay", "300ms"]).spawn();
    wait_until("an item", || ring.open().snapshot().unwrap().totals.sent > 0);
    // The producer has read a buffer full, and another process reads on from there.
    let at = file.stream_position().unwrap();
    let mut next = [0; 100];
    file.read_exact(&mut next).unwrap();
    sends.end().with_code(0);
    assert_eq!(file.stream_position().unwrap(), at + 100);
    assert!(next == lines[at as usize..][..100]);
}
