//! Claims room for a producer: at once, by waiting, or by dropping the oldest item.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::core::{Core, Place, ReturnedSeen, RoomWait};
use super::drop_observer::DropObserver;
use crate::handles::ItemKey;
use crate::layout::head;
use crate::membership::Role;
use crate::membership::entry::{Activity, Counter};
use crate::membership::fairness;
use crate::membership::memory::SegmentRingCore;
use crate::membership::participant::Participant;
use crate::membership::recovery::reap_all;
use crate::membership::stream_state::StreamState;
use crate::protocol::memory::Memory;
use crate::protocol::word::{Tag, Word};
use crate::protocol::{Claim, Full, NoItem};
use crate::sys::clock::{self, Deadline};
use crate::wait::{
    Depth, RingState, StopFlag, Strategy, TurnPatience, WaitProgress, WaitRequest, WaitStrategy, light_fence,
};
use crate::{Error, Result};

/// A producer that drops old items moves past a writer at head that takes longer than this, as consumers do.
const WRITER_PATIENCE_NS: u64 = 5_000_000;

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
            Ok(claim) => self.pass_door(claim),
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
            Some(claim) => self.pass_door(claim),
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
    pub fn pass_door(&mut self, claim: Claim) -> Result<Claim> {
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
    fn fairness(&self) -> &AtomicU64 {
        self.participant().mapping().head_word(head::FAIRNESS)
    }

    #[inline]
    fn stream(&self) -> StreamState {
        StreamState::read(self.participant().mapping().head_word(head::STREAM_STATE))
    }

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
        self.pass_door(result?)
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
            Ok(Some(claim)) => self.pass_door(claim),
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
        let (_, producer) = memory.length_and_producer(slot, 1);
        let key = ItemKey { producer, sequence: memory.sequence(slot) };
        if let Err(error) = observer.dropping(key, claim.word.attempt()) {
            slots.give_back(claim, std::iter::once(slots.run(claim)));
            let (consumers, slots) = (memory.sleepers(Role::Consumer), slots.run(claim));
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

/// One look for room. A producer that `waits` for several slots asks the others to hold back.
fn look_for_room(
    place: &Place,
    look: Depth,
    waits: bool,
    first: u64,
    most: u64,
    fit: &impl Fn(u64) -> u64,
) -> Result<Option<Claim>> {
    let participant = &place.participant;
    let (slots, me) = (&participant.slots, participant.number);
    participant.check_entry()?;
    is_open(participant)?;
    let fairness = participant.mapping().head_word(head::FAIRNESS);
    if place.fairness.holds_back(fairness, me) {
        return Ok(None);
    }
    if look == Depth::Aside {
        place.sweep.in_turn(participant);
        return Ok(None);
    }
    match slots.claim_room(me, first, most, fit) {
        Ok(claim) => return Ok(Some(claim)),
        Err(full) => {
            // At quick looks too: with a token in hand, or after a sleep that brought something, a wait may make
            // no other looks.
            if waits && first > 1 && room_will_come(slots, full) {
                place.fairness.request(fairness, me);
            }
            if look == Depth::Quick {
                return Ok(None);
            }
            if !clears_the_way(place, full.word) {
                return Ok(None);
            }
        }
    }
    Ok(slots.claim_room(me, first, most, fit).ok())
}

/// Fails if the ring accepts no more items.
fn is_open(participant: &Participant) -> Result<()> {
    participant.check()?;
    if StreamState::read(participant.mapping().head_word(head::STREAM_STATE)).is_closed() {
        return Err(Error::Closed);
    }
    Ok(())
}

/// Recovers the owner of the slot in the way if it is dead, and other dead participants if a sweep is due. True:
/// look again.
fn clears_the_way(place: &Place, word: Word) -> bool {
    let buried = word.is_owned() && place.participant.reap_owner(word.owner());
    place.sweep.in_turn(&place.participant) || buried
}

/// Whether consumers will make more room, which only other producers' claims could take from a larger item. If
/// only held slots are left, which others can step over, holding back would not help.
#[cold]
fn room_will_come(slots: &SegmentRingCore, full: Full) -> bool {
    let held_run = full.word.is_owned() && slots.codec().run(full.word) > 1;
    full.word.tag() == Tag::Ready || held_run || slots.level() > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handles::send::core::Blocking;
    use crate::handles::testing::{attached, dies, ring};
    use crate::handles::{Producer, Ring};
    use crate::layout::entry;
    use crate::sys::testing::TestName;

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

    /// A producer whose item was passed by consumers and is not taken by any.
    fn late() -> (TestName, Ring, Producer, Claim) {
        let (name, ring) = ring(Default::default());
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        producer.try_send(b"late").unwrap();
        drop(consumer.try_recv().unwrap());
        let claim = Claim { position: 0, word: Word(0) };
        assert!(producer.core.participant().slots.is_returned(claim.position));
        (name, ring, producer, claim)
    }

    #[test]
    fn a_late_item_does_not_delay_a_thread_that_must_stop() {
        let (_name, _ring, mut producer, claim) = late();
        let flag = StopFlag::new();
        flag.raise();
        producer.set_stop_flag(flag);
        let begin = std::time::Instant::now();
        (0..200).for_each(|_| producer.core.await_taking::<Blocking>(claim));
        // With one slice per item it would take 4 s.
        assert!(begin.elapsed().as_secs() < 2);
    }

    #[test]
    fn a_late_item_does_not_delay_a_thread_that_may_not_sleep() {
        struct Never;
        impl RoomWait for Never {
            const SLEEPS: bool = false;
            fn claim(
                &mut self,
                _: &mut Core,
                _: u64,
                _: Deadline,
                _: impl FnMut(&Place, Depth) -> Result<Option<Claim>>,
            ) -> Result<Claim> {
                Err(Error::TimedOut)
            }
        }
        let (_name, _ring, producer, claim) = late();
        let begin = std::time::Instant::now();
        (0..200).for_each(|_| producer.core.await_taking::<Never>(claim));
        // As above.
        assert!(begin.elapsed().as_secs() < 2);
    }

    #[test]
    fn a_dead_writer_in_the_way_is_recovered_and_its_room_taken_at_once() {
        let (_name, ring) = ring(Default::default());
        let (mut dead, mut producer) = (ring.producer().unwrap(), ring.producer().unwrap());
        std::mem::forget(dead.reserve(1).unwrap());
        drop(dead);
        (0..3).for_each(|_| producer.try_send(b"x").unwrap());
        // It is not this producer's turn to check for dead participants: another one has just checked.
        let place = &producer.core.place;
        place.sweep.not_due(&place.participant);
        let found = look_for_room(place, Depth::Thorough, true, 1, 1, &|_| 1);
        assert_eq!(found.unwrap().map(|claim| claim.position), Some(4));
    }

    #[test]
    fn a_wait_for_several_slots_asks_others_to_hold_back_and_a_try_does_not() {
        let (_name, ring) = ring(Default::default());
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let fairness = ring.mapping().head_word(head::FAIRNESS);
        (0..4).for_each(|_| producer.try_send(b"x").unwrap());
        let asks = |depth, waits, first| {
            fairness.store(0, Relaxed);
            let found = look_for_room(&producer.core.place, depth, waits, first, first, &|free| free);
            assert!(matches!(found, Ok(None)));
            fairness.load(Relaxed) != 0
        };
        for depth in [Depth::Quick, Depth::Thorough] {
            assert!(asks(depth, true, 2) && !asks(depth, false, 2) && !asks(depth, true, 1));
        }
        // A consumer that is working: its slot is in the way, and more room will come.
        let held = consumer.recv().unwrap();
        assert!(asks(Depth::Quick, true, 2));
        held.ack();
        // A batch: no item is ready, and the batch is one run that no producer can step over.
        let held = consumer.recv_batch(3).unwrap();
        assert!(asks(Depth::Quick, true, 2));
        held.ack();
    }

    #[test]
    fn no_producer_is_asked_to_hold_back_when_only_held_slots_are_left() {
        let (_name, ring) = ring(Default::default());
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        (0..4).for_each(|_| producer.try_send(b"x").unwrap());
        for n in 0..4 {
            let item = consumer.recv().unwrap();
            match n % 2 {
                0 => item.ack(),
                _ => std::mem::forget(item),
            }
        }
        let found = look_for_room(&producer.core.place, Depth::Thorough, true, 2, 2, &|free| free);
        assert!(matches!(found, Ok(None)));
        assert_eq!(ring.mapping().head_word(head::FAIRNESS).load(Relaxed), 0);
        assert!(producer.try_send(b"y").is_ok());
    }

    #[test]
    fn a_producer_without_room_recovers_dead_participants_when_a_sweep_is_due() {
        let (_name, ring) = ring(Default::default());
        let mut producer = ring.producer().unwrap();
        (0..4).for_each(|_| producer.try_send(b"x").unwrap());
        let number = dies(attached(&ring, Role::Consumer));
        let found = look_for_room(&producer.core.place, Depth::Thorough, true, 1, 1, &|_| 1);
        assert!(matches!(found, Ok(None)));
        assert_eq!(ring.mapping().entry_word(number, entry::STATE).load(Relaxed), 0);
    }
}
