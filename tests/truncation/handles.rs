//! The library's handles.

use std::io::{Read, Write};
use std::time::Duration;

use ringpipe::layout::geometry::Geometry;
use ringpipe::sync::{Condition, Event, Lock, Semaphore};
use ringpipe::{Error, Ring, SlotState, StopFlag, survive_truncation};

use crate::cut;
use crate::processes::puppet::Puppet;
use crate::processes::{DISCIPLINES, TestName, options, wait_until, within_20_s};

const SLOT: u64 = 4096;

/// A ring whose words are on other pages than its items' bytes, and where those begin.
fn ring(what: &str) -> (TestName, Ring, u64) {
    let name = TestName::new(what);
    let ring = options().capacity(8).slot_size(SLOT).create(&name).unwrap();
    let geometry = Geometry::new(8, SLOT, 1024, 1, 0).unwrap();
    (name, ring, geometry.payload.next_multiple_of(SLOT))
}

fn is_lost<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Truncated))
}

#[test]
fn what_is_sent_into_lost_memory_is_refused_whatever_way_it_is_sent() {
    survive_truncation().unwrap();
    let long = vec![7; 3 * SLOT as usize];
    for way in 0..6 {
        let (name, ring, _) = ring("truncated-send");
        let mut producer = ring.producer().unwrap();
        producer.send(b"there").unwrap();
        cut(&name, 0);
        assert!(is_lost(match way {
            0 => producer.send(b"lost"),
            1 => producer.send(&long),
            2 => producer.send_batch(&["lost", "too"]).map(|_| ()),
            3 => producer.send_timeout(b"lost", Duration::from_secs(9)),
            4 => producer.reserve(4).map(|room| room.commit()),
            _ => producer.writer(5).write_all(b"lost").map_err(|error| {
                let inner = error.into_inner().expect("the library's").downcast::<Error>();
                *inner.expect("its error")
            }),
        }));
        assert!(is_lost(producer.check()) && is_lost(producer.try_send(b"more")));
        assert!(is_lost(ring.snapshot()) && is_lost(ring.check()) && is_lost(ring.producer()));
        ring.remove().unwrap();
    }
}

#[test]
fn whoever_attaches_to_lost_memory_learns_of_it_known_or_not_and_though_its_place_is_taken() {
    survive_truncation().unwrap();
    let name = TestName::new("truncated-attach");
    let ring = options().capacity(8).exclusive(true).create(&name).unwrap();
    let mut producer = ring.producer().unwrap();
    cut(&name, 0);
    assert!(is_lost(ring.consumer()), "attaching is what finds it");
    assert!(is_lost(ring.producer()) && is_lost(producer.try_send(b"x")));
    ring.remove().unwrap();
}

#[test]
fn a_committed_reservation_is_refused_by_the_check_that_follows() {
    survive_truncation().unwrap();
    let (name, ring, payload) = ring("truncated-commit");
    let mut producer = ring.producer().unwrap();
    let mut room = producer.reserve(SLOT).unwrap();
    cut(&name, payload);
    assert!(room.write_at(0, &[7; 100]), "nobody knows yet that it went nowhere");
    assert!(!room.write_at(0, &[7; 100]));
    let error = room.write(&[7; 100]).unwrap_err();
    assert!(error.to_string().contains("truncated"), "{error}");
    room.commit();
    assert!(is_lost(producer.check()));
    ring.remove().unwrap();
}

#[test]
fn an_item_whose_bytes_are_lost_has_none_and_is_not_acknowledged() {
    survive_truncation().unwrap();
    for batch in [false, true] {
        let (name, ring, payload) = ring("truncated-held");
        ring.producer().unwrap().send(&[7; SLOT as usize]).unwrap();
        let others = Ring::open(&name).unwrap();
        let state = || others.slots().next().unwrap().state;
        let mut consumer = ring.consumer().unwrap();
        if batch {
            let batch = consumer.recv_batch(4).unwrap();
            batch.check().unwrap();
            // The slots' words stay.
            cut(&name, payload);
            assert_ne!(batch.iter().next().unwrap().to_vec(), [7; SLOT as usize]);
            assert!(is_lost(batch.check()));
            batch.ack();
        } else {
            let item = consumer.recv().unwrap();
            cut(&name, payload);
            item.check().unwrap();
            assert_eq!(&*item, b"", "no bytes rather than zeros");
            assert!(is_lost(item.check()));
            item.ack();
        }
        assert_eq!(state(), SlotState::Reading, "it is still held");
        assert!(is_lost(consumer.recv()) && is_lost(consumer.try_recv()) && is_lost(consumer.recv_batch(4)));
        drop(consumer);
        assert_eq!(others.repair().returned, 1, "who left without its memory counts as dead");
        assert_eq!(state(), SlotState::Redeliver);
        ring.remove().unwrap();
    }
}

#[test]
fn bytes_that_were_read_in_time_stay_good() {
    survive_truncation().unwrap();
    let (name, ring, _) = ring("truncated-read");
    ring.producer().unwrap().send(b"in time").unwrap();
    let mut consumer = ring.consumer().unwrap();
    let item = consumer.recv().unwrap();
    assert_eq!(&*item, b"in time");
    cut(&name, 0);
    assert_eq!(&*item, b"in time");
    item.ack();
    assert!(is_lost(consumer.try_recv()));
    ring.remove().unwrap();
}

