//! Publishing a claim: as items, as a gap, or late, after consumers have passed it.
//!
//! In an exclusive ring publishing also moves tail, and a producer that follows a dead one finishes that move.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::memory::{Atom, Memory};
use super::word::{Tag, Word};
use super::{Claim, RingCore, later};

impl<M: Memory> RingCore<M> {
    /// Publishes the items of a claim. `spans` gives each item's slots, in order; their sum is the run.
    ///
    /// In a shared ring all items become visible at once; in an exclusive ring they do one after the other.
    /// Returns false if consumers have passed this claim: its item is then delivered as a returned one.
    #[inline]
    pub fn publish(&self, claim: Claim, spans: impl DoubleEndedIterator<Item = u64>) -> bool {
        if self.exclusive {
            self.publish_in_order(claim, spans);
            return true;
        }
        let mut end = claim.position.wrapping_add(self.run(claim));
        for span in spans.rev() {
            end = end.wrapping_sub(span);
            if end == claim.position {
                return self.publish_first(claim, self.ready_word(end, span));
            }
            // E1: inner words first; no process reads them before the first word is READY.
            self.atom(end).store(self.ready_word(end, span).0, Release);
        }
        true
    }

    /// As [`publish`](Self::publish), for a claim of one item whose run is `span` slots.
    #[inline]
    pub fn publish_one(&self, claim: Claim, span: u64) -> bool {
        debug_assert_eq!(span, self.run(claim));
        if self.exclusive {
            self.publish_in_order(claim, std::iter::once(span));
            return true;
        }
        self.publish_first(claim, self.ready_word(claim.position, span))
    }

    /// As [`publish`](Self::publish), for items of one slot each, in rows: see [`row`](super::row).
    #[inline]
    pub fn publish_singles(&self, claim: Claim) -> bool {
        let run = self.run(claim);
        if self.exclusive {
            let mut position = claim.position;
            let end = position.wrapping_add(run);
            while position != end {
                let row = end.wrapping_sub(position).min(self.most_in_row);
                // E1: as in `publish_in_order`.
                self.atom(position).store(self.row_word(position, row).0, Release);
                position = position.wrapping_add(row);
            }
            // E6: as in `publish_in_order`.
            self.memory.tail().store(end, Release);
            return true;
        }
        let mut ahead = (run - 1) / self.most_in_row * self.most_in_row;
        while ahead > 0 {
            let position = claim.position.wrapping_add(ahead);
            let row = (run - ahead).min(self.most_in_row);
            // E1: as in `publish`.
            self.atom(position).store(self.row_word(position, row).0, Release);
            ahead -= self.most_in_row;
        }
        self.publish_first(claim, self.row_word(claim.position, run.min(self.most_in_row)))
    }

    /// Publishes the first item or row of a run by this word, and with it those after it.
    #[inline]
    fn publish_first(&self, claim: Claim, ready: Word) -> bool {
        // E1: hands the payload to the consumer.
        let in_time = self.atom(claim.position).compare_exchange(claim.word.0, ready.0, AcqRel).is_ok();
        if !in_time {
            self.publish_late(claim);
        }
        in_time
    }

    /// Publishes a claim as one item of `span` slots, fewer than were claimed. The rest is abandoned.
    pub fn publish_part(&self, claim: Claim, span: u64) -> bool {
        if self.exclusive {
            self.publish_in_order(claim, std::iter::once(span));
            return true;
        }
        if span < self.run(claim) {
            let rest = claim.position.wrapping_add(span);
            let abandoned = self.codec.pack(Tag::Abandoned, rest, self.run(claim) - span, 0, 0);
            // E1: before the first word, as in a batch.
            self.atom(rest).store(abandoned.0, Release);
        }
        self.publish_first(claim, self.ready_word(claim.position, span))
    }

    /// The word of a published item of `span` slots.
    #[inline]
    fn ready_word(&self, position: u64, span: u64) -> Word {
        self.codec.pack(Tag::Ready, position, span, 0, 0)
    }

    #[inline]
    fn publish_in_order(&self, claim: Claim, spans: impl Iterator<Item = u64>) {
        let mut position = claim.position;
        for span in spans {
            // E1: hands the payload to the consumer.
            self.atom(position).store(self.ready_word(position, span).0, Release);
            position = position.wrapping_add(span);
        }
        // E6: only this producer and its successor read it.
        self.memory.tail().store(position, Release);
    }

    /// Publishes an item that consumers have passed: as a returned one.
    #[cold]
    fn publish_late(&self, claim: Claim) {
        // E3: see `exchange_own`. A word of another owner stays; only a hostile ring has one here.
        if Word(self.atom(claim.position).load(Acquire)).tag() != Tag::Late {
            return;
        }
        self.exchange_own(claim.position, claim.word, |word| {
            self.codec.turned(word, Tag::Redeliver, 1, 0, 0)
        });
        self.announce_returned();
    }

    /// Whether the item at `position` waits as a returned one.
    pub fn is_returned(&self, position: u64) -> bool {
        // Relaxed: only decides whether to go on waiting.
        Word(self.atom(position).load(Relaxed)).tag() == Tag::Redeliver
    }

    /// Gives up a claim: consumers step over it. In an exclusive ring no other process has seen it.
    pub fn abandon(&self, claim: Claim) {
        if !self.exclusive {
            self.leave_gap(claim);
        }
    }

    /// Publishes a claim as a gap.
    pub(super) fn leave_gap(&self, claim: Claim) {
        let abandoned = self.codec.pack(Tag::Abandoned, claim.position, self.run(claim), 0, 0);
        let atom = self.atom(claim.position);
        if self.exclusive {
            // E1: hands the gap to the consumer.
            atom.store(abandoned.0, Release);
            // E6: as in publishing.
            return self.memory.tail().store(claim.position.wrapping_add(self.run(claim)), Release);
        }
        // E1: hands the gap to the consumer.
        if atom.compare_exchange(claim.word.0, abandoned.0, AcqRel).is_err() {
            self.exchange_own(claim.position, claim.word, |word| self.codec.freed(word));
        }
    }

    /// Sets tail for an exclusive producer whose predecessor may have died at any step.
    pub fn resume_tail(&self) {
        for _ in 0..self.max_steps() {
            let tail = self.memory.tail().load(Acquire); // E6: as in claiming.
            let word = Word(self.atom(tail).load(Acquire)); // E2: as in claiming.
            let next = match self.codec.lap_cmp(word, tail) {
                Less => return,
                Equal if word.tag() == Tag::Free => return,
                Equal => tail.wrapping_add(self.codec.run(word)),
                // Published, taken and freed: a single slot, or head is past the run. Relaxed: head was
                // stored before the run was freed, and the load of the word has E2.
                Greater => later(tail.wrapping_add(1), self.memory.head().load(Relaxed)),
            };
            // E6: as in publishing.
            self.memory.tail().store(next, Release);
        }
    }
}
