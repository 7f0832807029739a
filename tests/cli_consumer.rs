//! `consumer` as a process, and both commands together: what they promise, one test each.
#![cfg(feature = "cli")]
#![allow(missing_docs)]

mod common;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;

use common::*;
use ringpipe::{Activity, Liveness, Ring, RingOptions, Role};

fn small() -> RingOptions {
    RingOptions::new().capacity(64)
}

/// Waits until consumers hold items and make no progress.
fn wait_until_stuck(ring: &TestRing) {
    let look = || ring.open().snapshot().unwrap();
    wait_until("a consumer that is stuck with its items", || {
        let before = look();
        std::thread::sleep(std::time::Duration::from_millis(100));
        let after = look();
        !after.held.is_empty() && before.totals == after.totals && before.held == after.held
    });
}

#[test]
fn two_hundred_thousand_lines_go_through_as_they_are() {
    let ring = TestRing::new("through");
    let receiver = consumer(&ring, &["-q"]).spawn();
    let sender = producer(&ring, &[]).input(seq(200_000)).spawn();
    let out = receiver.end().with_code(0).quiet();
    sender.end().with_code(0).quiet();
    assert!(out.stdout == seq(200_000).as_bytes());
    assert!(!ring.exists(), "the last one out removes it");
}

#[test]
fn an_exclusive_ring_carries_the_same() {
    let ring = TestRing::new("exclusive");
    let sender = producer(&ring, &["--exclusive"]).input(seq(200_000)).spawn();
    let out = consumer(&ring, &["-q"]).run().with_code(0);
    sender.end().with_code(0);
    assert!(out.stdout == seq(200_000).as_bytes());
}

#[test]
fn three_producers_and_three_consumers_share_real_files_without_loss_or_repetition() {
    let sources: Vec<_> = ["consumer", "producer", "output"]
        .map(|name| format!("{}/src/cli/{name}.rs", env!("CARGO_MANIFEST_DIR")))
        .to_vec();
    let ring = TestRing::made("three", &RingOptions::new().capacity(256).expected_producers(3));
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
    let ring = TestRing::new("raw");
    let receiver = consumer(&ring, &["-q", "--raw"]).spawn();
    producer(&ring, &["--raw", &path]).run().with_code(0);
    assert!(receiver.end().with_code(0).stdout == bytes);

    let frames: Vec<u8> = [&bytes[..70_000], b"", b"\n", &bytes[70_000..70_100]]
        .iter()
        .flat_map(|item| [&(item.len() as u32).to_be_bytes(), *item].concat())
        .collect();
    let ring = TestRing::new("len32");
    producer(&ring, &["--frame", "len32"]).input(frames.clone()).run().with_code(0);
    assert!(consumer(&ring, &["--frame", "len32"]).run().with_code(0).stdout == frames);
}

#[test]
fn whole_files_are_one_item_each() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (file(&dir, "a", b"one\ntwo\n"), file(&dir, "b", b""));
    let ring = TestRing::new("whole");
    producer(&ring, &["--whole-file", &a, &b, &a]).run().with_code(0);
    assert_eq!(consumer(&ring, &["-n", "1", "--whole-file"]).run().with_code(0).text(), "one\ntwo\n");
    let out = consumer(&ring, &["--frame", "len32"]).run().with_code(0);
    assert_eq!(out.stdout, b"\0\0\0\0\0\0\0\x08one\ntwo\n");
}

#[test]
fn raw_keeps_a_missing_last_newline_missing() {
    let ring = TestRing::new("newline");
    producer(&ring, &["--raw"]).input("one\n\ntwo").run().with_code(0);
    assert_eq!(consumer(&ring, &["--raw"]).run().with_code(0).text(), "one\n\ntwo");
}

#[test]
fn data_waits_for_a_late_consumer() {
    let ring = TestRing::new("late-consumer");
    producer(&ring, &[]).input(seq(100)).run().with_code(0);
    assert!(ring.exists());
    assert_eq!(consumer(&ring, &[]).run().with_code(0).quiet().text(), seq(100));
    assert!(!ring.exists());
}

