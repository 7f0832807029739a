//! What a recovery and a leave change, one by one, checked right afterwards. Other participants repair nearly all
//! of it later: the next in turn takes over from the dead, sleepers look after a slice, a request expires. So a test
//! that only sees every process continue does not notice a missing step.

use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::sys::signal::Signal;
use ringpipe::internal::layout::geometry::HEAD_BYTES;
use ringpipe::internal::layout::{entry, head};
use ringpipe::{Activity, Discipline, Liveness, ParticipantInfo, Repaired, Ring, RingOptions};

use crate::support::actor::RemoteActor;
use crate::support::{TestName, wait_until};

fn ring(what: &str, discipline: Discipline) -> (TestName, Ring) {
    let name = TestName::new(what);
    let mut ring = RingOptions::new().capacity(8).slot_size(64).sync(discipline).create(&name).unwrap();
    ring.set_death_watch(false);
    (name, ring)
}

/// Kills it, and returns when the kernel says so.
fn killed(ring: &Ring, victim: &RemoteActor) -> u32 {
    victim.signal(Signal::SIGKILL);
    let dead = || ring.participants().into_iter().find(|one| one.liveness == Liveness::Dead);
    wait_until("it is dead", || dead().is_some());
    dead().unwrap().number
}

/// Overwrites what a semaphore counts.
fn forge_tokens(name: &TestName, semaphore: u64, tokens: u32) {
    let file = File::options().write(true).open(name.path()).unwrap();
    file.write_all_at(&tokens.to_ne_bytes(), semaphore).unwrap();
}

#[test]
fn recovered_items_and_slots_count_again_in_the_semaphores() {
    let (name, ring) = ring("counts-again", Discipline::Semaphore);
    let tokens = || {
        let snapshot = ring.snapshot().unwrap();
        (snapshot.items_semaphore.0, snapshot.room_semaphore.0)
    };
    let mut sender = ring.producer().unwrap();
    sender.send(b"one").unwrap();
    sender.send(b"two").unwrap();
    let mut holder = RemoteActor::attached(&name, "consumer");
    assert_eq!(holder.does("recv"), "got 1 one");
    assert_eq!(tokens(), (1, 6));
    killed(&ring, &holder);
    assert_eq!(ring.repair(), Repaired { participants: 1, abandoned: 0, returned: 1 });
    assert_eq!(tokens(), (2, 6), "the item that came back");
    let mut writer = RemoteActor::attached(&name, "producer");
    assert_eq!(writer.does("reserve half"), "reserved");
    assert_eq!(tokens(), (2, 5));
    killed(&ring, &writer);
    assert_eq!(ring.repair(), Repaired { participants: 1, abandoned: 1, returned: 0 });
    assert_eq!(tokens(), (2, 6), "the room that was given up");
    let total = Repaired { participants: 2, abandoned: 1, returned: 1 };
    assert_eq!(ring.snapshot().unwrap().recovered, total, "the ring counts both");
    ring.remove().unwrap();
}

#[test]
fn a_recovery_ends_the_dead_participants_turn_and_no_others() {
    let (name, ring) = ring("turn-ends", Discipline::Semaphore);
    let _living = ring.consumer().unwrap();
    let living = ring.participants()[0].number;
    for (of_the_dead, tokens) in [(true, 0), (true, 1), (false, 0)] {
        let victim = RemoteActor::attached(&name, "producer");
        let dead = killed(&ring, &victim);
        let owner = if of_the_dead { dead } else { living };
        name.forge(head::MUTEX_OWNER, 7 << 16 | (u64::from(owner) + 1));
        forge_tokens(&name, head::MUTEX_SEMAPHORE, tokens);
        assert_eq!(ring.repair().participants, 1);
        let expected = if of_the_dead { (1, None) } else { (0, Some(living)) };
        assert_eq!(ring.snapshot().unwrap().mutex, expected, "{of_the_dead}, {tokens}");
    }
    ring.remove().unwrap();
}

#[test]
fn a_recovery_withdraws_the_dead_participants_fairness_request_and_no_others() {
    let (name, ring) = ring("request", Discipline::Adaptive);
    for of_the_dead in [true, false] {
        let victim = RemoteActor::attached(&name, "producer");
        let dead = u64::from(killed(&ring, &victim));
        let request = 1024 * 1_000_000 + if of_the_dead { dead } else { dead + 1 };
        name.forge(head::FAIRNESS, request);
        assert_eq!(ring.repair().participants, 1);
        assert_eq!(name.word(head::FAIRNESS), if of_the_dead { 0 } else { request });
    }
    ring.remove().unwrap();
}

#[test]
#[cfg(target_env = "gnu")]
fn a_recovery_removes_the_dead_participant_from_the_semaphores_waiters() {
    let (name, ring) = ring("turn-asleep", Discipline::Semaphore);
    let victim = RemoteActor::attached(&name, "producer");
    killed(&ring, &victim);
    // glibc counts sleepers in the upper half.
    name.forge(head::MUTEX_SEMAPHORE, 1 << 32 | 1);
    assert_eq!(ring.repair().participants, 1);
    assert_eq!(name.word(head::MUTEX_SEMAPHORE), 1);
    ring.remove().unwrap();
}

