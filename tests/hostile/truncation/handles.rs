//! The library's handles.

use std::io::{Read, Write};
use std::time::Duration;

use ringpipe::internal::sys::truncation::page_size;
use ringpipe::sync::{Condition, Event, Lock, Semaphore};
use ringpipe::{Discipline, Error, ItemKey, Ring, SlotState, StopFlag, survive_truncation};

use crate::support::actor::RemoteActor;
use crate::support::{TestName, options, wait_until, within};
use crate::truncation::{cut, cut_before_items};

/// Slots of a page, so that the bytes of an item are on a page of their own.
fn slot() -> u64 {
    page_size() as u64
}

/// A ring whose words are on other pages than its items' bytes, and where those begin.
fn ring(what: &str) -> (TestName, Ring, u64) {
    let name = TestName::new(what);
    let (participants, payload) = cut_before_items(8);
    let ring = options().capacity(8).slot_size(slot()).participants(participants).create(&name).unwrap();
    (name, ring, payload)
}

fn is_lost<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Truncated))
}

#[test]
fn every_way_to_send_into_lost_memory_is_refused() {
    survive_truncation().unwrap();
    let long = vec![7; 3 * slot() as usize];
    for way in 0..7 {
        let (name, ring, _) = ring("truncated-send");
        let mut producer = ring.producer().unwrap();
        producer.send(b"there").unwrap();
        cut(&name, 0);
        assert!(is_lost(match way {
            0 => producer.send(b"lost"),
            1 => producer.send(&long),
            2 => producer.send_batch(&["lost", "too"]).map(|_| ()),
            3 => producer.send_timeout(b"lost", Duration::from_secs(9)),
            4 => producer.send_as(ItemKey { producer: 1, sequence: 0 }, b"lost"),
            5 => producer.reserve(4).map(|room| room.commit()),
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
fn attaching_to_lost_memory_fails_with_its_error() {
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
    let mut room = producer.reserve(slot()).unwrap();
    cut(&name, payload);
    assert!(room.write_at(0, &[7; 100]), "the loss is not known yet");
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
    let bytes = vec![7; slot() as usize];
    for way in ["item", "owned item", "batch"] {
        let (name, ring, payload) = ring("truncated-held");
        ring.producer().unwrap().send(&bytes).unwrap();
        let others = Ring::open(&name).unwrap();
        let state = || others.slots().next().unwrap().state;
        let mut consumer = ring.consumer().unwrap();
        if way == "owned item" {
            let item = consumer.recv().unwrap().into_owned();
            cut(&name, payload);
            item.check().unwrap();
            assert_eq!(&*item, b"", "no bytes rather than zeros");
            assert!(is_lost(item.check()));
            item.ack();
        } else if way == "batch" {
            let batch = consumer.recv_batch(4).unwrap();
            batch.check().unwrap();
            // The slots' words stay.
            cut(&name, payload);
            assert_ne!(batch.iter().next().unwrap().to_vec(), bytes);
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
        assert_eq!(others.repair().returned, 1, "a participant that left without its memory counts as dead");
        assert_eq!(state(), SlotState::Redeliver);
        ring.remove().unwrap();
    }
}

#[test]
fn bytes_read_before_the_truncation_stay_valid() {
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
fn a_waiting_handle_gets_the_error_under_each_discipline() {
    survive_truncation().unwrap();
    for &discipline in Discipline::ALL {
        let name = TestName::new("truncated-wait");
        let ring = options().capacity(2).sync(discipline).create(&name).unwrap();
        let full = TestName::new("truncated-full");
        let full_ring = options().capacity(2).sync(discipline).create(&full).unwrap();
        let (mut consumer, mut producer) = (ring.consumer().unwrap(), full_ring.producer().unwrap());
        (0..2).for_each(|_| producer.send(b"x").unwrap());
        let receives = std::thread::spawn(move || is_lost(consumer.recv()));
        let sends = std::thread::spawn(move || is_lost(producer.send(b"x")));
        for (ring, name) in [(&ring, &name), (&full_ring, &full)] {
            wait_until("both wait", || {
                ring.participants().iter().any(|one| one.activity != ringpipe::Activity::Busy)
            });
            cut(name, 0);
        }
        assert!(within("the waiting threads", || receives.join().unwrap() && sends.join().unwrap()));
        assert!(ring.remove().unwrap() && full_ring.remove().unwrap());
    }
}

#[test]
fn the_death_watch_thread_survives_a_truncation() {
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
fn other_rings_of_the_process_keep_working() {
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
fn locks_semaphores_conditions_and_events_in_lost_memory_give_the_error() {
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
fn a_process_that_did_not_ask_to_survive_dies_and_its_items_are_delivered_again() {
    let (name, ring, payload) = ring("truncated-died");
    let mut actor = RemoteActor::attached(&name, "consumer");
    ring.producer().unwrap().send(b"held").unwrap();
    cut(&name, payload);
    actor.told("recv");
    assert_eq!(
        actor.end().and_then(|status| std::os::unix::process::ExitStatusExt::signal(&status)),
        Some(7)
    );
    assert_eq!(ring.repair().returned, 1);
    assert_eq!(ring.slots().next().unwrap().state, SlotState::Redeliver);
    ring.remove().unwrap();
}
