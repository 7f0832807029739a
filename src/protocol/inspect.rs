//! Reading the state of a ring without changing it.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::memory::{Atom, Memory};
use super::word::{Tag, Word};
use super::{RingCore, later};

/// One word as an observer read it, or one item of a published row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The slot.
    pub slot: u64,
    /// The position that its word names.
    pub position: u64,
    /// The word; for an item of a published row, the word of the row.
    pub word: Word,
    /// The slot of that word.
    pub word_slot: u64,
    /// Slots in the run.
    pub run: u64,
}

impl<M: Memory> RingCore<M> {
    /// Visits the first word of every run and item that is not free, and each item of a published row. Visits
    /// the oldest positions first, as long as the ring did not change meanwhile. Also visits words inside a
    /// claimed run of several items.
    pub fn survey(&self, mut visit: impl FnMut(Seen)) {
        let head = self.near_head();
        // Held slots are behind head, and waiting items are between head and tail. Beginning with the slot at
        // tail gives the oldest first, if nothing was stepped over.
        let tail = self.find_tail();
        let mut row_end: Option<u64> = None;
        // Valid rows do not overlap. Words of a damaged ring get no more visits than that.
        let mut in_rows = 0;
        for ahead in 0..self.codec.capacity() {
            let in_row = |position| row_end.is_some_and(|end| (end.wrapping_sub(position) as i64) > 0);
            let slot = self.codec.slot(tail.wrapping_add(ahead));
            // E1: the visitor may go on to read the payload.
            let word = Word(self.memory.word(slot).load(Acquire));
            let position = self.codec.position(word, slot, head);
            let run = self.codec.run(word);
            match word.tag() {
                Tag::Free => {}
                // A row that is being parted: some of its pieces have words of their own already.
                Tag::Ready | Tag::ReadyRow if in_row(position) => {}
                Tag::ReadyRow | Tag::PartingRow => {
                    row_end = Some(position.wrapping_add(run));
                    let room = self.codec.capacity() - in_rows;
                    let run = run.min(self.codec.to_end(slot)).min(room);
                    in_rows += run;
                    for n in 0..run {
                        let position = position.wrapping_add(n);
                        visit(Seen { slot: slot + n, position, word, word_slot: slot, run: 1 });
                    }
                }
                _ => visit(Seen { slot, position, word, word_slot: slot, run }),
            }
        }
    }

    /// Finds a slot with an item, or with a claim that may become one. Ignores the claims that `leave_out`
    /// names.
    pub fn find_held(&self, leave_out: impl Fn(Word) -> bool) -> Option<u64> {
        // From head on, a run's first word comes before its inner words. A run whose first item is
        // acknowledged meanwhile continues at a later slot, which this loop still reaches. The counter is not
        // enough: it may be behind by some single slots, which a row of the next lap may cover, and the inner
        // words of a row look free.
        let head = self.find_head();
        let mut left_out = 0_u64;
        for ahead in 0..self.codec.capacity() {
            // E1: as in claiming; an item that was published before its producer left is visible.
            let slot = self.codec.slot(head.wrapping_add(ahead));
            let word = Word(self.memory.word(slot).load(Acquire));
            let inside_left_out = left_out > 0;
            left_out = left_out.saturating_sub(1);
            match word.tag() {
                Tag::Free | Tag::Abandoned | Tag::Damaged => {}
                // Do not decide by the head read above: head may have passed this slot since.
                Tag::Ready | Tag::ReadyRow if inside_left_out => {}
                Tag::Ready | Tag::ReadyRow | Tag::PartingRow | Tag::Redeliver => return Some(slot),
                Tag::Writing | Tag::Late | Tag::Reading | Tag::ReadingRow | Tag::ReadingRows => {
                    if !leave_out(word) {
                        return Some(slot);
                    }
                    left_out = self.codec.run(word) - 1;
                }
            }
        }
        None
    }

    /// Whether `slot` itself holds an item or a claim: a quick check of what [`find_held`] found.
    ///
    /// [`find_held`]: Self::find_held
    pub fn is_held(&self, slot: u64, leave_out: impl Fn(Word) -> bool) -> bool {
        // E1: as in claiming.
        let word = Word(self.memory.word(self.codec.slot(slot)).load(Acquire));
        match word.tag() {
            Tag::Redeliver => true,
            Tag::Writing | Tag::Late | Tag::Reading | Tag::ReadingRow | Tag::ReadingRows => !leave_out(word),
            // A READY word may be part of a run that is left out: use `find_held`.
            _ => false,
        }
    }

    /// Estimates cheaply whether a consumer would find more than `ahead` slots published at head.
    #[inline]
    pub fn items_there(&self, ahead: u64) -> bool {
        let head = self.near_head();
        let mut position = head.wrapping_add(ahead.min(self.codec.max_run()));
        // Relaxed: a consumer that takes an item reads the word again.
        let mut word = Word(self.atom(position).load(Relaxed));
        if word.tag() == Tag::Free && ahead > 0 {
            // Perhaps inside a row, whose word says how far it goes.
            word = Word(self.atom(head).load(Relaxed));
            if !word.is_row() {
                return false;
            }
            if self.codec.run(word) <= ahead {
                // Perhaps inside a row behind the first one. Producers move the counter for each row.
                let tail = self.memory.tail().load(Relaxed);
                return later(tail, position) != position;
            }
            position = head;
        }
        match self.codec.lap_cmp(word, position) {
            Less => false,
            Greater => true,
            _ => !matches!(word.tag(), Tag::Free),
        }
    }

    /// Estimates cheaply whether a producer would find more than `ahead` free slots at tail.
    #[inline]
    pub fn room_there(&self, ahead: u64) -> bool {
        let is_room = |position| {
            // Relaxed: as above.
            let word = Word(self.atom(position).load(Relaxed));
            word.tag() == Tag::Free || self.codec.lap_cmp(word, position) != Less
        };
        let tail = self.near_tail();
        // Not inside a run that begins at tail and is not free.
        is_room(tail.wrapping_add(ahead.min(self.codec.max_run()))) && (ahead == 0 || is_room(tail))
    }

    /// The position that the next producer would claim if nothing changed: the tail counter may lag behind
    /// it.
    pub fn find_tail(&self) -> u64 {
        let mut tail = self.near_tail();
        for _ in 0..self.max_steps() {
            // E2: as in claiming.
            let word = Word(self.atom(tail).load(Acquire));
            tail = match self.codec.lap_cmp(word, tail) {
                Greater => later(tail.wrapping_add(1), self.near_tail()),
                Equal if word.tag() != Tag::Free => tail.wrapping_add(self.codec.run(word)),
                _ => break,
            };
        }
        tail
    }

    /// The position at which the next consumer would find an item, a writer or nothing, if nothing changed.
    pub fn find_head(&self) -> u64 {
        let mut head = self.near_head();
        for _ in 0..self.max_steps() {
            // E1: as in claiming.
            let word = Word(self.atom(head).load(Acquire));
            head = match self.codec.lap_cmp(word, head) {
                Greater => later(head.wrapping_add(1), self.near_head()),
                Equal if is_passed_by_consumers(word.tag()) => head.wrapping_add(self.codec.run(word)),
                _ => break,
            };
        }
        head
    }
}

/// Whether consumers at head pass a run whose word has this tag.
fn is_passed_by_consumers(tag: Tag) -> bool {
    matches!(
        tag,
        Tag::Reading | Tag::ReadingRow | Tag::ReadingRows | Tag::Redeliver | Tag::Late | Tag::Abandoned
    )
}
