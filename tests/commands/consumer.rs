//! `consumer` as a process: what it takes, when it stops, and what it says, one test each.

use crate::support::actor::RemoteActor;
use crate::support::*;
use ringpipe::internal::layout::head;
use ringpipe::{Activity, RingOptions, Role};

fn small() -> RingOptions {
    RingOptions::new().capacity(64)
}

#[test]
fn a_consumer_waits_for_a_late_ring_and_says_so() {
    let ring = TestName::new("late-ring");
    let receiver = consumer(&ring, &[]).spawn();
    receiver.wait_for_stderr(&format!("waiting for ring {:?}", ring.name));
    producer(&ring, &["--item", "x"]).run().with_code(0);
    let out = receiver.end().with_code(0);
    assert_eq!((out.text(), out.stderr.lines().count()), ("x\n", 1));
}

#[test]
fn without_waiting_a_missing_ring_and_an_empty_one_are_3() {
    let ring = TestName::new("no-wait");
    consumer(&ring, &["--no-wait"]).run().with_code(3).saying("does not exist");
    let ring = TestName::made("no-wait", &small());
    consumer(&ring, &["--no-wait"]).run().with_code(3).saying("the ring is empty");
    let _stays = ring.open().producer().unwrap();
    ring.send(&["a", "b"]);
    assert_eq!(consumer(&ring, &["--no-wait"]).run().with_code(0).text(), "a\nb\n");
}

#[test]
fn an_ended_stream_without_items_is_0() {
    let ring = TestName::new("ended");
    producer(&ring, &[]).run().with_code(0);
    assert!(consumer(&ring, &[]).run().with_code(0).quiet().stdout.is_empty());
}

#[test]
fn count_takes_no_more_items_than_asked_for() {
    let ring = TestName::made("count", &small());
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
        let ring = TestName::made("short", &small());
        ring.send(&["a", "b"]);
        // A producer that could still send.
        let stays = args.len() > 2;
        let _producer = stays.then(|| ring.open().producer().unwrap());
        assert_eq!(consumer(&ring, args).run().with_code(3).saying(why).text(), "a\nb\n");
    }
}

#[test]
fn drain_stops_when_the_ring_is_empty() {
    let ring = TestName::made("drain", &small());
    let _stays = ring.open().producer().unwrap();
    assert!(consumer(&ring, &["--drain"]).run().with_code(0).quiet().stdout.is_empty());
    ring.send(&["a", "b"]);
    assert_eq!(consumer(&ring, &["--drain"]).run().with_code(0).quiet().text(), "a\nb\n");
}

/// Records a look for the dead just now, so that no participant looks again for 15 ms.
fn forge_a_sweep(ring: &TestName) {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
    let now = now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64;
    let file = std::fs::File::options().write(true).open(ring.path()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &now.to_le_bytes(), head::SWEPT_AT).unwrap();
}

#[test]
fn no_wait_takes_the_items_of_a_consumer_that_was_just_killed() {
    for args in [&["--drain"][..], &["--no-wait"]] {
        for _ in 0..10 {
            let ring = TestName::made("drain-dead", &small());
            let _stays = ring.open().producer().unwrap();
            ring.send(&["a", "b", "c"]);
            let mut holder = RemoteActor::attached(&ring.name, "consumer");
            assert_eq!(holder.does("hold 3"), "got 1 a b c");
            holder.signal(nix::sys::signal::Signal::SIGKILL);
            holder.end();
            forge_a_sweep(&ring);
            assert_eq!(consumer(&ring, args).run().with_code(0).quiet().text(), "a\nb\nc\n", "{args:?}");
        }
    }
}

#[test]
fn no_wait_takes_items_behind_the_claim_of_a_producer_that_was_just_killed() {
    for args in [&["--drain"][..], &["--no-wait"]] {
        let ring = TestName::made("drain-claim", &small());
        let _stays = ring.open().producer().unwrap();
        let mut writer = RemoteActor::attached(&ring.name, "producer");
        assert_eq!(writer.does("reserve half"), "reserved");
        ring.send(&["a", "b"]);
        writer.signal(nix::sys::signal::Signal::SIGKILL);
        writer.end();
        forge_a_sweep(&ring);
        assert_eq!(consumer(&ring, args).run().with_code(0).quiet().text(), "a\nb\n", "{args:?}");
    }
}

#[test]
fn no_wait_passes_a_slow_producer_and_does_not_report_empty_behind_one_it_may_not_pass() {
    for args in [&["--drain"][..], &["--no-wait"]] {
        let ring = TestName::made("drain-slow", &small());
        let opened = ring.open();
        let mut slow = opened.producer().unwrap();
        let one_slot = slow.reserve(1).unwrap();
        ring.send(&["a", "b"]);
        assert_eq!(consumer(&ring, args).run().with_code(0).quiet().text(), "a\nb\n", "{args:?}");
        drop(one_slot);
        let _three_slots = slow.reserve(opened.slot_size() * 3).unwrap();
        ring.send(&["c"]);
        let code = if args == ["--drain"] { 4 } else { 3 };
        let refused = consumer(&ring, args).run().with_code(code).saying("has items behind one that its");
        assert_eq!(refused.text(), "", "{args:?}");
    }
}

#[test]
fn idle_exit_stops_when_nothing_comes() {
    let ring = TestName::made("idle", &small());
    let _stays = ring.open().producer().unwrap();
    ring.send(&["a"]);
    assert_eq!(consumer(&ring, &["--idle-exit", "700ms"]).run().with_code(0).quiet().text(), "a\n");
}

