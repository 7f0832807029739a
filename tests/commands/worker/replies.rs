//! Answers: the standard output of a command becomes an item of another ring, under the key of its own.

use super::*;
use ringpipe::{Activity, Role};
use std::collections::BTreeMap;

fn answers(ring: &TestName, options: &[&str]) -> Vec<(u64, u64, String)> {
    let items = consumer(ring, &[&["--json"], options].concat()).run().succeeds().json_lines();
    let answer = |item: &serde_json::Value| {
        let number = |name: &str| item[name].as_u64().unwrap();
        (number("producer"), number("sequence"), item["text"].as_str().unwrap().to_string())
    };
    items.iter().map(answer).collect()
}

#[test]
fn an_answer_carries_the_key_of_its_item() {
    let work = Work::numbered("reply", 5);
    let to = TestName::new("answers").stays();
    let script = "n=$(cat); test $n != 2.$RING_ATTEMPT || exit 1; echo aside >&2; printf %s $((n * n))";
    let ended = work.script(&["--reply", &to, "-j", "2"], script).run().succeeds();
    assert!(ended.stdout.is_empty());
    assert_eq!(ended.stderr, "aside\n".repeat(5));
    let mut seen = answers(&to, &["--drain"]);
    seen.sort();
    let expected: Vec<_> = (1..=5_u64).map(|n| (0, n - 1, (n * n).to_string())).collect();
    assert_eq!(seen, expected);
}

#[test]
fn only_the_output_of_a_command_that_succeeds_is_an_answer() {
    let work = Work::numbered("fails", 3);
    let to = TestName::new("answers").stays();
    let script = "n=$(cat); echo out; case $n in 1) exit 65;; 2) test $RING_ATTEMPT = 2;; esac";
    work.script(&["--reply", &to, "--drop-failed"], script).run().with_code(123);
    assert_eq!(answers(&to, &["--drain"]).iter().map(|one| one.1).collect::<Vec<_>>().len(), 2);
}

#[test]
fn workers_form_a_pipeline() {
    let work = Work::numbered("pipeline", 20);
    let (second, third) = (TestName::new("second"), TestName::new("third"));
    let reader = consumer(&third, &["--json"]).spawn();
    let last = Work { ring: second, dir: tempfile::tempdir().unwrap() };
    let step = last.script(&["-j", "2", "--reply", &third], "echo $(($(cat) + 1))").spawn();
    work.script(&["-j", "2", "--reply", &last.ring], "printf %s $(($(cat) * 10))").run().succeeds();
    step.end().succeeds();
    let lines = reader.end().succeeds().json_lines();
    let seen: BTreeMap<u64, String> = lines
        .iter()
        .map(|line| (line["sequence"].as_u64().unwrap(), line["text"].as_str().unwrap().to_string()))
        .collect();
    let expected: BTreeMap<u64, String> = (0..20).map(|n| (n, ((n + 1) * 10 + 1).to_string())).collect();
    assert_eq!((seen, lines.len()), (expected, 20));
}

#[test]
fn a_full_ring_for_answers_holds_the_worker_back_and_term_ends_it_without_a_failure() {
    let work = Work::numbered("full", 6);
    let to = TestName::made("answers", &RingOptions::new().capacity(2));
    let running = work.script(&["--reply", &to, "-j", "2", "--grace", "100ms"], "cat").spawn();
    to.wait_for(Role::Producer, Activity::WaitingForRoom);
    work.nothing_runs();
    assert_eq!(work.ring.acknowledged(), 2);
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    assert_eq!(answers(&to, &["--drain"]).len(), 2);
    let rest = work.rest();
    assert_eq!(rest.len(), 4);
    assert!(rest.iter().all(|item| item.ends_with(":1")), "{rest:?}");
}