#[test]
fn a_consumer_waits_for_a_late_ring_and_says_so() {
    let ring = TestRing::new("late-ring");
    let receiver = consumer(&ring, &[]).spawn();
    receiver.wait_for_stderr(&format!("waiting for ring {:?}", ring.name));
    producer(&ring, &["--item", "x"]).run().with_code(0);
    let out = receiver.end().with_code(0);
    assert_eq!((out.text(), out.stderr.lines().count()), ("x\n", 1));
}

#[test]
fn without_waiting_a_missing_ring_and_an_empty_one_are_3() {
    let ring = TestRing::new("no-wait");
    consumer(&ring, &["--no-wait"]).run().with_code(3).saying("does not exist");
    let ring = TestRing::made("no-wait", &small());
    consumer(&ring, &["--no-wait"]).run().with_code(3).saying("the ring is empty");
    let _stays = ring.open().producer().unwrap();
    ring.send(&["a", "b"]);
    assert_eq!(consumer(&ring, &["--no-wait"]).run().with_code(0).text(), "a\nb\n");
}

#[test]
fn an_ended_stream_without_items_is_0() {
    let ring = TestRing::new("ended");
    producer(&ring, &[]).run().with_code(0);
    assert!(consumer(&ring, &[]).run().with_code(0).quiet().stdout.is_empty());
}

#[test]
fn count_takes_no_more_than_it_says() {
    let ring = TestRing::made("count", &small());
    ring.send(&["1", "2", "3", "4", "5"]);
    assert_eq!(consumer(&ring, &["-n", "0"]).run().with_code(0).text(), "");
    assert_eq!(consumer(&ring, &["-n", "2"]).run().with_code(0).text(), "1\n2\n");
    assert_eq!(ring.ready(), 3);
    assert_eq!(consumer(&ring, &["-n", "3"]).run().with_code(0).text(), "3\n4\n5\n");
}

#[test]
fn a_count_that_is_not_reached_is_3() {
    for (args, why) in [
        (&["-n", "5"][..], "the stream ended after 2 of 5 items"),
        (&["-n", "5", "--drain"], "it is empty after 2 of 5 items"),
        (&["-n", "5", "--no-wait"], "it is empty after 2 of 5 items"),
        (&["-n", "5", "--idle-exit", "50ms"], "nothing came after 2 of 5 items"),
    ] {
        let ring = TestRing::made("short", &small());
        ring.send(&["a", "b"]);
        // Somebody who could still send.
        let stays = args.len() > 2;
        let _producer = stays.then(|| ring.open().producer().unwrap());
        assert_eq!(consumer(&ring, args).run().with_code(3).saying(why).text(), "a\nb\n");
    }
}

#[test]
fn drain_stops_when_the_ring_is_empty() {
    let ring = TestRing::made("drain", &small());
    let _stays = ring.open().producer().unwrap();
    assert!(consumer(&ring, &["--drain"]).run().with_code(0).quiet().stdout.is_empty());
    ring.send(&["a", "b"]);
    assert_eq!(consumer(&ring, &["--drain"]).run().with_code(0).quiet().text(), "a\nb\n");
}

#[test]
fn idle_exit_stops_when_nothing_comes() {
    let ring = TestRing::made("idle", &small());
    let _stays = ring.open().producer().unwrap();
    ring.send(&["a"]);
    assert_eq!(consumer(&ring, &["--idle-exit", "700ms"]).run().with_code(0).quiet().text(), "a\n");
}

#[test]
fn timeout_bounds_the_wait_for_the_ring_and_for_an_item() {
    let ring = TestRing::new("timeout");
    let out = consumer(&ring, &["-q", "--timeout", "50ms"]).run().with_code(4);
    let line = format!("consumer: ring {:?} does not exist, waited 50ms\n", ring.name);
    assert!(out.stderr.starts_with(&line), "{}", out.stderr);
    let ring = TestRing::made("timeout", &small());
    let name = &ring.name;
    for timeout in ["50ms", "600ms"] {
        let out = consumer(&ring, &["--timeout", timeout]).run().with_code(4);
        let hint = format!("hint: no live producer; ringctl inspect {name}");
        assert_eq!(out.stderr, format!("consumer: ring {name:?} is empty, waited {timeout}\n{hint}\n"));
    }
}

#[test]
fn follow_outlives_the_producers_and_ends_when_the_ring_is_closed() {
    let ring = TestRing::made("follow", &small());
    let mut receiver = consumer(&ring, &["--follow"]).spawn();
    ring.send(&["a"]);
    receiver.wait_for_stdout(b"a\n");
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(receiver.is_running());
    ring.send(&["b"]);
    ring.open().close();
    assert_eq!(receiver.end().with_code(0).quiet().text(), "a\nb\n");
}