#[test]
fn timeout_bounds_the_wait_for_the_ring_and_for_an_item() {
    let ring = TestName::new("timeout");
    let out = consumer(&ring, &["-q", "--timeout", "50ms"]).run().with_code(4);
    let line = format!("consumer: ring {:?} does not exist, waited 50ms\n", ring.name);
    assert!(out.stderr.starts_with(&line), "{}", out.stderr);
    let ring = TestName::made("timeout", &small());
    let name = &ring.name;
    for timeout in ["50ms", "600ms"] {
        let out = consumer(&ring, &["--timeout", timeout]).run().with_code(4);
        let hint = format!("hint: no live producer; ringctl inspect {name}");
        assert_eq!(out.stderr, format!("consumer: ring {name:?} is empty, waited {timeout}\n{hint}\n"));
    }
}

#[test]
fn follow_outlives_the_producers_and_ends_when_the_ring_is_closed() {
    let ring = TestName::made("follow", &small());
    let mut receiver = consumer(&ring, &["--follow"]).spawn();
    ring.send(&["a"]);
    receiver.wait_for_stdout(b"a\n");
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(receiver.is_running());
    ring.send(&["b"]);
    ring.open().close();
    let ended = receiver.end().with_code(0);
    assert_eq!(ended.text(), "a\nb\n");
    assert_eq!(ended.stderr, says_why(&ring, "it was closed", 2));
}

/// The message of a consumer whose stream ended for this reason.
fn says_why(ring: &TestName, why: &str, items: u64) -> String {
    format!("consumer: ring {:?}: {why}; items received: {items}\n", ring.name)
}

#[test]
fn a_removed_ring_ends_its_consumers_which_say_why() {
    for args in [&[][..], &["--follow"]] {
        let ring = TestName::made("removed", &small());
        let receiver = consumer(&ring, args).spawn();
        ring.wait_for(Role::Consumer, Activity::WaitingForItems);
        ring.open().remove().unwrap();
        assert_eq!(receiver.end().with_code(0).stderr, says_why(&ring, "it was removed", 0));
    }
}

#[test]
fn the_ordinary_end_of_the_stream_is_said_with_v() {
    let ring = TestName::made("ordinary", &small());
    ring.send(&["a"]);
    consumer(&ring, &[]).run().with_code(0).quiet();
    ring.send(&["b"]);
    consumer(&ring, &["-v"]).run().with_code(0).saying(&says_why(&ring, "the stream ended", 1));
}

#[test]
fn a_file_that_is_no_ring_is_exit_code_6() {
    let ring = TestName::new("no-ring").stays();
    std::fs::write(ring.path(), vec![7u8; 100_000]).unwrap();
    consumer(&ring, &[]).run().with_code(6).saying("is not a ring");
    producer(&ring, &["--item", "x"]).run().with_code(6).saying("is not a ring");
}

#[test]
fn json_has_each_field_of_an_item() {
    let ring = TestName::made("json", &small());
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
    assert_eq!(
        (&out.statistics()["schema"], &out.statistics()["items"]),
        (&"ringpipe.consumer/1".into(), &3.into())
    );
}

#[test]
fn json_has_the_time_of_sending_and_the_attempt() {
    let ring = TestName::made("json-again", &small().timestamps(true));
    ring.send(&["x"]);
    ring.open().consumer().unwrap().recv().unwrap().give_back();
    let out = consumer(&ring, &["--json"]).run().with_code(0);
    let object: serde_json::Value = serde_json::from_str(out.text()).unwrap();
    assert_eq!((&object["time_of"], &object["redelivered"]), (&"sent".into(), &true.into()));
    assert_eq!(object["attempt"], 2);
}

#[test]
fn statistics_and_progress_go_to_standard_error() {
    let ring = TestName::new("stats");
    producer(&ring, &[]).input(seq(1000)).run().with_code(0);
    let out = consumer(&ring, &["--stats", "--progress"]).run().with_code(0);
    assert_eq!(out.text(), seq(1000));
    assert!(out.stderr.contains("received 1,000 items, 2.83 KiB in "), "{}", out.stderr);
    assert_eq!(out.stderr.lines().count(), 1, "the same twice: {}", out.stderr);
}

#[test]
fn rate_and_delay_take_everything() {
    for args in [&["--rate", "1000/s"][..], &["--delay", "0..1ms"]] {
        let ring = TestName::new("pace");
        producer(&ring, &[]).input(seq(50)).run().with_code(0);
        assert_eq!(consumer(&ring, args).run().with_code(0).text(), seq(50));
    }
}

#[test]
fn bad_values_are_usage_errors() {
    for args in [
        &["a/b"][..],
        &["."],
        &["r", "-n", "x"],
        &["r", "--timeout", "5x"],
        &["r", "--timeout", "5s", "--no-wait"],
        &["r", "--idle-exit", "soon"],
        &["r", "--rate", "0/s"],
        &["r", "--delay", "2..1"],
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

#[test]
fn a_consumer_without_producers_ends_when_its_rings_name_was_deleted() {
    let ring = TestName::made("unlinked", &RingOptions::new().capacity(64));
    let running = consumer(&ring, &["--follow"]).spawn();
    ring.wait_for(Role::Consumer, Activity::WaitingForItems);
    std::fs::remove_file(ring.path()).unwrap();
    assert_eq!(running.end().with_code(0).stderr, says_why(&ring, "it was removed", 0));
}
