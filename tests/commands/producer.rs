//! `producer` as a process: what it promises, one test each.

use crate::support::*;
use ringpipe::{Activity, RingOptions, Role};

fn small() -> RingOptions {
    RingOptions::new().capacity(64)
}

#[test]
fn lines_keep_their_bytes_and_empty_lines_are_items() {
    let ring = TestName::new("lines");
    producer(&ring, &[]).input(b"one\r\n\n\xff\x00two\n\nlast".to_vec()).run().with_code(0).quiet();
    let out = consumer(&ring, &[]).run().with_code(0).quiet();
    assert_eq!(out.stdout, b"one\r\n\n\xff\x00two\n\nlast\n");
}

#[test]
fn items_files_and_standard_input_are_sent_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (file(&dir, "a", b"a1\na2"), file(&dir, "b", b"b1\n"));
    let ring = TestName::new("order");
    producer(&ring, &["--item", "i1", "--item", "", "--item", "-n", &a, "-", &b])
        .input("stdin\n")
        .run()
        .with_code(0);
    let out = consumer(&ring, &[]).run().with_code(0);
    assert_eq!(out.lines(), ["i1", "", "-n", "a1", "a2", "stdin", "b1"]);
}

#[test]
fn items_are_sent_instead_of_standard_input() {
    let ring = TestName::new("item");
    producer(&ring, &["--item", "only"]).input("not read\n").run().with_code(0);
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "only\n");
}

#[test]
fn input_is_split_at_the_chosen_separator() {
    for (args, input) in [
        (&["-0"][..], "a\nb\0\0c"),
        (&["--null"], "x\0y"),
        (&["-d", ","], "a,b,,c"),
        (&["--delimiter", r"\x1e"], "a\x1eb\n"),
    ] {
        let ring = TestName::new("separators");
        producer(&ring, args).input(input).run().with_code(0);
        let out = consumer(&ring, args).run().with_code(0);
        let separator = match args.last() {
            Some(&",") => ',',
            Some(&r"\x1e") => '\x1e',
            _ => '\0',
        };
        assert_eq!(out.text(), format!("{input}{separator}"), "{args:?}");
    }
}

#[test]
fn an_unreadable_file_is_one_line_after_the_items_before_it_were_sent() {
    let dir = tempfile::tempdir().unwrap();
    let good = file(&dir, "good", b"sent\n");
    let ring = TestName::new("unreadable");
    let out = producer(&ring, &[&good, "/no/such/file", &good]).run().with_code(1);
    assert_eq!(out.stderr, "producer: /no/such/file: No such file or directory\n");
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "sent\n");
}

#[test]
fn a_mistyped_first_file_leaves_no_ring() {
    let ring = TestName::new("mistyped");
    producer(&ring, &["/no/such/file"]).run().with_code(1);
    assert!(!ring.exists());
}

#[test]
fn a_directory_is_no_file() {
    let ring = TestName::new("directory");
    let out = producer(&ring, &["/tmp"]).run().with_code(1);
    assert_eq!(out.stderr, "producer: /tmp: this is a directory; expected a file\n");
}

#[test]
fn a_closed_standard_input_is_an_error() {
    let ring = TestName::new("closed-input");
    shell(&ring, "exec $P $R <&-").run().with_code(1).saying("standard input is closed");
}

#[test]
fn a_fifo_is_waited_for_and_read_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let ring = TestName::new("fifo");
    let running = producer(&ring, &[fifo.to_str().unwrap()]).spawn();
    ring.wait_for(Role::Producer, Activity::Busy);
    std::fs::write(&fifo, "through\n").unwrap();
    running.end().with_code(0);
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "through\n");
}

#[test]
fn count_limits_the_items_sent() {
    let ring = TestName::new("count");
    producer(&ring, &["-n", "3", "--item", "x"]).arg("-").input(seq(10)).run().with_code(0);
    assert_eq!(consumer(&ring, &[]).run().with_code(0).lines(), ["x", "1", "2"]);
}

