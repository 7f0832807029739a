//! Waits for room: looks, and sleeps between looks, until a producer has its claim or the deadline passes.

use super::core::{Core, Place, RoomWait};
use super::scan::look_for_room;
use crate::membership::Role;
use crate::membership::entry::Activity;
use crate::membership::fairness;
use crate::membership::recovery::reap_all;
use crate::protocol::Claim;
use crate::sys::clock::Deadline;
use crate::wait::{Depth, TurnPatience, WaitRequest, WaitStrategy};
use crate::{Error, Result};

impl Core {
    /// Claims room until the deadline; if there is none, continues as `wait` prescribes.
    #[cold]
    #[inline(never)]
    pub fn claim<W: RoomWait>(
        &mut self,
        first: u64,
        most: u64,
        fit: impl Fn(u64) -> u64,
        wait: &mut W,
        deadline: Deadline,
    ) -> Result<Claim> {
        // A try asks no producer to hold back.
        let waits = !deadline.passed();
        let look = |place: &Place, depth| look_for_room(place, depth, waits, first, most, &fit);
        wait.claim(self, first, deadline, look)
    }

    /// Looks, and sleeps between looks, until there is room for `first` slots or the deadline passes.
    pub fn wait_for_room(
        &mut self,
        first: u64,
        deadline: Deadline,
        mut look: impl FnMut(&Place, Depth) -> Result<Option<Claim>>,
    ) -> Result<Claim> {
        let Core { place, strategy, stop, .. } = self;
        let participant = &place.participant;
        let slots = &participant.slots;
        participant.set_activity(Activity::WaitingForRoom);
        let weight = &|claim: &Claim| slots.run(*claim);
        let patience = TurnPatience::Until(deadline, stop.as_ref());
        let request =
            WaitRequest { slots: first, deadline, stop: stop.as_ref(), patience, waits: true, weight };
        let there = |more| slots.room_there(first - 1 + more);
        let mut look = |depth| look(place, depth);
        let mut result = strategy.wait(participant.endpoint(Role::Producer), &request, there, &mut look);
        if matches!(result, Err(Error::TimedOut)) {
            // Room that dead participants hold must not be refused to this call.
            reap_all(slots);
            let request = WaitRequest { deadline: Deadline::immediate(), waits: false, ..request };
            result = strategy
                .attempt(participant.endpoint(Role::Producer), &request, Depth::Quick, look)
                .and_then(|claim| claim.ok_or(Error::TimedOut));
        }
        self.waited(first);
        // Discard what was found in memory that was lost meanwhile.
        self.participant().check()?;
        self.refuse_if_closed(result?)
    }

    /// Ends a wait for `first` slots.
    pub fn waited(&self, first: u64) {
        let participant = self.participant();
        let memory = participant.memory();
        participant.set_activity(Activity::Busy);
        if first > 1 {
            fairness::withdraw(self.fairness(), participant.number);
            // Lets the producers that held back continue.
            memory.room().notify_all();
        } else if !self.strategy.takes_turns() && participant.slots.room_there(0) {
            // One wake-up stands for all slots that are free: wake the next producer.
            memory.room().notify(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use crate::handles::testing::ring;
    use crate::layout::head;

    #[test]
    fn a_producer_that_has_waited_wakes_the_next_if_there_is_room_and_all_that_held_back() {
        let (_name, ring) = ring(Default::default());
        let mut producer = ring.producer().unwrap();
        let waiting = ring.mapping().head_word(head::ROOM_WAITING);
        waiting.store(3, Relaxed);
        producer.core.waited(1);
        assert_eq!(waiting.load(Relaxed), 2, "there is room for one more");
        while producer.try_send(b"x").is_ok() {}
        producer.core.waited(1);
        assert_eq!(waiting.load(Relaxed), 2, "there is none");
        producer.core.waited(2);
        assert_eq!(waiting.load(Relaxed), 0, "all producers that held back are woken");
        assert_eq!(producer.core.participant().memory().room().semaphore.value(), 3);
    }
}
