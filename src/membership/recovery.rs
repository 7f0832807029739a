//! Recovery from deaths in a ring: repairs what a dead participant owned, and frees its number.

use std::sync::atomic::Ordering::Relaxed;

use super::Role;
use super::deaths;
use super::entry::{Activity, counters, fold_counters, role_of};
use super::fairness;
use super::memory::{SegmentMemory, SegmentRingCore};
use super::repaired::Repaired;
use super::table::{self, Entry, Recover, numbers};
use crate::layout::mapping::Mapping;
use crate::layout::{entry, head};
use crate::protocol::Recovered;
use crate::protocol::memory::Memory;

/// What the repairs of one dead participant found.
pub(crate) struct Found {
    recovered: Recovered,
    counters: [u64; head::TOTALS_LEN as usize],
}

impl Recover for SegmentRingCore {
    type Table = Mapping;
    type Found = Found;
    type Repaired = Repaired;

    fn table(&self) -> &Mapping {
        &self.memory().mapping
    }

    fn is_dead(&self, number: u32) -> bool {
        self.memory().is_dead(number)
    }

    fn repair(&self, entry: &Entry<'_>) -> Found {
        let (memory, number) = (self.memory(), entry.number);
        let mapping = &memory.mapping;
        let recovered = self.recover_while(number, || entry.stands());
        // A participant that left in order frees its entry before its lock, so an entry that still stands
        // means a death.
        if let Some((_, serial)) = role_of(entry.state)
            && entry.stands()
        {
            deaths::mark(mapping, serial, recovered);
        }
        if mapping.geometry().discipline.counts_tokens() {
            // Add back the tokens for the slots that it held.
            memory.sleepers(Role::Consumer).add_tokens(recovered.filled);
            memory.sleepers(Role::Producer).add_tokens(recovered.room);
        }
        if entry.stands() {
            memory.mutex().release(number);
            fairness::withdraw(mapping.head_word(head::FAIRNESS), number);
        }
        if !entry.is_free() && entry.stands() {
            // Another process may have recovered the items and then died or been suspended before it
            // announced them. As long as the entry is in use, the next recovery announces them again.
            memory.announce_returned();
        }
        // Read the counters now: once the entry is free, they may be the next holder's.
        Found { recovered, counters: counters(mapping, number) }
    }

    fn finish(&self, found: Found, freed: bool) -> Repaired {
        let mapping = &self.memory().mapping;
        if freed {
            fold_counters(mapping, found.counters);
            // The participant may have died while it waited for its turn.
            self.memory().mutex().semaphore.forget_sleepers();
        }
        let repaired = Repaired::of(found.recovered, freed);
        if repaired.any() {
            deaths::count(mapping, repaired);
            self.memory().announce_recovery();
        }
        repaired
    }
}

/// Recovers from all deaths.
pub(crate) fn reap_all(slots: &SegmentRingCore) -> Repaired {
    let mut total = Repaired::default();
    table::reap_all(slots, |_| true, |repaired| total.add(repaired));
    total
}

/// Recovers from the deaths of participants of the wanted roles.
pub(crate) fn reap_roles(slots: &SegmentRingCore, wanted: impl Fn(Role) -> bool) {
    table::reap_all(slots, |entry| role_of(entry.state).is_some_and(|(role, _)| wanted(role)), |_| ());
}

/// Whether a participant of a wanted role is attached and may be alive.
pub(crate) fn has_living(slots: &SegmentRingCore, wanted: impl Fn(Role) -> bool) -> bool {
    let mapping = &slots.memory().mapping;
    numbers(mapping).any(|number| {
        role_of(Entry::read(mapping, number).state).is_some_and(|(role, _)| wanted(role))
            && !slots.memory().is_dead(number)
    })
}

