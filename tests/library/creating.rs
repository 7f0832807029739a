//! Names: making, opening, replacing and removing rings.

use std::collections::HashSet;
use std::sync::{Arc, Barrier};

use ringpipe::internal::sys::segment::NameState;
use ringpipe::{ErrorKind, Ring};

use crate::support::actor::RemoteActor;
use crate::support::{TestName, join_soon, options};

/// Runs `work` in this number of threads, which begin at once.
fn at_once<T: Send + 'static>(threads: usize, work: impl Fn() -> T + Send + Clone + 'static) -> Vec<T> {
    let barrier = Arc::new(Barrier::new(threads));
    let start = |_| {
        let (barrier, work) = (barrier.clone(), work.clone());
        std::thread::spawn(move || {
            barrier.wait();
            work()
        })
    };
    let running: Vec<_> = (0..threads).map(start).collect();
    running.into_iter().map(join_soon).collect()
}

#[test]
fn of_a_hundred_threads_that_create_one_ring_99_get_exists() {
    let name = TestName::new("hundred");
    let theirs = name.to_string();
    let results = at_once(100, move || options().capacity(64).create(&theirs).map_err(|e| e.kind()));
    let refused = results.iter().filter(|result| matches!(result, Err(ErrorKind::Exists))).count();
    let made: Vec<&Ring> = results.iter().flatten().collect();
    assert_eq!((made.len(), refused), (1, 99));
    assert_eq!(Ring::open(&name).unwrap().id(), made[0].id());
    assert!(made[0].remove().unwrap());
}

#[test]
fn of_many_processes_that_create_one_ring_one_succeeds() {
    let name = TestName::new("creators");
    let mut actors: Vec<RemoteActor> = (0..16).map(|_| RemoteActor::new()).collect();
    actors.iter_mut().for_each(|actor| actor.told(&format!("create {}", &*name)));
    let answers: Vec<String> = actors.iter_mut().map(RemoteActor::answer).collect();
    assert_eq!(answers.iter().filter(|answer| *answer == "created").count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| *answer == "Exists").count(), 15, "{answers:?}");
    Ring::open(&name).unwrap().remove().unwrap();
}

#[test]
fn concurrent_open_or_create_calls_get_the_same_ring() {
    for _ in 0..20 {
        let name = TestName::new("either");
        let theirs = name.to_string();
        let ids = at_once(24, move || options().capacity(8).open_or_create(&theirs).unwrap().id());
        assert_eq!(ids.into_iter().collect::<HashSet<_>>().len(), 1);
        Ring::open(&name).unwrap().remove().unwrap();
    }
}

