//! The producer's side: find room, claim it, publish.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::memory::{Atom, Memory};
use super::word::{Tag, Word};
use super::{Claim, Slots, later};

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// The slot that has to become free first.
    pub slot: u64,
    /// Its word when it was looked at.
    pub word: Word,
}

impl<M: Memory> Slots<M> {
    /// Claims a run for producer `me` to write: one item of `first` slots or, where the room allows,
    /// as many slots as `fit` makes of the free ones (`fit(free)`, with `first <= free <= most`,
    /// answers from `first` to `free`).
    ///
    /// An item of several slots never wraps: the slots before the end of the ring that are too few
    /// for it are abandoned.
    #[inline]
    pub fn claim_room(
        &self,
        me: u32,
        first: u64,
        most: u64,
        fit: impl Fn(u64) -> u64,
    ) -> Result<Claim, Full> {
        for _ in 0..self.patience() {
            let tail = self.near_tail();
            // E2: the consumer is done with the slot.
            let word = Word(self.atom(tail).load(Acquire));
            // Nearly always, told by one comparison: a single slot, freed a lap ago.
            let claim = match most == 1 && word == self.codec.free(tail) {
                true => self.claim_write(me, tail, word, 1),
                false => self.claim_at(tail, word, me, first, most, &fit)?,
            };
            if let Some(claim) = claim {
                return Ok(claim);
            }
        }
        // Only a hostile ring, or one that others overtake us on without end, gets here.
        let slot = self.codec.slot(self.near_tail());
        Err(Full { slot, word: Word(self.memory.word(slot).load(Relaxed)) })
    }

    /// One look at the slots from `tail` on, the first of which has `word`. `None`: look again.
    fn claim_at(
        &self,
        tail: u64,
        word: Word,
        me: u32,
        first: u64,
        most: u64,
        fit: impl Fn(u64) -> u64,
    ) -> Result<Option<Claim>, Full> {
        let passed = match self.codec.lap_cmp(word, tail) {
            // A single slot; or else the counter, which is looked at again, is behind the run.
            Greater => Some(1),
            Equal if word.tag() != Tag::Free => Some(self.codec.run(word)),
            _ => None,
        };
        if let Some(run) = passed {
            self.pass_tail(tail, run);
            return Ok(None);
        }
        if word.tag() != Tag::Free {
            return match self.make_room(tail, word) {
                true => Ok(None),
                false => Err(Full { slot: self.codec.slot(tail), word }),
            };
        }
        let to_end = self.codec.to_end(tail);
        let padding = first > to_end;
        let (least, most) = match padding {
            true => (to_end, to_end),
            false => (first, most.min(to_end)),
        };
        let free = self.count_free(tail, most);
        if free < least {
            return self.too_few(me, tail, word, free, first).map_or(Ok(None), Err);
        }
        let run = if padding { to_end } else { fit(free) };
        let claim = self.claim_write(me, tail, word, run);
        if padding {
            claim.into_iter().for_each(|gap| self.leave_gap(gap));
            return Ok(None);
        }
        Ok(claim)
    }

    /// Fewer than `first` slots are `free` from `tail` on. `None`: look again.
    #[cold]
    fn too_few(&self, me: u32, tail: u64, first_word: Word, free: u64, first: u64) -> Option<Full> {
        let position = tail.wrapping_add(free);
        // Relaxed: the exchanges decide.
        let word = Word(self.atom(position).load(Relaxed));
        if word.tag() == Tag::Abandoned && self.free_abandoned(position, word) {
            return None;
        }
        if self.is_held_single(word) && self.stretch_ahead(tail, first) {
            // Too few before the held slot, enough behind it: these few are given up.
            if let Some(claim) = self.claim_write(me, tail, first_word, free) {
                self.leave_gap(claim);
            }
            return None;
        }
        Some(Full { slot: self.codec.slot(position), word })
    }

    /// Free slots from `tail` on, the first of which was seen free, up to `most` and the end of the ring.
    #[inline]
    fn count_free(&self, tail: u64, most: u64) -> u64 {
        let usual = self.codec.free(tail);
        let words = self.memory.words(self.codec.slot(tail), most).iter().skip(1);
        let more = words.take_while(|atom| {
            // E2: the consumer is done with this slot too.
            let word = Word(atom.load(Acquire));
            word == usual || word.tag() == Tag::Free && self.codec.lap_cmp(word, tail) != Greater
        });
        1 + more.count() as u64
    }