/// Makes the semaphores forget sleepers that were killed in their sleep. With such a sleeper counted, each
/// post would be a system call: see
/// [`forget_sleepers`](crate::sys::semaphore::RawSemaphore::forget_sleepers).
///
/// Does so only if no live participant says that it waits. A participant that is about to sleep at this
/// moment may miss one post; it then wakes at the end of its slice.
pub(crate) fn forget_dead_sleepers(memory: &SegmentMemory) {
    let mapping = &memory.mapping;
    let mutex = memory.mutex().semaphore;
    if mutex.sleepers() > mapping.geometry().participants {
        // The count has wrapped below zero: an earlier recovery forgot a live sleeper, which has since woken and
        // subtracted itself.
        mutex.forget_sleepers();
    }
    if !mapping.geometry().discipline.counts_tokens() {
        // Under the other disciplines these are posted only if a participant announced that it sleeps.
        return;
    }
    let idle = |activity| {
        !numbers(mapping).any(|number| {
            // Relaxed: a hint.
            let state = mapping.entry_word(number, entry::STATE).load(Relaxed);
            let doing = mapping.entry_word(number, entry::ACTIVITY).load(Relaxed);
            state != 0 && Activity::of(doing) == activity && !memory.is_dead(number)
        })
    };
    for (role, activity) in
        [(Role::Consumer, Activity::WaitingForItems), (Role::Producer, Activity::WaitingForRoom)]
    {
        let semaphore = memory.sleepers(role).signal.semaphore;
        if semaphore.sleepers() > 0 && idle(activity) {
            semaphore.forget_sleepers();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::discipline::Discipline;
    use crate::membership::entry::Counter;
    use crate::membership::participant::Participant;
    use crate::membership::table::reap;
    use crate::membership::testing::{Ring, attached, dies, geometry, ring};
    use crate::protocol::word::Tag;
    use std::cell::Cell;

    #[test]
    fn reaping_a_live_participant_changes_nothing() {
        let (_name, ring) = ring(Discipline::Semaphore);
        let (mapping, living) = (ring.mapping(), attached(&ring, Role::Producer));
        let state = mapping.entry_word(living.number, entry::STATE).load(Relaxed);
        let turn = 7 << 16 | (u64::from(living.number) + 1);
        mapping.head_word(head::MUTEX_OWNER).store(turn, Relaxed);
        assert_eq!(reap(ring.observer(), living.number), Repaired::default());
        assert_eq!(mapping.head_word(head::MUTEX_OWNER).load(Relaxed), turn, "its turn goes on");
        assert_eq!(mapping.entry_word(living.number, entry::STATE).load(Relaxed), state);
    }

    /// The next holder came after the entry was read and its last holder was found dead.
    #[test]
    fn a_repair_changes_nothing_of_the_next_holder() {
        let (_name, ring) = ring(Discipline::Semaphore);
        let mapping = ring.mapping();
        let dead = attached(&ring, Role::Producer);
        let serial = dead.serial;
        let number = dies(dead);
        let entry = Entry::read(mapping, number);
        mapping.entry_word(number, entry::STATE).store(entry.state + 1, Relaxed);
        let claim = ring.observer().codec().pack(Tag::Writing, 0, 1, number, 0);
        mapping.word(0).store(claim.0, Relaxed);
        let turn = 7 << 16 | (u64::from(number) + 1);
        mapping.head_word(head::MUTEX_OWNER).store(turn, Relaxed);
        fairness::FairnessRequest::new().request(mapping.head_word(head::FAIRNESS), number);
        let words = [head::MUTEX_OWNER, head::FAIRNESS, head::EVENTS];
        let before = words.map(|offset| mapping.head_word(offset).load(Relaxed));
        let found = ring.observer().repair(&entry);
        assert_eq!(found.recovered, Recovered::default());
        assert_eq!(mapping.word(0).load(Relaxed), claim.0);
        assert_eq!(words.map(|offset| mapping.head_word(offset).load(Relaxed)), before);
        assert_eq!(deaths::death_of(mapping, serial), None);
    }

    #[test]
    fn of_two_processes_that_reap_one_participant_one_counts_the_death() {
        // Enough slots that neither process has scanned them all before the other begins.
        let (_name, ring) = Ring::new(geometry(1 << 15, 8, 0));
        for _ in 0..20 {
            let number = dies(attached(&ring, Role::Consumer));
            let begin = std::sync::Barrier::new(2);
            let buries = || {
                begin.wait();
                reap(ring.observer(), number).participants
            };
            let both = std::thread::scope(|scope| {
                let other = scope.spawn(buries);
                buries() + other.join().unwrap()
            });
            assert_eq!(both, 1);
        }
    }

    /// A recovery that another participant overtakes: it gets the number as soon as the entry is free.
    struct Overtaken<'a> {
        ring: &'a Ring,
        next: Cell<Option<Participant>>,
    }

    impl Recover for Overtaken<'_> {
        type Table = Mapping;
        type Found = Found;
        type Repaired = Repaired;

        fn table(&self) -> &Mapping {
            self.ring.mapping()
        }

        fn is_dead(&self, number: u32) -> bool {
            self.ring.observer().is_dead(number)
        }

        fn repair(&self, entry: &Entry<'_>) -> Found {
            self.ring.observer().repair(entry)
        }

        fn finish(&self, found: Found, freed: bool) -> Repaired {
            let next = attached(self.ring, Role::Consumer);
            next.count(Counter::BytesReceived, 1_000_000);
            let fairness = self.ring.mapping().head_word(head::FAIRNESS);
            fairness::FairnessRequest::new().request(fairness, next.number);
            self.next.set(Some(next));
            self.ring.observer().finish(found, freed)
        }
    }

    /// Recovery must not touch the next holder's counters and its request.
    #[test]
    fn a_recovery_touches_nothing_of_the_next_holder() {
        let (_name, ring) = ring(Discipline::Adaptive);
        let word = |offset| ring.mapping().head_word(offset).load(Relaxed);
        let dead = attached(&ring, Role::Consumer);
        dead.count(Counter::BytesReceived, 1);
        let number = dies(dead);
        let overtaken = Overtaken { ring: &ring, next: Cell::default() };
        assert_eq!(reap(&overtaken, number).participants, 1);
        let next = overtaken.next.take().unwrap();
        assert_eq!(next.number, number);
        assert_eq!(word(head::TOTALS + 8 * Counter::BytesReceived as u64), 1, "what the dead one received");
        assert_ne!(word(head::FAIRNESS), 0, "the next holder's request stands");
        drop(next);
        assert_eq!(word(head::TOTALS + 8 * Counter::BytesReceived as u64), 1_000_001);
    }

    #[test]
    fn a_role_whose_participants_are_all_dead_has_no_living_one() {
        let (_name, ring) = ring(Discipline::Adaptive);
        let number = dies(attached(&ring, Role::Consumer));
        let _other = attached(&ring, Role::Producer);
        assert!(!has_living(ring.observer(), |role| role == Role::Consumer));
        assert_ne!(ring.mapping().entry_word(number, entry::STATE).load(Relaxed), 0, "which changes nothing");
        reap_roles(ring.observer(), |role| role == Role::Producer);
        assert_ne!(ring.mapping().entry_word(number, entry::STATE).load(Relaxed), 0, "a consumer");
        reap_roles(ring.observer(), |role| role == Role::Consumer);
        assert_eq!(ring.mapping().entry_word(number, entry::STATE).load(Relaxed), 0);
    }

    /// glibc counts sleepers in the upper half of the word.
    #[test]
    #[cfg(target_env = "gnu")]
    fn a_killed_sleeper_is_forgotten_unless_a_live_participant_says_that_it_waits() {
        let (_name, ring) = ring(Discipline::Semaphore);
        let semaphore = ring.mapping().head_word(head::ITEMS_SEMAPHORE);
        semaphore.store(3 << 32 | 2, Relaxed);
        let waiter = attached(&ring, Role::Consumer);
        waiter.set_activity(Activity::WaitingForItems);
        forget_dead_sleepers(ring.observer().memory());
        assert_eq!(semaphore.load(Relaxed), 3 << 32 | 2, "it lives");
        dies(waiter);
        forget_dead_sleepers(ring.observer().memory());
        assert_eq!(semaphore.load(Relaxed), 2, "it is dead, whatever it says");
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn a_mutex_with_more_sleepers_than_participants_forgets_them() {
        let (_name, ring) = ring(Discipline::Monitor(Default::default()));
        let semaphore = ring.mapping().head_word(head::MUTEX_SEMAPHORE);
        for (sleepers, left) in [(1024, 1024), (1025, 0), (u64::from(u32::MAX), 0)] {
            semaphore.store(sleepers << 32 | 1, Relaxed);
            forget_dead_sleepers(ring.observer().memory());
            assert_eq!(semaphore.load(Relaxed), left << 32 | 1);
        }
    }
}
