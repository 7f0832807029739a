//! Limits of time, rate, load and memory.

use super::*;

#[test]
fn a_command_over_its_time_is_ended_with_its_group_and_its_item_tried_again() {
    let work = Work::new("limit", &["item"]);
    let dead = TestName::new("dead").stays();
    let script =
        "echo $RING_ATTEMPT >> $D/log; sleep 1000 & trap 'exit 0' TERM; while :; do sleep 0.01; done";
    let options = ["--item-timeout", "200ms", "--retries", "1", "--dead-letter", &dead];
    work.script(&options, script).run().with_code(123);
    assert_eq!(work.lines("log"), ["1", "2"]);
    work.nothing_runs();
    let letter = consumer(&dead, &["--drain"]).run().succeeds();
    assert!(letter.text().contains("\"reason\":\"time limit\""), "{}", letter.text());
}

#[test]
fn a_command_over_its_time_that_ignores_term_is_killed() {
    let work = Work::new("ignores", &["item"]);
    let script = "trap '' TERM; sleep 1000 & wait; wait; while :; do sleep 0.1; done";
    work.script(&["--item-timeout", "50ms", "--retries", "0", "--drop-failed"], script).run().with_code(123);
    work.nothing_runs();
}

#[test]
fn a_command_that_prints_without_end_has_a_limit_of_time_too() {
    let work = Work::new("endless", &["item"]);
    let options = ["--item-timeout", "100ms", "--retries", "0", "--drop-failed"];
    for options in [&options[..], &[&options[..], &["--line-buffer"]].concat()] {
        let ended = work.script(options, "exec yes").stdout(fs::File::create("/dev/null").unwrap()).run();
        ended.with_code(123);
        work.nothing_runs();
        work.ring.send(&["item"]);
    }
}

#[test]
fn a_command_that_prints_without_end_is_stopped_with_its_worker() {
    let work = Work::new("endless", &["item"]);
    let running = work.script(&["--grace", "0s"], "touch $D/started; exec yes").spawn();
    work.wait_for_file("started");
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    work.nothing_runs();
    assert_eq!(work.rest(), ["item:1"]);
}

#[test]
fn a_rate_spaces_commands_and_keeps_nothing_else_waiting() {
    let work = Work::numbered("rate", 3);
    let running = work.script(&["--rate", "1/h"], "cat").spawn();
    work.wait_for_acknowledged(1);
    assert_eq!(work.ring.open().snapshot().unwrap().totals.received, 1);
    running.signal(libc::SIGTERM);
    assert_eq!(running.end().by_signal(libc::SIGTERM).text(), "1");
    // A failed item is tried again although the next item is due in an hour; and then the worker stops.
    let options = ["--rate", "1/h", "--retries", "2", "-j", "2", "--backoff", "10ms"];
    work.script(&options, "echo $RING_ATTEMPT >> $D/log; exit 1").run().with_code(123);
    assert_eq!(work.lines("log"), ["1", "2", "3"]);
    // So it does where a command asks for a stop.
    let options = ["--rate", "1/h", "--halt", "now,done=1", "-j", "2"];
    work.script(&options, "cat").run().succeeds();
    assert_eq!(work.ring.acknowledged(), 2);
}

#[test]
fn a_machine_without_memory_to_spare_starts_nothing_and_can_be_stopped() {
    let work = Work::numbered("memory", 1);
    let running = work.script(&["--memfree", "1000T"], "touch $D/started").spawn();
    wait_until("the worker is there", || !work.ring.open().participants().is_empty());
    running.signal(libc::SIGTERM);
    running.end().by_signal(libc::SIGTERM);
    assert!(!work.exists("started"));
    assert_eq!(work.rest(), ["1:1"]);
}
