//! `producer --progress-file` and `--resume`: what a producer has sent is not sent again after it was killed, but for
//! one item, and all the rest is.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use crate::support::*;
use ringpipe::{Activity, RingOptions, Role};
use serde_json::Value;
use tempfile::TempDir;

fn small() -> RingOptions {
    RingOptions::new().capacity(64)
}

/// A folder with an input of these bytes, and room for a progress file.
struct Place {
    dir: TempDir,
    input: String,
    progress: String,
}

impl Place {
    fn new(input: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let input = file(&dir, "input", input);
        let progress = dir.path().join("progress").to_str().unwrap().to_string();
        Place { dir, input, progress }
    }

    fn run(&self, ring: &TestName, args: &[&str]) -> Run {
        producer(ring, &["--progress-file", &self.progress]).args(args).arg(&self.input)
    }

    fn resume(&self, ring: &TestName, args: &[&str]) -> Run {
        self.run(ring, &["--resume"]).args(args)
    }

    fn record(&self) -> Value {
        serde_json::from_slice(&std::fs::read(&self.progress).unwrap()).unwrap()
    }

    /// 0 before there is a record.
    fn offset(&self) -> u64 {
        let bytes = std::fs::read(&self.progress).unwrap_or_default();
        serde_json::from_slice::<Value>(&bytes).map_or(0, |record| record["offset"].as_u64().unwrap())
    }

    fn append(&self, bytes: &[u8]) {
        File::options().append(true).open(&self.input).unwrap().write_all(bytes).unwrap();
    }
}

/// Enough kills for a test.
const MOST_KILLS: u64 = 150;

/// Starts a producer again and again, and kills it at random moments, until all is sent. How often it was killed.
fn storm(place: &Place, ring: &TestName, args: &[&str]) -> u64 {
    let mut random = fastrand::Rng::new();
    let mut kills = 0;
    loop {
        let before = place.offset();
        let mut running = place.resume(ring, args).spawn();
        wait_until("progress", || place.offset() > before || !running.is_running());
        std::thread::sleep(Duration::from_micros(random.u64(..3000)));
        if kills < MOST_KILLS && running.is_running() {
            running.signal(libc::SIGKILL);
        }
        if running.ended().success() {
            return kills;
        }
        kills += 1;
    }
}

/// What a consumer with these options receives while producers are killed, and how often they were.
fn received_in_a_storm(place: &Place, ring: &TestName, args: &[&str], reads: &[&str]) -> (Vec<u8>, u64) {
    let path = place.dir.path().join("received");
    let receiver =
        consumer(ring, &["--follow", "-q"]).args(reads).stdout(File::create(&path).unwrap()).spawn();
    let kills = storm(place, ring, args);
    ring.open().close();
    receiver.end().with_code(0);
    assert!(kills >= 5, "only {kills} kills");
    (std::fs::read(&path).unwrap(), kills)
}

#[test]
fn a_storm_of_kills_loses_nothing_and_doubles_an_item_a_kill_at_most() {
    const LINES: u64 = 50_000;
    let place = Place::new(seq(LINES).as_bytes());
    // Hardly any room, so that kills come also while it waits for some.
    let ring = TestName::made("resume-storm", &RingOptions::new().capacity(2));
    let (bytes, kills) = received_in_a_storm(&place, &ring, &[], &[]);
    let mut received = vec![0_u64; LINES as usize + 1];
    for line in String::from_utf8(bytes).unwrap().lines() {
        received[line.parse::<usize>().unwrap()] += 1;
    }
    let lost = received[1..].iter().filter(|times| **times == 0).count();
    let doubled: u64 = received[1..].iter().map(|times| times.saturating_sub(1)).sum();
    println!("{kills} kills, {lost} lost, {doubled} doubled");
    assert_eq!(lost, 0, "of {LINES}, after {kills} kills");
    assert!(doubled <= kills, "{doubled} doubled by {kills} kills");
}

#[test]
fn a_storm_of_kills_loses_no_bytes_and_doubles_a_piece_a_kill_at_most() {
    let input: Vec<u8> = (0..4_000_000_u64).flat_map(u64::to_le_bytes).collect();
    // Pieces of 16 KiB, which are read into the slots; and small ones, which are copied.
    for (slots, slot_size, bytes) in [(256, 512, 32_000_000), (64, 64, 1_000_000)] {
        let input = &input[..bytes];
        let place = Place::new(input);
        let ring = TestName::made("resume-raw", &RingOptions::new().capacity(slots).slot_size(slot_size));
        let (bytes, kills) =
            received_in_a_storm(&place, &ring, &["--raw"], &["--frame", "len32", "--rate", "2000/s"]);
        let (mut rest, mut from, mut to, mut doubled) = (&bytes[..], 0, 0, 0);
        while let Some((prefix, tail)) = rest.split_first_chunk() {
            let (piece, tail) = tail.split_at(u32::from_be_bytes(*prefix) as usize);
            if !input[to..].starts_with(piece) {
                doubled += 1;
                assert!(
                    input[from..].starts_with(piece),
                    "neither the piece at {to} nor that at {from} again"
                );
                to = from;
            }
            (from, to) = (to, to + piece.len());
            rest = tail;
        }
        println!("{kills} kills, {doubled} pieces doubled");
        assert_eq!(to, input.len());
        assert!(doubled <= kills, "{doubled} doubled by {kills} kills");
    }
}

