//! Taking part: a number, an entry in the table, a lock that the kernel releases, and the burial of
//! those that died.
//!
//! A number is free when its entry says so; whoever then gets the lock of its byte has it. An entry that
//! is not free and whose byte is not locked belongs to the dead: everything it owned is recovered first,
//! and only then is the entry freed, so that a number never comes back while its traces are there.

use std::cell::Cell;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::Role;
use super::courtesy;
use super::door::Door;
use super::memory::{Liveness, SegmentMemory, SegmentSlots};
use crate::layout::discipline::Discipline;
use crate::layout::fields::{entry, head};
use crate::layout::view::View;
use crate::ring::memory::Memory;
use crate::ring::{Recovered, Slots};
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
}

impl Participant {
    /// Attaches to the ring of `view`.
    pub fn attach(view: &View, role: Role) -> Result<Self> {
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
        due && word.compare_exchange(before, now, Relaxed, Relaxed).is_ok() && bury_all(&self.slots).any()
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

fn fold_counters(view: &View, number: u32) {
    for counter in 0..head::TOTALS_LEN {
        // Relaxed: statistics.
        let more = view.entry_word(number, entry::COUNTERS + counter * 8).load(Relaxed);
        view.head_word(head::TOTALS + counter * 8).fetch_add(more, Relaxed);
    }
}

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

/// The ring as one sees it who takes no part in it.
pub(super) fn observer(view: &View) -> Result<SegmentSlots> {
    let fd = view.segment().reopen()?;
    let memory = SegmentMemory::new(view, Liveness::Observer(fd));
    Ok(Slots::new(memory))
}
