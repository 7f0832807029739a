//! The end of the stream: every item was delivered and acknowledged, and no producer is left.

use super::Role;
use super::entry::{Activity, role_of};
use super::memory::SegmentRingCore;
use super::participant::Participant;
use super::recovery::{has_living, reap_roles};
use super::stream_state::StreamState;
use crate::layout::mapping::Mapping;
use crate::layout::{entry, head};
use crate::protocol::memory::Memory;
use crate::protocol::word::Word;
use crate::sys::{clock, fence, waiting};
use crate::{Error, Result};
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

/// How long a running producer's stores may stay invisible to other processors, counted from its read of the
/// stream state. This is far longer than a processor delays stores. A producer that is descheduled meanwhile
/// passes a full fence.
const UNSEEN: Duration = Duration::from_millis(1);

/// What one participant remembers of its last check for the end of the stream.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// The slot that was still in use at that check.
    held: Option<u64>,
    /// The stream state at the first check for which the fence was refused, and the time of that check.
    unfenced: Option<(StreamState, u64)>,
}

impl Looked {
    /// For systems that refuse the fence: whether an earlier check saw the same stream state long enough ago.
    /// Then every claim that a producer made before it could see a different stream state is visible by now.
    #[cold]
    fn long_ago(&mut self, mapping: &Mapping, stream: StreamState) -> bool {
        // Relaxed: once producers see it, they issue the fence themselves.
        mapping.head_word(head::FENCES).store(1, Relaxed);
        let now = clock::monotonic_ns();
        match self.unfenced {
            Some((seen, since)) if seen == stream => now - since >= UNSEEN.as_nanos() as u64,
            _ => {
                self.unfenced = Some((stream, now));
                false
            }
        }
    }
}

/// Whether the stream is over. Two conditions must be true: the ring is closed, or all producers have left and at
/// least the expected number attached; and no item waits or is held by a participant that could still return it.
/// Returns the stream state on which the decision is based.
///
/// A consumer that checks for its own end passes itself as `me`. Then items that it holds do not count, nor
/// do items held by consumers that also wait for items. If one of those returns an item at this moment, it is
/// still there to receive it again. With `None`, every claim counts.
///
/// The slot that `looked` remembers is checked first. Where membarrier is refused, the first check never
/// finds the end; a second one does, [`UNSEEN`] later.
pub(crate) fn stream_ended(
    slots: &SegmentRingCore,
    me: Option<u32>,
    looked: &mut Looked,
) -> Option<StreamState> {
    let mapping = &slots.memory().mapping;
    let word = mapping.head_word(head::STREAM_STATE);
    let stream = StreamState::read(word);
    if stream.is_retired() {
        return Some(stream);
    }
    let expected = mapping.geometry().expected_producers.max(1) as u64;
    if !stream.is_closed() {
        let is_producer = |role| role == Role::Producer;
        if stream.producers() < expected || has_living(slots, is_producer) {
            return None;
        }
        // First return what dead producers held.
        reap_roles(slots, is_producer);
    }
    // E4: a producer claims and then reads the stream state. This process read the stream state and now looks
    // for claims.
    if !fence::heavy() && !looked.long_ago(mapping, stream) {
        return None;
    }
    let held = &mut looked.held;
    let waits = |word: Word| me.is_some_and(|me| word.owner() == me || waits_for_items(slots, word.owner()));
    if held.is_some_and(|slot| slots.is_held(slot, waits)) {
        return None;
    }
    *held = slots.find_held(waits);
    let over = held.is_none() && StreamState::read(word) == stream;
    over.then_some(stream)
}

/// Whether the ring is open and a live producer is attached.
pub(crate) fn more_may_come(slots: &SegmentRingCore) -> bool {
    !StreamState::read(slots.memory().mapping.head_word(head::STREAM_STATE)).is_closed()
        && has_living(slots, |role| role == Role::Producer)
}

/// Whether an item's owner is a consumer that waits for items while it holds some. Such an item does not
/// delay the end for others; otherwise two of these consumers would wait for each other. False for a consumer
/// that has handed its items out: they will be acknowledged even while it waits.
fn waits_for_items(slots: &SegmentRingCore, owner: u32) -> bool {
    let mapping = &slots.memory().mapping;
    // Relaxed: see `Participant::set_activity`.
    mapping.entry_word(owner, entry::ACTIVITY).load(Relaxed) == Activity::WaitingForItems.word()
        // E11: the entry belongs to the number's present holder.
        && matches!(role_of(mapping.entry_word(owner, entry::STATE).load(Acquire)), Some((Role::Consumer, _)))
        // A dead consumer does not wait, and its items are still to be returned.
        && !slots.memory().is_dead(owner)
}

