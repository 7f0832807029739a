//! The names of items in a ring of fixed items: the positions at which they were sent.
//!
//! Such a ring has no headers, so an item is named by its position, which is unique in the life of the ring. The
//! state word gives it, until a producer steps over the held item: that renews the word, which then has a later
//! position. Before it renews a word for the first time, the producer keeps the item's position beside the slot.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use super::RingCore;
use super::memory::{Atom, Memory};
use super::word::Word;
use crate::layout::header::{MAX_SEQUENCE, name, sequence_in};

impl<M: Memory> RingCore<M> {
    /// The name of the item whose state word, or that of its row, is `word`; the item is at `position` by that
    /// word.
    #[inline]
    pub fn name_of(&self, position: u64, word: Word) -> u64 {
        match self.memory.name(self.codec.slot(position)) {
            // Relaxed: the renewal of the word, which the caller has read, came after it with E3.
            Some(kept) if word.is_renewed() => sequence_in(kept.load(Relaxed)),
            _ => position & MAX_SEQUENCE,
        }
    }

    /// Keeps the name of the held item in the slot of `ahead`, whose state word is `word`, before a producer
    /// renews the word.
    pub(super) fn keep_name(&self, ahead: u64, word: Word) {
        let slot = self.codec.slot(ahead);
        let Some(kept) = self.memory.name(slot).filter(|_| !word.is_renewed()) else { return };
        let position = self.codec.position(word, slot, ahead);
        for _ in 0..self.max_steps() {
            // Acquire: before the look at the state word.
            let old = kept.load(Acquire);
            // With the item's position it may also have failures, which its holder recorded.
            let is_kept = sequence_in(old) == position & MAX_SEQUENCE;
            // Relaxed: if the word has changed meanwhile, its renewal fails.
            let stands = self.memory.word(slot).load(Relaxed) == word.0;
            // Each later item that keeps its name here writes another one, so this cannot overwrite it. Relaxed: the
            // renewal makes it visible.
            if is_kept || !stands || kept.compare_exchange(old, name(position), Relaxed).is_ok() {
                return;
            }
        }
    }
}
