//! The ring's memory as it is in a segment, with the kernel's word on who is dead.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::Role;
use crate::layout::fields::{head, item};
use crate::layout::view::View;
use crate::ring::Slots;
use crate::ring::memory::{Memory, Reach};
use crate::sync::{Around, Mutex, Signal, Sleepers};
use crate::sys::liveness::{self, ParticipantLock};

/// How this handle asks who is alive.
#[derive(Debug)]
pub(super) enum Liveness {
    /// Through the description that holds its own number.
    Participant(ParticipantLock),
    /// Through one that holds nothing.
    Observer(OwnedFd),
}

/// A segment as the ring sees it.
#[derive(Debug)]
pub(super) struct SegmentMemory {
    pub view: View,
    pub liveness: Liveness,
    reach: Reach,
}

/// The ring in a segment.
pub(super) type SegmentSlots = Slots<SegmentMemory>;

/// Those of a role that wait, and what they sleep on.
#[inline(always)]
pub(super) fn sleepers(view: &View, role: Role) -> Sleepers<'_> {
    let (waiting, semaphore, starts) = match role {
        Role::Consumer => (head::ITEMS_WAITING, head::ITEMS_SEMAPHORE, head::ITEMS_STARTS),
        Role::Producer => (head::ROOM_WAITING, head::ROOM_SEMAPHORE, head::ROOM_STARTS),
    };
    let signal = Signal {
        waiting: view.head_word(waiting),
        semaphore: view.semaphore(semaphore),
        fences: view.head_word(head::FENCES),
    };
    Sleepers { signal, starts: view.head_word(starts), consumers: role == Role::Consumer }
}

impl SegmentMemory {
    /// The ring of `view`, for a handle that has seen nothing but the counters.
    pub fn new(view: &View, liveness: Liveness) -> Self {
        let counter = |offset| view.head_word(offset).load(Relaxed).into(); // Relaxed: hints.
        let reach = Reach { tail: counter(head::TAIL), head: counter(head::HEAD) };
        SegmentMemory { view: view.clone(), liveness, reach }
    }

    /// What consumers sleep on.
    #[inline]
    pub fn items(&self) -> Signal<'_> {
        sleepers(&self.view, Role::Consumer).signal
    }

    /// What producers sleep on.
    #[inline]
    pub fn room(&self) -> Signal<'_> {
        sleepers(&self.view, Role::Producer).signal
    }

    /// Those of a role that wait.
    #[inline]
    pub fn sleepers(&self, role: Role) -> Sleepers<'_> {
        sleepers(&self.view, role)
    }

    /// Whose turn it is, in rings of a discipline with turns.
    pub fn mutex(&self) -> Mutex<'_> {
        let owner = self.view.head_word(head::MUTEX_OWNER);
        Mutex { owner, semaphore: self.view.semaphore(head::MUTEX_SEMAPHORE) }
    }

    /// Length in bytes of the item that begins at `slot` with a claimed run of `run` slots, and its
    /// producer's serial number. The length is held within the run whatever the header says.
    #[inline]
    pub fn length_and_producer(&self, slot: u64, run: u64) -> (u64, u32) {
        let header = self.view.header(slot);
        // Relaxed: the claim's E1 or E3 ordered it.
        let producer = (header[0].load(Relaxed) >> 32) as u32;
        (length(header).min(run * self.view.geometry().slot_size), producer)
    }

    /// The producer's count of the item that begins at `slot`.
    #[inline]
    pub fn sequence(&self, slot: u64) -> u64 {
        // Relaxed: as above.
        self.view.header(slot)[1].load(Relaxed)
    }

    /// When that item was sent, in rings with timestamps.
    #[inline]
    pub fn time(&self, slot: u64) -> Option<u64> {
        let timed = self.view.geometry().has_timestamps();
        // Relaxed: as above.
        timed.then(|| self.view.item_word(slot, item::TIME).load(Relaxed))
    }
}

/// The length that a header says, whatever it is.
#[inline]
pub(super) fn length(header: &[AtomicU64]) -> u64 {
    // Relaxed: as above.
    header[0].load(Relaxed) as u32 as u64
}

impl Around for SegmentSlots {
    fn is_dead(&self, number: u32) -> bool {
        self.memory().is_dead(number)
    }

    fn level(&self) -> u64 {
        let (head, tail) = (self.find_head(), self.find_tail());
        // Others went on between the two looks.
        if (tail.wrapping_sub(head) as i64) < 0 { 0 } else { tail.wrapping_sub(head) }
    }
}

impl Memory for SegmentMemory {
    type Atom = AtomicU64;

    #[inline]
    fn capacity(&self) -> u64 {
        self.view.geometry().capacity
    }

    #[inline]
    fn is_exclusive(&self) -> bool {
        self.view.geometry().is_exclusive()
    }

    #[inline]
    fn word(&self, slot: u64) -> &AtomicU64 {
        self.view.word(slot)
    }

    #[inline]
    fn words(&self, slot: u64, count: u64) -> &[AtomicU64] {
        self.view.words(slot, count)
    }

    #[inline]
    fn tail(&self) -> &AtomicU64 {
        self.view.head_word(head::TAIL)
    }

    #[inline]
    fn head(&self) -> &AtomicU64 {
        self.view.head_word(head::HEAD)
    }

    #[inline]
    fn returned(&self) -> &AtomicU64 {
        self.view.head_word(head::NEWS)
    }

    #[inline]
    fn reach(&self) -> &Reach {
        &self.reach
    }

    #[inline]
    fn span(&self, slot: u64) -> u64 {
        let (len, _) = self.length_and_producer(slot, self.view.geometry().capacity / 2);
        self.view.geometry().span(len)
    }

    fn is_dead(&self, number: u32) -> bool {
        // A number that no lock byte belongs to is nobody's: what claims to be owned by it is damage,
        // and is treated as held for ever. A question that the system refuses is not a death.
        if number >= self.view.geometry().participants {
            return false;
        }
        let alive = match &self.liveness {
            Liveness::Participant(lock) => lock.is_alive(number),
            Liveness::Observer(fd) => liveness::is_held(fd.as_fd(), number),
        };
        matches!(alive, Ok(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handles::testing::ring;
    use std::fs::File;
    use std::os::unix::fs::OpenOptionsExt;

    #[test]
    fn a_number_that_nobody_can_have_is_nobodys_and_not_a_dead_ones() {
        let (_name, ring) = ring(Default::default());
        let memory = ring.observer().memory();
        assert!(memory.is_dead(1023));
        assert!(!memory.is_dead(1024) && !memory.is_dead(u32::MAX));
    }

    #[test]
    fn a_question_that_the_system_refuses_is_not_a_death() {
        let (name, ring) = ring(Default::default());
        // What is open only as a place answers nothing about locks.
        let place = File::options().read(true).custom_flags(libc::O_PATH).open(name.path()).unwrap();
        let memory = SegmentMemory::new(ring.view(), Liveness::Observer(place.into()));
        assert!(!memory.is_dead(0));
    }
}