#[test]
fn a_ring_is_created_as_asked_and_rounding_is_reported() {
    let ring = TestName::new("made");
    let args = ["--capacity", "100", "--slot-size", "60", "--mode", "640", "--timestamps", "--item", "x"];
    let out = producer(&ring, &args).run().with_code(0);
    assert!(out.stderr.contains("capacity 100 rounded up to 128 slots"), "{}", out.stderr);
    assert!(out.stderr.contains("slot size 60 rounded up to 64 bytes"), "{}", out.stderr);
    let made = ring.open();
    assert_eq!((made.capacity(), made.slot_size(), made.is_ephemeral()), (128, 64, true));
    assert!(made.has_timestamps());
    assert_eq!(made.snapshot().unwrap().attributes.mode, 0o640);
    consumer(&ring, &[]).run().with_code(0);
}

#[test]
fn an_existing_ring_is_used_and_differences_are_reported() {
    let ring = TestName::made("existing", &small());
    producer(&ring, &["--item", "x"]).run().with_code(0).quiet();
    producer(&ring, &["--capacity", "60", "--slot-size", "64", "--item", "x"]).run().with_code(0).quiet();
    let args = ["--capacity", "128", "--slot-size", "1K", "--exclusive", "--item", "x"];
    let out = producer(&ring, &args).run().with_code(0);
    assert!(out.stderr.contains("64 slots: --capacity 128 has no effect"), "{}", out.stderr);
    assert!(out.stderr.contains("slots of 64 bytes: --slot-size 1024 has no effect"), "{}", out.stderr);
    assert!(out.stderr.contains("--exclusive has no effect"), "{}", out.stderr);
    producer(&ring, &["-q", "--capacity", "128", "--item", "x"]).run().with_code(0).quiet();
    assert_eq!(ring.ready(), 4);
}

#[test]
fn no_create_creates_no_ring() {
    let ring = TestName::new("no-create");
    producer(&ring, &["--no-create", "--item", "x"]).run().with_code(3).saying("does not exist");
    assert!(!ring.exists());
}

#[test]
fn an_exclusive_ring_takes_one_producer() {
    let ring = TestName::new("exclusive").stays();
    let _first = producer(&ring, &["--exclusive"]).open_input().spawn();
    ring.wait_for(Role::Producer, Activity::Busy);
    producer(&ring, &["--item", "x"]).run().with_code(1).saying("is exclusive and has its producer already");
}

#[test]
fn drop_oldest_on_an_exclusive_ring_is_refused() {
    let ring = TestName::new("exclusive-oldest");
    let args = ["--exclusive", "--on-full", "drop-oldest", "--item", "x"];
    producer(&ring, &args).run().with_code(2).saying("only its consumer may take items out");
    assert!(!ring.exists(), "refused before a ring is made");
}

#[test]
fn a_full_ring_fails_without_waiting_if_asked_to() {
    for args in [&["--on-full", "fail"][..], &["--no-wait"]] {
        let ring = TestName::made("full", &small());
        let out = producer(&ring, args).input(seq(100)).run().with_code(4);
        let name = &ring.name;
        let hint = format!("hint: no live consumer; ringctl inspect {name}");
        assert_eq!(out.stderr, format!("producer: ring {name:?} is full (64/64)\n{hint}\n"));
        assert_eq!(ring.ready(), 64);
    }
}

#[test]
fn a_full_ring_is_waited_for_as_long_as_timeout_says() {
    for timeout in ["0", "50ms", "600ms"] {
        let ring = TestName::made("timeout", &small());
        let out = producer(&ring, &["--timeout", timeout]).input(seq(100)).run().with_code(4);
        let waited = if timeout == "0" { String::new() } else { format!(", waited {timeout}") };
        let line = format!("producer: ring {:?} is full (64/64){waited}\n", ring.name);
        assert!(out.stderr.starts_with(&line), "{}", out.stderr);
    }
}

