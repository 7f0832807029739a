//! A ring's memory in a segment, together with the probe that asks the kernel which participants are dead.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

use super::Role;
use super::entry::role_of;
use super::liveness_probe::LivenessProbe;
use super::table::{Table, count_in_use};
use crate::Result;
use crate::layout::geometry::Geometry;
use crate::layout::mapping::Mapping;
use crate::layout::{entry, head, header};
use crate::protocol::RingCore;
use crate::protocol::memory::{LocalCursors, Memory};
use crate::sys::liveness::Observer;
use crate::sys::segment::Segment;
use crate::wait::{Mutex, RingState, Signal, Sleepers};

/// The memory of a ring in a mapped segment.
#[derive(Debug)]
pub(crate) struct SegmentMemory {
    pub mapping: Mapping,
    pub liveness: LivenessProbe,
    local_cursors: LocalCursors,
}

/// The ring in a segment.
pub(crate) type SegmentRingCore = RingCore<SegmentMemory>;

/// The sleepers of one role, and the words and semaphore that they use.
#[inline(always)]
pub(crate) fn sleepers(mapping: &Mapping, role: Role) -> Sleepers<'_> {
    let (waiting, semaphore, starts) = match role {
        Role::Consumer => (head::ITEMS_WAITING, head::ITEMS_SEMAPHORE, head::ITEMS_STARTS),
        Role::Producer => (head::ROOM_WAITING, head::ROOM_SEMAPHORE, head::ROOM_STARTS),
    };
    let signal = Signal {
        waiting: mapping.head_word(waiting),
        semaphore: mapping.semaphore(semaphore),
        fences: mapping.head_word(head::FENCES),
    };
    Sleepers { signal, starts: mapping.head_word(starts), consumers: role == Role::Consumer }
}

/// The ring of `mapping`, for a process that does not take part in it.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io) if no descriptor is available.
pub(crate) fn observer(mapping: &Mapping) -> Result<SegmentRingCore> {
    let probe = LivenessProbe::Observer(Observer::new(mapping.segment().reopen()?)?);
    Ok(RingCore::new(SegmentMemory::new(mapping, probe)))
}

impl SegmentMemory {
    /// The ring of `mapping`, for a handle that has only read the counters so far.
    pub fn new(mapping: &Mapping, liveness: LivenessProbe) -> Self {
        let counter = |offset| mapping.head_word(offset).load(Relaxed).into(); // Relaxed: hints.
        let local_cursors = LocalCursors { tail: counter(head::TAIL), head: counter(head::HEAD) };
        SegmentMemory { mapping: mapping.clone(), liveness, local_cursors }
    }

    /// Announces that there may be items to deliver again.
    pub fn announce_returned(&self) {
        // E9: a process that sees the new count finds what was returned before.
        self.returned().fetch_add(head::EVENT_RETURNED, Release);
    }

    /// Announces that a thorough search may find something, and wakes the sleepers of both roles.
    pub fn announce_event(&self) {
        self.count_event();
        self.items().notify_all();
        self.room().notify_all();
    }

    fn count_event(&self) {
        // E9: a process that sees the new count sees what happened before.
        self.returned().fetch_add(head::EVENT_OTHER, Release);
    }

    /// As [`announce_event`](Self::announce_event), for a process that has recovered from a death.
    pub fn announce_recovery(&self) {
        if self.mapping.geometry().discipline.counts_tokens() {
            // Here tokens count slots: none may be taken away. One too many costs a look.
            return self.announce_event();
        }
        self.count_event();
        for role in [Role::Consumer, Role::Producer] {
            let of_role = |state| role_of(state).is_some_and(|(other, _)| other == role);
            self.sleepers(role).signal.wake_survivors(|| count_in_use(&self.mapping, of_role));
        }
    }

