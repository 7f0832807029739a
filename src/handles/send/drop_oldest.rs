//! Drops the oldest items to make room for a new one.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::core::{Core, Place, ReturnedSeen, RoomWait};
use super::drop_observer::DropObserver;
use super::scan::{clears_the_way, is_open};
use crate::handles::ItemKey;
use crate::layout::head;
use crate::membership::Role;
use crate::membership::entry::Counter;
use crate::membership::memory::SegmentRingCore;
use crate::membership::participant::Participant;
use crate::protocol::memory::Memory;
use crate::protocol::word::{Tag, Word};
use crate::protocol::{Claim, NoItem};
use crate::sys::clock::{self, Deadline};
use crate::wait::{Depth, StopFlag, Strategy, WaitProgress, WaitStrategy};
use crate::{Error, Result};

/// A producer that drops old items moves past a writer at head that takes longer than this, as consumers do.
const WRITER_PATIENCE_NS: u64 = 5_000_000;

impl Core {
    /// Claims room of `span` slots, dropping the oldest items as long as that makes room. It waits only while the
    /// items in the way are held, and drops again at each look.
    pub fn claim_dropping<W: RoomWait>(
        &mut self,
        span: u64,
        wait: &mut W,
        deadline: Deadline,
    ) -> Result<Claim> {
        let participant = self.participant();
        // The look uses the strategy's own state, so waking others needs another instance.
        let tells = Strategy::new(participant.mapping().geometry().discipline, participant.number);
        let stop = self.stop.clone();
        let mut dropping = Dropping {
            span,
            deadline,
            stop,
            tells,
            writer: None,
            returned: self.returned,
            observer: self.drop_observer.take(),
        };
        // Also when a monitor's level has not been reached: a producer that drops does not wait for it.
        let look = |place: &Place, depth| dropping.look(place, depth);
        let found = self.look_once::<W>(span, Depth::Quick, false, look);
        let claimed = match found {
            Ok(Some(claim)) => self.refuse_if_closed(claim),
            Ok(None) => wait.claim(self, span, deadline, |place, depth| dropping.look(place, depth)),
            Err(error) => Err(error),
        };
        self.returned = dropping.returned;
        self.drop_observer = dropping.observer;
        claimed
    }
}

/// The state of one call that drops old items.
struct Dropping {
    span: u64,
    deadline: Deadline,
    stop: Option<StopFlag>,
    tells: Strategy,
    /// The writer at head, and since when this call has seen it.
    writer: Option<(u64, Word, u64)>,
    returned: ReturnedSeen,
    observer: Option<Box<dyn DropObserver>>,
}

impl Dropping {
    /// One look for room; drops items to make room if it can.
    fn look(&mut self, place: &Place, depth: Depth) -> Result<Option<Claim>> {
        let participant = &place.participant;
        let (slots, me, span) = (&participant.slots, participant.number, self.span);
        is_open(participant)?;
        let mut dropped = 0;
        if place.fairness.holds_back(participant.mapping().head_word(head::FAIRNESS), me) {
            // Other producers keep this room for a larger item. This call does not use it up: it makes the room
            // that it takes.
            let at_tail = slots.codec().slot(slots.find_tail());
            while dropped < span {
                match self.drop_oldest(participant, at_tail, depth)? {
                    0 => break,
                    more => dropped += more,
                }
            }
        }
        // Drops at least one item and at most a ring of them per look.
        while dropped <= slots.codec().capacity() + span {
            let full = match slots.claim_room(me, span, span, |_| span) {
                Ok(claim) => return Ok(Some(claim)),
                Err(full) => full,
            };
            // Enough has been dropped; whatever else is in the way came meanwhile.
            if dropped >= span {
                if self.stop.as_ref().is_some_and(StopFlag::is_raised) {
                    return Err(Error::Interrupted);
                }
                if self.deadline.passed() {
                    return Ok(None);
                }
            }
            match self.drop_oldest(participant, full.slot, depth)? {
                0 if depth == Depth::Quick => return Ok(None),
                0 => {
                    if !clears_the_way(place, full.word) {
                        return Ok(None);
                    }
                    // Freed slots are room, and a returned item can be dropped.
                    let _ = self.drop_oldest(participant, full.slot, depth)?;
                    return Ok(slots.claim_room(me, span, span, |_| span).ok());
                }
                more => dropped += more,
            }
        }
        Ok(None)
    }

