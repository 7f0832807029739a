//! Looking at the ring without changing it.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::memory::{Atom, Memory};
use super::word::{Tag, Word};
use super::{Slots, later};

/// One word as an observer saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The slot.
    pub slot: u64,
    /// The position that its word spoke of.
    pub position: u64,
    /// The word.
    pub word: Word,
    /// Slots in the run.
    pub run: u64,
}

impl<M: Memory> Slots<M> {
    /// Visits the first word of every run and item that is not free, oldest position first as far as
    /// the ring stood still. Words inside a claimed run of several items are visited as well.
    pub fn survey(&self, mut visit: impl FnMut(Seen)) {
        let head = self.near_head();
        // What is held lies behind head, what waits lies before it: from the slot at tail onwards is
        // oldest first when nothing was stepped over.
        let tail = self.find_tail();
        for ahead in 0..self.codec.capacity() {
            let slot = self.codec.slot(tail.wrapping_add(ahead));
            // E1: who goes on to look at the payload may.
            let word = Word(self.memory.word(slot).load(Acquire));
            if word.tag() != Tag::Free {
                let position = self.codec.position(word, slot, head);
                visit(Seen { slot, position, word, run: self.codec.run(word) });
            }
        }
    }

    /// The slot of an item, or of a claim that may become one, apart from the claims of those that
    /// `leave_out` names.
    pub fn find_held(&self, leave_out: impl Fn(u32) -> bool) -> Option<u64> {
        // From here on a run's first word comes before its inner ones, and a run whose first item is
        // acknowledged meanwhile goes on ahead of us. With an old head an inner word may come first,
        // and count.
        let head = self.near_head();
        let mut left_out = 0_u64;
        for ahead in 0..self.codec.capacity() {
            // E1: as in claiming; what was published before its producer left is seen.
            let slot = self.codec.slot(head.wrapping_add(ahead));
            let word = Word(self.memory.word(slot).load(Acquire));
            let inside_left_out = left_out > 0;
            left_out = left_out.saturating_sub(1);
            match word.tag() {
                Tag::Free | Tag::Abandoned | Tag::Damaged => {}
                // Not by head's word: it may have passed this one since we looked.
                Tag::Ready if inside_left_out => {}
                Tag::Ready | Tag::Redeliver => return Some(slot),
                Tag::Writing | Tag::Late | Tag::Reading => {
                    if !leave_out(word.owner()) {
                        return Some(slot);
                    }
                    left_out = self.codec.run(word) - 1;
                }
            }
        }
        None
    }

    /// Whether `slot` holds an item or a claim by itself, for a quick look at what [`find_held`] found.
    ///
    /// [`find_held`]: Self::find_held
    pub fn is_held(&self, slot: u64, leave_out: impl Fn(u32) -> bool) -> bool {
        // E1: as in claiming.
        let word = Word(self.memory.word(self.codec.slot(slot)).load(Acquire));
        match word.tag() {
            Tag::Redeliver => true,
            Tag::Writing | Tag::Late | Tag::Reading => !leave_out(word.owner()),
            // A READY word may be part of a run that is left out: look properly.
            _ => false,
        }
    }

    /// Whether taking the item at head away would make room for a producer that waits for `slot`: nothing
    /// but held slots that can be stepped over lie between them.
    pub fn is_oldest_in_the_way(&self, slot: u64) -> bool {
        let head = self.codec.slot(self.find_head());
        let between = head.wrapping_sub(slot) & (self.codec.capacity() - 1);
        (0..between).all(|ahead| {
            // Relaxed: whoever goes on looks anew.
            let word = Word(self.memory.word(self.codec.slot(slot + ahead)).load(Relaxed));
            self.is_held_single(word)
        })
    }

    /// Whether a consumer would find more than `ahead` slots decided at head: cheap, and only likely.
    #[inline]
    pub fn items_there(&self, ahead: u64) -> bool {
        let position = self.near_head().wrapping_add(ahead.min(self.codec.max_run()));
        // Relaxed: whoever takes one looks anew.
        let word = Word(self.atom(position).load(Relaxed));
        match self.codec.lap_cmp(word, position) {
            Less => false,
            Greater => true,
            _ => !matches!(word.tag(), Tag::Free),
        }
    }

    /// Whether a producer would find more than `ahead` slots free at tail: cheap, and only likely.
    #[inline]
    pub fn room_there(&self, ahead: u64) -> bool {
        let position = self.near_tail().wrapping_add(ahead.min(self.codec.max_run()));
        // Relaxed: as above.
        let word = Word(self.atom(position).load(Relaxed));
        word.tag() == Tag::Free || self.codec.lap_cmp(word, position) != Less
    }

    /// Where the next producer that looks would claim, if nobody moved: the counter may lag behind.
    pub fn find_tail(&self) -> u64 {
        let mut tail = self.near_tail();
        for _ in 0..self.patience() {
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

    /// Where the next consumer that looks would find an item, a writer or nothing, if nobody moved.
    pub fn find_head(&self) -> u64 {
        let mut head = self.near_head();
        for _ in 0..self.patience() {
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
