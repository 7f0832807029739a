//! The consumer's side: find items, claim them, acknowledge or give them back.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::memory::{Atom, Memory};
use super::word::{Tag, Word, next_attempt};
use super::{Claim, Slots};

/// Why there is no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nothing {
    /// No item at head.
    Empty,
    /// The next item is being written; its position and word when it was looked at.
    Writing(u64, Word),
}

impl<M: Memory> Slots<M> {
    /// Claims the items at head for consumer `me`: at least one, at most `most_items`, with at most
    /// `most_slots` slots unless the first alone has more.
    #[inline]
    pub fn claim_items(&self, me: u32, most_items: usize, most_slots: u64) -> Result<Claim, Nothing> {
        for _ in 0..self.patience() {
            // Relaxed: the words decide; a stale head only leads here again.
            let head = self.memory.head().load(Relaxed);
            // E1: the payload is there.
            let word = Word(self.atom(head).load(Acquire));
            match self.codec.lap_cmp(word, head) {
                Less => return Err(Nothing::Empty),
                Greater => {
                    self.help_head(head, 1);
                    continue;
                }
                Equal => {}
            }
            match word.tag() {
                Tag::Ready => {
                    let run = self.count_ready(head, word, most_items, most_slots);
                    if let Some(claim) = self.claim_read(me, head, word, run) {
                        return Ok(claim);
                    }
                }
                Tag::Reading | Tag::Redeliver | Tag::Late => self.help_head(head, self.codec.run(word)),
                Tag::Abandoned => {
                    self.help_head(head, self.codec.run(word));
                    // E2: hands the slots to the producer.
                    let _ = self.atom(head).compare_exchange(word.0, self.codec.freed(word).0, Release);
                }
                Tag::Writing => return Err(Nothing::Writing(head, word)),
                Tag::Free | Tag::Damaged => return Err(Nothing::Empty),
            }
        }
        Err(Nothing::Empty)
    }

    /// Slots of the published items from `head` on that the limits allow.
    #[inline]
    fn count_ready(&self, head: u64, first: Word, most_items: usize, most_slots: u64) -> u64 {
        let most_slots = most_slots.min(self.codec.max_run());
        let mut run = self.codec.run(first);
        for _ in 1..most_items {
            if run >= most_slots {
                break;
            }
            let position = head.wrapping_add(run);
            // E1: this item's payload is there too.
            let word = Word(self.atom(position).load(Acquire));
            if word.tag() != Tag::Ready || self.codec.lap_cmp(word, position) != Equal {
                break;
            }
            let longer = run + self.codec.run(word);
            if longer > most_slots {
                break;
            }
            run = longer;
        }
        run
    }

    #[inline]
    fn claim_read(&self, me: u32, head: u64, word: Word, run: u64) -> Option<Claim> {
        let mine = self.codec.turned(word, Tag::Reading, run, me, 1);
        if self.exclusive {
            // Relaxed: for recovery only, which reads it after this process's death.
            self.atom(head).store(mine.0, Relaxed);
            // Relaxed: only this consumer, and the one after it, reads it.
            self.memory.head().store(head.wrapping_add(run), Relaxed);
        } else {
            // E10: who finds this owner finds that it no longer only waits.
            self.atom(head).compare_exchange(word.0, mine.0, Release).ok()?;
            self.help_head(head, run);
        }
        Some(Claim { position: head, word: mine })
    }

    /// Claims a returned item, the first that is found from slot `from` on, for consumer `me`. Without a
    /// slot the search begins at head: the oldest items lie furthest behind it.
    pub fn claim_returned(&self, me: u32, from: Option<u64>) -> Option<Claim> {
        // Relaxed: where to begin, no more.
        let head = self.memory.head().load(Relaxed);
        let from = from.unwrap_or(head);
        for ahead in 0..self.codec.capacity() {
            let slot = self.codec.slot(from.wrapping_add(ahead));
            let atom = self.memory.word(slot);
            // Relaxed: the exchange below decides.
            let word = Word(atom.load(Relaxed));
            if word.tag() != Tag::Redeliver {
                continue;
            }
            let run = self.codec.run(word);
            let mine = self.codec.turned(word, Tag::Reading, run, me, next_attempt(word.attempt()));
            // E3: the payload is there, and the one who returned it is done with it. E10: as above.
            if atom.compare_exchange(word.0, mine.0, AcqRel).is_ok() {
                return Some(Claim { position: self.codec.position(word, slot, head), word: mine });
            }
        }
        None
    }