#[test]
fn iterators_readers_and_typed_handles_end_with_the_error() {
    survive_truncation().unwrap();
    for way in 0..3 {
        let (name, ring, payload) = ring("truncated-ways");
        ring.producer().unwrap().send(&7u64.to_le_bytes()).unwrap();
        let mut consumer = ring.consumer().unwrap();
        // The item is found, and its bytes are missing.
        cut(&name, payload);
        match way {
            0 => assert!(is_lost(consumer.items().next().unwrap())),
            1 => {
                let error = consumer.reader().read(&mut [0; 8]).unwrap_err();
                assert!(error.to_string().contains("truncated"), "{error}");
            }
            _ => assert!(is_lost(consumer.typed::<u64>().recv())),
        }
        ring.remove().unwrap();
    }
}

#[test]
fn who_waits_learns_of_it_under_each_discipline() {
    survive_truncation().unwrap();
    for discipline in DISCIPLINES.iter().map(|(_, one)| *one).chain([Default::default()]) {
        let name = TestName::new("truncated-wait");
        let ring = options().capacity(2).sync(discipline).create(&name).unwrap();
        let full = TestName::new("truncated-full");
        let full_ring = options().capacity(2).sync(discipline).create(&full).unwrap();
        let (mut consumer, mut producer) = (ring.consumer().unwrap(), full_ring.producer().unwrap());
        (0..2).for_each(|_| producer.send(b"x").unwrap());
        let receives = std::thread::spawn(move || is_lost(consumer.recv()));
        let sends = std::thread::spawn(move || is_lost(producer.send(b"x")));
        for (ring, name) in [(&ring, &name), (&full_ring, &full)] {
            wait_until("somebody waits", || {
                ring.participants().iter().any(|one| one.activity != ringpipe::Activity::Busy)
            });
            cut(name, 0);
        }
        assert!(within_20_s("who waited", || receives.join().unwrap() && sends.join().unwrap()));
        assert!(ring.remove().unwrap() && full_ring.remove().unwrap());
    }
}

#[test]
fn the_thread_that_watches_for_deaths_survives_it_too() {
    survive_truncation().unwrap();
    let (name, ring, _) = ring("truncated-watch");
    let mut consumer = ring.consumer().unwrap();
    // It is the only one to look for the dead, and has the thread after the second look at the latest.
    (0..5).for_each(|_| {
        assert!(matches!(consumer.recv_timeout(Duration::from_millis(100)), Err(Error::TimedOut)))
    });
    cut(&name, 0);
    // This does not touch the memory: the thread does, at its next look.
    wait_until("it finds the memory lost", || consumer.check().is_err());
    assert!(is_lost(consumer.check()) && is_lost(consumer.recv()));
    ring.remove().unwrap();
}

#[test]
fn other_rings_of_the_process_go_on() {
    survive_truncation().unwrap();
    let ((name, lost, _), (_other, whole, _)) = (ring("truncated-one"), ring("truncated-other"));
    let (mut producer, mut consumer) = (whole.producer().unwrap(), whole.consumer().unwrap());
    producer.send(b"before").unwrap();
    let item = consumer.recv().unwrap();
    cut(&name, 0);
    assert!(is_lost(lost.snapshot()));
    item.check().unwrap();
    item.ack();
    producer.send(b"after").unwrap();
    assert_eq!(&*consumer.recv().unwrap(), b"after");
    whole.check().unwrap();
    assert!(lost.remove().unwrap() && whole.remove().unwrap());
}

#[test]
fn locks_semaphores_conditions_and_events_are_not_had_from_lost_memory() {
    survive_truncation().unwrap();
    let moment = Duration::from_secs(9);
    let name = TestName::new("truncated-lock");
    let mut lock = Lock::create(&name).unwrap();
    let (stop, second) = (StopFlag::new(), Lock::open(&name).unwrap());
    lock.set_stop_flag(stop);
    cut(&name, 0);
    assert!(is_lost(lock.lock()) && is_lost(lock.try_lock()) && is_lost(lock.lock_timeout(moment)));
    drop(second);
    lock.remove().unwrap();

    let name = TestName::new("truncated-semaphore");
    let semaphore = Semaphore::create(&name, 1, 2).unwrap();
    cut(&name, 0);
    assert!(is_lost(semaphore.try_acquire()));
    assert!(is_lost(semaphore.acquire_timeout(moment)) && is_lost(semaphore.release()));
    semaphore.remove().unwrap();

    let name = TestName::new("truncated-condition");
    let mut condition = Condition::create(&name).unwrap();
    let guard = condition.lock().unwrap();
    cut(&name, 0);
    assert!(is_lost(guard.wait_timeout(moment)));
    assert!(is_lost(condition.lock()));
    condition.remove().unwrap();

    let name = TestName::new("truncated-event");
    let mut event = Event::create(&name).unwrap();
    cut(&name, 0);
    assert!(is_lost(event.wait_timeout(moment)) && is_lost(event.set()) && is_lost(event.reset()));
    event.remove().unwrap();
}

#[test]
fn who_did_not_ask_dies_and_what_it_held_comes_again() {
    let (name, ring, payload) = ring("truncated-died");
    let mut puppet = Puppet::attached(&name, "consumer");
    ring.producer().unwrap().send(b"held").unwrap();
    cut(&name, payload);
    puppet.told("recv");
    assert_eq!(
        puppet.end().and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status)),
        Some(7)
    );
    assert_eq!(ring.repair().returned, 1);
    assert_eq!(ring.slots().next().unwrap().state, SlotState::Redeliver);
    ring.remove().unwrap();
}