/// Removes an ephemeral ring when the last participant leaves: the stream is over, at least one consumer
/// attached, nothing is held, and no live participant is attached. A later consumer loses nothing: it would
/// wait for the next producer in either case.
///
/// The fence of [`stream_ended`] comes after this participant has left and before it checks the others. So if
/// two participants leave at the same time, at least one of them sees that the other has left.
pub(crate) fn retire_if_over(participant: &Participant) {
    let slots = &participant.slots;
    let mapping = &slots.memory().mapping;
    if !mapping.geometry().is_ephemeral() {
        return;
    }
    let mut looked = Looked::default();
    let mut ended = stream_ended(slots, None, &mut looked);
    if ended.is_none() && looked.unfenced.is_some() {
        // This participant makes no later check, so it waits here.
        std::thread::sleep(UNSEEN);
        ended = stream_ended(slots, None, &mut looked);
    }
    let Some(stream) = ended else { return };
    if stream.consumers() == 0 || has_living(slots, |_| true) {
        return;
    }
    // Recover first, so that observers see each death.
    reap_roles(slots, |_| true);
    // A consumer that waited for this name and has not opened the ring yet must still see the end of the
    // stream. It is counted before it releases the name, so the ring is not retired in between; that consumer
    // removes the ring itself.
    if waiting::is_awaited(mapping.segment().name()).unwrap_or(false) {
        return;
    }
    // Ignore an error: no item is lost, the ended ring just stays, and no caller is left to report it to.
    let _ = retire(mapping, stream);
}

/// Retires the ring if its stream state is still `stream`, and removes its name. Returns false if the ring
/// stays, or if another process removed the name.
///
/// A process that may not remove the name does not retire the ring. A death after the retirement leaves a
/// retired ring. The next process that opens it removes it, or reinstates it if it cannot.
pub(crate) fn retire(mapping: &Mapping, stream: StreamState) -> Result<bool> {
    let (word, segment) = (mapping.head_word(head::STREAM_STATE), mapping.segment());
    if !segment.may_unlink()? {
        let text = format!("removing ring {:?}", segment.name().as_str());
        return Err(Error::io(text, std::io::Error::from(std::io::ErrorKind::PermissionDenied)));
    }
    segment.unlink_if(
        || stream.retire(word) || (stream.is_retired() && StreamState::read(word) == stream),
        || {
            StreamState::reinstate(word);
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::geometry::FLAG_EPHEMERAL;
    use crate::membership::deaths::death_of;
    use crate::membership::testing::{Ring, attached, dies, geometry, ring};
    use crate::protocol::word::Tag;

    #[test]
    fn without_membarrier_a_second_check_a_moment_later_finds_the_end() {
        let (_name, ring) = ring(Default::default());
        drop(attached(&ring, Role::Producer));
        let mut looked = Looked::default();
        let mut ended = || stream_ended(ring.observer(), None, &mut looked);
        fence::refuse(true);
        let first = ended();
        let fences = ring.mapping().head_word(head::FENCES).load(Relaxed);
        // A different stream state: the waiting time begins again.
        drop(attached(&ring, Role::Consumer));
        let second = ended();
        std::thread::sleep(UNSEEN);
        let third = ended();
        fence::refuse(false);
        assert!(first.is_none() && second.is_none() && third.is_some());
        assert_eq!(fences, 1, "producers are told to fence fully");
    }

    #[test]
    fn without_membarrier_the_last_participant_still_removes_the_ring() {
        let (name, ring) = Ring::new(geometry(4, 64, FLAG_EPHEMERAL));
        let mut consumer = attached(&ring, Role::Consumer);
        drop(attached(&ring, Role::Producer));
        consumer.leave();
        fence::refuse(true);
        retire_if_over(&consumer);
        fence::refuse(false);
        let retired = StreamState::read(ring.mapping().head_word(head::STREAM_STATE)).is_retired();
        assert!(retired && !name.path().exists());
    }

    #[test]
    fn a_dead_producers_half_written_item_does_not_delay_the_end() {
        let (_name, ring) = ring(Default::default());
        let number = dies(attached(&ring, Role::Producer));
        let half_written = ring.observer().codec().pack(Tag::Writing, 0, 1, number, 0);
        ring.mapping().word(0).store(half_written.0, Relaxed);
        assert!(stream_ended(ring.observer(), None, &mut Looked::default()).is_some());
    }

    #[test]
    fn the_last_participant_to_leave_marks_the_dead() {
        let (_name, ring) = Ring::new(geometry(4, 64, FLAG_EPHEMERAL));
        drop(attached(&ring, Role::Producer));
        let (dead, mut last) = (attached(&ring, Role::Consumer), attached(&ring, Role::Consumer));
        let serial = dead.serial;
        dies(dead);
        last.leave();
        retire_if_over(&last);
        assert!(StreamState::read(ring.mapping().head_word(head::STREAM_STATE)).is_retired());
        assert!(death_of(ring.mapping(), serial).is_some());
    }
}
