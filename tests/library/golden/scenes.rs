//! What is done to the segments, always the same. Their semaphores and the word that names the system are those of
//! glibc with 64 bits, so the bytes are compared there alone.
#![cfg(all(target_env = "gnu", target_pointer_width = "64", target_endian = "little"))]

use std::time::Duration;

use nix::sys::signal::Signal;
use ringpipe::internal::layout::geometry::{FLAG_EPHEMERAL, FLAG_EXCLUSIVE, FLAG_TIMESTAMPS, Geometry};
use ringpipe::internal::layout::named::{self, ObjectKind};
use ringpipe::sync::{Barrier, Condition, Event, Lock, Semaphore};
use ringpipe::{Discipline, Liveness, RingOptions, Thresholds};

use super::check;
use super::dump::Dump;
use crate::support::actor::RemoteActor;
use crate::support::{TestName, wait_until};

#[test]
fn golden_ring_for_many_with_each_state_of_a_slot_and_a_death() {
    let name = TestName::new("golden");
    let options = RingOptions::new().capacity(16).slot_size(16).participants(6).timestamps(true);
    let ring = options.create(&name).unwrap();
    ring.producer().unwrap().send(b"an item of two slots").unwrap();
    let mut victim = RemoteActor::attached(&name, "consumer");
    assert_eq!(victim.does("recv"), "got 1 an item of two slots");
    victim.signal(Signal::SIGKILL);
    wait_until("it is dead", || ring.participants().iter().any(|one| one.liveness == Liveness::Dead));
    assert_eq!(ring.repair().returned, 1);
    let (mut one, mut other) = (ring.producer().unwrap(), ring.producer().unwrap());
    let (mut holder, mut consumer) = (ring.consumer().unwrap(), ring.consumer().unwrap());
    let held = holder.recv().unwrap();
    assert_eq!((held.attempt(), held.len()), (2, 20));
    one.send(b"acknowledged").unwrap();
    consumer.recv().unwrap().ack();
    let mut late = other.reserve(5).unwrap();
    late.write_at(0, b"late");
    one.send(b"passes it").unwrap();
    consumer.recv().unwrap().ack();
    one.send(b"given back").unwrap();
    let failed = consumer.recv().unwrap().into_owned();
    failed.record_failure();
    failed.give_back();
    // The slots of this one are abandoned, since the next one comes behind them before they are given up.
    let mut third = ring.producer().unwrap();
    let abandoned = third.reserve(18).unwrap();
    one.send(b"ready").unwrap();
    drop(abandoned);
    one.send(b"ready, in two slots").unwrap();
    let mut writing = third.reserve(17).unwrap();
    writing.write_at(0, b"half");
    let geometry = Geometry::new(16, 16, 6, 1, FLAG_TIMESTAMPS).unwrap();
    check("ring_for_many", &Dump::of_ring(&name, &geometry));
    drop((held, late, writing));
    ring.remove().unwrap();
}

#[test]
fn golden_exclusive_ring_of_two_laps() {
    let name = TestName::new("golden");
    let options = RingOptions::new().capacity(4).slot_size(8).exclusive(true).ephemeral(true);
    let ring = options.timestamps(false).expected_producers(3).create(&name).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    for text in ["first", "second, long", "third"] {
        producer.send(text.as_bytes()).unwrap();
        consumer.recv().unwrap().ack();
    }
    producer.send(b"held").unwrap();
    let held = consumer.recv().unwrap();
    producer.send(b"ready").unwrap();
    let geometry = Geometry::new(4, 8, 2, 3, FLAG_EXCLUSIVE | FLAG_EPHEMERAL).unwrap();
    check("ring_exclusive", &Dump::of_ring(&name, &geometry));
    drop(held);
    ring.remove().unwrap();
}

#[test]
fn golden_ring_of_fixed_items_in_rows() {
    let name = TestName::new("golden");
    let ring = RingOptions::new().capacity(16).fixed(5).participants(4).create(&name).unwrap();
    let mut producer = ring.producer().unwrap();
    let (mut holder, mut consumer) = (ring.consumer().unwrap(), ring.consumer().unwrap());
    assert_eq!(producer.send_packed(b"held1held2").unwrap(), 2);
    let held = holder.recv_batch(2).unwrap();
    // Its row is parted.
    assert_eq!(producer.send_packed(b"part1part2part3").unwrap(), 3);
    let part = consumer.recv().unwrap().into_owned();
    assert_eq!(part.record_failure(), 1);
    assert_eq!(producer.send_packed(b"row 1row 2row 3").unwrap(), 3);
    producer.send(b"alone").unwrap();
    let geometry = Geometry::new(16, 8, 4, 1, 0).unwrap().with_fixed(5).unwrap();
    check("ring_fixed", &Dump::of_ring(&name, &geometry));
    drop((held, part));
    ring.remove().unwrap();
}

