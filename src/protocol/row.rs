//! Rows: several published items of one slot each that share one word.
//!
//! A batch of short items is published by one word for each [`MOST_IN_ROW`](super::memory::MOST_IN_ROW) of them; the inner words keep their
//! values, as those of an item of several slots do. A consumer that may take the whole row claims it by
//! one exchange, and frees it by one. So neither side touches the line of a word for each item.
//!
//! A consumer that may take only a part of a row first *parts* it into pieces that it may take: it changes the row's
//! word to PARTING_ROW with the length of a piece, then, from the back, the first word of each inner piece to
//! READY_ROW, or to READY for a piece of one item, and the row's own word last. A long row is parted into pieces of
//! [`MOST_PARTED`] first, so that a call never does more than that for others. No process owns a row that is
//! being parted. Each consumer that finds one completes it, so the death or the suspension of the process that
//! began it delays no other one. An exchange that comes late fails, since a word never returns to the value of an
//! earlier lap.

use std::cmp::Ordering::{Equal, Greater};
use std::sync::atomic::Ordering::{Relaxed, Release};

use super::RingCore;
use super::memory::{Atom, Memory};
use super::word::{Tag, Word};

/// The most pieces that a row is parted into, and the items in each piece of a longer row.
const MOST_PARTED: u64 = 64;

impl<M: Memory> RingCore<M> {
    /// The word of a published row of `run` items.
    #[inline]
    pub(super) fn row_word(&self, position: u64, run: u64) -> Word {
        let tag = if run == 1 { Tag::Ready } else { Tag::ReadyRow };
        self.codec.pack(tag, position, run, 0, 0)
    }

    /// Changes the published row at `position`, whose word is `word`, into pieces of at most `most` items, or continues to
    /// do so. Returns whether to look again: not at a row that cannot be parted, which only a damaged ring has.
    #[cold]
    #[inline(never)]
    pub(super) fn part_row(&self, position: u64, word: Word, most: u64) -> bool {
        // A longer row is damage.
        let run = self.codec.run(word).min(self.most_in_row).min(self.codec.to_end(position));
        let parting = match word.tag() {
            Tag::PartingRow => word,
            _ => {
                let least = if run > MOST_PARTED { MOST_PARTED } else { 1 };
                let piece = most.clamp(least, u64::from(u8::MAX)) as u8;
                self.codec.turned(word, Tag::PartingRow, run, 0, piece)
            }
        };
        if parting != word && !self.replace(position, word, parting) {
            return true;
        }
        let piece = parting.piece();
        let mut ahead = (run - 1) / piece * piece;
        while ahead > 0 {
            let at = position.wrapping_add(ahead);
            // Relaxed: the consumer that claims the piece reads the word again.
            let inner = Word(self.atom(at).load(Relaxed));
            match self.codec.lap_cmp(inner, at) {
                Equal if inner.tag() != Tag::Free => {}
                // Relaxed: the next look reads it again.
                Greater => return self.atom(position).load(Relaxed) != parting.0,
                // No process has come this far, so the row is still being parted: its first word changes last.
                _ => {
                    self.replace(at, inner, self.row_word(at, piece.min(run - ahead)));
                }
            }
            ahead -= piece;
        }
        self.replace(position, parting, self.row_word(position, piece.min(run)));
        true
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
