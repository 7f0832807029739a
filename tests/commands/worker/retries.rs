//! Failures are counted with the item, by all workers together; what comes after the last attempt.

use super::*;
use ringpipe::{Activity, Role};

#[test]
fn failures_are_counted_across_workers_and_a_dead_worker_adds_none() {
    for (end, by) in [(libc::SIGKILL, libc::SIGKILL), (libc::SIGTERM, libc::SIGTERM)] {
        let work = Work::new("across", &["item"]);
        let script =
            format!("echo $RING_ATTEMPT >> $D/log; test $RING_ATTEMPT -gt 2 || exit 1; {}", until("go"));
        let options = ["--retries", "2", "--grace", "0s"];
        let first = work.script(&options, &script).spawn();
        work.wait_for_lines("log", 3);
        first.signal(end);
        first.end().by_signal(by);
        let second = work.script(&options, &script).spawn();
        work.wait_for_lines("log", 4);
        work.touch("go");
        second.end().succeeds();
        assert_eq!(work.lines("log"), ["1", "2", "3", "3"]);
        // It would have failed for good in the third worker's hands.
        assert_eq!(work.ring.acknowledged(), 1);
        work.nothing_runs();
    }
}

#[test]
fn other_items_go_on_while_a_failed_one_waits() {
    let work = Work::new("backoff", &["bad", "b", "c", "d"]);
    let running = work.script(&["--backoff", "1h"], "test $(cat) != bad").spawn();
    work.wait_for_acknowledged(3);
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    assert_eq!(work.rest(), ["bad:2"]);
}

#[test]
fn a_worker_that_is_killed_while_an_item_waits_leaves_it_to_others_at_once() {
    let work = Work::new("postponed", &["bad", "other"]);
    let script = "test $(cat) = other || exit 1; touch $D/other; sleep 1000";
    let running = work.script(&["--backoff", "1h"], script).spawn();
    work.wait_for_file("other");
    running.signal(libc::SIGKILL);
    running.end().by_signal(libc::SIGKILL);
    assert_eq!(work.rest(), ["bad:2", "other:1"]);
    work.nothing_runs();
}

#[test]
fn an_item_that_failed_for_good_is_a_dead_letter_that_says_why() {
    let work = Work::new("letters", &["plain", "two", "dead", "shot"]);
    let dead = TestName::new("dead").stays();
    let script = r#"item=$(cat); echo "about $item" >&2; echo "out $item"
        case $item in plain) exit 0;; two) exit 2;; dead) exit 65;; *) kill -9 $$;; esac"#;
    let options = ["--retries", "1", "--dead-letter", &dead];
    let ended = work.script(&options, script).run().with_code(123).saying("3 items failed for good");
    assert_eq!(work.ring.acknowledged(), 4);
    // What an attempt wrote that is followed by another one is dropped.
    let mut lines = ended.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["out dead", "out plain", "out shot", "out two"]);
    let mut letters = consumer(&dead, &["--json", "--drain"]).run().succeeds().json_lines();
    letters.sort_by_key(|letter| letter["sequence"].as_u64());
    let expected = [
        (1, "two", 2, "exit 2", Some(2), None),
        (2, "dead", 1, "exit 65", Some(65), None),
        (3, "shot", 2, "signal 9 (KILL)", None, Some(9)),
    ];
    assert_eq!(letters.len(), expected.len());
    for (letter, (sequence, item, failures, reason, exit, signal)) in letters.iter().zip(expected) {
        let (head, bytes) = letter["text"].as_str().unwrap().split_once('\n').unwrap();
        let head: serde_json::Value = serde_json::from_str(head).unwrap();
        assert_eq!(bytes, item);
        // The key of the item, not one of the letter's own.
        assert_eq!((letter["sequence"].as_u64(), letter["producer"].as_u64()), (Some(sequence), Some(0)));
        assert_eq!(head["sequence"].as_u64(), Some(sequence));
        assert_eq!(head["failures"], failures, "{head}");
        assert_eq!(
            (head["reason"].as_str(), head["ring"].as_str()),
            (Some(reason), Some(work.ring.name.as_str()))
        );
        assert_eq!((head["exit"].as_i64(), head["signal"].as_i64()), (exit, signal));
        assert!(head["stderr"].as_str().unwrap().ends_with(&format!("about {item}\n")), "{head}");
    }
}

#[test]
fn without_a_place_for_it_a_failed_item_stays_and_the_worker_stops() {
    let work = Work::new("stays", &["bad", "good"]);
    let ended = work.script(&["--retries", "0"], "exit 1").run().with_code(123);
    assert!(ended.saying("it stays in the ring").stderr.contains("--dead-letter"));
    assert_eq!(work.ring.acknowledged(), 0);
    assert_eq!(work.rest(), ["bad:2", "good:1"]);
}

