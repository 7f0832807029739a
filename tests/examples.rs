//! Every example is run with short settings: what it prints, how it ends, and that it leaves nothing.
//!
//! `cargo test` builds them all; before `cargo test --test examples` they need `cargo build --examples`.
#![cfg(feature = "cli")]

mod support;

use std::fs;
use std::path::PathBuf;

use support::{Ended, Run, Running};

/// An example's program, which cargo puts beside the tests' folder.
fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let folder = test.parent().and_then(|deps| deps.parent()).expect("target/PROFILE/deps");
    let path = folder.join("examples").join(name);
    assert!(path.exists(), "{} is missing: cargo build --examples", path.display());
    path
}

fn start(name: &str, args: &[&str]) -> Running {
    Run::new(program(name).to_str().expect("a plain path")).args(args).spawn()
}

/// What the process of this number has left in shared memory.
fn left_by(pid: i32) -> Vec<String> {
    let names = fs::read_dir("/dev/shm").expect("shared memory").flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("ringpipe-") && name.ends_with(&format!("-{pid}"))).collect()
}

/// Runs an example, which ends in good order and leaves nothing.
fn run(name: &str, args: &[&str]) -> Ended {
    let running = start(name, args);
    let pid = running.pid();
    let ended = running.end();
    println!("{name}:\n{}", ended.text());
    assert!(left_by(pid).is_empty(), "{name} left {:?}", left_by(pid));
    ended.with_code(0).quiet()
}

/// How often a line begins so.
fn count(ended: &Ended, beginning: &str) -> usize {
    ended.lines().iter().filter(|line| line.trim_start().starts_with(beginning)).count()
}

/// Whether these lines come, in this order, maybe with others in between.
fn in_order(ended: &Ended, lines: &[&str]) -> bool {
    let all = ended.lines();
    let mut rest = all.iter();
    lines.iter().all(|wanted| rest.any(|line| line.trim_start().starts_with(wanted)))
}

#[test]
fn random_sleeps_deliver_in_order() {
    let ended = run("000_random_sleeps", &["--for", "500ms", "--second", "50ms"]);
    let (produced, consumed) =
        (count(&ended, "room has space:  produced:  "), count(&ended, "consume item:  "));
    assert!(produced > 0 && produced == consumed, "{produced} produced, {consumed} consumed");
}

#[test]
fn two_semaphores_count_down_and_up_again() {
    let ended = run("000_single", &["--count", "20", "--work", "5ms"]);
    assert_eq!((count(&ended, "produce "), count(&ended, "consume ")), (20, 20));
    assert!(ended.text().contains("20 produced, 20 consumed, in order; room = 16, items = 0"));
    assert!(ended.text().contains("a second producer that tried to come was refused"));
}

#[test]
fn many_survive_the_kill_of_a_consumer_with_an_item_in_hand() {
    let ended = run("000_many", &["--work", "5ms"]);
    assert!(ended.text().contains("36 produced by 3 producers, 36 consumed once"));
    assert!(ended.text().contains('*'), "one item comes again");
}

#[test]
fn several_processes_poll_one_ring() {
    let ended = run("000_polling", &["--work", "5ms"]);
    assert_eq!(count(&ended, "consumer "), 16 + 2);
    assert!(ended.text().contains("16 produced, 16 consumed"));
}

#[test]
fn the_wrong_signal_stops_the_producer_for_good() {
    let ended = run("001_wrong_signal", &["--work", "5ms"]);
    assert!(ended.text().contains("the producer has put 10 of 15 items and waits: room = 0, items = 10"));
    assert!(ended.text().contains("<- again"));
    assert!(ended.text().contains("15 put, 15 taken, each once"));
}

#[test]
fn goods_are_made_up_to_five_and_bought_with_seven_coins() {
    let ended = run("002_condition", &["--second", "40ms"]);
    let there = (1..=5).map(|n| format!("produced 1, now there are {n}")).collect::<Vec<_>>();
    let mut story = there.iter().map(String::as_str).collect::<Vec<_>>();
    story.push("there are 5, no more is produced");
    story.extend(["produced 1, now there are 1", "7 bought with 7 coins"]);
    assert!(in_order(&ended, &story), "in this order: {story:#?}");
    assert!(count(&ended, "nothing left, consumer-") >= 1);
    let bought = ended.lines().iter().filter(|line| line.contains(" consumed 1, ")).count();
    let home = ended.lines().iter().filter(|line| line.ends_with("has no money left - goes home")).count();
    assert_eq!((bought, home), (7, 2));
}

#[test]
fn every_cookie_is_eaten_under_each_way_of_waiting() {
    let ended = run("003_cookies", &["--second", "40ms"]);
    assert_eq!(ended.lines().iter().filter(|line| line.contains("  got =>  ")).count(), 15);
    assert!(ended.text().contains("15 cookies baked, 15 eaten"));
}

