//! The producer's operations: find room, claim it, publish.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::memory::{Atom, Memory};
use super::word::{Tag, Word};
use super::{Claim, RingCore, later};

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// The slot that must become free first.
    pub slot: u64,
    /// The word of that slot when it was read.
    pub word: Word,
}

/// What one call has spent on searching beyond the next slot, and the head that it found.
#[derive(Debug, Default)]
struct Walk {
    steps: u64,
    head: Option<u64>,
}

impl Walk {
    /// Counts `more` slots that are inspected. Returns false when the call has inspected more than `most`, a
    /// small multiple of the ring's size; the call then reports a full ring. A healthy ring needs fewer,
    /// unless other producers win every race.
    fn goes_on(&mut self, more: u64, most: u64) -> bool {
        self.steps += more;
        self.steps <= most
    }
}

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
        // Only a hostile ring gets here, or one in which other producers overtake this one again and again.
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
            // One slot to pass; or, if it was the first of a longer run, the counter, which is read again,
            // has passed that run already.
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

    /// Handles fewer than `first` `free` slots from `tail` on. `None`: try again.
    #[cold]
    fn too_few(&self, me: u32, tail: u64, free: u64, first: u64, walk: &mut Walk) -> Option<Full> {
        let position = tail.wrapping_add(free);
        // Relaxed: the exchanges decide.
        let word = Word(self.atom(position).load(Relaxed));
        let full = Some(Full { slot: self.codec.slot(position), word });
        if !walk.goes_on(free + 1, self.max_steps()) {
            return full;
        }
        if word.tag() == Tag::Abandoned {
            let freed = self.free_abandoned_row(position, tail.wrapping_add(first), walk);
            return if freed { None } else { full };
        }
        // There are too few slots before the held slot, but enough after it: leave the free slots before it
        // as a gap.
        if self.is_held_single(word)
            && let Some(stretch) = self.stretch_ahead(tail, first, walk)
        {
            self.advance(tail, stretch, Some(me), walk);
            return None;
        }
        full
    }

    /// Counts the free slots from `tail` on, up to `most` and the end of the ring. The first one was seen
    /// free.
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
    /// their lap for ever. Laps are compared as differences of 42 bits: a word more than 2^41 positions old
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

    /// Handles a slot of an earlier lap that is not free. Returns true if the caller should try again.
    #[cold]
    fn make_room(&self, tail: u64, word: Word, walk: &mut Walk) -> bool {
        if !walk.goes_on(1, self.max_steps()) {
            return false;
        }
        match word.tag() {
            Tag::Abandoned => self.free_abandoned(tail, word, walk),
            _ if self.is_held_single(word) => match self.free_slot_after_held(tail, walk) {
                Some(free) => {
                    self.advance(tail, free, None, walk);
                    true
                }
                None => false,
            },
            _ => false,
        }
    }

    /// Moves on from `tail` to `end`: steps over held slots, and abandons free slots as gaps claimed by
    /// participant `gaps`. Stops before a slot that has changed meanwhile and, without `gaps`, before a free
    /// slot. One call passes a whole row, so that later calls do not inspect the row again.
    fn advance(&self, tail: u64, end: u64, gaps: Option<u32>, walk: &mut Walk) {
        let mut position = tail;
        while position != end && walk.goes_on(1, self.max_steps()) {
            // Relaxed: the exchanges decide, and claiming a gap reads the word again with E2.
            let word = Word(self.atom(position).load(Relaxed));
            let lap = self.codec.lap_cmp(word, position);
            if word.tag() == Tag::Free && lap != Greater {
                let Some(me) = gaps else { return };
                let most = end.wrapping_sub(position).min(self.codec.to_end(position));
                let free = self.count_free(position, most.min(self.codec.max_run()));
                let Some(claim) = self.claim_write(me, position, word, free) else { return };
                self.leave_gap(claim);
                walk.head = None;
                position = position.wrapping_add(free);
            } else if lap == Less && self.is_held_single(word) {
                let renewed = self.codec.renewed(word, position);
                // The slot's owner notices the new lap when its exchange fails. Relaxed: publishes nothing.
                if self.atom(position).compare_exchange(word.0, renewed.0, Relaxed).is_err() {
                    return;
                }
                self.pass_tail(position, 1);
                position = position.wrapping_add(1);
            } else {
                let freed =
                    lap == Less && word.tag() == Tag::Abandoned && self.free_abandoned(position, word, walk);
                if !freed {
                    return;
                }
            }
        }
    }

    /// Frees the abandoned run that begins at the slot of `ahead`, unless items wait before it. Its consumer
    /// may have died, or been stopped, after stepping over it and before freeing it; or no consumer is
    /// attached.
    #[cold]
    fn free_abandoned(&self, ahead: u64, word: Word, walk: &mut Walk) -> bool {
        let position = self.codec.position(word, self.codec.slot(ahead), ahead);
        let end = position.wrapping_add(self.codec.run(word));
        let passed = |head: u64| later(head, end) == head;
        let passed = passed(self.near_head()) || !self.exclusive && passed(self.head_of(walk));
        if passed {
            if self.moves_counter(position, self.codec.run(word)) {
                self.move_head(end);
            }
            // E2: no process reads an abandoned slot; this order is for the producer that claims it.
            let _ = self.atom(ahead).compare_exchange(word.0, self.codec.freed(word).0, Release);
        }
        passed
    }

    /// Frees abandoned runs from `position` up to `end`, as long as only free slots are in between. Returns
    /// whether it freed any.
    fn free_abandoned_row(&self, position: u64, end: u64, walk: &mut Walk) -> bool {
        let (mut at, mut any) = (position, false);
        while (end.wrapping_sub(at) as i64) > 0 && walk.goes_on(1, self.max_steps()) {
            // Relaxed: the exchange decides.
            let word = Word(self.atom(at).load(Relaxed));
            let step = match word.tag() {
                Tag::Free => 1,
                Tag::Abandoned if self.free_abandoned(at, word, walk) => {
                    any = true;
                    self.codec.run(word)
                }
                _ => break,
            };
            at = at.wrapping_add(step);
        }
        any
    }

    /// The head that consumers have reached. A call searches for it once, and again after it has left gaps.
    fn head_of(&self, walk: &mut Walk) -> u64 {
        let Walk { steps, head } = walk;
        *head.get_or_insert_with(|| {
            let (from, found) = (self.near_head(), self.find_head());
            *steps += found.wrapping_sub(from).min(self.max_steps());
            found
        })
    }

    /// The first free slot after the held ones that begin at `tail`, if stepping over them leads to one.
    fn free_slot_after_held(&self, tail: u64, walk: &mut Walk) -> Option<u64> {
        for ahead in 1..self.codec.capacity() {
            let position = tail.wrapping_add(ahead);
            // Relaxed: only decides whether to try.
            let word = Word(self.atom(position).load(Relaxed));
            if !walk.goes_on(1, self.max_steps()) || self.codec.lap_cmp(word, position) == Greater {
                return None;
            }
            match word.tag() {
                Tag::Free => return Some(position),
                // Tail cannot reach this run before it has passed the held slots.
                Tag::Abandoned => return self.free_abandoned(position, word, walk).then_some(position),
                _ if self.is_held_single(word) => {}
                _ => return None,
            }
        }
        None
    }

    /// Whether a producer may step over this word of an earlier lap.
    pub(super) fn is_held_single(&self, word: Word) -> bool {
        let held = matches!(word.tag(), Tag::Reading | Tag::Redeliver | Tag::Late);
        held && !self.exclusive && self.codec.run(word) == 1
    }

    /// The first of `wanted` free slots in a row that do not wrap, from `tail` on. Only free, abandoned and
    /// held single slots may come before them.
    fn stretch_ahead(&self, tail: u64, wanted: u64, walk: &mut Walk) -> Option<u64> {
        let mut row = 0;
        // Search beyond a whole lap: the few slots at tail, once abandoned, may complete a row that ends
        // there.
        for ahead in 0..self.codec.capacity() + wanted {
            let position = tail.wrapping_add(ahead);
            // Relaxed: only decides whether to try.
            let word = Word(self.atom(position).load(Relaxed));
            if !walk.goes_on(1, self.max_steps()) || self.codec.lap_cmp(word, position) == Greater {
                return None;
            }
            if self.codec.slot(position) == 0 {
                row = 0;
            }
            match word.tag() {
                Tag::Free => row += 1,
                // A gap left on the last lap that no consumer has reached yet.
                Tag::Abandoned if self.free_abandoned(position, word, walk) => row += 1,
                _ if self.is_held_single(word) => row = 0,
                _ => return None,
            }
            if row >= wanted {
                return Some(position.wrapping_sub(wanted - 1));
            }
        }
        None
    }

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
                return self.publish_first(claim, span);
            }
            // E1: inner words first; no process reads them before the first word is READY.
            self.atom(end).store(self.codec.pack(Tag::Ready, end, span, 0, 0).0, Release);
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
        self.publish_first(claim, span)
    }

    /// As [`publish`](Self::publish), for items of one slot each.
    #[inline]
    pub fn publish_singles(&self, claim: Claim) -> bool {
        let run = self.run(claim);
        let words = self.memory.words(self.codec.slot(claim.position), run);
        // A claim never wraps, so all slots get the same word.
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

    /// Publishes the first item of a run, and with it the items after it whose words are READY.
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
        self.publish_first(claim, span)
    }

    /// Whether the item at `position` waits as a returned one.
    pub fn is_returned(&self, position: u64) -> bool {
        // Relaxed: only decides whether to go on waiting.
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
        // E6: only this producer and its successor read it.
        self.memory.tail().store(position, Release);
    }

    /// Consumers have passed this item: publishes it as a returned one.
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

    /// Gives up a claim: consumers step over it. In an exclusive ring no other process has seen it.
    pub fn abandon(&self, claim: Claim) {
        if !self.exclusive {
            self.leave_gap(claim);
        }
    }

    /// Publishes a claim as a gap.
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