    #[inline]
    fn claim_write(&self, me: u32, tail: u64, word: Word, run: u64) -> Option<Claim> {
        let mine = self.codec.pack(Tag::Writing, tail, run, me, 0);
        if !self.exclusive {
            // E7: who looks behind this word passes E6 on.
            self.atom(tail).compare_exchange(word.0, mine.0, AcqRel).ok()?;
            self.pass_tail(tail, run);
        }
        Some(Claim { position: tail, word: mine })
    }

    /// Looks at a slot of an earlier lap that is not free. True: look again.
    #[cold]
    fn make_room(&self, tail: u64, word: Word) -> bool {
        match word.tag() {
            Tag::Abandoned => self.free_abandoned(tail, word),
            _ if self.is_held_single(word) => {
                self.free_slot_after_held(tail) && {
                    let renewed = self.codec.renewed(word, tail);
                    // Its owner finds the new lap by a failed exchange. Relaxed: nothing is handed over.
                    let _ = self.atom(tail).compare_exchange(word.0, renewed.0, Relaxed);
                    true
                }
            }
            _ => false,
        }
    }

    /// Frees the abandoned run that begins at the slot of `ahead`, unless items wait before it. Its
    /// consumer may have died, or been stopped, between stepping over it and freeing it; or there is none.
    #[cold]
    fn free_abandoned(&self, ahead: u64, word: Word) -> bool {
        let position = self.codec.position(word, self.codec.slot(ahead), ahead);
        let end = position.wrapping_add(self.codec.run(word));
        let passed = |head: u64| later(head, end) == head;
        let passed = passed(self.near_head()) || !self.exclusive && passed(self.find_head());
        if passed {
            if self.moves_counter(position, self.codec.run(word)) {
                self.move_head(end);
            }
            // E2: nobody reads an abandoned slot; the label is for the producer that claims it.
            let _ = self.atom(ahead).compare_exchange(word.0, self.codec.freed(word).0, Release);
        }
        passed
    }

    /// Whether the held slots from `tail` on are followed by a free one: stepping over them helps.
    fn free_slot_after_held(&self, tail: u64) -> bool {
        for ahead in 1..self.codec.capacity() {
            let position = tail.wrapping_add(ahead);
            // Relaxed: only decides whether to try.
            let word = Word(self.atom(position).load(Relaxed));
            if self.codec.lap_cmp(word, position) == Greater {
                return false;
            }
            match word.tag() {
                Tag::Free => return true,
                // Tail cannot come to it before it has passed the held ones.
                Tag::Abandoned => return self.free_abandoned(position, word),
                _ if self.is_held_single(word) => {}
                _ => return false,
            }
        }
        false
    }

    /// Whether a producer may step over this word of an earlier lap.
    pub(super) fn is_held_single(&self, word: Word) -> bool {
        let held = matches!(word.tag(), Tag::Reading | Tag::Redeliver | Tag::Late);
        held && !self.exclusive && self.codec.run(word) == 1
    }

    /// Whether, from `tail` on and with nothing but free, abandoned and held single slots before them,
    /// there are `wanted` free slots in a row that do not wrap.
    fn stretch_ahead(&self, tail: u64, wanted: u64) -> bool {
        let mut row = 0;
        // Beyond a whole lap: the few at tail, once they are given up, may complete a row that ends there.
        for ahead in 0..self.codec.capacity() + wanted {
            let position = tail.wrapping_add(ahead);
            // Relaxed: only decides whether to try.
            let word = Word(self.atom(position).load(Relaxed));
            if self.codec.lap_cmp(word, position) == Greater {
                return false;
            }
            if self.codec.slot(position) == 0 {
                row = 0;
            }
            match word.tag() {
                Tag::Free => row += 1,
                // A gap that was left on the last lap, and that no consumer has come to yet.
                Tag::Abandoned if self.free_abandoned(position, word) => row += 1,
                _ if self.is_held_single(word) => row = 0,
                _ => return false,
            }
            if row >= wanted {
                return true;
            }
        }
        false
    }

