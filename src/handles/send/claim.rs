//! Claims room for a producer in one attempt, and gives up claims.

use std::sync::atomic::AtomicU64;

use super::core::{Core, Place, RoomWait};
use super::scan::look_for_room;
use crate::layout::head;
use crate::membership::Role;
use crate::membership::stream_state::StreamState;
use crate::protocol::{Claim, Full};
use crate::sys::clock::Deadline;
use crate::wait::{Depth, TurnPatience, WaitProgress, WaitRequest, WaitStrategy, light_fence};
use crate::{Error, Result};

impl Core {
    /// Claims room without waiting and without a thorough look; `first`, `most` and `fit` as in
    /// `RingCore::claim_room`.
    #[inline(always)]
    pub fn claim_now<W: RoomWait>(
        &mut self,
        first: u64,
        most: u64,
        fit: impl Fn(u64) -> u64,
    ) -> Result<Claim> {
        let participant = &self.place.participant;
        participant.check()?;
        if self.strategy.takes_turns() {
            return self.claim_in_turn::<W>(first, most, &fit);
        }
        if self.place.fairness.holds_back(self.fairness(), participant.number) {
            return Err(self.refusal());
        }
        match participant.slots.claim_room(participant.number, first, most, fit) {
            Ok(claim) => self.refuse_if_closed(claim),
            Err(Full { .. }) => Err(self.refusal()),
        }
    }

    /// The same for a discipline in which only one participant looks at a time.
    #[cold]
    #[inline(never)]
    fn claim_in_turn<W: RoomWait>(
        &mut self,
        first: u64,
        most: u64,
        fit: &dyn Fn(u64) -> u64,
    ) -> Result<Claim> {
        let look = |place: &Place, depth| look_for_room(place, depth, false, first, most, &fit);
        match self.look_once::<W>(first, Depth::Quick, false, look)? {
            Some(claim) => self.refuse_if_closed(claim),
            None => Err(self.refusal()),
        }
    }

    /// One look for room of `first` slots, as the ring's discipline requires, without sleeping.
    pub fn look_once<W: RoomWait>(
        &mut self,
        first: u64,
        depth: Depth,
        waits: bool,
        mut look: impl FnMut(&Place, Depth) -> Result<Option<Claim>>,
    ) -> Result<Option<Claim>> {
        let patience = if W::SLEEPS { TurnPatience::Moment } else { TurnPatience::None };
        let Core { place, strategy, .. } = self;
        let participant = &place.participant;
        let (deadline, weight) = (Deadline::immediate(), &|claim: &Claim| participant.slots.run(*claim));
        let request = WaitRequest { slots: first, deadline, stop: None, patience, waits, weight };
        let claim = strategy
            .attempt(participant.endpoint(Role::Producer), &request, depth, |depth| look(place, depth));
        // Discard what was found in memory that was lost meanwhile.
        participant.check()?;
        claim
    }

    #[inline(always)]
    fn refusal(&self) -> Error {
        // Returned here, not from a function of its own: an error that is passed through memory would force the
        // claim, which shares its place in the result, through memory too.
        if self.stream().is_closed() { Error::Closed } else { Error::Full }
    }

    /// Reads the stream state after the claim. So a consumer that finds the ring closed, and then finds no claim
    /// of this producer, knows that this producer will find the ring closed.
    #[inline(always)]
    pub fn refuse_if_closed(&mut self, claim: Claim) -> Result<Claim> {
        // E4: with the heavy fence of `stream_ended`.
        light_fence(self.participant().mapping().head_word(head::FENCES));
        if self.stream().is_closed() {
            self.give_up(claim);
            return Err(Error::Closed);
        }
        Ok(claim)
    }

    /// Gives up a claim, and wakes a consumer that may wait for the items behind it.
    #[cold]
    pub fn give_up(&mut self, claim: Claim) {
        self.participant().slots.abandon(claim);
        self.strategy
            .done(self.place.participant.endpoint(Role::Producer), WaitProgress { items: 1, slots: 0 });
        self.give_room_back(self.participant().slots.run(claim));
    }

    /// Gives up room that was claimed and is not needed.
    #[cold]
    #[inline(never)]
    pub fn give_room_back(&self, slots: u64) {
        let endpoint = self.participant().endpoint(Role::Producer);
        self.strategy.wake_now(endpoint.own, endpoint.ring, WaitProgress { items: slots, slots });
    }

    /// Lets others look for room, under a discipline in which only one participant looks at a time.
    #[inline]
    pub fn end_turn(&mut self) {
        if self.strategy.takes_turns() {
            self.end_this_turn();
        }
    }

    #[cold]
    #[inline(never)]
    fn end_this_turn(&mut self) {
        self.strategy.end_turn(self.place.participant.endpoint(Role::Producer));
    }

    #[inline]
    pub fn fairness(&self) -> &AtomicU64 {
        self.participant().mapping().head_word(head::FAIRNESS)
    }

    #[inline]
    fn stream(&self) -> StreamState {
        StreamState::read(self.participant().mapping().head_word(head::STREAM_STATE))
    }
}