#[test]
fn golden_rings_of_each_discipline() {
    let batches = Discipline::Monitor(Thresholds { wake_at: 3, resume_at: Some(0) });
    let all = Discipline::ALL.iter().map(|&discipline| (discipline.name(), discipline));
    for (what, discipline) in all.chain([("monitor_3_0", batches)]) {
        let name = TestName::new("golden");
        let options = RingOptions::new().capacity(4).slot_size(8).participants(3).timestamps(false);
        let ring = options.sync(discipline).create(&name).unwrap();
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        for text in [b"1", b"2", b"3"] {
            producer.send(text).unwrap();
        }
        consumer.recv().unwrap().ack();
        let geometry = Geometry::new(4, 8, 3, 1, 0).unwrap().with_discipline(discipline).unwrap();
        check(&format!("ring_{what}"), &Dump::of_ring(&name, &geometry));
        ring.remove().unwrap();
    }
}

#[test]
fn golden_lock_held_and_abandoned() {
    let (name, geometry) = (TestName::new("golden"), named::ObjectLayout::new(ObjectKind::Lock, 0).unwrap());
    let (mut lock, _other) = (Lock::create(&name).unwrap(), Lock::open(&name).unwrap());
    let guard = lock.lock().unwrap();
    check("lock_held", &Dump::of_object(&name, &geometry));
    guard.abandon();
    check("lock_abandoned", &Dump::of_object(&name, &geometry));
    lock.remove().unwrap();
}

#[test]
fn golden_semaphore_with_a_permit_taken_and_one_released() {
    let (name, geometry) =
        (TestName::new("golden"), named::ObjectLayout::new(ObjectKind::Semaphore, 5).unwrap());
    let semaphore = Semaphore::create(&name, 2, 5).unwrap();
    let permit = semaphore.acquire().unwrap();
    semaphore.acquire().unwrap().forget();
    semaphore.release().unwrap();
    check("semaphore", &Dump::of_object(&name, &geometry));
    drop(permit);
    semaphore.remove().unwrap();
}

#[test]
fn golden_condition_with_a_waiter_and_a_notified_waiter() {
    let (name, geometry) =
        (TestName::new("golden"), named::ObjectLayout::new(ObjectKind::Condition, 0).unwrap());
    let mut conditions: Vec<Condition> = vec![Condition::create(&name).unwrap()];
    conditions.extend((0..2).map(|_| Condition::open(&name).unwrap()));
    let wait_word = |number| name.word(geometry.entry(number) + named::entry::WAIT);
    std::thread::scope(|scope| {
        let mut mine = conditions.remove(0);
        let mut waiters = Vec::new();
        for (number, mut condition) in conditions.drain(..).enumerate() {
            waiters.push(scope.spawn(move || {
                let guard = condition.lock().unwrap();
                let (guard, notified) = guard.wait_timeout(Duration::from_secs(60)).unwrap();
                assert!(notified);
                drop(guard);
            }));
            wait_until("it waits", || wait_word(number as u32 + 1) != 0);
        }
        let guard = mine.lock().unwrap();
        assert!(guard.notify_one());
        check("condition", &Dump::of_object(&name, &geometry));
        assert!(guard.notify_one());
        drop(guard);
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        mine.remove().unwrap();
    });
}

#[test]
fn golden_event_that_is_set() {
    let (name, geometry) = (TestName::new("golden"), named::ObjectLayout::new(ObjectKind::Event, 0).unwrap());
    let event = Event::create(&name).unwrap();
    event.set().unwrap();
    check("event", &Dump::of_object(&name, &geometry));
    event.remove().unwrap();
}

#[test]
fn golden_barrier_that_two_have_passed_and_at_which_one_waits() {
    let geometry = named::ObjectLayout::new(ObjectKind::Barrier, 2).unwrap();
    let name = TestName::new("golden");
    let mut barriers: Vec<Barrier> = vec![Barrier::create(&name, 2).unwrap()];
    barriers.extend((0..2).map(|_| Barrier::open(&name).unwrap()));
    std::thread::scope(|scope| {
        let mut mine = barriers.remove(0);
        let [first, second] = &mut barriers[..] else { unreachable!() };
        let waits = scope.spawn(|| first.wait().unwrap());
        wait_until("it waits", || mine.waiting() == 1);
        assert!(mine.wait().unwrap());
        assert!(!waits.join().unwrap());
        let waits = scope.spawn(|| second.wait().unwrap());
        wait_until("it waits", || mine.waiting() == 1);
        // It has released the barrier's lock.
        wait_until("it sleeps", || name.word(named::head::OWNER) == 0);
        check("barrier", &Dump::of_object(&name, &geometry));
        assert!(mine.wait().unwrap());
        assert!(!waits.join().unwrap());
        mine.remove().unwrap();
    });
}
