//! Looking at the slots one by one. Nothing here changes them.

use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::atomic::fence;

use super::item::Header;
use super::{Ring, memory::SegmentSlots};
use crate::ring::memory::Memory;
use crate::ring::word::{Tag, Word};

/// What a slot is: docs/PROTOCOL.md says who may change it, and to what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotState {
    /// Empty.
    Free,
    /// A producer writes into it.
    Writing,
    /// An item waits.
    Ready,
    /// A consumer has it, and has not acknowledged it yet.
    Reading,
    /// An item waits that was delivered before, or came late.
    Redeliver,
    /// A producer is slow to write into it, and consumers have gone on.
    Late,
    /// There is nothing: a producer gave it up, or died. It is free when consumers have passed it.
    Abandoned,
    /// Its word is none that a process of this program writes.
    Damaged,
}

impl From<Tag> for SlotState {
    fn from(tag: Tag) -> Self {
        match tag {
            Tag::Free => SlotState::Free,
            Tag::Writing => SlotState::Writing,
            Tag::Ready => SlotState::Ready,
            Tag::Reading => SlotState::Reading,
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
    /// What it is. A slot inside a claim, or inside an item of several slots, is what the whole is.
    pub state: SlotState,
    /// The position that it holds; of a free slot, the first that it may hold next. The lap is this divided by
    /// the capacity.
    pub position: u64,
    /// Number of the participant that writes or has it.
    pub owner: Option<u32>,
    /// Deliveries of the item so far, the present one included.
    pub attempt: u8,
    /// Which slot of its item it is, from 0; of what is being written or abandoned, of the claim.
    pub part: u64,
    /// Slots of that item or claim.
    pub parts: u64,
    /// Its own word when it was looked at.
    word: Word,
}

/// The beginning of an item as an observer saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotItem {
    /// Its producer's serial number.
    pub producer: u32,
    /// Its producer's count, from 0.
    pub sequence: u64,
    /// When it was sent, nanoseconds since 1970; only in rings with timestamps.
    pub sent_at: Option<u64>,
    /// Its length in bytes.
    pub len: u64,
    /// Its first bytes.
    pub beginning: Vec<u8>,
}

/// A claim or an item that covers slots: up to where, and what its first word says.
#[derive(Debug, Clone, Copy)]
struct Cover {
    first: u64,
    end: u64,
    word: Word,
}

/// Walks over the slots in their order, which is also that of any run: none goes past the ring's end.
struct Walk<'r> {
    slots: &'r SegmentSlots,
    at: u64,
    head: u64,
    claim: Option<Cover>,
    item: Option<Cover>,
}

impl Walk<'_> {
    fn cover(&self, first: u64, word: Word, run: u64) -> Cover {
        Cover { first, end: first + run.min(self.slots.codec().to_end(first)), word }
    }

    /// What begins at `slot` with `word`, outside or inside a claim to read.
    fn begin(&mut self, slot: u64, word: Word) {
        let run = self.slots.codec().run(word);
        if self.claim.is_none_or(|claim| slot >= claim.end) {
            let owned = matches!(word.tag(), Tag::Writing | Tag::Late | Tag::Reading | Tag::Abandoned);
            self.claim = owned.then(|| self.cover(slot, word, run));
        }
        let span = match word.tag() {
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
        // E1: who goes on to look at the payload may.
        let own = Word(self.slots.memory().word(slot).load(Acquire));
        if self.item.is_none_or(|item| slot >= item.end) {
            self.begin(slot, own);
        }
        let item = self.item.filter(|item| slot < item.end)?;
        let claim = self.claim.filter(|claim| slot < claim.end);
        // Inside a claim the first word of all says whose the slots are.
        let word = claim.map_or(item.word, |claim| claim.word);
        let first = claim.map_or(item.first, |claim| claim.first);
        Some(Slot {
            number: slot,
            state: word.tag().into(),
            position: codec.position(word, first, self.head).wrapping_add(slot - first),
            owner: word.is_owned().then(|| word.owner()),
            attempt: word.attempt(),
            part: slot - item.first,
            parts: item.end - item.first,
            word: own,
        })
    }
}

impl Ring {
    /// Looks at each slot, in the order of their numbers and while others go on: nothing is read before it is
    /// asked for, and nothing is changed.
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
        Walk { slots, at: 0, head: slots.find_head(), claim: None, item: None }
    }

    /// The item that begins in `slot`, with up to `most` of its bytes. Of a free slot, it is the item that was
    /// there last and was not overwritten yet. None: no item begins there, it is being written, or the slot has
    /// changed since it was looked at.
    pub fn slot_item(&self, slot: &Slot, most: u64) -> Option<SlotItem> {
        let (view, codec) = (self.view(), self.observer().codec());
        let fresh = slot.state == SlotState::Free && slot.position < codec.capacity();
        let unwritten = matches!(
            slot.state,
            SlotState::Writing | SlotState::Late | SlotState::Abandoned | SlotState::Damaged
        );
        if slot.part > 0 || fresh || unwritten {
            return None;
        }
        let within = codec.max_run().min(codec.to_end(slot.number));
        let header = Header::read(self.observer().memory(), slot.number, within);
        let mut beginning = Vec::new();
        view.copy_out(slot.number, 0, header.len.min(most), &mut beginning);
        // As in `peek`: the copy is of the item if the word has not changed. Acquire keeps the copy before it.
        fence(Acquire);
        let same = view.word(slot.number).load(Relaxed) == slot.word.0;
        let Header { producer, sequence, time, len } = header;
        same.then_some(SlotItem { producer, sequence, sent_at: time, len, beginning })
    }
}