#[test]
fn a_removed_ring_ends_its_consumers() {
    let ring = TestRing::made("removed", &small());
    let receiver = consumer(&ring, &[]).spawn();
    ring.wait_for(Role::Consumer, Activity::WaitingForItems);
    ring.open().remove().unwrap();
    receiver.end().with_code(0).quiet();
}

#[test]
fn what_is_no_ring_is_6() {
    let ring = TestRing::new("no-ring").stays();
    std::fs::write(ring.path(), vec![7u8; 100_000]).unwrap();
    consumer(&ring, &[]).run().with_code(6).saying("is not a ring");
    producer(&ring, &["--item", "x"]).run().with_code(6).saying("is not a ring");
}

#[test]
fn json_tells_all_about_an_item() {
    let ring = TestRing::made("json", &small());
    producer(&ring, &[]).input(b"text \"\xc3\xa4\"\n\xff\xfe\n\n".to_vec()).run().with_code(0);
    let out = consumer(&ring, &["--json", "--stats"]).run().with_code(0);
    let objects: Vec<serde_json::Value> =
        out.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let field = |name: &str| -> Vec<_> { objects.iter().map(|object| object[name].clone()).collect() };
    assert_eq!(field("schema"), ["ringpipe.item/1"; 3]);
    assert_eq!(field("sequence"), [0, 1, 2]);
    assert_eq!(field("producer"), [0, 0, 0]);
    assert_eq!(field("attempt"), [1, 1, 1]);
    assert_eq!(field("redelivered"), [false; 3]);
    assert_eq!(field("time_of"), ["received"; 3]);
    assert!(field("time").iter().all(|time| humantime::parse_rfc3339(time.as_str().unwrap()).is_ok()));
    assert_eq!((&objects[0]["text"], objects[0].get("base64")), (&"text \"ä\"".into(), None));
    assert_eq!((&objects[1]["base64"], objects[1].get("text")), (&"//4=".into(), None));
    assert_eq!(objects[2]["text"], "");
    assert_eq!((&out.json()["schema"], &out.json()["items"]), (&"ringpipe.consumer/1".into(), &3.into()));
}

#[test]
fn json_tells_when_an_item_was_sent_and_that_it_comes_again() {
    let ring = TestRing::made("json-again", &small().timestamps(true));
    ring.send(&["x"]);
    ring.open().consumer().unwrap().recv().unwrap().give_back();
    let out = consumer(&ring, &["--json"]).run().with_code(0);
    let object: serde_json::Value = serde_json::from_str(out.text()).unwrap();
    assert_eq!((&object["time_of"], &object["redelivered"]), (&"sent".into(), &true.into()));
    assert_eq!(object["attempt"], 2);
}

#[test]
fn statistics_and_progress_go_to_standard_error() {
    let ring = TestRing::new("stats");
    producer(&ring, &[]).input(seq(1000)).run().with_code(0);
    let out = consumer(&ring, &["--stats", "--progress"]).run().with_code(0);
    assert_eq!(out.text(), seq(1000));
    assert!(out.stderr.contains(": 1000 items\n"), "{}", out.stderr);
    assert!(out.stderr.contains("received 1000 items, 2893 bytes in "), "{}", out.stderr);
}

#[test]
fn rate_and_delay_take_everything() {
    for args in [&["--rate", "1000/s"][..], &["--delay", "0..1ms"]] {
        let ring = TestRing::new("pace");
        producer(&ring, &[]).input(seq(50)).run().with_code(0);
        assert_eq!(consumer(&ring, args).run().with_code(0).text(), seq(50));
    }
}

#[test]
fn a_full_output_loses_nothing() {
    let ring = TestRing::made("full", &small());
    ring.send(&["1", "2", "3"]);
    let full = File::options().write(true).open("/dev/full").unwrap();
    let out = consumer(&ring, &[]).stdout(full).run().with_code(1);
    assert!(out.stderr.starts_with("consumer: standard output: No space left on device"), "{}", out.stderr);
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "1\n2\n3\n");
}

