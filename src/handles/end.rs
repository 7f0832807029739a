//! The end of the stream: when everything was delivered and acknowledged, and nobody is left to send.

use super::Role;
use super::burial::any;
use super::door::Door;
use super::memory::SegmentSlots;
use super::participant::{Activity, Participant, role_of};
use crate::layout::fields::{entry, head};
use crate::ring::memory::Memory;
use crate::sys::fence;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

/// Whether the stream is over: closed, or left by every producer after at least the expected number came;
/// and no item waits, or is held by anybody who could yet return it. Answers with the door that was looked
/// through.
///
/// For a consumer `me` that looks for its end, what it holds itself does not count, nor what others hold
/// that wait themselves. One of those may return an item at this very moment: it is there to receive it
/// again. For `None`, every claim counts.
///
/// `held` remembers, from one look to the next, which slot stood against it, and is looked at first.
pub(super) fn stream_ended(slots: &SegmentSlots, me: Option<u32>, held: &mut Option<u64>) -> Option<Door> {
    let view = &slots.memory().view;
    let word = view.head_word(head::DOOR);
    let door = Door::read(word);
    if door.is_retired() {
        return Some(door);
    }
    let expected = view.geometry().expected_producers.max(1) as u64;
    if !door.is_closed() && (door.producers() < expected || any(slots, |role| role == Role::Producer)) {
        return None;
    }
    // A producer claims, then looks at the door; we looked at the door, and now look for claims. E4.
    fence::heavy();
    let waits = |owner| me.is_some_and(|me| owner == me || waits_for_items(slots, owner));
    if held.is_some_and(|slot| slots.is_held(slot, waits)) {
        return None;
    }
    *held = slots.find_held(waits);
    let over = held.is_none() && Door::read(word) == door;
    over.then_some(door)
}

/// Whether the ring is open and some producer is there to bring more.
pub(super) fn more_may_come(slots: &SegmentSlots) -> bool {
    !Door::read(slots.memory().view.head_word(head::DOOR)).is_closed()
        && any(slots, |role| role == Role::Producer)
}

/// Whether the owner of an item is a consumer that waits for items while it holds some: were it to hold
/// others up, two of them would wait for each other.
fn waits_for_items(slots: &SegmentSlots, owner: u32) -> bool {
    let view = &slots.memory().view;
    // Relaxed: as `Participant::set_activity` says.
    Activity::of(view.entry_word(owner, entry::ACTIVITY).load(Relaxed)) == Activity::WaitingForItems
        // E11: the entry is its present holder's.
        && matches!(role_of(view.entry_word(owner, entry::STATE).load(Acquire)), Some((Role::Consumer, _)))
        // The dead wait for nothing, and what they held is still to be returned.
        && !slots.memory().is_dead(owner)
}

/// Removes an ephemeral ring on the way out: its stream is over, some consumer has seen it, nothing is held,
/// and nobody is attached any more; a consumer that follows would wait for the next producer.
///
/// The fence of [`stream_ended`] comes after this participant's leaving and before the look at the others:
/// of two that leave at once, one at least sees that the other has left.
pub(super) fn retire_if_over(participant: &Participant) {
    let slots = &participant.slots;
    let view = &slots.memory().view;
    if !view.geometry().is_ephemeral() {
        return;
    }
    let Some(door) = stream_ended(slots, None, &mut None) else { return };
    if door.consumers() == 0 || any(slots, |_| true) {
        return;
    }
    if door.is_retired() || door.retire(view.head_word(head::DOOR)) {
        // Whoever is killed before this leaves a retired ring, which the next to open it removes. A
        // refusal leaves the name, and costs nobody an item. Nobody is left to be told.
        let _ = view.segment().unlink();
    }
}