    /// Takes the oldest item out of the ring, unread, unless an item that cannot be dropped is in the way of a
    /// producer that waits for `slot`. Returns the number of its slots, 0 if it dropped none.
    fn drop_oldest(&mut self, participant: &Participant, slot: u64, depth: Depth) -> Result<u64> {
        let (slots, me) = (&participant.slots, participant.number);
        let claim = match in_the_way(slots, slot) {
            InTheWay::Held => return Ok(0),
            InTheWay::Returned(at) => {
                self.returned_before(participant).or_else(|| slots.claim_returned(me, Some(at)))
            }
            InTheWay::Head => self.returned_before(participant).or_else(|| self.at_head(participant, depth)),
        };
        let Some(claim) = claim else { return Ok(0) };
        let key = self.tell_dropping(participant, claim)?;
        slots.acknowledge_one(claim);
        let (endpoint, run) = (participant.endpoint(Role::Producer), slots.run(claim));
        self.tells.took(endpoint.other, run);
        self.tells.wake(endpoint.own, endpoint.ring, WaitProgress { items: run, slots: run });
        participant.count(Counter::DroppedOldest, 1);
        if let (Some(key), Some(observer)) = (key, &mut self.observer) {
            observer.dropped(key, claim.word.attempt()).map_err(untold)?;
        }
        Ok(run)
    }

    /// Tells the observer of an item that is about to be dropped; gives the item back if that fails.
    fn tell_dropping(&mut self, participant: &Participant, claim: Claim) -> Result<Option<ItemKey>> {
        let Some(observer) = &mut self.observer else { return Ok(None) };
        let slots = &participant.slots;
        let (memory, slot) = (slots.memory(), slots.codec().slot(claim.position));
        let key = memory.producer_and_sequence(slot, slots.name_of(claim.position, claim.word)).into();
        // If the observer panics, the claim counts as held: it is recovered when the producer is gone.
        participant.guard_made();
        let told = observer.dropping(key, claim.word.attempt());
        participant.guard_done();
        if let Err(error) = told {
            slots.give_back(claim, std::iter::once(slots.run(claim)));
            let (consumers, slots) = (memory.sleepers(Role::Consumer), slots.run(claim));
            self.tells.took(consumers, slots);
            self.tells.wake_now(consumers, &participant.slots, WaitProgress { items: 1, slots });
            return Err(untold(error));
        }
        Ok(Some(key))
    }

    /// A returned item, if any were announced or found since the last search: all of them are older than the item
    /// at head.
    fn returned_before(&mut self, participant: &Participant) -> Option<Claim> {
        // E9: read before the search, so that a later event starts another search.
        let events = participant.memory().returned().load(Acquire);
        let from = match self.returned.again {
            _ if self.returned.events != Some(events) => None,
            None => return None,
            again => again,
        };
        self.returned.events = Some(events);
        let found = participant.slots.claim_returned(participant.number, from);
        self.returned.again = found.map(|claim| claim.position);
        found
    }

    /// The item at head. As a consumer does, recovers a dead writer there, and moves past a slow one.
    fn at_head(&mut self, participant: &Participant, depth: Depth) -> Option<Claim> {
        let (slots, me) = (&participant.slots, participant.number);
        let (position, word) = match slots.claim_items(me, 1, 1) {
            Ok(claim) => return Some(claim),
            Err(NoItem::Writing(position, word)) => (position, word),
            Err(NoItem::Empty) => return None,
        };
        let now = clock::monotonic_ns();
        let passed = match self.writer {
            Some((at, seen, since)) if (at, seen) == (position, word) => {
                now - since >= WRITER_PATIENCE_NS && slots.pass_writer(position, word)
            }
            _ => {
                self.writer = Some((position, word, now));
                false
            }
        };
        if passed || depth != Depth::Quick && participant.reap_owner(word.owner()) {
            return slots.claim_items(me, 1, 1).ok();
        }
        None
    }
}

fn untold(source: std::io::Error) -> Error {
    Error::Io { what: "telling that an item is dropped".into(), source }
}

/// What a producer that waits for a slot finds first between that slot and head, apart from slots that it can step
/// over.
enum InTheWay {
    /// A slot that no process may drop, and that the producer cannot step over.
    Held,
    /// A returned item, in this slot.
    Returned(u64),
    /// The item at head.
    Head,
}

fn in_the_way(slots: &SegmentRingCore, slot: u64) -> InTheWay {
    let codec = slots.codec();
    let head = codec.slot(slots.find_head());
    let between = head.wrapping_sub(slot) & (codec.capacity() - 1);
    let mut ahead = 0;
    while ahead < between {
        let at = codec.slot(slot + ahead);
        // Relaxed: a claim reads the word again.
        let word = Word(slots.memory().word(at).load(Relaxed));
        ahead += match word.tag() {
            Tag::Redeliver => return InTheWay::Returned(at),
            Tag::Reading | Tag::Late if codec.run(word) == 1 => 1,
            Tag::Free => 1,
            Tag::Abandoned => codec.run(word).max(1),
            _ => return InTheWay::Held,
        };
    }
    InTheWay::Head
}
