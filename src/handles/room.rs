//! How a producer comes by room: at once, by waiting, or by dropping the oldest item.

use std::sync::atomic::AtomicU64;

use super::Role;
use super::courtesy;
use super::door::Door;
use super::participant::{Activity, Counter, Participant};
use super::producer::Producer;
use crate::layout::fields::head;
use crate::ring::word::Tag;
use crate::ring::{Claim, Full};
use crate::sync::{Look, Made, WaitStrategy, Wanted, light_fence};
use crate::sys::clock::Deadline;
use crate::{Error, Result};

impl Producer {
    /// Claims room without waiting and without a thorough look; `first`, `most` and `fit` as in
    /// `Slots::claim_room`.
    #[inline(always)]
    pub(super) fn claim_now(&mut self, first: u64, most: u64, fit: impl Fn(u64) -> u64) -> Result<Claim> {
        self.participant.check()?;
        if self.strategy.takes_turns() {
            return self.claim_in_turn(first, most, &fit);
        }
        if courtesy::is_asked(self.courtesy(), self.participant.number) {
            return Err(self.refusal());
        }
        match self.participant.slots.claim_room(self.participant.number, first, most, fit) {
            Ok(claim) => self.pass_door(claim),
            Err(Full { .. }) => Err(self.refusal()),
        }
    }

    /// The same where one look comes after the other.
    #[cold]
    #[inline(never)]
    fn claim_in_turn(&mut self, first: u64, most: u64, fit: &dyn Fn(u64) -> u64) -> Result<Claim> {
        let look = |participant: &Participant, depth| look_for_room(participant, depth, first, most, &fit);
        match self.look_once(first, Look::Quick, false, look)? {
            Some(claim) => self.pass_door(claim),
            None => Err(self.refusal()),
        }
    }

    /// One look for room of `first` slots as the ring's discipline has it, without sleeping.
    fn look_once(
        &mut self,
        first: u64,
        depth: Look,
        waits: bool,
        mut look: impl FnMut(&Participant, Look) -> Result<Option<Claim>>,
    ) -> Result<Option<Claim>> {
        let Producer { participant, strategy, .. } = self;
        let (deadline, weight) = (Deadline::immediate(), &|claim: &Claim| participant.slots.run(*claim));
        let wanted = Wanted { slots: first, deadline, stop: None, waits, weight };
        let claim = strategy
            .attempt(participant.side(Role::Producer), &wanted, depth, |depth| look(participant, depth));
        // What a look at lost memory says is nothing.
        participant.check()?;
        claim
    }

    #[inline(always)]
    fn refusal(&self) -> Error {
        // Made here, not in a function of its own: an error that is passed through memory takes the claim,
        // which shares its place in the result, with it.
        if self.door().is_closed() { Error::Closed } else { Error::Full }
    }

    /// The door is looked at after the claim: a consumer that finds the ring closed and then finds no
    /// claim of ours can be sure that we will find it closed.
    #[inline(always)]
    fn pass_door(&mut self, claim: Claim) -> Result<Claim> {
        // E4: with the heavy fence of `stream_ended`.
        light_fence(self.participant.view().head_word(head::FENCES));
        if self.door().is_closed() {
            self.give_up(claim);
            return Err(Error::Closed);
        }
        Ok(claim)
    }

    /// Gives up a claim, and wakes a consumer that may have waited for what comes behind it.
    #[cold]
    pub(super) fn give_up(&mut self, claim: Claim) {
        self.participant.slots.abandon(claim);
        self.strategy.done(self.participant.side(Role::Producer), Made { items: 1, slots: 0 });
        self.give_room_back(self.participant.slots.run(claim));
    }

    /// Room that was claimed is not needed.
    #[cold]
    #[inline(never)]
    pub(super) fn give_room_back(&self, slots: u64) {
        let side = self.participant.side(Role::Producer);
        self.strategy.wake_now(side.own, side.around, Made { items: slots, slots });
    }

    /// Lets others look for room, where one look comes after the other.
    #[inline]
    pub(super) fn end_turn(&mut self) {
        if self.strategy.takes_turns() {
            self.end_this_turn();
        }
    }

