//! Observes the slots one by one, without changing them.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::{Header, RingObserver};
use crate::membership::memory::SegmentRingCore;
use crate::protocol::memory::Memory;
use crate::protocol::word::{Tag, Word};
use crate::sys::fence;

/// The state of a slot. docs/PROTOCOL.md says who may change it, and to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// Empty.
    Free,
    /// A producer is writing into it.
    Writing,
    /// It has an item to be received.
    Ready,
    /// A consumer has received its item and not acknowledged it yet.
    Reading,
    /// It has an item to be received that was delivered before, or was published late.
    Redeliver,
    /// A producer is slow to write into it, and consumers have moved past it.
    Late,
    /// It has no item: its producer gave it up or died. It becomes free when consumers have moved past it.
    Abandoned,
    /// Its word has a value that no process of this program writes.
    Damaged,
}

impl From<Tag> for SlotState {
    fn from(tag: Tag) -> Self {
        match tag {
            Tag::Free => SlotState::Free,
            Tag::Writing => SlotState::Writing,
            Tag::Ready | Tag::ReadyRow | Tag::PartingRow => SlotState::Ready,
            Tag::Reading | Tag::ReadingRow | Tag::ReadingRows => SlotState::Reading,
            Tag::Redeliver => SlotState::Redeliver,
            Tag::Late => SlotState::Late,
            Tag::Abandoned => SlotState::Abandoned,
            Tag::Damaged => SlotState::Damaged,
        }
    }
}

/// A slot as an observer saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Slot {
    /// Its number, from 0.
    pub number: u64,
    /// Its state. A slot inside a claim, or inside an item of several slots, has the state of the whole.
    pub state: SlotState,
    /// The position that it holds; for a free slot, the first that it may hold next. The position divided by the
    /// capacity is the lap.
    pub position: u64,
    /// Number of the participant that is writing it or holds it.
    pub owner: Option<u32>,
    /// Deliveries of the item so far, the present one included.
    pub attempt: u8,
    /// Its place within its item, from 0. For a slot that is being written or was abandoned: its place within the
    /// claim.
    pub part: u64,
    /// The number of slots of that item or claim.
    pub parts: u64,
    /// Its word at the time of the observation.
    word: Word,
    /// The slot and the word of the claim or row that it is in, or its own.
    whole: (u64, Word),
}

/// The beginning of an item as observed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotItem {
    /// Its producer's serial number, or [`ItemKey::NO_PRODUCER`](crate::ItemKey::NO_PRODUCER).
    pub producer: u32,
    /// Its producer's count, from 0; in a ring of fixed items, the position at which it was sent.
    pub sequence: u64,
    /// How many attempts at processing it have failed.
    pub failures: u8,
    /// When it was sent, nanoseconds since 1970; only in rings with timestamps.
    pub sent_at: Option<u64>,
    /// Its length in bytes.
    pub len: u64,
    /// Its first bytes.
    pub beginning: Vec<u8>,
}

/// A claim, a row or an item that covers slots: its end, and its first word.
#[derive(Debug, Clone, Copy)]
struct Cover {
    first: u64,
    end: u64,
    word: Word,
}

/// Walks over the slots in their order. Every run has the same order, since none goes past the ring's end.
struct Walk<'r> {
    slots: &'r SegmentRingCore,
    at: u64,
    head: u64,
    tail: u64,
    claim: Option<Cover>,
    item: Option<Cover>,
}

impl Walk<'_> {
    fn cover(&self, first: u64, word: Word, run: u64) -> Cover {
        Cover { first, end: first + run.min(self.slots.codec().to_end(first)), word }
    }

    /// Records what begins at `slot` with `word`, outside of or inside a claim for reading.
    fn begin(&mut self, slot: u64, word: Word) {
        let run = self.slots.codec().run(word);
        if self.claim.is_none_or(|claim| slot >= claim.end) {
            let several = word.is_owned() || word.is_row() || word.tag() == Tag::Abandoned;
            self.claim = several.then(|| self.cover(slot, word, run));
        }
        let row = self.claim.is_some_and(|claim| claim.word.is_row());
        let span = match word.tag() {
            _ if row => 1,
            Tag::Free | Tag::Damaged => 1,
            // The word has the length of the whole claim; that of its first item is in the header.
            Tag::Reading => run.min(self.slots.memory().span(slot)),
            _ => run,
        };
        let item = self.cover(slot, word, span.max(1));
        let end = self.claim.map_or(item.end, |claim| item.end.min(claim.end));
        self.item = Some(Cover { end, ..item });
    }
}