#[test]
fn a_wait_for_room_is_reported_once_with_v() {
    let ring = TestName::made("says", &small());
    let running = producer(&ring, &["-v"]).input(seq(200)).spawn();
    running.wait_for_stderr("is full (64/64): waiting for room (no live consumer");
    let out = consumer(&ring, &[]).run().with_code(0);
    assert_eq!(out.text(), seq(200));
    let ended = running.end().with_code(0);
    assert_eq!(ended.stderr.matches("waiting for room").count(), 1, "{}", ended.stderr);
}

#[test]
fn drop_newest_keeps_the_first_items_and_counts() {
    let ring = TestName::made("newest", &small());
    let args = ["--on-full", "drop-newest", "--json"];
    let stats = producer(&ring, &args).input(seq(100)).run().with_code(0).statistics();
    assert_eq!((&stats["items"], &stats["dropped_newest"]), (&64.into(), &36.into()), "{stats}");
    assert_eq!(consumer(&ring, &["--drain"]).run().with_code(0).text(), seq(64));
}

#[test]
fn drop_oldest_keeps_the_last_items_and_counts() {
    let ring = TestName::made("oldest", &small());
    let args = ["--on-full", "drop-oldest", "--json"];
    let stats = producer(&ring, &args).input(seq(100)).run().with_code(0).statistics();
    assert_eq!((&stats["items"], &stats["dropped_oldest"]), (&100.into(), &36.into()), "{stats}");
    let out = consumer(&ring, &["--drain"]).run().with_code(0);
    assert_eq!((out.lines().len(), out.lines()[0], out.lines()[63]), (64, "37", "100"));
}

#[test]
fn a_closed_ring_takes_nothing() {
    let ring = TestName::made("closed", &small());
    ring.open().close();
    producer(&ring, &["--item", "x"]).run().with_code(5).saying("the ring is closed");
}

#[test]
fn closing_ends_producers_that_read_or_wait_for_room() {
    let ring = TestName::made("closing", &small());
    let waits = producer(&ring, &[]).input(seq(100)).spawn();
    ring.wait_for(Role::Producer, Activity::WaitingForRoom);
    ring.open().close();
    waits.end().with_code(5).saying("is closed");

    let ring = TestName::made("closing", &small());
    let mut reads = producer(&ring, &[]).open_input().spawn();
    ring.wait_for(Role::Producer, Activity::Busy);
    ring.open().close();
    std::io::Write::write_all(reads.stdin.as_mut().unwrap(), b"late\n").unwrap();
    reads.end().with_code(5).saying("is closed");
}

#[test]
fn an_item_larger_than_the_ring_takes_is_an_error_that_names_limits_and_options() {
    let big = "x".repeat(5000);
    let ring = TestName::made("large", &small());
    let out = producer(&ring, &[]).input(format!("small\n{big}\n")).run().with_code(1);
    for part in ["item 2", "5000 bytes", "the limit is 2048 bytes", "--capacity", "--slot-size"] {
        assert!(out.stderr.contains(part), "{part}: {}", out.stderr);
    }
    let out = producer(&ring, &["--item", &big]).run().with_code(1);
    for part in ["5000 bytes", "up to 2048", "--capacity", "--slot-size"] {
        assert!(out.stderr.contains(part), "{part}: {}", out.stderr);
    }
    assert_eq!(ring.ready(), 1);
}

#[test]
fn a_truncated_frame_is_an_error() {
    let ring = TestName::new("truncated");
    producer(&ring, &["--frame", "len32"])
        .input(b"\0\0\0\x01a\0\0\0\x05abc".to_vec())
        .run()
        .with_code(1)
        .saying("the input ends inside item 2");
    assert_eq!(consumer(&ring, &["--frame", "len32"]).run().with_code(0).stdout, b"\0\0\0\x01a");
}

#[test]
fn no_stream_ends_before_the_expected_producers_have_attached() {
    let ring = TestName::new("expected");
    let mut receiver = consumer(&ring, &[]).spawn();
    producer(&ring, &["--producers", "2", "--item", "first"]).run().with_code(0);
    receiver.wait_for_stdout(b"first\n");
    ring.wait_for(Role::Consumer, Activity::WaitingForItems);
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(receiver.is_running());
    producer(&ring, &["--producers", "2", "--item", "second"]).run().with_code(0).quiet();
    assert_eq!(receiver.end().with_code(0).text(), "first\nsecond\n");
}

