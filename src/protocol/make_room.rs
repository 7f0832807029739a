//! Making room at tail: frees abandoned runs, steps over slots that consumers hold, and turns free slots that
//! are too few for an item into gaps. If that does not help, [`Full`] says what is in the way.

use std::cmp::Ordering::{Greater, Less};
use std::sync::atomic::Ordering::{Relaxed, Release};

use super::memory::{Atom, Memory};
use super::word::{Tag, Word};
use super::{RingCore, later};

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
pub(super) struct Walk {
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
    /// Handles a slot of an earlier lap that is not free. Returns true if the caller should try again.
    #[cold]
    pub(super) fn make_room(&self, tail: u64, word: Word, walk: &mut Walk) -> bool {
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

    /// Handles fewer than `first` `free` slots from `tail` on. `None`: try again.
    #[cold]
    pub(super) fn too_few(&self, me: u32, tail: u64, free: u64, first: u64, walk: &mut Walk) -> Option<Full> {
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
                self.keep_name(position, word);
                let renewed = self.codec.renewed(word, position);
                // The slot's owner notices the new lap when its exchange fails. E3: the name that was kept is visible.
                if self.atom(position).compare_exchange(word.0, renewed.0, Release).is_err() {
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
}