#[test]
fn a_closed_output_is_an_error_and_loses_nothing() {
    let ring = TestRing::made("closed", &small());
    ring.send(&["1", "2", "3"]);
    shell(&ring, "exec $C $R >&-").run().with_code(1).saying("standard output is closed");
    assert_eq!(ring.open().snapshot().unwrap().totals.received, 0);
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "1\n2\n3\n");
}

#[test]
fn an_output_to_nowhere_takes_everything() {
    // As Python and Node open it: for reading and writing, as Rust's runtime does for closed ones.
    let ring = TestRing::new("nowhere");
    producer(&ring, &[]).input(seq(100)).run().with_code(0);
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    consumer(&ring, &[]).stdout(null).run().with_code(0).quiet();
    assert!(!ring.exists());
}

#[test]
fn an_output_that_nobody_reads_is_a_quiet_end_and_the_items_go_back() {
    let ring = TestRing::made("unread", &small());
    ring.send(&["1", "2", "3"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    consumer(&ring, &[]).stdout(writer).run().with_code(0).quiet();
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "1\n2\n3\n");
}

#[test]
fn head_ends_a_consumer_quietly_also_while_nothing_comes() {
    let ring = TestRing::made("head", &small());
    let _stays = ring.open().producer().unwrap();
    ring.send(&["1", "2", "3"]);
    let out = shell(&ring, "$C $R | head -1; exit ${PIPESTATUS[0]}").run().with_code(0).quiet();
    assert_eq!(out.text(), "1\n");
}

#[test]
fn items_that_went_out_before_the_reader_left_are_acknowledged_and_the_others_go_back() {
    let ring = TestRing::made("part", &RingOptions::new().capacity(32768));
    let sender = producer(&ring, &[]).input(seq(100_000)).spawn();
    let (reader, writer) = std::io::pipe().unwrap();
    let receiver = consumer(&ring, &[]).stdout(writer).spawn();
    wait_until_stuck(&ring);
    // What is in the pipe was written, in whole items.
    let mut reader = reader;
    let mut start = vec![0; 4000];
    std::io::Read::read_exact(&mut reader, &mut start).unwrap();
    drop(reader);
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
    let ring = TestRing::new("non-blocking");
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

fn sender_is_stuck(ring: &TestRing) {
    ring.wait_for(Role::Producer, Activity::WaitingForRoom);
}

#[test]
fn two_consumers_on_one_pipe_do_not_mix_their_lines() {
    let ring = TestRing::new("one-pipe");
    producer(&ring, &["--capacity", "65536"]).input(seq(50_000)).run().with_code(0);
    let out = shell(&ring, "{ $C $R & $C $R & wait; } | cat").run().with_code(0);
    let mut numbers: Vec<u64> = out.lines().iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=50_000));
}

#[test]
fn output_to_a_file_is_appended_and_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "out", b"before\n");
    let ring = TestRing::new("file");
    producer(&ring, &[]).input(seq(1000)).run().with_code(0);
    let append = File::options().append(true).open(&path).unwrap();
    consumer(&ring, &[]).stdout(append).run().with_code(0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("before\n{}", seq(1000)));
    assert_eq!(std::fs::metadata(&path).unwrap().size(), 7 + 3893);
}

#[test]
fn a_signal_ends_a_consumer_that_waits_for_items() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let ring = TestRing::made("signal", &small());
        let running = consumer(&ring, &[]).spawn();
        ring.wait_for(Role::Consumer, Activity::WaitingForItems);
        running.signal(signal);
        running.end().by_signal(signal).quiet();
        assert!(ring.open().participants().is_empty(), "it did not leave");
    }
}

#[test]
fn a_signal_ends_a_consumer_that_waits_for_the_ring() {
    let ring = TestRing::new("signal");
    let running = consumer(&ring, &[]).spawn();
    running.wait_for_stderr("waiting for ring");
    running.signal(libc::SIGINT);
    running.end().by_signal(libc::SIGINT);
}

