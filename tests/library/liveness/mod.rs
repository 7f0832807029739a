//! Liveness: no live participant is ever taken for dead, and no dead one for live, in the cases that make
//! fools of process ids, of `kill(pid, 0)`, of start times and of thread ids.
//!
//! ```text
//! cargo test --test library liveness:: -- --nocapture
//! ```
//!
//! What needs namespaces that this system does not give says so, and is not tried.

mod life;

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::actor::RemoteActor;
use crate::support::{TestName, options, report, wait_until, within};
use life::{Life, verdict};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ringpipe::{ErrorKind, PidNamespace, Ring};

/// Long enough for a waiting process to look for dead ones several times.
const SOME_LOOKS: Duration = Duration::from_millis(300);

/// Not a test: what the lives run.
#[test]
fn life() {
    life::live_if_told();
}

fn ring(what: &str, items: &[&str]) -> (TestName, Ring) {
    let name = TestName::new(what);
    let ring = options().capacity(8).slot_size(64).create(&name).unwrap();
    let mut producer = ring.producer().unwrap();
    items.iter().for_each(|item| producer.send(item.as_bytes()).unwrap());
    (name, ring)
}

/// How a process gets a PID namespace here: as root, or as root of a user namespace.
fn unshare() -> Option<Vec<&'static str>> {
    let own = vec!["--pid", "--fork", "--kill-child", "--mount-proc"];
    let as_root = [vec!["--map-root-user"], own.clone()].concat();
    let found = [own, as_root].into_iter().find(|arguments| {
        let quiet = Command::new("unshare").args(arguments).arg("true").stderr(Stdio::null()).status();
        quiet.is_ok_and(|status| status.success())
    });
    if found.is_none() {
        report("liveness: NOT TRIED: no PID namespaces here (unshare --pid is refused, or there is none)");
    }
    found
}

/// No participant is taken for dead: not by observing, not by repairing, and not by a wait for an item.
fn assert_no_live_participant_is_recovered(ring: &Ring, living: usize) {
    assert_eq!(verdict(ring), format!("alive {living} dead 0"));
    assert!(!ring.repair().any());
    let held = ring.snapshot().unwrap().held;
    let mut waiting = ring.consumer().unwrap();
    let seen = waiting.recv_timeout(SOME_LOOKS).map(|item| item.to_vec());
    assert_eq!(seen.map_err(|error| error.kind()), Err(ErrorKind::TimedOut));
    drop(waiting);
    let still: Vec<u64> = ring.snapshot().unwrap().held.iter().map(|one| one.slot).collect();
    assert_eq!(still, held.iter().map(|one| one.slot).collect::<Vec<_>>());
    assert_eq!(verdict(ring), format!("alive {living} dead 0"));
}

/// A dead participant's item goes to the waiting consumer, and to no other.
fn assert_comes_again(ring: &Ring, expected: &str) {
    let (ring, expected) = (ring.clone(), expected.to_string());
    within("it comes again", move || {
        let mut consumer = ring.consumer().unwrap();
        let item = consumer.recv().unwrap();
        assert_eq!((&*item, item.attempt()), (expected.as_bytes(), 2));
        item.ack();
    });
}

fn is_in_state(pid: Pid, state: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.contains(&format!(") {state} "))
}

/// The process id in what a life says: `holds 12`, `child 12 Forked`.
fn pid_in(words: &str) -> Pid {
    let number = words.split(' ').nth(1).and_then(|word| word.parse().ok());
    Pid::from_raw(number.unwrap_or_else(|| panic!("{words:?} names no process")))
}

#[test]
fn a_process_with_a_reused_process_id_is_not_taken_for_the_dead_one() {
    let Some(unshare) = unshare() else { return };
    let (name, ring) = ring("reuse", &["item"]);
    let mut life = Life::apart(&unshare, "reuse", &name);
    let words = life.says();
    report(&format!("liveness: process ids {words}"));
    assert!(words.starts_with("reused 19 times") || words.starts_with("skipped"), "{words}");
    drop(life);
    ring.remove().unwrap();
}

#[test]
fn processes_with_equal_ids_in_two_pid_namespaces_are_told_apart() {
    let Some(unshare) = unshare() else { return };
    let (name, ring) = ring("equal", &["one", "two"]);
    let mut first = Life::apart(&unshare, "holder", &name);
    assert_eq!(first.says(), "holds 1");
    let mut second = Life::apart(&unshare, "holder", &name);
    assert_eq!(second.says(), "holds 1");
    let elsewhere = Some(PidNamespace::Other);
    assert!(ring.participants().iter().all(|one| one.pid == 1 && one.pid_namespace == elsewhere));
    assert_eq!((first.does("look"), second.does("look")), ("alive 2 dead 0".into(), "alive 2 dead 0".into()));
    assert_no_live_participant_is_recovered(&ring, 2);
    first.kill();
    wait_until("seen as dead", || verdict(&ring) == "alive 1 dead 1");
    assert_eq!(second.does("look"), "alive 1 dead 1");
    assert_comes_again(&ring, "one");
    assert_no_live_participant_is_recovered(&ring, 1);
    assert_eq!(second.does("ack"), "done");
    drop((first, second));
    wait_until("the last one's end", || verdict(&ring) != "alive 1 dead 0");
    ring.remove().unwrap();
}