#[test]
fn rate_and_delay_send_everything() {
    for args in [&["--rate", "1000/s"][..], &["--delay", "1ms"], &["--delay", "0..2ms"]] {
        let ring = TestName::new("pace");
        let start = std::time::Instant::now();
        producer(&ring, args).input(seq(50)).run().with_code(0);
        let least = if args[1].starts_with('0') { 0 } else { 49 };
        assert!(start.elapsed().as_millis() >= least);
        assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), seq(50));
    }
}

#[test]
fn statistics_and_progress_go_to_standard_error() {
    let ring = TestName::new("stats");
    let out = producer(&ring, &["--stats", "--progress"]).input(seq(1000)).run().with_code(0);
    assert!(out.stdout.is_empty());
    assert!(out.stderr.contains("sent 1,000 items, 2.83 KiB in "), "{}", out.stderr);
    assert_eq!(out.stderr.lines().count(), 1, "the same twice: {}", out.stderr);
    let stats = producer(&ring, &["--json"]).input(seq(10)).run().with_code(0).statistics();
    assert_eq!(stats["schema"], "ringpipe.producer/1");
    assert_eq!((&stats["ring"], &stats["bytes"]), (&ring.name.as_str().into(), &11.into()));
    consumer(&ring, &[]).run().with_code(0);
}

#[test]
fn a_signal_ends_a_producer_that_waits_for_input() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let ring = TestName::made("signal", &small());
        let running = producer(&ring, &[]).open_input().spawn();
        ring.wait_for(Role::Producer, Activity::Busy);
        running.signal(signal);
        running.end().by_signal(signal).quiet();
        assert!(ring.open().participants().is_empty(), "it did not leave");
    }
}

#[test]
fn a_signal_ends_a_producer_that_waits_for_room() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let ring = TestName::made("signal", &small());
        let running = producer(&ring, &["--stats"]).input(seq(100)).spawn();
        ring.wait_for(Role::Producer, Activity::WaitingForRoom);
        running.signal(signal);
        let ended = running.end().by_signal(signal);
        assert!(ended.stderr.contains("36 items were read and not sent"), "{}", ended.stderr);
        assert!(ended.stderr.contains("sent 64 items"), "{}", ended.stderr);
        assert!(ring.open().participants().is_empty(), "it did not leave");
        assert_eq!(ring.ready(), 64);
    }
}

#[test]
fn a_signal_ends_a_producer_that_keeps_a_pace() {
    let ring = TestName::made("signal", &small());
    let running = producer(&ring, &["--rate", "1/h"]).input(seq(100)).spawn();
    wait_until("first item", || ring.ready() == 1);
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    assert_eq!(ring.ready(), 1);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let at_once = || {
        let ring = TestName::made("second", &small());
        let running = producer(&ring, &[]).input(seq(100)).spawn();
        ring.wait_for(Role::Producer, Activity::WaitingForRoom);
        running.signals_at_once(&[libc::SIGTERM, libc::SIGHUP]);
        let ended = running.end();
        assert!(matches!(ended.signal, Some(libc::SIGTERM | libc::SIGHUP)), "{ended:?}");
        // Without a word, and without leaving.
        ended.stderr.is_empty() && ring.open().participants().len() == 1
    };
    assert!((0..10).any(|_| at_once()));
}

#[test]
fn an_ignored_hangup_stays_ignored() {
    let ring = TestName::new("nohup");
    let mut running = producer(&ring, &[]).with_signals(&[libc::SIGHUP]).open_input().spawn();
    ring.wait_for(Role::Producer, Activity::Busy);
    running.signal(libc::SIGHUP);
    std::io::Write::write_all(running.stdin.as_mut().unwrap(), b"still here\n").unwrap();
    wait_until("the item", || ring.ready() == 1);
    running.close_input();
    running.end().with_code(0);
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "still here\n");
}