#[test]
fn a_creator_killed_at_any_moment_leaves_a_complete_ring_or_nothing() {
    use nix::sys::signal::Signal;
    let mut made = 0;
    for trial in 0..40 {
        let name = TestName::new("cut");
        let mut actor = RemoteActor::new();
        actor.told(&format!("create {}", &*name));
        std::thread::sleep(std::time::Duration::from_micros(trial * 20));
        actor.signal(Signal::SIGKILL);
        drop(actor);
        match Ring::open(&name) {
            Ok(ring) => {
                ring.producer().unwrap().send(b"whole").unwrap();
                made += 1;
                ring.remove().unwrap();
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
    }
    assert!(made > 0 || cfg!(debug_assertions), "the kills came too early to show anything");
}

#[test]
fn a_handle_notices_that_its_name_was_removed_or_created_again() {
    let name = TestName::new("anew");
    let old = options().capacity(8).create(&name).unwrap();
    assert_eq!(old.name_state().unwrap(), NameState::Current);
    assert!(old.remove().unwrap());
    assert_eq!(old.name_state().unwrap(), NameState::Unlinked);
    let new = options().capacity(8).create(&name).unwrap();
    assert_eq!(old.name_state().unwrap(), NameState::Replaced);
    assert_ne!(old.id(), new.id());
    assert!(!old.remove().unwrap(), "the old ring has no name to remove");
    assert_eq!(new.name_state().unwrap(), NameState::Current);
    assert!(!new.is_closed());
    assert!(new.remove().unwrap());
}

#[test]
fn bad_names_options_and_files_are_refused() {
    let kind = |result: ringpipe::Result<Ring>| result.unwrap_err().kind();
    let name = TestName::new("foreign");
    assert_eq!(kind(Ring::open(&name)), ErrorKind::NotFound);
    assert_eq!(kind(Ring::open("a/b")), ErrorKind::Usage);
    assert_eq!(kind(options().capacity(1).create(&name)), ErrorKind::Usage);
    assert_eq!(kind(options().slot_size(0).create(&name)), ErrorKind::Usage);
    assert_eq!(kind(options().slot_size(u64::MAX).create(&name)), ErrorKind::Usage);
    std::fs::write(name.path(), [7; 8192]).unwrap();
    assert_eq!(kind(Ring::open(&name)), ErrorKind::Incompatible);
    assert_eq!(kind(options().create(&name)), ErrorKind::Exists);
    std::fs::write(name.path(), b"short").unwrap();
    assert_eq!(kind(Ring::open(&name)), ErrorKind::Incompatible);
    std::fs::remove_file(name.path()).unwrap();
    let required = options().capacity(1 << 24).slot_size(1 << 30);
    assert_eq!(kind(required.create(&name)), ErrorKind::NoSpace);
    assert!(!name.exists());
}

#[test]
fn the_last_participant_to_leave_removes_an_ephemeral_ring() {
    for consumer_first in [true, false] {
        let name = TestName::new("ephemeral");
        let ring = options().capacity(8).ephemeral(true).create(&name).unwrap();
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        producer.send(b"x").unwrap();
        consumer.recv().unwrap().ack();
        if consumer_first {
            drop(consumer);
            assert!(name.exists());
            drop(producer);
        } else {
            drop(producer);
            assert!(name.exists());
            drop(consumer);
        }
        assert!(!name.exists(), "consumer first: {consumer_first}");
        // A process that opened it before is too late to attach.
        assert!(ring.is_over());
        assert_eq!(ring.producer().unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(ring.consumer().unwrap_err().kind(), ErrorKind::NotFound);
    }
}

/// Forged: the process that removed it, with its items, was killed between retiring it and removing its name.
#[test]
fn any_participant_that_leaves_a_retired_ring_removes_its_name_with_any_items() {
    use ringpipe::internal::layout::head::STREAM_STATE;
    let name = TestName::new("half-removed");
    let ring = options().capacity(8).ephemeral(true).create(&name).unwrap();
    let consumer = ring.consumer().unwrap();
    ring.producer().unwrap().send(b"x").unwrap();
    name.forge(STREAM_STATE, name.word(STREAM_STATE) | 1 << 62);
    drop(consumer);
    assert!(!name.exists());
}

#[test]
fn an_ephemeral_ring_stays_for_data_that_no_consumer_has_seen() {
    let name = TestName::new("waiting");
    let ring = options().capacity(8).ephemeral(true).create(&name).unwrap();
    ring.producer().unwrap().send(b"for later").unwrap();
    assert!(name.exists());
    let mut consumer = Ring::open(&name).unwrap().consumer().unwrap();
    drop(consumer.recv().unwrap());
    drop(consumer);
    assert!(name.exists(), "the item went back");
    let mut consumer = Ring::open(&name).unwrap().consumer().unwrap();
    consumer.recv().unwrap().ack();
    assert!(consumer.recv().is_err());
    drop(consumer);
    assert!(!name.exists());
}

#[test]
fn an_ephemeral_ring_whose_last_participants_were_killed_is_retired_by_the_next_open() {
    let name = TestName::new("killed-last");
    let ring = options().capacity(8).ephemeral(true).create(&name).unwrap();
    let (mut producer, mut consumer) =
        (RemoteActor::attached(&name, "producer"), RemoteActor::attached(&name, "consumer"));
    assert_eq!(producer.does("send x"), "sent");
    assert_eq!(consumer.does("recv"), "got 1 x");
    // Stopped: between the two kills its death watch would recover the producer.
    consumer.stop();
    drop((producer, consumer));
    assert_eq!(ring.repair().participants, 2);
    let mut consumer = ring.consumer().unwrap();
    let item = consumer.recv().unwrap();
    assert_eq!(item.attempt(), 2);
    item.ack();
    drop(consumer);
    assert!(!name.exists());
}

#[test]
fn an_ephemeral_ring_stays_while_a_follower_waits_for_the_next_producer() {
    let name = TestName::new("followed");
    let ring = options().capacity(8).ephemeral(true).create(&name).unwrap();
    let mut follower = ring.consumer().unwrap();
    follower.set_follow(true);
    for n in 0..3u8 {
        // Each comes by the name, as another process would.
        let mut producer = options().ephemeral(true).open_or_create(&name).unwrap().producer().unwrap();
        producer.send(&[n]).unwrap();
        let item = follower.recv().unwrap();
        assert_eq!(*item, [n]);
        item.ack();
        let mut other = ring.consumer().unwrap();
        drop(producer);
        assert!(other.recv().is_err());
    }
    drop(follower);
    assert!(!name.exists());
}
