//! `producer --raw` and `consumer --raw`: the bytes that come out are the bytes that went in, whatever the ring's
//! form and the source, and whichever process is killed in between.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::*;
use ringpipe::{Activity, RingOptions, Role};

/// `len` bytes in which every aligned 8 are a number of their own.
fn numbered(len: usize) -> Vec<u8> {
    (0..len.div_ceil(8) as u64).flat_map(u64::to_le_bytes).take(len).collect()
}

/// The numbers in some output of whole pieces.
fn numbers(bytes: &[u8]) -> Vec<u64> {
    assert!(bytes.len().is_multiple_of(8), "{} bytes", bytes.len());
    bytes.chunks(8).map(|number| u64::from_le_bytes(number.try_into().unwrap())).collect()
}

/// Files in memory are read straight into the slots, those on a disk as far as they are cached.
fn folders() -> [tempfile::TempDir; 2] {
    [tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap()]
}

#[test]
fn every_length_goes_through_every_ring_from_every_source() {
    let rings: [&[&str]; 6] = [
        &[],
        &["--exclusive"],
        &["--capacity", "16", "--slot-size", "64"],
        &["--capacity", "2", "--slot-size", "64K"],
        &["--capacity", "4", "--slot-size", "200K"],
        &["--capacity", "64", "--slot-size", "3000", "--exclusive"],
    ];
    let (folders, mut share) = (folders(), scale::Share::new(2));
    for len in [0, 1, 16_383, 16_385, 131_072, 131_073, 1_000_001] {
        let bytes = noise(len);
        let paths: Vec<String> = folders.iter().map(|folder| file(folder, "bytes", &bytes)).collect();
        for args in rings {
            let args = [&["--raw"], args].concat();
            for source in ["disk", "memory", "pipe"].into_iter().filter(|_| share.takes()) {
                let ring = TestName::new("lengths");
                let sender = match source {
                    "disk" => producer(&ring, &args).arg(&paths[0]),
                    "memory" => producer(&ring, &args).arg(&paths[1]),
                    _ => producer(&ring, &args).input(bytes.clone()),
                };
                let sender = sender.spawn();
                let out = consumer(&ring, &["-q", "--raw"]).run().with_code(0);
                sender.end().with_code(0).quiet();
                assert!(out.stdout == bytes, "{len} bytes, {args:?}, {source}: {}", out.stdout.len());
            }
        }
    }
}

#[test]
fn input_of_a_slow_pipe_is_sent_as_it_arrives() {
    let ring = TestName::new("slow");
    let mut sender = producer(&ring, &["--raw"]).open_input().spawn();
    let receiver = consumer(&ring, &["-q", "--raw"]).spawn();
    let all = noise(200_000);
    let mut given = 0;
    for len in [1, 3, 4096, 40_000, 7, 65_536, 20_000] {
        sender.stdin.as_mut().unwrap().write_all(&all[given..given + len]).unwrap();
        given += len;
        receiver.wait_for_stdout(&all[..given]);
    }
    sender.close_input();
    sender.end().with_code(0);
    receiver.end().with_code(0);
}

#[test]
fn a_producer_that_waits_for_input_holds_no_claim() {
    let ring = TestName::made("patient", &RingOptions::new().capacity(1024).slot_size(1024));
    let mut sender = producer(&ring, &["--raw"]).open_input().spawn();
    let mut first = vec![7; 50_000];
    sender.stdin.as_mut().unwrap().write_all(&first).unwrap();
    wait_until("the first bytes", || ring.open().snapshot().unwrap().totals.bytes_sent == 50_000);
    ring.send(&["from another"]);
    // Nothing is claimed in the way of it.
    let receiver = consumer(&ring, &["--raw", "--drain"]).run().with_code(0);
    first.extend_from_slice(b"from another");
    assert!(receiver.stdout == first);
    assert!(ring.open().snapshot().unwrap().held.is_empty());
    sender.close_input();
    sender.end().with_code(0);
}

#[test]
fn a_producer_ends_without_a_consumer_if_its_file_just_fits() {
    for folder in folders() {
        let fits = file(&folder, "fits", &noise(1 << 20));
        let (ring, other) = (TestName::new("fits"), TestName::new("one-more").stays());
        for policy in [&["--raw"][..], &["--raw", "--on-full", "fail"]] {
            producer(&ring, policy).arg(&fits).run().with_code(0).quiet();
            assert!(consumer(&ring, &["--raw"]).run().with_code(0).stdout == noise(1 << 20));
        }
        let more = file(&folder, "more", &noise((1 << 20) + 1));
        producer(&other, &["--raw", "--on-full", "fail", &more]).run().with_code(4).saying("is full");
        consumer(&other, &["--raw"]).run().with_code(0);
    }
}