#[test]
fn a_producer_killed_while_it_waited_for_room_resumes_after_the_items_it_sent() {
    let place = Place::new(seq(1000).as_bytes());
    let ring = TestName::made("resume-full", &small());
    let running = place.run(&ring, &[]).spawn();
    ring.wait_for(Role::Producer, Activity::WaitingForRoom);
    let before = place.record();
    assert_eq!((before["offset"].as_u64(), &before["complete"]), (Some(seq(64).len() as u64), &false.into()));
    running.signal(libc::SIGKILL);
    running.end().by_signal(libc::SIGKILL);
    // It is not to end where the killed producer did.
    let receiver = consumer(&ring, &["-n", "1000"]).arg("--follow").spawn();
    place.resume(&ring, &[]).run().with_code(0).quiet();
    assert_eq!(receiver.end().with_code(0).text(), seq(1000));
    let after = place.record();
    assert_eq!((after["offset"].as_u64(), &after["complete"]), (Some(seq(1000).len() as u64), &true.into()));
    assert_eq!(after["schema"], "ringpipe.progress/1");
    // All of it is sent.
    place.resume(&ring, &[]).run().with_code(0).quiet();
    assert_eq!(ring.ready(), 0);
}

#[test]
fn an_input_sent_in_portions_arrives_whole_in_every_framing() {
    for (args, input) in [
        (&[][..], &b"1\n\n2\r\n3\n\n4"[..]),
        (&["-0"], b"1\0\x002\x003\n\0"),
        (&["--frame", "len32"], b"\0\0\0\x01a\0\0\0\0\0\0\0\x01b\0\0\0\x01c"),
        (&["--block", "4"], b"1\n2\n3\n4\n5\n6\n7\n8\n"),
        (&["--raw", "--slot-size", "64", "--capacity", "16"], &noise(4000)),
        (&["--raw"], &noise(1_000_000)),
        (&["--whole-file"], b"whole\n"),
        (&["--whole-file"], b""),
    ] {
        let place = Place::new(input);
        let ring = TestName::new("resume-framing");
        let reads = match args[..] {
            ["--block", ..] | ["--raw", ..] => &["--raw"][..],
            _ => args,
        };
        let mut receiver = None;
        for round in 0.. {
            let ended = place.resume(&ring, &["-n", "1", "-q"]).args(args).run().with_code(0);
            assert_eq!(ended.stderr, "");
            let complete = place.record()["complete"] == true;
            receiver.get_or_insert_with(|| consumer(&ring, reads).arg("--follow").spawn());
            if complete && round > 0 {
                break;
            }
            assert!(round < 100, "{args:?}");
        }
        let receiver: Running = receiver.unwrap();
        wait_until("all was received", || ring.open().is_drained());
        ring.open().close();
        let received = receiver.end().with_code(0).stdout;
        let expected = if args.is_empty() { [input, b"\n"].concat() } else { input.to_vec() };
        assert!(received == expected, "{args:?}: {}", received.escape_ascii());
    }
}

#[test]
fn standard_input_from_a_file_is_resumed_too() {
    let place = Place::new(seq(10).as_bytes());
    let ring = TestName::new("resume-stdin");
    for resume in [&["-n", "4"][..], &["--resume", "-n", "4"], &["--resume"]] {
        let input = File::open(&place.input).unwrap();
        let args = ["--progress-file", &place.progress];
        producer(&ring, &args).args(resume).stdin(input).run().with_code(0).quiet();
    }
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), seq(10));
}

#[test]
fn without_resume_a_producer_starts_over_and_appended_input_is_continued() {
    let place = Place::new(b"1\n2\n");
    let ring = TestName::new("resume-anew");
    place.run(&ring, &[]).run().with_code(0).quiet();
    place.run(&ring, &["-n", "1"]).run().with_code(0).quiet();
    place.append(b"3\n");
    place.resume(&ring, &[]).run().with_code(0).quiet();
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "1\n2\n1\n2\n3\n");
}

#[test]
fn starting_over_discards_the_old_progress_before_a_ring_is_opened() {
    let place = Place::new(b"1\n");
    let ring = TestName::new("resume-forget");
    place.run(&ring, &[]).run().with_code(0);
    consumer(&ring, &[]).run().with_code(0);
    place.run(&ring, &["--no-create"]).run().with_code(3);
    place.resume(&ring, &[]).run().with_code(0).quiet();
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "1\n");
}