#[test]
fn a_ring_for_dead_letters_that_is_full_holds_the_worker_back_and_loses_nothing() {
    let work = Work::numbered("fulldead", 6);
    let dead = TestName::made("dead", &RingOptions::new().capacity(4).slot_size(1024));
    let running = work.script(&["--retries", "0", "--dead-letter", &dead], "echo >> $D/ran; exit 65").spawn();
    work.wait_for_lines("ran", 5);
    work.nothing_runs();
    dead.wait_for(Role::Producer, Activity::WaitingForRoom);
    assert_eq!(work.ring.acknowledged(), 4);
    let letters = consumer(&dead, &["-n", "6", "--json"]).run().succeeds();
    running.end().with_code(123);
    let told: Vec<_> =
        letters.json_lines().iter().map(|letter| letter["sequence"].as_u64().unwrap()).collect();
    assert_eq!(told, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn the_largest_item_with_the_largest_reason_is_a_dead_letter_too() {
    let work = Work::new("largest", &[]);
    let item = noise(work.ring.open().max_item() as usize);
    work.ring.open().producer().unwrap().send(&item).unwrap();
    let dead = TestName::new("dead").stays();
    let script = "head -c 5000 /dev/zero >&2; exit 65";
    work.script(&["--dead-letter", &dead], script).stderr(std::process::Stdio::null()).run().with_code(123);
    assert_eq!(work.ring.acknowledged(), 1);
    let letter = consumer(&dead, &["--drain", "--raw"]).run().succeeds();
    assert!(letter.stdout.ends_with(&item), "{} bytes", letter.stdout.len());
}

#[test]
fn answers_and_dead_letters_do_not_go_to_the_ring_of_the_items() {
    let work = Work::new("same", &["item"]);
    let ring = work.ring.name.clone();
    for option in ["--reply", "--dead-letter"] {
        for name in [ring.clone(), format!("/{ring}"), format!("shm:{ring}")] {
            work.script(&[option, &name], "cat").run().with_code(2).saying("expected another one");
        }
    }
    assert_eq!(work.rest(), ["item:1"]);
}

#[test]
fn an_item_without_an_attempt_left_is_not_run_again() {
    let work = Work::new("exhausted", &["bad"]);
    let script = "echo run >> $D/log; exit 1";
    work.script(&["--retries", "1"], script)
        .run()
        .with_code(123)
        .saying("failed 2 times, the last time by exit 1");
    work.script(&["--retries", "1"], script).run().with_code(123).saying("has failed 2 times already");
    assert_eq!(work.lines("log").len(), 2);
    // By one more retry, a worker tries it once more.
    work.script(&["--retries", "2"], script).run().with_code(123).saying("failed 3 times");
    assert_eq!(work.lines("log").len(), 3);
    let dead = TestName::new("exhausted-dead").stays();
    work.script(&["--dead-letter", &dead, "--retries", "0"], script).run().with_code(123);
    assert_eq!((work.lines("log").len(), work.ring.acknowledged(), dead.ready()), (3, 1, 1));
}

#[test]
fn a_worker_ends_although_the_letter_of_an_item_without_an_attempt_left_finds_no_room() {
    for options in [&[][..], &["--coprocess"], &["--coprocess", "--prefetch", "2"]] {
        let work = Work::new("no-room", &["bad"]);
        work.script(&["--retries", "0"], "exit 1").run().with_code(123);
        let dead = TestName::made("no-room-dead", &RingOptions::new().capacity(2).slot_size(512));
        dead.send(&["one", "two"]);
        let worker = work
            .script(
                &[&["--retries", "0", "--grace", "10ms", "--dead-letter", &dead], options].concat(),
                "cat",
            )
            .spawn();
        dead.wait_for(Role::Producer, Activity::WaitingForRoom);
        worker.signal(libc::SIGTERM);
        worker.end().by_signal(libc::SIGTERM);
        assert_eq!((work.ring.ready(), work.ring.acknowledged(), dead.ready()), (1, 0, 2), "{options:?}");
    }
}

#[test]
fn each_attempt_that_failed_is_told_with_v() {
    let work = Work::new("told", &["bad"]);
    let options = ["-v", "--retries", "1", "--drop-failed", "--backoff", "1ms"];
    let ended = work.script(&options, "exit 3").run().with_code(123);
    assert!(ended.stderr.contains("item 0:0: exit 3; attempt 2 of 2 in 1ms\n"), "{}", ended.stderr);
}

#[test]
fn a_ring_for_dead_letters_that_is_removed_is_made_once_more() {
    let work = Work::numbered("removed", 3);
    let dead = TestName::new("letters").stays();
    let script = format!("touch $D/$RING_SEQ; test $RING_SEQ = 0 || {{ {}; }}; exit 65", until("go"));
    let running = work.script(&["--dead-letter", &dead], &script).spawn();
    work.wait_for_file("1");
    ringctl(&["rm", "-f", &dead]).succeeds();
    work.touch("go");
    running.end().with_code(123);
    assert_eq!(work.ring.acknowledged(), 3);
    assert_eq!(dead.ready(), 2);
}

#[test]
fn a_closed_ring_for_dead_letters_stops_the_worker_and_keeps_the_item() {
    let work = Work::numbered("closed", 2);
    let dead = TestName::made("letters", &RingOptions::new());
    ringctl(&["close", &dead]).succeeds();
    let ended = work.script(&["--dead-letter", &dead], "exit 65").run().with_code(5);
    assert!(
        ended.complaint().contains(&format!("ring {:?}: the ring is closed", dead.name)),
        "{}",
        ended.stderr
    );
    assert_eq!((work.ring.acknowledged(), work.rest().len()), (0, 2));
}
