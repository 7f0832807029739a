//! The burial of those that died: what they owned is recovered, and their numbers become free.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::Role;
use super::courtesy;
use super::memory::{SegmentMemory, SegmentSlots};
use super::participant::{Activity, fold_counters, numbers, role_of, tell_news};
use crate::layout::discipline::Discipline;
use crate::layout::fields::{entry, head};
use crate::ring::Recovered;
use crate::ring::memory::Memory;

/// What a burial found and changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Buried {
    /// Dead participants whose entries were freed.
    pub participants: u64,
    /// Half-written claims that were given up.
    pub abandoned: u64,
    /// Items that will be delivered again.
    pub returned: u64,
}

impl Buried {
    /// Whether anything was changed.
    pub fn any(&self) -> bool {
        *self != Buried::default()
    }

    fn add(&mut self, participants: u64, recovered: Recovered) {
        self.participants += participants;
        self.abandoned += recovered.abandoned;
        self.returned += recovered.returned;
    }
}

/// Recovers what dead participant `number` owned, then frees its entry.
pub(super) fn bury(slots: &SegmentSlots, number: u32) -> Buried {
    let view = &slots.memory().view;
    let state = view.entry_word(number, entry::STATE);
    let before = state.load(Acquire); // E11.
    let mut buried = Buried::default();
    let recovered = slots.recover(number);
    buried.add(0, recovered);
    if view.geometry().discipline == Discipline::Semaphore {
        // What was counted for what it held counts again.
        slots.memory().sleepers(Role::Consumer).add_tokens(recovered.filled);
        slots.memory().sleepers(Role::Producer).add_tokens(recovered.room);
    }
    if slots.memory().is_dead(number) {
        // Before the number is granted again.
        slots.memory().mutex().release(number);
    }
    // The recovery was of this state's holder only if it is dead still: then nobody else has come since.
    if before != 0
        && slots.memory().is_dead(number)
        && state.compare_exchange(before, 0, AcqRel, Relaxed).is_ok()
    {
        fold_counters(view, number);
        courtesy::thank(view.head_word(head::COURTESY), number);
        buried.participants = 1;
        // It may have died waiting for its turn.
        slots.memory().mutex().semaphore.forget_sleepers();
    }
    if buried.any() {
        tell_news(slots.memory());
    }
    buried
}

/// Buries all the dead.
pub(super) fn bury_all(slots: &SegmentSlots) -> Buried {
    let view = &slots.memory().view;
    let mut total = Buried::default();
    for number in numbers(view) {
        // Relaxed: looked at again before anything is changed.
        let in_use = view.entry_word(number, entry::STATE).load(Relaxed) != 0;
        if in_use && slots.memory().is_dead(number) {
            let buried = bury(slots, number);
            total.participants += buried.participants;
            total.abandoned += buried.abandoned;
            total.returned += buried.returned;
        }
    }
    total
}

/// Whether somebody of a wanted role is attached and may be alive. Those found dead are buried.
pub(super) fn any(slots: &SegmentSlots, wanted: impl Fn(Role) -> bool) -> bool {
    let view = &slots.memory().view;
    numbers(view).any(|number| {
        // E11: its role is its present holder's.
        let state = view.entry_word(number, entry::STATE).load(Acquire);
        let found = role_of(state).is_some_and(|(role, _)| wanted(role));
        if found && slots.memory().is_dead(number) {
            bury(slots, number);
            return false;
        }
        found
    })
}

/// Has the semaphores forget those that were killed while they slept on them, and on whose account each post
/// would be a system call: see [`forget_sleepers`](crate::sys::semaphore::Semaphore::forget_sleepers).
///
/// Only if nobody alive says that it waits. Who is about to sleep at this moment may miss one post, and looks
/// after a slice.
pub(super) fn forget_dead_sleepers(memory: &SegmentMemory) {
    let view = &memory.view;
    let mutex = memory.mutex().semaphore;
    if mutex.sleepers() > view.geometry().participants {
        // One who was forgotten alive at a burial has woken.
        mutex.forget_sleepers();
    }
    if view.geometry().discipline != Discipline::Semaphore {
        // The others post these only if somebody said that it sleeps.
        return;
    }
    let idle = |activity| {
        !numbers(view).any(|number| {
            // Relaxed: a hint.
            let state = view.entry_word(number, entry::STATE).load(Relaxed);
            let doing = view.entry_word(number, entry::ACTIVITY).load(Relaxed);
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
    use crate::handles::RingOptions;
    use crate::handles::testing::{attached, dies, ring};
    use crate::sys::testing::TestName;

    #[test]
    fn burying_whoever_lives_changes_nothing() {
        let (_name, ring) = ring(Discipline::Semaphore);
        let (view, living) = (ring.view(), attached(&ring, Role::Producer));
        let state = view.entry_word(living.number, entry::STATE).load(Relaxed);
        let turn = 7 << 16 | (u64::from(living.number) + 1);
        view.head_word(head::MUTEX_OWNER).store(turn, Relaxed);
        assert_eq!(bury(ring.observer(), living.number), Buried::default());
        assert_eq!(view.head_word(head::MUTEX_OWNER).load(Relaxed), turn, "its turn goes on");
        assert_eq!(view.entry_word(living.number, entry::STATE).load(Relaxed), state);
    }

    #[test]
    fn of_two_that_bury_one_at_once_one_counts_it() {
        // So many slots that one has not looked through them all before the other begins.
        let name = TestName::new();
        let ring = RingOptions::new().capacity(1 << 15).slot_size(8).create(name.0.as_str()).unwrap();
        for _ in 0..20 {
            let number = dies(attached(&ring, Role::Consumer));
            let begin = std::sync::Barrier::new(2);
            let buries = || {
                begin.wait();
                bury(ring.observer(), number).participants
            };
            let both = std::thread::scope(|scope| {
                let other = scope.spawn(buries);
                buries() + other.join().unwrap()
            });
            assert_eq!(both, 1);
        }
    }

    #[test]
    fn nobody_is_there_when_all_who_came_are_dead_and_they_are_buried() {
        let (_name, ring) = ring(Discipline::Adaptive);
        let number = dies(attached(&ring, Role::Consumer));
        let _other = attached(&ring, Role::Producer);
        assert!(!any(ring.observer(), |role| role == Role::Consumer));
        assert_eq!(ring.view().entry_word(number, entry::STATE).load(Relaxed), 0);
    }

    /// glibc counts sleepers in the upper half.
    #[test]
    #[cfg(target_env = "gnu")]
    fn who_was_killed_asleep_is_forgotten_unless_somebody_alive_says_that_it_waits() {
        let (_name, ring) = ring(Discipline::Semaphore);
        let semaphore = ring.view().head_word(head::ITEMS_SEMAPHORE);
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
    fn more_sleepers_than_participants_are_forgotten_by_the_mutex() {
        let (_name, ring) = ring(Discipline::Monitor(Default::default()));
        let semaphore = ring.view().head_word(head::MUTEX_SEMAPHORE);
        for (sleepers, left) in [(1024, 1024), (1025, 0), (u64::from(u32::MAX), 0)] {
            semaphore.store(sleepers << 32 | 1, Relaxed);
            forget_dead_sleepers(ring.observer().memory());
            assert_eq!(semaphore.load(Relaxed), left << 32 | 1);
        }
    }
}