#[test]
fn a_different_ring_than_before_is_reported() {
    let place = Place::new(b"1\n2\n");
    let ring = TestName::new("resume-other");
    place.run(&ring, &["-n", "1"]).run().with_code(0).quiet();
    std::fs::remove_file(ring.path()).unwrap();
    place.resume(&ring, &[]).run().with_code(0).saying("the first 2 bytes were sent to an earlier ring");
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "2\n");
}

/// The failure of a producer that is to resume after this change.
#[track_caller]
fn refuses(change: impl FnOnce(&Place), args: &[&str], code: i32, why: &str) {
    let place = Place::new(b"1\n2\n3\n");
    let ring = TestName::made("resume-refuses", &small());
    place.run(&ring, &["-n", "2"]).run().with_code(0).quiet();
    let before = place.record();
    change(&place);
    let ended = place.resume(&ring, args).run().with_code(code).saying(why);
    assert!(ended.stderr.starts_with("producer: "), "{}", ended.stderr);
    assert_eq!(ring.ready(), 2, "it sent something");
    if let Ok(bytes) = std::fs::read(&place.progress) {
        assert!(bytes.len() != 512 || place.record() == before, "it changed the record");
    }
}

#[test]
fn a_different_input_than_recorded_is_refused() {
    let write = |path: &str, bytes: &[u8]| std::fs::write(path, bytes).unwrap();
    refuses(|place| write(&place.input, b"0\n2\n3\n"), &[], 1, "its beginning has changed");
    refuses(|place| write(&place.input, b"1\n"), &[], 1, "it is shorter than the 4 bytes that were sent");
    refuses(|_| {}, &["-0"], 1, "it was cut into items as lines, not as null");
    let replace = |place: &Place| {
        let other = file(&place.dir, "other", b"1\n2\n3\n");
        std::fs::rename(other, &place.input).unwrap();
    };
    refuses(replace, &[], 1, "it is another file");
}

#[test]
fn a_file_that_is_no_progress_file_is_refused_and_kept() {
    let texts: [&[u8]; 4] = [b"my data\n", &[b' '; 512], &[b'{'; 512], &noise(512)];
    for resume in [&[][..], &["--resume"]] {
        for text in texts {
            let place = Place::new(b"1\n");
            let ring = TestName::new("resume-no-file");
            std::fs::write(&place.progress, text).unwrap();
            place.run(&ring, resume).run().with_code(2).saying("is not a progress file; expected");
            assert_eq!(std::fs::read(&place.progress).unwrap(), text);
            assert!(!ring.exists());
        }
    }
    let place = Place::new(b"1\n");
    let ring = TestName::new("resume-device");
    for path in ["/dev/null", "/dev/full"] {
        let args = ["--progress-file", path, &place.input];
        producer(&ring, &args).run().with_code(2).saying("is not a progress file; expected");
    }
    producer(&ring, &["--progress-file", "/no/such/file", &place.input])
        .run()
        .with_code(1)
        .saying("/no/such/file: ");
    producer(&ring, &["--progress-file", "/tmp", &place.input]).run().with_code(1).saying("/tmp: ");
}

#[test]
fn an_input_that_cannot_be_read_again_is_refused() {
    let place = Place::new(b"1\n");
    let ring = TestName::new("resume-pipe");
    let args = ["--progress-file", &place.progress];
    let ended = producer(&ring, &args).input("1\n").run().with_code(2);
    let line = "producer: standard input is not a regular file; expected one with --progress-file\n";
    assert!(ended.stderr.starts_with(line), "{}", ended.stderr);
    producer(&ring, &args).arg("/dev/null").run().with_code(2).saying("/dev/null is not a regular file");
    producer(&ring, &args).args(&[&place.input, &place.input]).run().with_code(2).saying("expected one FILE");
    producer(&ring, &args).args(&["--item", "x"]).run().with_code(2).saying("--item");
    producer(&ring, &["--resume", &place.input]).run().with_code(2).saying("--progress-file");
    assert!(!Path::new(&place.progress).exists() && !ring.exists());
}

#[test]
fn a_progress_file_is_used_by_one_producer_at_a_time() {
    let place = Place::new(seq(1000).as_bytes());
    let ring = TestName::made("resume-used", &small());
    let running = place.run(&ring, &[]).spawn();
    ring.wait_for(Role::Producer, Activity::WaitingForRoom);
    for resume in [&[][..], &["--resume"]] {
        place.run(&ring, resume).run().with_code(1).saying("is in use by another producer");
    }
    assert_eq!(place.offset(), seq(64).len() as u64);
    drop(running);
}

#[test]
fn the_record_follows_each_item_while_a_pace_is_kept() {
    let place = Place::new(seq(10).as_bytes());
    let ring = TestName::made("resume-pace", &small());
    let running = place.run(&ring, &["--rate", "1/h"]).spawn();
    wait_until("the first record", || place.offset() == 2);
    assert_eq!(ring.ready(), 1);
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    let mut text = String::new();
    File::open(&place.progress).unwrap().read_to_string(&mut text).unwrap();
    assert!(text.ends_with(" \n") && text.lines().count() == 1, "{text:?}");
}