    /// Acknowledges the first item of a claim, `span` slots long, and answers with the claim on the
    /// rest of the run.
    #[inline]
    pub fn acknowledge_first(&self, claim: Claim, span: u64) -> Option<Claim> {
        if span >= self.run(claim) {
            self.acknowledge_all(claim, std::iter::once(self.run(claim)));
            return None;
        }
        let position = claim.position.wrapping_add(span);
        let rest_run = self.run(claim) - span;
        let rest = self.codec.pack(Tag::Reading, position, rest_run, claim.word.owner(), 1);
        // First the rest gets its own record, then the item its freedom: whoever dies in between leaves
        // a run within a run, which recovery knows. Relaxed: a mark for recovery.
        self.atom(position).store(rest.0, Relaxed);
        self.free_first(claim);
        Some(Claim { position, word: rest })
    }

    /// Acknowledges all items of a claim; `spans` gives each item's slots, in order.
    #[inline]
    pub fn acknowledge_all(&self, claim: Claim, spans: impl DoubleEndedIterator<Item = u64>) {
        let mut end = claim.position.wrapping_add(self.run(claim));
        let mut spans = spans.rev().peekable();
        while let Some(span) = spans.next() {
            end = end.wrapping_sub(span);
            if spans.peek().is_some() {
                // From the back, so that the first word, which producers must pass, is the last to go.
                // E2: hands the slots to the producer, through the first word.
                let free = self.codec.free(end.wrapping_add(self.codec.capacity()));
                self.atom(end).store(free.0, Release);
            }
        }
        self.free_first(claim);
    }

    #[inline]
    fn free_first(&self, claim: Claim) {
        let atom = self.atom(claim.position);
        let freed = self.codec.freed(claim.word);
        if self.exclusive {
            // E2: hands the slot to the producer.
            atom.store(freed.0, Release);
        } else if atom.compare_exchange(claim.word.0, freed.0, AcqRel).is_err() {
            // Producers have stepped over it meanwhile.
            self.exchange_own(claim.position, claim.word, |word| self.codec.freed(word));
        }
    }

    /// Gives all items of a claim back, to be delivered again; `spans` as in acknowledging.
    pub fn give_back(&self, claim: Claim, spans: impl DoubleEndedIterator<Item = u64>) {
        let mut end = claim.position.wrapping_add(self.run(claim));
        let mut first = self.run(claim);
        let mut spans = spans.rev().peekable();
        while let Some(span) = spans.next() {
            end = end.wrapping_sub(span);
            first = span;
            if spans.peek().is_some() {
                let returned = self.codec.pack(Tag::Redeliver, end, span, 0, claim.word.attempt());
                // E3: hands the item to its next consumer.
                self.atom(end).store(returned.0, Release);
            }
        }
        self.exchange_own(claim.position, claim.word, |word| {
            self.codec.turned(word, Tag::Redeliver, first, 0, word.attempt())
        });
        self.announce_returned();
    }

    /// Steps over a writer that has kept everyone waiting: its item will come as a returned one.
    /// Only a run of one slot can be passed, and only in a shared ring. True: look again.
    pub fn pass_writer(&self, position: u64, word: Word) -> bool {
        if self.exclusive || word.tag() != Tag::Writing || self.codec.run(word) != 1 {
            return false;
        }
        self.help_tail(position, 1);
        let late = self.codec.turned(word, Tag::Late, 1, word.owner(), 0);
        // Relaxed: nothing is handed over, the writer is still writing.
        if self.atom(position).compare_exchange(word.0, late.0, Relaxed).is_ok() {
            self.help_head(position, 1);
        }
        true
    }
}
