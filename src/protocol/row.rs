//! Rows: several published items of one slot each that share one word.
//!
//! A batch of short items is published by one word for each [`MOST_IN_ROW`](super::memory::MOST_IN_ROW) of them; the inner words keep their
//! values, as those of an item of several slots do. A consumer that may take the whole row claims it by
//! one exchange, and frees it by one. So neither side touches the line of a word for each item.
//!
//! A consumer that may take only a part of a row first *parts* it: it changes the row's word to PARTING_ROW,
//! then each inner word from the back to READY, and the first word last. No process owns a row that is
//! being parted. Each consumer that finds one completes it, so the death or the suspension of the process that
//! began it delays nobody. An exchange that comes late fails, since a word never returns to the value of an
//! earlier lap.

use std::cmp::Ordering::{Equal, Greater};
use std::sync::atomic::Ordering::{Relaxed, Release};

use super::RingCore;
use super::memory::{Atom, Memory};
use super::word::{Tag, Word};

impl<M: Memory> RingCore<M> {
    /// The word of a published row of `run` items.
    #[inline]
    pub(super) fn row_word(&self, position: u64, run: u64) -> Word {
        let tag = if run == 1 { Tag::Ready } else { Tag::ReadyRow };
        self.codec.pack(tag, position, run, 0, 0)
    }

    /// Changes the published row at `position`, whose word is `word`, into single items, or continues to do so.
    #[cold]
    #[inline(never)]
    pub(super) fn part_row(&self, position: u64, word: Word) {
        // A longer row is damage.
        let run = self.codec.run(word).min(self.most_in_row).min(self.codec.to_end(position));
        let parting = match word.tag() {
            Tag::PartingRow => word,
            _ => self.codec.turned(word, Tag::PartingRow, run, 0, 0),
        };
        if parting != word && !self.replace(position, word, parting) {
            return;
        }
        for ahead in (1..run).rev() {
            let at = position.wrapping_add(ahead);
            // Relaxed: the consumer that claims the item reads the word again.
            let inner = Word(self.atom(at).load(Relaxed));
            match self.codec.lap_cmp(inner, at) {
                Equal if inner.tag() != Tag::Free => continue,
                Greater => return,
                // No process has come this far, so the row is still being parted: its first word changes last.
                _ => {}
            }
            self.replace(at, inner, self.row_word(at, 1));
        }
        self.replace(position, parting, self.row_word(position, 1));
    }

    /// Changes a word that other consumers may change as well. In an exclusive ring there are none.
    #[inline]
    fn replace(&self, position: u64, old: Word, new: Word) -> bool {
        let atom = self.atom(position);
        if self.exclusive {
            // E1: hands the payload on to observers; a consumer that follows this one has it from the kernel's lock.
            atom.store(new.0, Release);
            return true;
        }
        // E1: hands the payload on to the consumer that claims the item.
        atom.compare_exchange(old.0, new.0, Release).is_ok()
    }
}
