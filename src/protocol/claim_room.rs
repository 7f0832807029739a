//! Claiming room to write. The usual case is decided by one comparison; `make_room` handles what is in the way.

use std::cmp::Ordering::{Equal, Greater};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::make_room::{Full, Walk};
use super::memory::{Atom, Memory};
use super::word::{Tag, Word};
use super::{Claim, RingCore};

/// The words that are examined together: those of a cache line.
const WORDS_AT_ONCE: usize = 8;

impl<M: Memory> RingCore<M> {
    /// Claims a run for producer `me` to write. The run is one item of `first` slots or, if there is more
    /// room, the number of slots that `fit` chooses (`fit(free)` with `first <= free <= most` returns `first`
    /// to `free`).
    ///
    /// An item of several slots never wraps. If too few slots are left before the end of the ring, they are
    /// abandoned.
    #[inline]
    pub fn claim_room(
        &self,
        me: u32,
        first: u64,
        most: u64,
        fit: impl Fn(u64) -> u64,
    ) -> Result<Claim, Full> {
        let tail = self.near_tail();
        // E2: the consumer is done with the slot.
        let word = Word(self.atom(tail).load(Acquire));
        // The usual case, decided by one comparison: a single slot, freed one lap ago.
        let short = most == 1 && word == self.codec.free(tail);
        if short && let Some(claim) = self.claim_write(me, tail, word, 1) {
            return Ok(claim);
        }
        self.look_for_room((!short).then_some((tail, word)), me, first, most, &fit)
    }

    /// As [`claim_room`](Self::claim_room), after a first attempt that found this position and word, or whose
    /// claim failed.
    fn look_for_room(
        &self,
        mut found: Option<(u64, Word)>,
        me: u32,
        first: u64,
        most: u64,
        fit: &impl Fn(u64) -> u64,
    ) -> Result<Claim, Full> {
        let mut walk = Walk::default();
        for _ in 0..self.max_steps() {
            let (tail, word) = found.take().unwrap_or_else(|| {
                let tail = self.near_tail();
                // E2: as above.
                (tail, Word(self.atom(tail).load(Acquire)))
            });
            if let Some(claim) = self.claim_at(tail, word, me, first, most, fit, &mut walk)? {
                return Ok(claim);
            }
        }
        // Only a hostile ring leads here, or other producers that overtake this one again and again.
        let slot = self.codec.slot(self.near_tail());
        Err(Full { slot, word: Word(self.memory.word(slot).load(Relaxed)) })
    }

    /// Tries once to claim from `tail` on, where the first slot has `word`. `None`: try again.
    #[allow(clippy::too_many_arguments, reason = "all of one call, and none of it outlives it")]
    fn claim_at(
        &self,
        tail: u64,
        word: Word,
        me: u32,
        first: u64,
        most: u64,
        fit: impl Fn(u64) -> u64,
        walk: &mut Walk,
    ) -> Result<Option<Claim>, Full> {
        let passed = match self.codec.lap_cmp(word, tail) {
            // The slot's word is of a later lap: pass this slot. If a longer run began here, the counter has
            // already passed the whole run; the next attempt reads the counter again.
            Greater => Some(1),
            Equal if word.tag() != Tag::Free => Some(self.codec.run(word)),
            _ => None,
        };
        if let Some(run) = passed {
            self.pass_tail(tail, run);
            return Ok(None);
        }
        if word.tag() != Tag::Free {
            return match self.make_room(tail, word, walk) {
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
            return self.too_few(me, tail, free, first, walk).map_or(Ok(None), Err);
        }
        let run = if padding { to_end } else { fit(free) };
        let claim = self.claim_write(me, tail, word, run);
        if padding {
            claim.into_iter().for_each(|gap| self.leave_gap(gap));
            return Ok(None);
        }
        Ok(claim)
    }

    /// Counts the free slots from `tail` on, up to `most` and the end of the ring. The first one was seen
    /// free.
    #[inline]
    pub(super) fn count_free(&self, tail: u64, most: u64) -> u64 {
        let free = self.codec.free(tail);
        let words = self.memory.words(self.codec.slot(tail), most);
        // E2: the consumer is done with these slots too.
        let are_free =
            |words: &[M::Atom]| self.codec.are_free(free, words.iter().map(|atom| Word(atom.load(Acquire))));
        let mut count = 1;
        while let Some(line) = words.get(count..count + WORDS_AT_ONCE).filter(|line| are_free(line)) {
            count += line.len();
        }
        while words.get(count).is_some_and(|atom| are_free(std::slice::from_ref(atom))) {
            count += 1;
        }
        count as u64
    }

    #[inline]
    pub(super) fn claim_write(&self, me: u32, tail: u64, word: Word, run: u64) -> Option<Claim> {
        let mine = self.codec.pack(Tag::Writing, tail, run, me, 0);
        if !self.exclusive {
            // E7: a producer that reads this word and continues past it passes E6 on.
            self.atom(tail).compare_exchange(word.0, mine.0, AcqRel).ok()?;
            self.pass_tail(tail, run);
        }
        if run > 1 && self.codec.refreshes(tail) {
            self.refresh_inner(tail, run);
        }
        Some(Claim { position: tail, word: mine })
    }

    /// Writes this lap into the inner words of a run that this producer has just claimed.
    ///
    /// No other step writes the inner words of an item of several slots, so without this they would keep
    /// their lap for ever. Laps are compared as differences of 41 bits: a word more than 2^40 positions old
    /// would look like one of a later lap. Each slot is claimed once per lap, so a word is never older than
    /// two periods.
    #[cold]
    fn refresh_inner(&self, tail: u64, run: u64) {
        let free = self.codec.free(tail);
        let words = self.memory.words(self.codec.slot(tail), run);
        // Relaxed: only the owner of a run writes its inner words, and their meaning does not change: free,
        // for this lap or an earlier one. In an exclusive ring the slots are free for the only producer.
        words.iter().skip(1).for_each(|atom| atom.store(free.0, Relaxed));
    }
}
