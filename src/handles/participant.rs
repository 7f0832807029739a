//! Taking part: a number, an entry in the table, and a lock that the kernel releases.
//!
//! A number is free when its entry says so; whoever then gets the lock of its byte has it. An entry that
//! is not free and whose byte is not locked belongs to the dead: everything it owned is recovered first,
//! and only then is the entry freed, so that a number never comes back while its traces are there.

use std::cell::{Cell, OnceCell};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::Role;
use super::burial::{bury, bury_all, forget_dead_sleepers};
use super::door::Door;
use super::memory::{Liveness, SegmentMemory, SegmentSlots};
use super::watch::DeathWatch;
use crate::layout::fields::{entry, head};
use crate::layout::view::View;
use crate::ring::Slots;
use crate::ring::memory::Memory;
use crate::sync::{SLICE, Side};
use crate::sys::liveness::ParticipantLock;
use crate::sys::{clock, fence, process};
use crate::{Error, Result};

/// What a participant is doing, as its entry tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Its own work, or nothing.
    Busy,
    /// It waits for items.
    WaitingForItems,
    /// It waits for room.
    WaitingForRoom,
}

impl Activity {
    pub(super) fn of(word: u64) -> Self {
        match word {
            1 => Activity::WaitingForItems,
            2 => Activity::WaitingForRoom,
            _ => Activity::Busy,
        }
    }
}

/// The counters of a participant, in the order of the entry's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counter {
    Sent = 0,
    Received = 1,
    Acknowledged = 2,
    Returned = 3,
    DroppedNewest = 4,
    DroppedOldest = 5,
    BytesSent = 6,
    BytesReceived = 7,
}

/// The state word of an entry in use.
pub(super) fn state_of(role: Role, serial: u32) -> u64 {
    let role = match role {
        Role::Producer => 1,
        Role::Consumer => 2,
    };
    role << 32 | serial as u64
}

/// Role and serial number of an entry in use; `None` for a free one, or for bits that nobody writes.
pub(super) fn role_of(state: u64) -> Option<(Role, u32)> {
    match state >> 32 {
        1 => Some((Role::Producer, state as u32)),
        2 => Some((Role::Consumer, state as u32)),
        _ => None,
    }
}

/// A place in the ring, for as long as it lives.
#[derive(Debug)]
pub(super) struct Participant {
    pub slots: SegmentSlots,
    pub number: u32,
    pub serial: u32,
    /// See `process::epoch`.
    epoch: Cell<u64>,
    left: bool,
    /// Guards that own a claim: a handle has at most one at a time, unless some were forgotten.
    guards: Cell<u32>,
    /// From when on this participant watches for deaths, on the coarse clock, if it may.
    watches_from: Option<u64>,
    watch: OnceCell<DeathWatch>,
}

impl Participant {
    /// Attaches to the ring of `view`. It `watches` for deaths if it stays for longer than a slice: before, it
    /// has no use for a thread.
    pub fn attach(view: &View, role: Role, watches: bool) -> Result<Self> {
        process::fork_generation();
        let epoch = Cell::new(process::epoch());
        if view.segment().is_lost() {
            return Err(Error::Truncated);
        }
        // Relaxed: a number no other participant has; it orders nothing.
        let serial = view.head_word(head::SERIAL).fetch_add(1, Relaxed) as u32;
        if !fence::register() {
            // Relaxed: until a waker sees it, wake-ups that are missed are made good by slices.
            view.head_word(head::FENCES).store(1, Relaxed);
        }
        let (lock, number) = take_number(view, role)?;
        write_entry(view, number, role, serial);
        let memory = SegmentMemory::new(view, Liveness::Participant(lock));
        let mut participant = Participant {
            slots: Slots::new(memory),
            number,
            serial,
            epoch,
            left: false,
            guards: Cell::new(0),
            watches_from: watches.then(|| clock::coarse_ns() + SLICE.as_nanos() as u64),
            watch: OnceCell::new(),
        };
        if let Err(door) = Door::enter(view.head_word(head::DOOR), role) {
            participant.leave();
            let name = view.segment().name().as_str();
            return Err(if door.is_retired() { Error::NotFound(name.into()) } else { Error::Closed });
        }
        if view.geometry().is_exclusive() && role == Role::Producer {
            participant.slots.resume_tail();
        }
        participant.check()?;
        Ok(participant)
    }

    #[inline]
    pub fn memory(&self) -> &SegmentMemory {
        self.slots.memory()
    }

    #[inline]
    pub fn view(&self) -> &View {
        &self.memory().view
    }

