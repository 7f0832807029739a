//! Deaths are noticed by threads that sleep until then.

use std::time::Duration;

use nix::sys::signal::Signal;
use ringpipe::{Consumer, Error, Liveness, Ring};

use crate::support::actor::RemoteActor;
use crate::support::{TestName, options, wait_until};

fn ring(what: &str) -> (TestName, Ring) {
    let name = TestName::new(what);
    let ring = options().capacity(8).slot_size(64).create(&name).unwrap();
    (name, ring)
}

/// Waits for longer than a slice, for nothing.
fn wait_in_vain(consumer: &mut Consumer) {
    assert!(matches!(consumer.recv_timeout(Duration::from_millis(150)), Err(Error::TimedOut)));
}

/// Whether this process has a thread that watches for deaths.
pub fn watches(actor: &RemoteActor) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", actor.pid())).unwrap();
    let mut names = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.any(|name| name.trim() == "ringpipe-watch")
}

fn dead(ring: &Ring) -> usize {
    ring.participants().iter().filter(|one| one.liveness == Liveness::Dead).count()
}

#[test]
fn a_participant_that_has_waited_recovers_dead_ones_while_its_thread_does_other_work() {
    let (name, ring) = ring("watch");
    let mut idle = ring.consumer().unwrap();
    let mut victim = RemoteActor::attached(&name, "consumer");
    ring.producer().unwrap().send(b"held").unwrap();
    assert_eq!(victim.does("recv"), "got 1 held");
    wait_in_vain(&mut idle);
    victim.signal(Signal::SIGKILL);
    // Only the watch of `idle` looks.
    wait_until("the dead participant is recovered, and its item waits", || {
        let seen = ring.snapshot().unwrap();
        (dead(&ring), seen.held.len(), seen.ready) == (0, 0, 1)
    });
    assert_eq!(idle.recv().unwrap().attempt(), 2);
    ring.remove().unwrap();
}

#[test]
fn a_participant_with_the_death_watch_off_does_not_watch() {
    let (name, mut ring) = ring("no-watch");
    ring.set_death_watch(false);
    let mut idle = ring.consumer().unwrap();
    let mut victim = RemoteActor::attached(&name, "consumer");
    ring.producer().unwrap().send(b"held").unwrap();
    assert_eq!(victim.does("recv"), "got 1 held");
    wait_in_vain(&mut idle);
    victim.signal(Signal::SIGKILL);
    wait_until("it is dead", || dead(&ring) == 1);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(dead(&ring), 1, "it has been recovered");
    assert_eq!(idle.recv().unwrap().attempt(), 2, "a waiting consumer recovers it");
    ring.remove().unwrap();
}

#[test]
fn two_participants_watch_and_a_third_replaces_one_that_dies() {
    let (name, ring) = ring("watch-two");
    let mut all: Vec<RemoteActor> = (0..4).map(|_| RemoteActor::attached(&name, "consumer")).collect();
    // A producer, or they would have nothing to wait for.
    let producer = ring.producer().unwrap();
    all.iter_mut().for_each(|one| one.told("recv"));
    let count = |all: &[RemoteActor]| all.iter().filter(|one| watches(one)).count();
    while all.len() > 1 {
        wait_until("two watch", || count(&all) == 2);
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(count(&all), 2, "no third one");
        let victim = all.iter().position(watches).unwrap();
        all.remove(victim).signal(Signal::SIGKILL);
        if all.len() == 1 {
            wait_until("the last one watches", || count(&all) == 1);
        }
    }
    wait_until("the dead are recovered", || ring.participants().len() == 2);
    drop(producer);
    assert_eq!(all[0].answer(), "Ended");
    ring.remove().unwrap();
}

#[test]
fn the_watch_ends_with_its_handle() {
    let (name, ring) = ring("watch-end");
    let mut one = RemoteActor::attached(&name, "consumer");
    let mut producer = ring.producer().unwrap();
    one.told("recv");
    wait_until("it watches", || watches(&one));
    producer.send(b"x").unwrap();
    assert_eq!(one.answer(), "got 1 x");
    assert_eq!(one.does("ack"), "done");
    assert!(watches(&one), "it watches also while it does something else");
    assert_eq!(one.does("leave"), "left");
    assert!(!watches(&one));
    ring.remove().unwrap();
}
