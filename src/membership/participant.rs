//! A ring participant: it has a number and an entry in the ring's table for as long as the producer or
//! consumer lives.

use std::sync::atomic::Ordering::Relaxed;

use super::Role;
use super::entry::{self, Activity, Counter, WAITING_WITH_ITEMS, counters, fold_counters, state_of};
use super::liveness_probe::LivenessProbe;
use super::memory::{SegmentMemory, SegmentRingCore};
use super::recovery::reap_all;
use super::stream_state::StreamState;
use super::table::{Membership, reap, take_number};
use crate::layout::mapping::Mapping;
use crate::layout::{entry as field, head};
use crate::protocol::RingCore;
use crate::protocol::memory::Memory;
use crate::sys::liveness::ParticipantLock;
use crate::sys::{fence, process};
use crate::wait::Endpoint;
use crate::{Error, Result};

/// Membership in the ring for as long as this value lives. Threads may share it: what a single handle
/// remembers about other participants is in its [`Sweep`](super::sweep::Sweep) and its
/// [`FairnessRequest`](super::fairness::FairnessRequest).
#[derive(Debug)]
pub(crate) struct Participant {
    pub slots: SegmentRingCore,
    pub number: u32,
    pub serial: u32,
    membership: Membership,
    left: bool,
}

impl Participant {
    /// Attaches to the ring of `mapping`.
    pub fn attach(mapping: &Mapping, role: Role) -> Result<Self> {
        process::fork_generation();
        let epoch = process::epoch();
        if mapping.segment().is_lost() {
            return Err(Error::Truncated);
        }
        // Relaxed: only needs to be a number that no other participant has; it orders nothing.
        let serial = mapping.head_word(head::SERIAL).fetch_add(1, Relaxed) as u32;
        if !fence::register() {
            // Relaxed: a waker that does not see it yet may miss a sleeper, which then wakes at the end of
            // its slice.
            mapping.head_word(head::FENCES).store(1, Relaxed);
        }
        let lock = number_for(mapping, role)?;
        let number = lock.number();
        entry::write(mapping, number);
        let membership = Membership::begin(mapping, number, state_of(role, serial), epoch);
        let memory = SegmentMemory::new(mapping, LivenessProbe::Participant(lock));
        let mut participant =
            Participant { slots: RingCore::new(memory), number, serial, membership, left: false };
        if let Err(stream) = StreamState::enter(mapping.head_word(head::STREAM_STATE), role) {
            participant.leave();
            let name = mapping.segment().name().as_str();
            return Err(if stream.is_retired() { Error::NotFound(name.into()) } else { Error::Closed });
        }
        if mapping.geometry().is_exclusive() && role == Role::Producer {
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
    pub fn mapping(&self) -> &Mapping {
        &self.memory().mapping
    }

    /// The ring as a handle of this role sees it.
    pub fn endpoint(&self, role: Role) -> Endpoint<'_> {
        let memory = self.memory();
        let alone = self.mapping().geometry().is_exclusive();
        Endpoint {
            own: memory.sleepers(role),
            other: memory.sleepers(role.other()),
            mutex: (!alone).then(|| memory.mutex()),
            ring: &self.slots,
        }
    }

    /// Fails in a child of the process that attached, and when the mapped memory was lost.
    #[inline]
    pub fn check(&self) -> Result<()> {
        self.membership.check(self.mapping().segment())
    }

    /// See [`Membership::check_entry`]. For handles that wait or search thoroughly.
    ///
    /// # Errors
    /// As [`check`](Self::check); [`Error::Evicted`], from then on at each call.
    #[cold]
    #[inline(never)]
    pub fn check_entry(&self) -> Result<()> {
        self.membership.check_entry(self.mapping(), &self.memory().liveness)
    }

    /// Adds to one of this participant's counters.
    #[inline]
    pub fn count(&self, counter: Counter, more: u64) {
        self.count_all([(counter, more)]);
    }

    /// Adds to several of this participant's counters.
    #[inline]
    pub fn count_all<const N: usize>(&self, counters: [(Counter, u64); N]) {
        const COUNTERS: usize = field::COUNTERS as usize / 8;
        let entry = self.mapping().entry(self.number);
        for (counter, more) in counters {
            let word = &entry[COUNTERS + counter as usize];
            // Relaxed: this thread is the only writer.
            word.store(word.load(Relaxed).wrapping_add(more), Relaxed);
        }
    }

    /// Adds to one of the counters while other threads may do the same.
    #[cold]
    pub fn count_shared(&self, counter: Counter, more: u64) {
        let offset = field::COUNTERS + counter as u64 * 8;
        self.mapping().entry_word(self.number, offset).fetch_add(more, Relaxed); // Relaxed: statistics.
    }

    /// Publishes what this participant is doing.
    pub fn set_activity(&self, activity: Activity) {
        // Relaxed: only this participant writes it. Readers use it for display, or to find the end of the
        // stream, which they check again.
        self.mapping().entry_word(self.number, field::ACTIVITY).store(activity.word(), Relaxed);
    }

    /// Publishes that this consumer waits for items, but that the items it holds still delay the end of the
    /// stream for others.
    pub fn set_waiting_with_items(&self) {
        // Relaxed: as above.
        self.mapping().entry_word(self.number, field::ACTIVITY).store(WAITING_WITH_ITEMS, Relaxed);
    }

    /// Publishes since when this participant holds items. Only rings whose items carry timestamps keep this.
    #[inline]
    pub fn set_held_since(&self, now: impl FnOnce() -> u64) {
        if self.mapping().geometry().has_timestamps() {
            // Relaxed: for display.
            self.mapping().entry_word(self.number, field::HELD_SINCE).store(now(), Relaxed);
        }
    }

    /// Publishes that this participant holds no items, unless a guard still holds some.
    #[inline]
    pub fn clear_held_since(&self) {
        // Check the guards last: most rings do not need the answer.
        if self.mapping().geometry().has_timestamps() && !self.holds() {
            // Relaxed: for display.
            self.mapping().entry_word(self.number, field::HELD_SINCE).store(0, Relaxed);
        }
    }

    /// If a participant that owns a blocking word is dead, recovers from its death. Returns true if that
    /// changed something: the caller should look again.
    pub fn reap_owner(&self, owner: u32) -> bool {
        if owner == self.number || !self.memory().is_dead(owner) {
            return false;
        }
        reap(&self.slots, owner).any()
    }

    /// Counts a new guard that owns a claim. A handle has at most one at a time, unless guards were
    /// forgotten.
    #[inline]
    pub fn guard_made(&self) {
        self.membership.guard_made();
    }

    /// Counts that a guard's claim is resolved.
    #[inline]
    pub fn guard_done(&self) {
        self.membership.guard_done();
    }

    /// Whether any guard owns a claim.
    #[inline]
    pub fn holds(&self) -> bool {
        self.membership.has_guards()
    }

    /// Leaves the ring: frees the entry, then releases the lock. If a forgotten guard still owns a claim, the
    /// entry stays and only the lock is released; other handles then recover the claim as if this participant
    /// had died.
    pub fn leave(&mut self) {
        if std::mem::replace(&mut self.left, true) || self.check().is_err() || self.holds() {
            return;
        }
        // A reaped participant has no entry any more: the counters there may be another participant's.
        if !self.membership.has_entry(self.mapping(), &self.memory().liveness) {
            return;
        }
        fold_counters(self.mapping(), counters(self.mapping(), self.number));
        self.membership.end(self.mapping(), &self.memory().liveness);
        self.memory().announce_event();
    }
}

impl Drop for Participant {
    fn drop(&mut self) {
        self.leave();
    }
}

/// A free number for this role.
fn number_for(mapping: &Mapping, role: Role) -> Result<ParticipantLock> {
    let participants = mapping.geometry().participants;
    let numbers = match (mapping.geometry().is_exclusive(), role) {
        (true, Role::Producer) => 0..1,
        (true, Role::Consumer) => 1..2,
        // The lowest free number first: a short table is fast to scan.
        (false, _) => 0..participants,
    };
    let reap = |observer| {
        let memory = SegmentMemory::new(mapping, LivenessProbe::Observer(observer));
        reap_all(&RingCore::new(memory));
    };
    take_number(mapping, numbers, reap)?.ok_or_else(|| {
        let name = mapping.segment().name().as_str();
        Error::Busy(match mapping.geometry().is_exclusive() {
            true => format!("ring {name:?} is exclusive and has its {role} already").into(),
            false => format!("ring {name:?} has all of its {participants} participants").into(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::geometry::{FLAG_EXCLUSIVE, Geometry};
    use crate::membership::testing::{Ring, attached, dies, ring};
    use std::time::Duration;

    #[test]
    fn a_number_is_not_granted_again_before_recovery_from_its_holders_death() {
        let (_name, ring) = ring(Default::default());
        let number = dies(attached(&ring, Role::Consumer));
        assert_ne!(attached(&ring, Role::Consumer).number, number);
        reap_all(ring.observer());
        assert_eq!(attached(&ring, Role::Consumer).number, number);
    }

    #[test]
    fn attaching_waits_for_a_number_whose_holder_is_leaving() {
        let exclusive = Geometry::new(4, 64, 2, 1, FLAG_EXCLUSIVE).unwrap();
        let (_name, ring) = Ring::new(exclusive);
        let leaving =
            || ParticipantLock::try_acquire(ring.mapping().segment().reopen().unwrap(), 0).unwrap().unwrap();
        let held = leaving();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                drop(held);
            });
            drop(attached(&ring, Role::Producer));
        });
        let _stopped_there = leaving();
        let refused = Participant::attach(ring.mapping(), Role::Producer);
        assert!(matches!(refused, Err(Error::Busy(_))), "but not for ever");
    }

    #[test]
    fn leaving_frees_the_number() {
        let (_name, ring) = ring(Default::default());
        let mut one = attached(&ring, Role::Producer);
        one.leave();
        assert_eq!(attached(&ring, Role::Producer).number, one.number);
    }

    #[test]
    fn a_living_participant_that_was_reaped_reports_it_and_leaves_its_successors_entry_alone() {
        let (_name, ring) = ring(Default::default());
        let one = attached(&ring, Role::Producer);
        one.check_entry().unwrap();
        let state = ring.mapping().entry_word(one.number, field::STATE);
        one.count(Counter::Sent, 5);
        state.store(state_of(Role::Producer, 99), Relaxed);
        drop(one);
        assert_eq!(state.load(Relaxed), state_of(Role::Producer, 99));
        assert_eq!(ring.mapping().head_word(head::TOTALS).load(Relaxed), 0);
        state.store(0, Relaxed);
        let other = attached(&ring, Role::Producer);
        state.store(0, Relaxed);
        assert!(other.check().is_ok(), "which is not looked at where every item passes");
        assert!(matches!(other.check_entry(), Err(Error::Evicted)));
        assert!(matches!(other.check(), Err(Error::Evicted)));
    }

    #[test]
    fn reaping_a_blocking_owner_changes_something_only_if_it_is_dead() {
        let (_name, ring) = ring(Default::default());
        let (one, other) = (attached(&ring, Role::Consumer), attached(&ring, Role::Consumer));
        assert!(!one.reap_owner(one.number) && !one.reap_owner(other.number));
        let number = dies(other);
        assert!(one.reap_owner(number));
        assert_eq!(ring.mapping().entry_word(number, field::STATE).load(Relaxed), 0);
    }
}