#[test]
fn dropping_drops_whole_pieces_and_counts_them() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = file(&folder, "bytes", &numbered(4 << 20));
    let ring = TestName::new("drop");
    let args = ["--raw", "--on-full", "drop-newest", "--json", &path];
    let dropped = producer(&ring, &args).run().with_code(0).statistics()["dropped_newest"].as_u64().unwrap();
    assert!(dropped > 0);
    let kept = consumer(&ring, &["--raw"]).run().with_code(0).stdout;
    assert!(kept == numbered(1 << 20), "{} bytes", kept.len());
}

#[test]
fn the_pieces_before_a_producers_kill_arrive_complete() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let bytes = numbered(64 << 20);
    let path = file(&folder, "bytes", &bytes);
    for round in 0..8 {
        let ring = TestName::new("killed-producer");
        let sender = producer(&ring, &["--raw", &path]).spawn();
        let receiver = consumer(&ring, &["-q", "--raw"]).spawn();
        wait_until("some bytes", || {
            let seen = ringpipe::Ring::open(&ring.name).and_then(|ring| ring.snapshot());
            seen.is_ok_and(|seen| seen.totals.acknowledged > round)
        });
        sender.signal(libc::SIGKILL);
        sender.end();
        let out = receiver.end().with_code(0).stdout;
        assert!(!out.is_empty() && bytes.starts_with(&out), "round {round}: {} bytes", out.len());
    }
}

#[test]
fn a_killed_consumers_piece_goes_to_the_next_consumer() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = file(&folder, "bytes", &numbered(8 << 20));
    let ring = TestName::new("killed-consumer");
    let sender = producer(&ring, &["--raw", &path]).spawn();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let receiver = consumer(&ring, &["-q", "--raw"]).stdout(writer).spawn();
    let mut first = vec![0; 1 << 20];
    reader.read_exact(&mut first).unwrap();
    ring.wait_for(Role::Producer, Activity::WaitingForRoom);
    // The reader has taken eight pieces, and the pipe has no room for a ninth: that one stays held.
    wait_until("the ninth piece is held", || {
        let seen = ring.open().snapshot().unwrap();
        seen.totals.acknowledged >= 8 && seen.held.iter().any(|held| !held.writing)
    });
    receiver.signal(libc::SIGKILL);
    receiver.end().by_signal(libc::SIGKILL);
    reader.read_to_end(&mut first).unwrap();
    let rest = consumer(&ring, &["--raw", "--stats"]).run().with_code(0).saying(" redelivered").stdout;
    sender.end().with_code(0);
    first.truncate(first.len() / 8 * 8);
    let mut all = [numbers(&first), numbers(&rest)].concat();
    all.sort_unstable();
    all.dedup();
    assert!(all.into_iter().eq(0..1 << 20), "something is missing");
}

#[test]
fn a_reader_that_leaves_ends_the_consumer_quietly_and_the_piece_is_given_back() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let bytes = numbered(4 << 20);
    let path = file(&folder, "bytes", &bytes);
    let ring = TestName::new("unread");
    let sender = producer(&ring, &["--raw", &path]).spawn();
    let out =
        shell(&ring, "$C -q --raw $R | head -c 300000; exit ${PIPESTATUS[0]}").run().with_code(0).quiet();
    assert!(out.stdout == bytes[..300_000]);
    let rest = consumer(&ring, &["--raw"]).run().with_code(0).stdout;
    sender.end().with_code(0);
    let from = bytes.len() - rest.len();
    assert!(rest == bytes[from..] && from > 0, "the rest begins at {from}");
    assert!(from <= 300_000 + (1 << 20), "unread pieces were acknowledged: {from}");
}

#[test]
fn a_signal_ends_a_consumer_in_the_middle_of_a_piece_and_the_piece_is_given_back() {
    let ring = TestName::made("signal", &RingOptions::new().capacity(1024).slot_size(1024));
    producer(&ring, &["--raw"]).input(numbered(500_000)).run().with_code(0);
    let (mut reader, writer) = std::io::pipe().unwrap();
    let receiver = consumer(&ring, &["--raw"]).stdout(writer).spawn();
    wait_until("a full pipe", || {
        let before = ring.open().snapshot().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        let after = ring.open().snapshot().unwrap();
        !after.held.is_empty() && before.held == after.held
    });
    receiver.signal(libc::SIGTERM);
    receiver.end().by_signal(libc::SIGTERM).quiet();
    let mut first = Vec::new();
    reader.read_to_end(&mut first).unwrap();
    let rest = consumer(&ring, &["--raw"]).run().with_code(0).stdout;
    first.truncate(first.len() / 8 * 8);
    let mut all = [numbers(&first), numbers(&rest)].concat();
    all.sort_unstable();
    all.dedup();
    assert!(all.into_iter().eq(0..62_500), "something is missing");
}