#[test]
fn a_lock_outlives_its_holder_and_semaphores_and_a_condition_take_turns() {
    let ended = run("003_lock_condition", &["--second", "40ms"]);
    assert!(in_order(
        &ended,
        &["Lock", "kill -9", "marge-", "6 cookies in the jar", "Semaphore", "Condition"]
    ));
    let said = |text: &str| ended.lines().iter().filter(|line| line.contains(text)).count();
    assert_eq!(said("the last one died in here; the jar is in order again"), 1);
    assert_eq!((said(": produced"), said(": Consumed cookie ")), (6, 6));
    assert!(said("Nothing in cookiejar.") > 0);
    let turns = ["produced cookie 1", "consumed cookie 1", "produced cookie 2", "consumed cookie 2"];
    assert!(in_order(&ended, &turns));
}

/// `cargo test --features tokio` builds this example.
#[cfg(feature = "tokio")]
#[test]
fn tasks_eat_every_cookie_while_futures_are_dropped() {
    let ended = run("003_async", &["--second", "40ms"]);
    assert_eq!(ended.lines().iter().filter(|line| line.contains("  got =>  ")).count(), 12);
    assert_eq!(count(&ended, "consumer  2  gave up waiting "), 1);
    assert_eq!(count(&ended, "the clock on the same thread ticked "), 1);
    assert!(ended.text().contains("12 cookies baked, 12 eaten"));
}

#[test]
fn an_event_is_waited_for_five_times() {
    let ended = run("004_event", &["--second", "10ms"]);
    assert_eq!(count(&ended, "We will do 5 iterations:"), 5);
    assert_eq!(count(&ended, "consumer is waiting."), 5);
    let numbers =
        |text| ended.lines().iter().filter_map(|line| line.strip_prefix(text)).map(str::trim).collect();
    let produced: Vec<&str> = numbers("producer notify : producted item number ");
    let consumed: Vec<&str> = numbers("Consumer notify : consumed item number ");
    assert!(produced.len() == 5 && produced == consumed, "{produced:?} {consumed:?}");
    assert_eq!(ended.lines().last(), Some(&"program terminated"));
}

#[test]
fn a_worker_pool_loses_no_task_when_a_worker_is_killed() {
    let ended = run("worker_pool", &["--tasks", "12", "--work", "5ms"]);
    assert!(in_order(&ended, &["kill -9: a worker with task 0 in hand", "12 tasks, 12 results"]));
    assert_eq!(ended.lines().iter().filter(|line| line.contains("task 0 again, attempt 2")).count(), 1);
}

#[test]
fn a_log_has_every_line_although_its_collector_is_killed() {
    let ended = run("log_collector", &["--lines", "100"]);
    assert!(in_order(&ended, &["kill -9: the collector", "300 lines sent, 0 missing, "]));
}

#[test]
fn a_sensor_drops_the_oldest_and_the_last_reading_is_shown() {
    let ended = run("drop_oldest", &["--readings", "60", "--show", "20ms"]);
    assert!(in_order(&ended, &["reading 60", "60 readings sent: "]));
    assert!(count(&ended, "reading ") < 60);
}

/// `cargo test --features tokio` builds this example.
#[cfg(feature = "tokio")]
#[test]
fn two_tasks_share_a_thread_and_a_short_ring() {
    let ended = run("two_tasks", &[]);
    assert!(ended.text().contains("1000 items through 16 slots, their sum is 500500"));
}

#[test]
fn an_interrupted_example_leaves_nothing() {
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let running = start("000_random_sleeps", &["--for", "1h", "--second", "20ms"]);
        crate::support::wait_until("an item", || running.has_printed("consume item:"));
        assert!(!left_by(running.pid()).is_empty());
        let pid = running.pid();
        running.signal(signal);
        // Its output ends when all of its processes have.
        running.end().by_signal(signal);
        assert!(left_by(pid).is_empty(), "left: {:?}", left_by(pid));
    }
}

/// An experiment, in which the naive version fails as claimed and ours does not.
fn experiment(name: &str) {
    let ended = run("naive", &[name, "--patience", "300ms"]);
    assert_eq!((count(&ended, "naive:"), count(&ended, "ringpipe:")), (1, 1));
    assert!(!ended.text().contains("NOT AS CLAIMED"));
}

#[test]
fn the_naive_signal_is_wrong_and_ours_is_not() {
    experiment("wrong-signal");
}

#[test]
fn naive_polling_loses_items_and_ours_does_not() {
    experiment("lost-items");
}

#[test]
fn a_naive_mutex_dies_with_its_holder_and_ours_does_not() {
    experiment("killed-with-mutex");
}

#[test]
fn naive_capacity_is_lost_by_kills_and_ours_is_not() {
    experiment("lost-capacity");
}

#[test]
fn random_kills_stop_the_naive_ring_and_not_ours() {
    experiment("random-kills");
}

#[test]
fn a_naive_producer_keeps_others_waiting_and_ours_does_not() {
    experiment("lock-while-producing");
}

#[test]
fn a_naive_wait_takes_a_missing_item_and_ours_does_not() {
    experiment("if-not-while");
}

#[test]
fn a_naive_stack_starves_the_oldest_and_our_ring_does_not() {
    experiment("lifo");
}
