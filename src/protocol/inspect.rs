//! Reading the state of a ring without changing it.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::memory::{Atom, Memory};
use super::word::{Tag, Word};
use super::{RingCore, later};

/// One word as an observer read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The slot.
    pub slot: u64,
    /// The position that its word names.
    pub position: u64,
    /// The word.
    pub word: Word,
    /// Slots in the run.
    pub run: u64,
}

impl<M: Memory> RingCore<M> {
    /// Visits the first word of every run and item that is not free. Visits the oldest positions first, as
    /// long as the ring did not change meanwhile. Also visits words inside a claimed run of several items.
    pub fn survey(&self, mut visit: impl FnMut(Seen)) {
        let head = self.near_head();
        // Held slots are behind head, and waiting items are between head and tail. Beginning with the slot at
        // tail gives the oldest first, if nothing was stepped over.
        let tail = self.find_tail();
        for ahead in 0..self.codec.capacity() {
            let slot = self.codec.slot(tail.wrapping_add(ahead));
            // E1: the visitor may go on to read the payload.
            let word = Word(self.memory.word(slot).load(Acquire));
            if word.tag() != Tag::Free {
                let position = self.codec.position(word, slot, head);
                visit(Seen { slot, position, word, run: self.codec.run(word) });
            }
        }
    }

    /// Finds a slot with an item, or with a claim that may become one. Ignores the claims that `leave_out`
    /// names.
    pub fn find_held(&self, leave_out: impl Fn(Word) -> bool) -> Option<u64> {
        // From near head on, a run's first word comes before its inner words. A run whose first item is
        // acknowledged meanwhile continues at a later slot, which this loop still reaches. If head is stale,
        // an inner word may come first, and counts as held.
        let head = self.near_head();
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
                Tag::Ready if inside_left_out => {}
                Tag::Ready | Tag::Redeliver => return Some(slot),
                Tag::Writing | Tag::Late | Tag::Reading => {
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
            Tag::Writing | Tag::Late | Tag::Reading => !leave_out(word),
            // A READY word may be part of a run that is left out: use `find_held`.
            _ => false,
        }
    }

    /// Estimates cheaply whether a consumer would find more than `ahead` slots published at head.
    #[inline]
    pub fn items_there(&self, ahead: u64) -> bool {
        let position = self.near_head().wrapping_add(ahead.min(self.codec.max_run()));
        // Relaxed: a consumer that takes an item reads the word again.
        let word = Word(self.atom(position).load(Relaxed));
        match self.codec.lap_cmp(word, position) {
            Less => false,
            Greater => true,
            _ => !matches!(word.tag(), Tag::Free),
        }
    }

    /// Estimates cheaply whether a producer would find more than `ahead` free slots at tail.
    #[inline]
    pub fn room_there(&self, ahead: u64) -> bool {
        let position = self.near_tail().wrapping_add(ahead.min(self.codec.max_run()));
        // Relaxed: as above.
        let word = Word(self.atom(position).load(Relaxed));
        word.tag() == Tag::Free || self.codec.lap_cmp(word, position) != Less
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
                Equal if matches!(word.tag(), Tag::Reading | Tag::Redeliver | Tag::Late | Tag::Abandoned) => {
                    head.wrapping_add(self.codec.run(word))
                }
                _ => break,
            };
        }
        head
    }
}