#[test]
fn a_name_may_be_given_in_three_forms() {
    let ring = TestName::new("forms");
    for form in [ring.name.clone(), format!("/{}", ring.name), format!("shm:{}", ring.name)] {
        Run::new(env!("CARGO_BIN_EXE_producer")).args(&[&form, "--item", "x"]).run().with_code(0);
    }
    assert_eq!(consumer(&ring, &[]).run().with_code(0).lines().len(), 3);
}

#[test]
fn bad_values_are_usage_errors() {
    for args in [
        &["a/b"][..],
        &[""],
        &["r", "--capacity", "x"],
        &["r", "--capacity", "1"],
        &["r", "--capacity", "16777217"],
        &["r", "--slot-size", "0"],
        &["r", "--slot-size", "5parsecs"],
        &["r", "--mode", "888"],
        &["r", "--producers", "0"],
        &["r", "--on-full", "explode"],
        &["r", "--timeout", "5x"],
        &["r", "--timeout", "5s", "--no-wait"],
        &["r", "-n", "-1"],
        &["r", "-n", "many"],
        &["r", "--rate", "0"],
        &["r", "--delay", "2s..1s"],
        &["r", "-d", "ab"],
        &["r", "-d", ",", "-0"],
        &["r", "-0", "--raw"],
        &["r", "--frame", "len64"],
        &["r", "-q", "-v"],
        &["r", "--no-such-option"],
        &[],
    ] {
        let ended = Run::new(env!("CARGO_BIN_EXE_producer")).args(args).run();
        assert_eq!(ended.code, Some(2), "{args:?}: {}", ended.stderr);
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty());
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    for program in [env!("CARGO_BIN_EXE_producer"), env!("CARGO_BIN_EXE_consumer")] {
        let help = Run::new(program).arg("--help").run().with_code(0).quiet();
        assert!(help.text().contains("Exit codes:") && help.text().contains("Examples:"));
        let long = help.lines().into_iter().find(|line| line.chars().count() > 100);
        assert_eq!(long, None, "wider than a terminal");
        let version = Run::new(program).arg("-V").run().with_code(0).quiet();
        assert!(version.text().ends_with(concat!(" ", env!("CARGO_PKG_VERSION"), "\n")));
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        Run::new(program).arg("--help").stdout(full).run().with_code(1).saying("No space left");
    }
}

#[test]
fn a_failing_standard_error_for_notes_and_progress_changes_no_result() {
    let ring = TestName::new("stderr");
    let script = "$P $R --capacity 3 -v --progress --item x 2>&- && $C $R -v --progress 2>/dev/full";
    assert_eq!(shell(&ring, script).run().with_code(0).text(), "x\n");
}

#[test]
fn a_producer_without_consumers_ends_when_its_rings_name_was_deleted() {
    for args in [&[][..], &["--timeout", "1h"], &["--raw"]] {
        let ring = TestName::made("unlinked", &small());
        let running = producer(&ring, args).input(seq(10_000)).spawn();
        ring.wait_for(Role::Producer, Activity::WaitingForRoom);
        std::fs::remove_file(ring.path()).unwrap();
        let ended = running.end().with_code(5).saying("was removed and has no consumer: ");
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}

#[test]
fn a_producer_that_fails_before_it_has_sent_anything_leaves_no_ring() {
    let ring = TestName::new("nothing-sent");
    producer(&ring, &["/proc/self/mem"]).run().with_code(1).saying("Input/output error");
    assert!(!ring.exists());
    let running = producer(&ring, &[]).open_input().spawn();
    ring.wait_for(Role::Producer, Activity::Busy);
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    assert!(!ring.exists());
}

#[test]
fn a_ring_with_another_participant_stays_when_its_creator_fails() {
    let ring = TestName::new("another-attached");
    let running = producer(&ring, &[]).open_input().spawn();
    ring.wait_for(Role::Producer, Activity::Busy);
    let mut other = ring.open().producer().unwrap();
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    other.send(b"x").unwrap();
    drop(other);
    assert_eq!(consumer(&ring, &[]).run().with_code(0).text(), "x\n");
}