    /// The signal that wakes consumers.
    #[inline]
    pub fn items(&self) -> Signal<'_> {
        sleepers(&self.mapping, Role::Consumer).signal
    }

    /// The signal that wakes producers.
    #[inline]
    pub fn room(&self) -> Signal<'_> {
        sleepers(&self.mapping, Role::Producer).signal
    }

    /// The sleepers of one role.
    #[inline]
    pub fn sleepers(&self, role: Role) -> Sleepers<'_> {
        sleepers(&self.mapping, role)
    }

    /// The mutex that orders turns, for disciplines that take turns.
    pub fn mutex(&self) -> Mutex<'_> {
        let owner = self.mapping.head_word(head::MUTEX_OWNER);
        Mutex { owner, semaphore: self.mapping.semaphore(head::MUTEX_SEMAPHORE) }
    }

    /// The length in bytes of the item that begins at `slot` with a claimed run of `run` slots. It never exceeds the
    /// run, whatever its word contains.
    #[inline]
    pub fn length(&self, slot: u64, run: u64) -> u64 {
        let Geometry { fixed, slot_size, .. } = *self.mapping.geometry();
        if fixed > 0 {
            // Each item has one slot.
            fixed
        } else {
            // Relaxed: E1 or E3 ordered it when the item was claimed.
            u64::from(self.mapping.length(slot).load(Relaxed)).min(run * slot_size)
        }
    }

    /// The serial number of the producer of the item at `slot`, and the item's sequence number. In a ring of fixed
    /// items: no producer, and the item's name, which is `name`.
    pub fn producer_and_sequence(&self, slot: u64, name: u64) -> (u32, u64) {
        if self.mapping.geometry().fixed > 0 {
            return (header::NO_PRODUCER, name);
        }
        let [producer, sequence] = self.mapping.header(slot);
        // Relaxed, both: as above.
        let producer = header::producer_in(producer.load(Relaxed));
        (producer, header::sequence_in(sequence.load(Relaxed)))
    }

    /// How many attempts at processing the item at `slot`, which has this name, have failed.
    pub fn failures(&self, slot: u64, name: u64) -> u8 {
        self.failures_in(self.failures_word(slot).load(Relaxed), name) // Relaxed: as above.
    }

    /// The word of the header that has the number of failures.
    pub fn failures_word(&self, slot: u64) -> &AtomicU64 {
        match self.mapping.geometry().fixed {
            0 => &self.mapping.header(slot)[1],
            _ => self.mapping.item_word(slot, header::NAME),
        }
    }

    /// The failures of the item of this name, by that word.
    pub fn failures_in(&self, word: u64, name: u64) -> u8 {
        let of_this = self.mapping.geometry().fixed == 0 || header::sequence_in(word) == name;
        if of_this { header::failures_in(word) } else { 0 }
    }

    /// That word after one more failure of the item of this name.
    pub fn with_failure(&self, word: u64, name: u64) -> u64 {
        let of_this = self.mapping.geometry().fixed == 0 || header::sequence_in(word) == name;
        header::with_failure(if of_this { word } else { header::name(name) })
    }

    /// When that item was sent; `None` in rings without timestamps.
    #[inline]
    pub fn time(&self, slot: u64) -> Option<u64> {
        let timed = self.mapping.geometry().has_timestamps();
        // Relaxed: as above.
        timed.then(|| self.mapping.item_word(slot, header::TIME).load(Relaxed))
    }
}

impl Table for Mapping {
    fn segment(&self) -> &Segment {
        Mapping::segment(self)
    }

    fn participants(&self) -> u32 {
        self.geometry().participants
    }

    fn state(&self, number: u32) -> &AtomicU64 {
        self.entry_word(number, entry::STATE)
    }

    fn highest(&self) -> &AtomicU64 {
        self.head_word(head::NUMBERS)
    }
}

impl RingState for SegmentRingCore {
    fn is_dead(&self, number: u32) -> bool {
        self.memory().is_dead(number)
    }

    fn level(&self) -> u64 {
        let (head, tail) = (self.find_head(), self.find_tail());
        // Other processes moved the counters between the two reads.
        if (tail.wrapping_sub(head) as i64) < 0 { 0 } else { tail.wrapping_sub(head) }
    }
}

impl Memory for SegmentMemory {
    type Atom = AtomicU64;

    #[inline]
    fn capacity(&self) -> u64 {
        self.mapping.geometry().capacity
    }

    #[inline]
    fn is_exclusive(&self) -> bool {
        self.mapping.geometry().is_exclusive()
    }

    #[inline]
    fn word(&self, slot: u64) -> &AtomicU64 {
        self.mapping.word(slot)
    }

    #[inline]
    fn words(&self, slot: u64, count: u64) -> &[AtomicU64] {
        self.mapping.words(slot, count)
    }

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        self.mapping.head_word(head::TAIL)
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        self.mapping.head_word(head::HEAD)
    }

    #[inline]
    fn returned(&self) -> &AtomicU64 {
        self.mapping.head_word(head::EVENTS)
    }

    #[inline]
    fn local_cursors(&self) -> &LocalCursors {
        &self.local_cursors
    }

    #[inline]
    fn name(&self, slot: u64) -> Option<&AtomicU64> {
        (self.mapping.geometry().fixed > 0).then(|| self.mapping.item_word(slot, header::NAME))
    }

    #[inline]
    fn span(&self, slot: u64) -> u64 {
        let geometry = self.mapping.geometry();
        geometry.span(self.length(slot, geometry.capacity / 2))
    }

    fn is_dead(&self, number: u32) -> bool {
        self.liveness.is_dead(number, self.mapping.geometry().participants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::testing::ring;
    use std::fs::File;
    use std::os::unix::fs::OpenOptionsExt;

    #[test]
    fn a_number_beyond_the_table_is_not_dead() {
        let (_name, ring) = ring(Default::default());
        let memory = ring.observer().memory();
        assert!(memory.is_dead(1023));
        assert!(!memory.is_dead(1024) && !memory.is_dead(u32::MAX));
    }

    #[test]
    fn a_liveness_query_that_fails_does_not_mean_dead() {
        let (name, ring) = ring(Default::default());
        // An O_PATH descriptor cannot query locks, and other files have none locked.
        let place = File::options().read(true).custom_flags(libc::O_PATH).open(name.path()).unwrap();
        for fd in [place, File::open("/dev/null").unwrap(), File::open(name.path()).unwrap()] {
            let memory =
                SegmentMemory::new(ring.mapping(), LivenessProbe::Observer(Observer::lost(fd.into())));
            assert!(!memory.is_dead(0));
        }
    }
}