    #[cold]
    #[inline(never)]
    fn end_this_turn(&mut self) {
        self.strategy.end_turn(self.participant.side(Role::Producer));
    }

    #[inline]
    fn courtesy(&self) -> &AtomicU64 {
        self.participant.view().head_word(head::COURTESY)
    }

    #[inline]
    fn door(&self) -> Door {
        Door::read(self.participant.view().head_word(head::DOOR))
    }

    /// Claims room, and waits for it until the deadline.
    #[cold]
    pub(super) fn claim(
        &mut self,
        first: u64,
        most: u64,
        fit: impl Fn(u64) -> u64,
        deadline: Deadline,
    ) -> Result<Claim> {
        #[cfg(feature = "tokio")]
        if self.by_task.is_some() {
            return self.claim_for_task(first, most, fit, deadline);
        }
        let Producer { participant, strategy, stop, .. } = self;
        let slots = &participant.slots;
        participant.set_activity(Activity::WaitingForRoom);
        let weight = &|claim: &Claim| slots.run(*claim);
        let wanted = Wanted { slots: first, deadline, stop: stop.as_ref(), waits: true, weight };
        let there = |more| slots.room_there(first - 1 + more);
        let look = |look| look_for_room(participant, look, first, most, &fit);
        let result = strategy.wait(participant.side(Role::Producer), &wanted, there, look);
        self.waited(first);
        // What a look at lost memory says is nothing.
        self.participant.check()?;
        self.pass_door(result?)
    }

    /// Claims room where a task does the waiting: one thorough look. `TimedOut` with a deadline that has not
    /// passed: it waits, for what [`stop_waiting`](Self::stop_waiting) ends.
    #[cfg(feature = "tokio")]
    fn claim_for_task(
        &mut self,
        first: u64,
        most: u64,
        fit: impl Fn(u64) -> u64,
        deadline: Deadline,
    ) -> Result<Claim> {
        self.participant.set_activity(Activity::WaitingForRoom);
        self.by_task = Some(first);
        let look = |participant: &Participant, depth| look_for_room(participant, depth, first, most, &fit);
        let found = self.look_once(first, Look::Thorough, true, look);
        if matches!(found, Ok(None)) && !deadline.passed() {
            return Err(Error::TimedOut);
        }
        self.stop_waiting();
        self.pass_door(found?.ok_or(Error::TimedOut)?)
    }

    /// The task waits no longer.
    #[cfg(feature = "tokio")]
    pub(super) fn stop_waiting(&mut self) {
        if let Some(first @ 1..) = self.by_task.replace(0) {
            self.waited(first);
        }
    }

    /// A wait for `first` slots is over.
    fn waited(&self, first: u64) {
        let memory = self.participant.memory();
        self.participant.set_activity(Activity::Busy);
        if first > 1 {
            courtesy::thank(self.courtesy(), self.participant.number);
            // Those who held back may go on.
            memory.room().notify_all();
        } else if !self.strategy.takes_turns() && self.participant.slots.room_there(0) {
            // The wake-up stands for as many as there are slots: pass it on.
            memory.room().notify(1);
        }
    }

    /// Claims room of `span` slots, dropping the oldest items as long as that makes room.
    pub(super) fn claim_dropping(&mut self, span: u64, deadline: Deadline) -> Result<Claim> {
        loop {
            self.participant.check()?;
            let mut full = None;
            // Whatever level a monitor has: who drops does not wait for it.
            let claimed = self.look_once(span, Look::Quick, false, |participant, _| {
                let courtesy = participant.view().head_word(head::COURTESY);
                if courtesy::is_asked(courtesy, participant.number) {
                    return Ok(None);
                }
                let claimed = participant.slots.claim_room(participant.number, span, span, |_| span);
                Ok(claimed.map_err(|found| full = Some(found.slot)).ok())
            })?;
            if let Some(claim) = claimed {
                return self.pass_door(claim);
            }
            let in_the_way = full.is_some_and(|slot| self.participant.slots.is_oldest_in_the_way(slot));
            if !in_the_way || !self.drop_oldest() {
                break;
            }
        }
        // What is in the way is held by somebody, or room is kept for a larger item.
        self.claim(span, span, |_| span, deadline)
    }