    /// Publishes the items of a claim; `spans` gives each item's slots, in order, and their sum is
    /// the run.
    ///
    /// In a shared ring they become visible at once; in an exclusive one from the first to the last. False:
    /// consumers have passed this claim, and will find its item as a returned one.
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
                return self.publish_first(claim, span);
            }
            // E1: inner words first; nobody looks at them before the first word says READY.
            self.atom(end).store(self.codec.pack(Tag::Ready, end, span, 0, 0).0, Release);
        }
        true
    }

    /// As [`publish`](Self::publish), for items of a slot each.
    #[inline]
    pub fn publish_singles(&self, claim: Claim) -> bool {
        let run = self.run(claim);
        let words = self.memory.words(self.codec.slot(claim.position), run);
        // A claim never wraps: one word for all.
        let ready = self.codec.pack(Tag::Ready, claim.position, 1, 0, 0);
        if self.exclusive {
            // E1 and E6: as in `publish_in_order`.
            words.iter().for_each(|atom| atom.store(ready.0, Release));
            self.memory.tail().store(claim.position.wrapping_add(run), Release);
            return true;
        }
        // E1: as in `publish`.
        words.iter().skip(1).rev().for_each(|atom| atom.store(ready.0, Release));
        self.publish_first(claim, 1)
    }

    /// Publishes the first item of a run, and with it those whose words are READY behind it.
    #[inline]
    fn publish_first(&self, claim: Claim, span: u64) -> bool {
        let ready = self.codec.pack(Tag::Ready, claim.position, span, 0, 0);
        // E1: hands the payload to the consumer.
        let in_time = self.atom(claim.position).compare_exchange(claim.word.0, ready.0, AcqRel).is_ok();
        if !in_time {
            self.publish_late(claim);
        }
        in_time
    }

    /// Publishes a claim as one item of `span` slots, fewer than were claimed: the rest is abandoned.
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
        self.publish_first(claim, span)
    }

    /// Whether an item waits at `position` as a returned one.
    pub fn is_returned(&self, position: u64) -> bool {
        // Relaxed: only whether to go on waiting.
        Word(self.atom(position).load(Relaxed)).tag() == Tag::Redeliver
    }

    #[inline]
    fn publish_in_order(&self, claim: Claim, spans: impl Iterator<Item = u64>) {
        let mut position = claim.position;
        for span in spans {
            let ready = self.codec.pack(Tag::Ready, position, span, 0, 0);
            // E1: hands the payload to the consumer.
            self.atom(position).store(ready.0, Release);
            position = position.wrapping_add(span);
        }
        // E6: only this producer, and the one after it, reads it.
        self.memory.tail().store(position, Release);
    }

    /// Consumers went on without this item: it is found as a returned one.
    #[cold]
    fn publish_late(&self, claim: Claim) {
        // E3: as `exchange_own`. Somebody else's word, which only a hostile ring has here, stays.
        if Word(self.atom(claim.position).load(Acquire)).tag() != Tag::Late {
            return;
        }
        self.exchange_own(claim.position, claim.word, |word| {
            self.codec.turned(word, Tag::Redeliver, 1, 0, 0)
        });
        self.announce_returned();
    }

    /// Gives up a claim: consumers step over it. In an exclusive ring nobody has seen it.
    pub fn abandon(&self, claim: Claim) {
        if !self.exclusive {
            self.leave_gap(claim);
        }
    }

    /// Publishes a claim as nothing.
    fn leave_gap(&self, claim: Claim) {
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

    /// Where an exclusive producer begins that follows one which may have died anywhere.
    pub fn resume_tail(&self) {
        for _ in 0..self.patience() {
            let tail = self.memory.tail().load(Acquire); // E6: as in claiming.
            let word = Word(self.atom(tail).load(Acquire)); // E2: as in claiming.
            let next = match self.codec.lap_cmp(word, tail) {
                Less => return,
                Equal if word.tag() == Tag::Free => return,
                Equal => tail.wrapping_add(self.codec.run(word)),
                // Published, taken and freed: a single slot, or head is past the run. Relaxed: head was
                // stored before the run was freed, and E2 was read.
                Greater => later(tail.wrapping_add(1), self.memory.head().load(Relaxed)),
            };
            // E6: as in publishing.
            self.memory.tail().store(next, Release);
        }
    }
}