    /// The ring as the side of this role sees it.
    pub fn side(&self, role: Role) -> Side<'_> {
        let memory = self.memory();
        let alone = self.view().geometry().is_exclusive();
        Side {
            own: memory.sleepers(role),
            other: memory.sleepers(role.other()),
            mutex: (!alone).then(|| memory.mutex()),
            around: &self.slots,
        }
    }

    /// Refuses to work in a child of the process that attached, and where the memory is lost.
    #[inline]
    pub fn check(&self) -> Result<()> {
        self.view().segment().check(&self.epoch)
    }

    /// Adds to one of this participant's counters.
    #[inline]
    pub fn count(&self, counter: Counter, more: u64) {
        self.count_all([(counter, more)]);
    }

    /// Adds to several of them.
    #[inline]
    pub fn count_all<const N: usize>(&self, counters: [(Counter, u64); N]) {
        const COUNTERS: usize = entry::COUNTERS as usize / 8;
        let entry = self.view().entry(self.number);
        for (counter, more) in counters {
            let word = &entry[COUNTERS + counter as usize];
            // Relaxed: this participant is the only writer.
            word.store(word.load(Relaxed).wrapping_add(more), Relaxed);
        }
    }

    /// Says what this participant is doing.
    pub fn set_activity(&self, activity: Activity) {
        let word = match activity {
            Activity::Busy => 0,
            Activity::WaitingForItems => 1,
            Activity::WaitingForRoom => 2,
        };
        // Relaxed: only writer; for display, and for the end of stream, which is looked for again.
        self.view().entry_word(self.number, entry::ACTIVITY).store(word, Relaxed);
    }

    /// Says since when this participant holds items; 0 for none. Kept only where items carry times.
    #[inline]
    pub fn set_held_since(&self, now: impl FnOnce() -> u64) {
        if self.view().geometry().has_timestamps() {
            // Relaxed: only writer, for display.
            self.view().entry_word(self.number, entry::HELD_SINCE).store(now(), Relaxed);
        }
    }

    /// Buries the dead if nobody has looked for them in the last slice.
    pub fn sweep_in_turn(&self) -> bool {
        let word = self.view().head_word(head::SWEPT_AT);
        let now = clock::coarse_ns();
        let before = word.load(Relaxed); // Relaxed: only decides who looks.
        // A time to come is a lie: look.
        let due = now.wrapping_sub(before) >= SLICE.as_nanos() as u64 * 3 / 4;
        if !due || word.compare_exchange(before, now, Relaxed, Relaxed).is_err() {
            return false;
        }
        self.keep_watch(now);
        forget_dead_sleepers(self.memory());
        bury_all(&self.slots).any()
    }

    fn keep_watch(&self, now: u64) {
        match self.watch.get() {
            Some(watch) => watch.look(self.view()),
            None if self.watches_from.is_some_and(|from| now >= from) => {
                // If there is no seat now, there may be one after the next slice.
                if let Some(watch) = DeathWatch::start(self.view()) {
                    let _ = self.watch.set(watch);
                }
            }
            None => {}
        }
    }

    /// Buries the owner of a word that stands in the way, if it is dead. True: look again.
    pub fn bury_owner(&self, owner: u32) -> bool {
        if owner == self.number || !self.memory().is_dead(owner) {
            return false;
        }
        bury(&self.slots, owner).any()
    }

    /// Takes note of a guard that owns a claim.
    #[inline]
    pub fn guard_made(&self) {
        self.guards.set(self.guards.get() + 1);
    }

    /// Takes note that its claim is resolved.
    #[inline]
    pub fn guard_done(&self) {
        self.guards.set(self.guards.get().wrapping_sub(1));
    }

    /// Leaves: the entry is freed, then the lock. What a forgotten guard still owns is recovered as from the
    /// dead: the entry stays, and the lock goes.
    pub fn leave(&mut self) {
        if std::mem::replace(&mut self.left, true) || self.check().is_err() {
            return;
        }
        if self.guards.get() != 0 {
            return;
        }
        let view = self.view();
        fold_counters(view, self.number);
        // E11: who finds the entry free finds nothing owned by this number.
        view.entry_word(self.number, entry::STATE).store(0, Release);
        tell_news(self.memory());
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.leave();
    }
}

/// News that are no returned items: they count in the word's high half.
const OTHER_NEWS: u64 = 1 << 32;

/// Says that a thorough look is worth it, and wakes those that sleep.
pub(super) fn tell_news(memory: &SegmentMemory) {
    // E9: who sees the count sees what happened before.
    memory.returned().fetch_add(OTHER_NEWS, Release);
    memory.items().notify_all();
    memory.room().notify_all();
}