#[test]
fn leaving_or_recovery_frees_the_entry_keeps_its_counts_and_wakes_all_sleepers() {
    for dies in [true, false] {
        let (name, ring) = ring("goes", Discipline::Adaptive);
        let mut one = RemoteActor::attached(&name, "producer");
        assert_eq!(one.does("send one"), "sent");
        let _others = (ring.consumer().unwrap(), ring.consumer().unwrap(), ring.producer().unwrap());
        name.forge(head::ITEMS_WAITING, 3);
        name.forge(head::ROOM_WAITING, 2);
        let events = || name.word(head::EVENTS) / head::EVENT_OTHER;
        let before = events();
        if dies {
            killed(&ring, &one);
            assert_eq!(ring.repair(), Repaired { participants: 1, abandoned: 0, returned: 0 });
        } else {
            assert_eq!(one.does("leave"), "left");
        }
        assert_eq!(ring.participants().len(), 3, "dies: {dies}");
        let snapshot = ring.snapshot().unwrap();
        assert_eq!(snapshot.totals.sent, 1, "dies: {dies}");
        assert!(events() > before, "the next look is thorough; dies: {dies}");
        assert_eq!((name.word(head::ITEMS_WAITING), name.word(head::ROOM_WAITING)), (0, 0));
        // After a death no more tokens than handles: an announcement too many was the dead one's.
        let posted = if dies { (2, 1) } else { (3, 2) };
        assert_eq!((snapshot.items_semaphore.0, snapshot.room_semaphore.0), posted, "dies: {dies}");
        ring.remove().unwrap();
    }
}

#[test]
fn killed_sleepers_leave_no_more_announcements_and_tokens_than_there_are_handles() {
    for discipline in Discipline::ALL.iter().copied().filter(|discipline| discipline.sleeps()) {
        for (role, what, waiting, semaphore) in [
            (Activity::WaitingForItems, "consumer", head::ITEMS_WAITING, head::ITEMS_SEMAPHORE),
            (Activity::WaitingForRoom, "producer", head::ROOM_WAITING, head::ROOM_SEMAPHORE),
        ] {
            let (name, ring) = ring("left-behind", discipline);
            let mut sender = ring.producer().unwrap();
            if role == Activity::WaitingForRoom {
                (0..ring.capacity()).for_each(|_| sender.send(b"full").unwrap());
            }
            let waits = || {
                let mut one = RemoteActor::attached(&name, what);
                one.told(if what == "consumer" { "recv" } else { "send one" });
                wait_until("it waits", || {
                    ring.participants()
                        .iter()
                        .any(|it| it.pid as i32 == one.pid().as_raw() && it.activity == role)
                });
                one
            };
            let survivor = waits();
            for _ in 0..30 {
                let victim = waits();
                victim.signal(Signal::SIGKILL);
                // The survivor may recover from the death first.
                wait_until("it is dead", || {
                    let alive = |it: &ParticipantInfo| it.liveness != Liveness::Dead;
                    ring.participants().iter().filter(|it| alive(it)).count() == 2
                });
                ring.repair();
            }
            // One of them sleeps, and the token of the last recovery may be there.
            wait_until("what they left is forgotten", || {
                name.word(waiting) + (name.word(semaphore) & u64::from(u32::MAX)) <= 2
            });
            drop(survivor);
            ring.remove().unwrap();
        }
    }
}

#[test]
fn the_next_holder_of_a_number_begins_with_an_empty_entry() {
    let (name, ring) = ring("begins", Discipline::Adaptive);
    let mut first = RemoteActor::attached(&name, "producer");
    assert_eq!(first.does("send one"), "sent");
    assert_eq!(first.does("leave"), "left");
    // As if it had been killed while it waited.
    name.forge(HEAD_BYTES + entry::ACTIVITY, 1);
    let next = ring.producer().unwrap();
    let seen = &ring.participants()[0];
    assert_eq!((seen.number, seen.activity), (0, Activity::Busy));
    assert_eq!(ring.snapshot().unwrap().totals.sent, 1);
    drop(next);
    assert_eq!(ring.snapshot().unwrap().totals.sent, 1, "counted once");
    ring.remove().unwrap();
}

#[test]
fn participants_killed_asleep_are_not_shown_as_sleepers() {
    for discipline in Discipline::ALL.iter().copied().filter(|discipline| discipline.sleeps()) {
        let (name, ring) = ring("asleep", discipline);
        let asleep = || {
            let snapshot = ring.snapshot().unwrap();
            (snapshot.items_semaphore.1, snapshot.room_semaphore.1)
        };
        let mut sleepers: Vec<RemoteActor> =
            (0..3).map(|_| RemoteActor::attached(&name, "consumer")).collect();
        sleepers.iter_mut().for_each(|sleeper| sleeper.told("recv"));
        wait_until("three sleep", || asleep() == (3, 0));
        for living in (0..3).rev() {
            sleepers[living].signal(Signal::SIGKILL);
            let alive = |one: &ParticipantInfo| one.liveness != Liveness::Dead;
            wait_until("one more is dead", || {
                ring.participants().iter().filter(|one| alive(one)).count() == living
            });
            for _ in 0..100 {
                assert!(asleep().0 <= living as u64, "{discipline}: {:?} with {living} alive", asleep());
            }
        }
        ring.remove().unwrap();
    }
}