impl Iterator for Walk<'_> {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        let (slot, codec) = (self.at, self.slots.codec());
        if slot >= codec.capacity() {
            return None;
        }
        self.at += 1;
        // E1: after this acquire, the payload may be read.
        let own = Word(self.slots.memory().word(slot).load(Acquire));
        if self.item.is_none_or(|item| slot >= item.end) {
            self.begin(slot, own);
        }
        let item = self.item.filter(|item| slot < item.end)?;
        let claim = self.claim.filter(|claim| slot < claim.end);
        // Inside a claim, the claim's first word tells the owner of all its slots.
        let word = claim.map_or(item.word, |claim| claim.word);
        let first = claim.map_or(item.first, |claim| claim.first);
        let mut position = codec.position(word, first, self.head).wrapping_add(slot - first);
        if word.tag() == Tag::Free {
            // The word may be of an earlier lap, in which the slot had a word of its own.
            let next = self.tail.wrapping_add(codec.slot(slot.wrapping_sub(self.tail)));
            position = if (next.wrapping_sub(position) as i64) > 0 { next } else { position };
        }
        Some(Slot {
            number: slot,
            state: word.tag().into(),
            position,
            owner: word.is_owned().then(|| word.owner()),
            attempt: word.attempt(),
            part: slot - item.first,
            parts: item.end - item.first,
            word: own,
            whole: (first, word),
        })
    }
}

impl RingObserver {
    /// Observes each slot, in the order of their numbers, while other processes continue. It reads a slot only
    /// when the iterator reaches it, and changes nothing.
    ///
    /// ```
    /// use ringpipe::SlotState::{Free, Ready};
    /// # let name = format!("doc-slots-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().capacity(4).create(&name)?;
    /// ring.producer()?.send(b"seen")?;
    /// let states: Vec<_> = ring.slots().map(|slot| slot.state).collect();
    /// assert_eq!(states, [Ready, Free, Free, Free]);
    /// let first = ring.slots().next().unwrap();
    /// assert_eq!(ring.slot_item(&first, 3).unwrap().beginning, b"see");
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    pub fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        let slots = self.observer();
        Walk { slots, at: 0, head: slots.find_head(), tail: slots.find_tail(), claim: None, item: None }
    }

    /// The item that begins in `slot`, with up to `most` of its bytes. For a free slot of a shared ring, it is the
    /// latest item there, if it has not been overwritten. In an exclusive ring the producer writes into free
    /// slots, so they show none. In a ring of fixed items, the sequence of that latest item is wrong if producers had stepped
    /// over it. `None`: no item begins there, it is being written, or the slot has changed since
    /// it was observed.
    pub fn slot_item(&self, slot: &Slot, most: u64) -> Option<SlotItem> {
        let (mapping, codec) = (self.mapping(), self.observer().codec());
        let exclusive = mapping.geometry().is_exclusive();
        let fresh = slot.state == SlotState::Free && (exclusive || slot.position < codec.capacity());
        let unwritten = matches!(
            slot.state,
            SlotState::Writing | SlotState::Late | SlotState::Abandoned | SlotState::Damaged
        );
        if slot.part > 0 || fresh || unwritten {
            return None;
        }
        let within = codec.max_run().min(codec.to_end(slot.number));
        // For a free slot, its latest item: of the lap before.
        let before = if slot.state == SlotState::Free { codec.capacity() } else { 0 };
        let header = Header::read(self.observer(), slot.position.wrapping_sub(before), slot.whole.1, within);
        let mut beginning = Vec::new();
        mapping.copy_out(slot.number, 0, header.len.min(most), &mut beginning);
        // E4: as in `peek`.
        fence::heavy();
        let unchanged = |(at, word): (u64, Word)| mapping.word(at).load(Relaxed) == word.0;
        let same = unchanged((slot.number, slot.word)) && unchanged(slot.whole);
        // A claim of several slots changes the first word alone.
        let claimed = || (self.observer().find_tail().wrapping_sub(slot.position) as i64) > 0;
        let same = same && (slot.state != SlotState::Free || !claimed());
        let Header { producer, sequence, failures, time, len } = header;
        same.then_some(SlotItem { producer, sequence, failures, sent_at: time, len, beginning })
    }
}

#[cfg(test)]
mod tests {
    use crate::handles::{RingObserver, RingOptions};
    use crate::sys::testing::TestName;

    /// What a producer writes before it publishes is not an item. In an exclusive ring no word shows that it is
    /// writing.
    #[test]
    fn bytes_that_are_being_written_are_shown_as_no_item() {
        for exclusive in [false, true] {
            let name = TestName::new();
            let options = RingOptions::new().capacity(2).slot_size(8).exclusive(exclusive);
            let ring = options.create(name.0.as_str()).unwrap();
            let mut producer = ring.producer().unwrap();
            let mut consumer = ring.consumer().unwrap();
            for text in [b"a", b"b"] {
                producer.send(text).unwrap();
                consumer.recv().unwrap().ack();
            }
            let beginning = |ring: &RingObserver| {
                let slot = ring.slots().next().unwrap();
                ring.slot_item(&slot, 8).map(|item| item.beginning)
            };
            assert_eq!(beginning(&ring), (!exclusive).then(|| b"a".to_vec()), "exclusive: {exclusive}");
            let mut reservation = producer.reserve(1).unwrap();
            reservation.write_at(0, b"c");
            assert_eq!(beginning(&ring), None, "exclusive: {exclusive}");
            drop(reservation);
        }
    }
}