#[test]
fn answers_that_wait_for_room_in_order_are_given_back_by_a_signal() {
    let work = Work::numbered("full", 6);
    let to = TestName::made("answers", &RingOptions::new().capacity(2));
    let script = "n=$(cat); echo $n >> $D/ran; test $n != 2 || exit 1; echo $n";
    let options = ["--reply", &to, "-j", "2", "--keep-order", "--backoff", "1h", "--grace", "100ms"];
    let running = work.script(&options, script).spawn();
    work.wait_for_lines("ran", 6);
    work.nothing_runs();
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    assert_eq!(answers(&to, &["--drain"]).len() as u64, work.ring.acknowledged());
    assert!(work.rest().contains(&"2:2".to_string()));
}

#[test]
fn an_answer_that_the_ring_cannot_take_stops_the_worker_and_keeps_the_item() {
    let work = Work::numbered("large", 2);
    let to = TestName::made("answers", &RingOptions::new());
    let ended = work.script(&["--reply", &to], "head -c 2000000 /dev/zero").run();
    assert!(ended.code != Some(0) && ended.signal.is_none(), "{ended:?}");
    assert!(!ended.stderr.is_empty());
    assert_eq!(work.rest(), ["1:1", "2:1"]);
}

#[test]
fn a_ring_for_answers_that_is_closed_stops_the_worker_and_keeps_the_item() {
    let work = Work::numbered("closed", 2);
    let to = TestName::made("answers", &RingOptions::new());
    let running = work.script(&["--reply", &to], &format!("touch $D/started; {}; cat", until("go"))).spawn();
    work.wait_for_file("started");
    ringctl(&["close", &to]).succeeds();
    work.touch("go");
    running.end().with_code(5);
    assert_eq!(work.rest(), ["1:1", "2:1"]);
}

#[test]
fn a_ring_for_answers_that_is_removed_stops_the_worker_and_keeps_the_item() {
    let work = Work::numbered("removed", 2);
    let to = TestName::made("answers", &RingOptions::new());
    let running = work.script(&["--reply", &to], &format!("touch $D/started; {}; cat", until("go"))).spawn();
    work.wait_for_file("started");
    ringctl(&["rm", "-f", &to]).succeeds();
    work.touch("go");
    let ended = running.end().with_code(5);
    assert!(ended.complaint().ends_with("was removed"), "{}", ended.stderr);
    assert_eq!(work.rest(), ["1:1", "2:1"]);
}

#[test]
fn a_kill_between_answer_and_acknowledgement_doubles_an_answer_under_the_same_key() {
    let kills = if scale::is_ci() { 60 } else { 20 };
    let items = 400;
    let mut random = Random::new(seed());
    let work = Work::numbered("doubles", items);
    let to = TestName::made("answers", &RingOptions::new().capacity(8192));
    for _ in 0..kills {
        let worker = work.worker(&["--reply", &to, "-j", "2"], &["cat"]).spawn();
        // Killed after some more answers, at a moment of its own choice.
        let sent = || to.open().snapshot().unwrap().totals.sent;
        let goal = sent() + 1 + random.below(8);
        wait_until("answers", || sent() >= goal || work.ring.ready() == 0);
        worker.signal(libc::SIGKILL);
        drop(worker.end());
    }
    work.worker(&["--reply", &to, "-j", "2"], &["cat"]).run().succeeds();
    // The count of acknowledged items can be too low after deaths.
    assert_eq!(work.ring.open().snapshot().unwrap().used_slots, 0);
    let mut seen = BTreeMap::<u64, (String, u32)>::new();
    for (producer, sequence, text) in answers(&to, &["--drain"]) {
        assert_eq!(producer, 0);
        let (known, times) = seen.entry(sequence).or_insert((text.clone(), 0));
        assert_eq!(*known, text);
        *times += 1;
    }
    let texts: Vec<_> = seen.values().map(|(text, _)| text.clone()).collect();
    assert_eq!(texts, (1..=items).map(|n| n.to_string()).collect::<Vec<_>>());
    let doubled: u32 = seen.values().map(|(_, times)| times - 1).sum();
    assert!(doubled <= 2 * kills, "{doubled} doubled by {kills} kills");
    work.nothing_runs();
}