#[test]
fn a_signal_ends_a_consumer_whose_output_is_blocked_and_nothing_is_lost() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let ring = TestRing::made("blocked", &RingOptions::new().capacity(32768));
        producer(&ring, &[]).input(seq(20_000)).run().with_code(0);
        let (mut reader, writer) = std::io::pipe().unwrap();
        let running = consumer(&ring, &[]).stdout(writer).spawn();
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
    let ring = TestRing::made("second", &RingOptions::new().capacity(32768));
    producer(&ring, &[]).input(seq(20_000)).run().with_code(0);
    let (reader, writer) = std::io::pipe().unwrap();
    let running = consumer(&ring, &[]).stdout(writer).spawn();
    wait_until_stuck(&ring);
    // Both arrive before it can act on the first.
    running.signal(libc::SIGSTOP);
    running.signal(libc::SIGTERM);
    running.signal(libc::SIGHUP);
    running.signal(libc::SIGCONT);
    let ended = running.end();
    assert!(matches!(ended.signal, Some(libc::SIGTERM | libc::SIGHUP)), "{ended:?}");
    let left: Vec<_> = ring.open().participants();
    assert!(left.len() == 1 && left[0].liveness == Liveness::Dead, "it took the time to leave");
    let acknowledged = ring.open().snapshot().unwrap().totals.acknowledged;
    let out = consumer(&ring, &["--stats"]).run().with_code(0).saying(" redelivered");
    assert_eq!(out.lines().len() as u64, 20_000 - acknowledged);
    drop(reader);
}

#[test]
fn an_ignored_hangup_stays_ignored() {
    let ring = TestRing::made("nohup", &small());
    let running = consumer(&ring, &["-n", "1"]).with_signals(&[libc::SIGHUP]).spawn();
    ring.wait_for(Role::Consumer, Activity::WaitingForItems);
    running.signal(libc::SIGHUP);
    ring.send(&["still here"]);
    assert_eq!(running.end().with_code(0).text(), "still here\n");
}

#[test]
fn an_ignored_interrupt_stays_ignored() {
    let ring = TestRing::made("background", &small());
    let running = consumer(&ring, &["-n", "1"]).with_signals(&[libc::SIGINT]).spawn();
    ring.wait_for(Role::Consumer, Activity::WaitingForItems);
    running.signal(libc::SIGINT);
    ring.send(&["still here"]);
    assert_eq!(running.end().with_code(0).text(), "still here\n");
}

#[test]
fn a_killed_consumers_items_go_to_another() {
    let ring = TestRing::made("killed", &RingOptions::new().capacity(32768));
    producer(&ring, &[]).input(seq(20_000)).run().with_code(0);
    let (reader, writer) = std::io::pipe().unwrap();
    let running = consumer(&ring, &[]).stdout(writer).spawn();
    wait_until_stuck(&ring);
    running.signal(libc::SIGKILL);
    running.end().by_signal(libc::SIGKILL);
    drop(reader);
    let acknowledged = ring.open().snapshot().unwrap().totals.acknowledged;
    let out = consumer(&ring, &[]).run().with_code(0);
    assert_eq!(out.lines().len() as u64, 20_000 - acknowledged);
}

#[test]
fn an_ephemeral_ring_is_remade_for_the_next_stream() {
    let ring = TestRing::new("again");
    for text in ["first", "second", "third"] {
        producer(&ring, &["--item", text]).run().with_code(0);
        assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), format!("{text}\n"));
        assert!(Ring::open(&ring.name).is_err());
    }
}

#[test]
fn an_item_arrives_while_the_producer_still_reads() {
    let ring = TestRing::new("at-once");
    let mut sender = producer(&ring, &[]).open_input().spawn();
    let receiver = consumer(&ring, &["-q"]).spawn();
    sender.stdin.as_mut().unwrap().write_all(b"now\n").unwrap();
    receiver.wait_for_stdout(b"now\n");
    sender.close_input();
    sender.end().with_code(0);
    receiver.end().with_code(0);
}

#[test]
fn bad_values_are_usage_errors() {
    for args in [
        &["a/b"][..],
        &["."],
        &["r", "-n", "x"],
        &["r", "--timeout", "5"],
        &["r", "--timeout", "5s", "--no-wait"],
        &["r", "--idle-exit", "soon"],
        &["r", "--rate", "0/s"],
        &["r", "--delay", "1"],
        &["r", "-d", ""],
        &["r", "--json", "-0"],
        &["r", "--raw", "--whole-file"],
        &["r", "--frame", "lines"],
        &["r", "-q", "-v"],
        &["r", "s"],
        &[],
    ] {
        let ended = Run::new(env!("CARGO_BIN_EXE_consumer")).args(args).run();
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty());
    }
}