    /// Takes the oldest item that nobody holds out of the ring, unread.
    fn drop_oldest(&mut self) -> bool {
        let slots = &self.participant.slots;
        let Ok(claim) = slots.claim_items(self.participant.number, 1, 1) else { return false };
        slots.acknowledge_one(claim);
        let (side, run) = (self.participant.side(Role::Producer), slots.run(claim));
        self.strategy.took(side.other, run);
        self.strategy.wake(side.own, side.around, Made { items: run, slots: run });
        self.participant.count(Counter::DroppedOldest, 1);
        true
    }
}

/// One look for room by one who waits for it.
fn look_for_room(
    participant: &Participant,
    look: Look,
    first: u64,
    most: u64,
    fit: &impl Fn(u64) -> u64,
) -> Result<Option<Claim>> {
    let (slots, me) = (&participant.slots, participant.number);
    participant.check()?;
    let courtesy = participant.view().head_word(head::COURTESY);
    if Door::read(participant.view().head_word(head::DOOR)).is_closed() {
        return Err(Error::Closed);
    }
    if courtesy::is_asked(courtesy, me) {
        return Ok(None);
    }
    if look == Look::Aside {
        participant.sweep_in_turn();
        return Ok(None);
    }
    match slots.claim_room(me, first, most, fit) {
        Ok(claim) => return Ok(Some(claim)),
        Err(_) if look == Look::Quick => return Ok(None),
        Err(full) => {
            // Only consumers make this room, and only others' claims could keep it from us.
            if first > 1 && full.word.tag() == Tag::Ready {
                courtesy::ask(courtesy, me);
            }
            let buried = full.word.is_owned() && participant.bury_owner(full.word.owner());
            if !(participant.sweep_in_turn() || buried) {
                return Ok(None);
            }
        }
    }
    Ok(slots.claim_room(me, first, most, fit).ok())
}

/// Full, where not waiting was asked for.
pub(super) fn full(error: Error) -> Error {
    match error {
        Error::TimedOut => Error::Full,
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handles::testing::{attached, dies, ring};
    use crate::layout::fields::entry;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn whoever_has_waited_wakes_the_next_if_there_is_room_for_it_and_all_who_held_back() {
        let (_name, ring) = ring(Default::default());
        let mut producer = ring.producer().unwrap();
        let waiting = ring.view().head_word(head::ROOM_WAITING);
        waiting.store(3, Relaxed);
        producer.waited(1);
        assert_eq!(waiting.load(Relaxed), 2, "there is room for one more");
        while producer.try_send(b"x").is_ok() {}
        producer.waited(1);
        assert_eq!(waiting.load(Relaxed), 2, "there is none");
        producer.waited(2);
        assert_eq!(waiting.load(Relaxed), 0, "all who held back");
        assert_eq!(producer.participant.memory().room().semaphore.value(), 3);
    }

    #[test]
    fn a_dead_writer_in_the_way_is_buried_and_its_room_taken_at_once() {
        let (_name, ring) = ring(Default::default());
        let (mut dead, mut producer) = (ring.producer().unwrap(), ring.producer().unwrap());
        std::mem::forget(dead.reserve(1).unwrap());
        drop(dead);
        (0..3).for_each(|_| producer.try_send(b"x").unwrap());
        // Not its turn to look for all the dead, unless this machine is slow.
        ring.view().head_word(head::SWEPT_AT).store(crate::sys::clock::coarse_ns(), Relaxed);
        let found = look_for_room(&producer.participant, Look::Thorough, 1, 1, &|_| 1);
        assert_eq!(found.unwrap().map(|claim| claim.position), Some(4));
    }

    #[test]
    fn who_finds_no_room_buries_the_dead_if_it_is_time() {
        let (_name, ring) = ring(Default::default());
        let mut producer = ring.producer().unwrap();
        (0..4).for_each(|_| producer.try_send(b"x").unwrap());
        let number = dies(attached(&ring, Role::Consumer));
        let found = look_for_room(&producer.participant, Look::Thorough, 1, 1, &|_| 1);
        assert!(matches!(found, Ok(None)));
        assert_eq!(ring.view().entry_word(number, entry::STATE).load(Relaxed), 0);
    }
}
