//! One scan of a producer for room: it claims room, recovers dead participants that are in the way, and asks other
//! producers to hold back.

use super::core::Place;
use crate::layout::head;
use crate::membership::memory::SegmentRingCore;
use crate::membership::participant::Participant;
use crate::membership::stream_state::StreamState;
use crate::protocol::word::{Tag, Word};
use crate::protocol::{Claim, Full};
use crate::wait::{Depth, RingState};
use crate::{Error, Result};

/// One look for room. A producer that `waits` for several slots asks the others to hold back.
pub fn look_for_room(
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
pub fn is_open(participant: &Participant) -> Result<()> {
    participant.check()?;
    if StreamState::read(participant.mapping().head_word(head::STREAM_STATE)).is_closed() {
        return Err(Error::Closed);
    }
    Ok(())
}

/// Recovers the owner of the slot in the way if it is dead, and other dead participants if a sweep is due. True:
/// look again.
pub fn clears_the_way(place: &Place, word: Word) -> bool {
    let reaped = word.is_owned() && place.participant.reap_owner(word.owner());
    place.sweep.in_turn(&place.participant) || reaped
}

/// Whether consumers will make more room, which only other producers' claims could take from a larger item. If
/// only held slots are left, which others can step over, holding back would not help.
#[cold]
fn room_will_come(slots: &SegmentRingCore, full: Full) -> bool {
    let held_run = full.word.is_owned() && slots.codec().run(full.word) > 1;
    matches!(full.word.tag(), Tag::Ready | Tag::ReadyRow | Tag::PartingRow) || held_run || slots.level() > 0
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;
    use crate::handles::testing::{attached, dies, ring};
    use crate::layout::entry;
    use crate::membership::Role;

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