#[test]
fn a_zombie_is_dead() {
    let (name, ring) = ring("zombie", &["item"]);
    let mut victim = RemoteActor::attached(&name, "consumer");
    assert_eq!(victim.does("recv"), "got 1 item");
    victim.signal(Signal::SIGKILL);
    // Its first thread is one before the others, which hold the lock, are gone.
    wait_until("a zombie", || is_in_state(victim.pid(), "Z") && verdict(&ring) == "alive 0 dead 1");
    assert_comes_again(&ring, "item");
    assert!(is_in_state(victim.pid(), "Z"), "its parent has not waited for it");
    assert_eq!(ring.participants(), []);
    ring.remove().unwrap();
}

#[test]
fn a_process_that_looks_like_a_zombie_because_its_main_thread_has_ended_is_alive() {
    let (name, ring) = ring("headless", &["item"]);
    let mut life = Life::of("headless", &name);
    let pid = pid_in(&life.says());
    wait_until("a dead main thread", || is_in_state(pid, "Z"));
    assert_no_live_participant_is_recovered(&ring, 1);
    assert_eq!(life.does("ack"), "done");
    kill(pid, Signal::SIGKILL).unwrap();
    wait_until("seen as dead", || verdict(&ring) == "alive 0 dead 1");
    assert!(ring.repair().any());
    ring.remove().unwrap();
}

#[test]
fn a_forked_child_neither_acts_for_its_parent_nor_ends_its_participation() {
    let (name, ring) = ring("child", &["item"]);
    let mut parent = Life::of("parent", &name);
    let words = parent.says();
    let child = pid_in(&words);
    // Both have a place: the parent's, and the child's own.
    assert_eq!(words, format!("child {child} Forked alive 2 dead 0"));
    assert_no_live_participant_is_recovered(&ring, 2);
    kill(child, Signal::SIGKILL).unwrap();
    wait_until("the child is seen as dead", || verdict(&ring) == "alive 1 dead 1");
    assert!(ring.repair().any());
    assert_no_live_participant_is_recovered(&ring, 1);
    assert_eq!(parent.does("ack"), "done");
    assert!(ring.is_drained());
    drop(parent);
    wait_until("seen as dead or gone", || verdict(&ring) != "alive 1 dead 0");
    ring.remove().unwrap();
}

/// A limit that docs/RELIABILITY.md names: the kernel knows only that a process holds the description; the child does.
#[test]
fn a_parent_that_is_killed_is_dead_as_soon_as_no_child_holds_its_descriptors() {
    let (name, ring) = ring("orphan", &["item"]);
    let mut parent = Life::of("parent", &name);
    let child = pid_in(&parent.says());
    parent.kill();
    wait_until("a zombie", || is_in_state(parent.pid(), "Z"));
    assert_no_live_participant_is_recovered(&ring, 2);
    kill(child, Signal::SIGKILL).unwrap();
    wait_until("both are seen as dead", || verdict(&ring) == "alive 0 dead 2");
    assert_comes_again(&ring, "item");
    ring.remove().unwrap();
}

#[test]
fn a_child_that_executes_another_program_does_not_keep_its_dead_parent_alive() {
    let (name, ring) = ring("exec", &["item"]);
    let mut parent = Life::of("parent-of-sleep", &name);
    let words = parent.says();
    let child = pid_in(&words);
    assert_eq!(words, format!("child {child} Forked"));
    let comm = format!("/proc/{child}/comm");
    wait_until("sleep", || std::fs::read_to_string(&comm).is_ok_and(|name| name == "sleep\n"));
    assert_no_live_participant_is_recovered(&ring, 1);
    parent.kill();
    wait_until("seen as dead", || verdict(&ring) == "alive 0 dead 1");
    assert_comes_again(&ring, "item");
    kill(child, Signal::SIGKILL).expect("it sleeps on");
    ring.remove().unwrap();
}

#[test]
fn handles_of_one_process_see_each_other_alive_and_leave_one_by_one() {
    let (name, ring) = ring("handles", &["item"]);
    let mut looker = Life::of("looker", &name);
    let mut first = ring.consumer().unwrap();
    let mut second = Ring::open(&name).unwrap().consumer().unwrap();
    let producer = ring.producer().unwrap();
    let item = first.recv().unwrap();
    assert_eq!(looker.does("look"), "alive 3 dead 0");
    assert_no_live_participant_is_recovered(&ring, 3);
    let seen = second.recv_timeout(SOME_LOOKS).map(|item| item.to_vec());
    assert_eq!(seen.map_err(|error| error.kind()), Err(ErrorKind::TimedOut), "its neighbour's item is held");
    item.ack();
    drop(first);
    assert_eq!((looker.does("look"), verdict(&ring)), ("alive 2 dead 0".into(), "alive 2 dead 0".into()));
    assert_no_live_participant_is_recovered(&Ring::open(&name).unwrap(), 2);
    drop((second, producer));
    assert_eq!(looker.does("look"), "alive 0 dead 0");
    ring.remove().unwrap();
}