fn take_number(view: &View, role: Role) -> Result<(ParticipantLock, u32)> {
    let participants = view.geometry().participants;
    let numbers: Vec<u32> = match (view.geometry().is_exclusive(), role) {
        (true, Role::Producer) => vec![0],
        (true, Role::Consumer) => vec![1],
        // The lowest first, so that the table is short to look through.
        (false, _) => (0..participants).collect(),
    };
    for _ in 0..3 {
        let mut fd = view.segment().reopen()?;
        for &number in &numbers {
            let state = view.entry_word(number, entry::STATE);
            // E11: nothing is owned by a free number.
            if state.load(Acquire) != 0 {
                continue;
            }
            match ParticipantLock::try_acquire(fd, number)? {
                Ok(lock) if state.load(Acquire) == 0 => return Ok((lock, number)),
                // Somebody came and died between the two looks.
                Ok(lock) => {
                    drop(lock);
                    fd = view.segment().reopen()?;
                }
                Err(same) => fd = same,
            }
        }
        let memory = SegmentMemory::new(view, Liveness::Observer(fd));
        bury_all(&Slots::new(memory));
    }
    let name = view.segment().name().as_str();
    Err(Error::Busy(match view.geometry().is_exclusive() {
        true => format!("ring {name:?} is exclusive and has its {role} already").into(),
        false => format!("ring {name:?} has all of its {participants} participants").into(),
    }))
}

/// The numbers that may be in use.
pub(super) fn numbers(view: &View) -> std::ops::Range<u32> {
    // Relaxed: a participant that is not seen yet is not dead yet, and counts at the door.
    let highest = view.head_word(head::NUMBERS).load(Relaxed);
    0..highest.min(view.geometry().participants as u64) as u32
}

fn write_entry(view: &View, number: u32, role: Role, serial: u32) {
    let pid = process::id();
    let set = |offset, value| view.entry_word(number, offset).store(value, Relaxed); // Relaxed: for display.
    set(entry::PID, pid as u64);
    set(entry::START_TIME, process::start_time(pid).unwrap_or(0));
    let command = process::command_name();
    let (low, high) = command.split_at(8);
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().unwrap_or_default());
    set(entry::COMMAND, word(low));
    set(entry::COMMAND + 8, word(high));
    set(entry::ATTACHED_AT, clock::realtime_ns());
    set(entry::ACTIVITY, 0);
    set(entry::HELD_SINCE, 0);
    for counter in 0..head::TOTALS_LEN {
        set(entry::COUNTERS + counter * 8, 0);
    }
    // E11, both: who sees the entry in use sees what it says, and looks that far.
    view.head_word(head::NUMBERS).fetch_max(number as u64 + 1, Release);
    view.entry_word(number, entry::STATE).store(state_of(role, serial), Release);
}

pub(super) fn fold_counters(view: &View, number: u32) {
    for counter in 0..head::TOTALS_LEN {
        // Relaxed: statistics.
        let more = view.entry_word(number, entry::COUNTERS + counter * 8).load(Relaxed);
        view.head_word(head::TOTALS + counter * 8).fetch_add(more, Relaxed);
    }
}

/// The ring as one sees it who takes no part in it.
pub(super) fn observer(view: &View) -> Result<SegmentSlots> {
    let fd = view.segment().reopen()?;
    let memory = SegmentMemory::new(view, Liveness::Observer(fd));
    Ok(Slots::new(memory))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handles::testing::{attached, dies, ring};
    use std::time::Duration;

    #[test]
    fn a_number_is_not_granted_again_before_its_last_holder_is_buried() {
        let (_name, ring) = ring(Default::default());
        let number = dies(attached(&ring, Role::Consumer));
        assert_ne!(attached(&ring, Role::Consumer).number, number);
        bury_all(ring.observer());
        assert_eq!(attached(&ring, Role::Consumer).number, number);
    }

    #[test]
    fn one_in_a_slice_looks_for_the_dead_and_tells_the_watch_who_came() {
        let (_name, ring) = ring(Default::default());
        let one = attached(&ring, Role::Consumer);
        let (watch, hear) = DeathWatch::heard(ring.view());
        one.watch.set(watch).unwrap();
        let swept_at = ring.view().head_word(head::SWEPT_AT);
        for long_ago_or_to_come in [0, u64::MAX] {
            dies(attached(&ring, Role::Producer));
            swept_at.store(long_ago_or_to_come, Relaxed);
            assert!(one.sweep_in_turn());
            hear.recv_timeout(Duration::from_secs(20)).unwrap();
        }
        // On a busy machine the slice may be over before it looks.
        assert!((0..100).any(|_| {
            dies(attached(&ring, Role::Producer));
            swept_at.store(clock::coarse_ns(), Relaxed);
            !one.sweep_in_turn()
        }));
    }

    #[test]
    fn who_stands_in_the_way_is_buried_if_it_is_dead() {
        let (_name, ring) = ring(Default::default());
        let (one, other) = (attached(&ring, Role::Consumer), attached(&ring, Role::Consumer));
        assert!(!one.bury_owner(one.number) && !one.bury_owner(other.number));
        let number = dies(other);
        assert!(one.bury_owner(number));
        assert_eq!(ring.view().entry_word(number, entry::STATE).load(Relaxed), 0);
    }
}