#[test]
fn two_consumers_share_the_pieces_of_two_producers() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let bytes = numbered(16 << 20);
    let (front, back) = bytes.split_at(8 << 20);
    let paths = [file(&folder, "front", front), file(&folder, "back", back)];
    let ring = TestName::new("shared");
    let receivers = [(); 2].map(|()| consumer(&ring, &["-q", "--raw"]).spawn());
    let senders = [0, 1].map(|n| producer(&ring, &["--raw", "--producers", "2", &paths[n]]).spawn());
    senders.into_iter().for_each(|sender| drop(sender.end().with_code(0)));
    let mut all: Vec<u64> =
        receivers.into_iter().flat_map(|one| numbers(&one.end().with_code(0).stdout)).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..2 << 20));
}

/// Why `--raw` claims several slots: a slow writer of one is passed, and its item comes late.
#[test]
fn a_slow_writer_of_one_slot_is_passed_and_of_several_is_waited_for() {
    let ring = TestName::made("late", &RingOptions::new().capacity(64).slot_size(64));
    for (len, order) in [(65, ["slow", "next"]), (64, ["next", "slow"])] {
        let (mut slow, mut quick) = (ring.open().producer().unwrap(), ring.open().producer().unwrap());
        let mut consumer = ring.open().consumer().unwrap();
        let mut room = slow.reserve(len).unwrap();
        room.write_at(0, b"slow");
        quick.send(b"next").unwrap();
        let committed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                let first = consumer.recv_timeout(Duration::from_secs(20)).unwrap();
                let seen = (first.to_vec(), committed.load(Ordering::SeqCst));
                first.ack();
                seen
            });
            std::thread::sleep(Duration::from_millis(60));
            committed.store(true, Ordering::SeqCst);
            room.commit_first(4);
            let (first, after_commit) = receiver.join().unwrap();
            assert_eq!((first, after_commit), (order[0].into(), len == 65), "{len} bytes");
        });
        let second = consumer.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(&*second, order[1].as_bytes());
        second.ack();
    }
}

#[test]
fn blocks_of_whole_lines_are_shared_among_consumers() {
    let ring = TestName::new("blocks");
    let receivers = [(); 2].map(|()| consumer(&ring, &["--raw"]).spawn());
    // One that comes when the other has received all finds no ring.
    receivers.iter().for_each(|one| one.wait_for_stderr("waiting for ring"));
    producer(&ring, &["--block", "4K"]).input(seq(100_000)).run().with_code(0);
    let outputs = receivers.map(|one| one.end().with_code(0));
    assert!(outputs.iter().all(|out| out.stdout.is_empty() || out.stdout.ends_with(b"\n")));
    let mut all: Vec<u64> = outputs.iter().flat_map(Ended::lines).map(|line| line.parse().unwrap()).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(1..=100_000));
}

#[test]
fn a_processor_that_does_not_exist_is_a_usage_error() {
    let ring = TestName::new("cpu");
    for run in [producer(&ring, &["--cpu", "1023", "--item", "x"]), consumer(&ring, &["--cpu", "99999"])] {
        run.run().with_code(2).saying("this process has no such processor; expected ");
    }
    assert!(!ring.exists());
    producer(&ring, &["--cpu", "0", "--item", "x"]).run().with_code(0);
    assert_eq!(consumer(&ring, &["--cpu", "0"]).run().with_code(0).text(), "x\n");
}

#[test]
fn a_consumer_whose_reader_is_slow_leaves_long_items_to_the_others() {
    let lines: String = (0..100_000).map(|n| format!("{n:06}\n")).collect();
    let ring = TestName::new("share");
    // 11 blocks, which the ring holds all at once.
    producer(&ring, &["--block", "64K"]).input(lines.as_str()).run().with_code(0);
    let blocks = ring.ready();
    assert!(blocks > 8, "{blocks} blocks");
    let (mut unread, writer) = std::io::pipe().unwrap();
    let slow = consumer(&ring, &["--raw"]).stdout(writer).spawn();
    wait_until("an item that the slow consumer holds", || !ring.open().snapshot().unwrap().held.is_empty());
    let quick = consumer(&ring, &["--raw", "--drain"]).run().with_code(0).stdout;
    assert!(quick.len() > lines.len() / 2, "{} of {} bytes were left", quick.len(), lines.len());
    slow.signal(libc::SIGKILL);
    slow.end().by_signal(libc::SIGKILL);
    let rest = consumer(&ring, &["--raw"]).run().with_code(0).stdout;
    let mut written = Vec::new();
    unread.read_to_end(&mut written).unwrap();
    let mut all = [quick, rest, written].concat();
    all.truncate(lines.len());
    assert!(all.len() == lines.len(), "{} of {} bytes", all.len(), lines.len());
}
