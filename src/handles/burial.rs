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
