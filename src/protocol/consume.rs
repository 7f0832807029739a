//! The consumer's operations: find items, claim them, acknowledge them or give them back.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::memory::{Atom, Memory};
use super::word::{Tag, Word, next_attempt};
use super::{Claim, RingCore};

/// Why there is no item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoItem {
    /// No item at head.
    Empty,
    /// A producer is still writing the next item; its position and the word that was read.
    Writing(u64, Word),
}

impl<M: Memory> RingCore<M> {
    /// Claims the items at head for consumer `me`: at least one and at most `most_items`, in at most
    /// `most_slots` slots unless the first item alone has more.
    #[inline(always)]
    pub fn claim_items(&self, me: u32, most_items: usize, most_slots: u64) -> Result<Claim, NoItem> {
        for _ in 0..self.max_steps() {
            let head = self.near_head();
            // E1: the payload is visible.
            let word = Word(self.atom(head).load(Acquire));
            // The usual case, decided by one comparison: an item of a single slot.
            let claim = match most_items == 1 && word == self.codec.pack(Tag::Ready, head, 1, 0, 0) {
                true => self.claim_read(me, head, word, 1, Tag::Reading),
                false => self.claim_items_at(head, word, me, most_items, most_slots)?,
            };
            if let Some(claim) = claim {
                return Ok(claim);
            }
        }
        Err(NoItem::Empty)
    }

    /// Tries once to claim from `head` on, where the first slot has `word`. `None`: try again.
    fn claim_items_at(
        &self,
        head: u64,
        word: Word,
        me: u32,
        most_items: usize,
        most_slots: u64,
    ) -> Result<Option<Claim>, NoItem> {
        let passed = match (self.codec.lap_cmp(word, head), word.tag()) {
            (Less, _) | (Equal, Tag::Free | Tag::Damaged) => return Err(NoItem::Empty),
            (Equal, Tag::Writing) => return Err(NoItem::Writing(head, word)),
            (Equal, Tag::Ready) => {
                let (run, tag) = self.count_ready(head, word, most_items, most_slots);
                return Ok(self.claim_read(me, head, word, run, tag));
            }
            (Equal, Tag::ReadyRow | Tag::PartingRow) => {
                let most = most_slots.min(most_items as u64);
                if word.tag() == Tag::ReadyRow && self.codec.run(word) <= most {
                    let (run, tag) = self.count_ready(head, word, most_items, most_slots);
                    return Ok(self.claim_read(me, head, word, run, tag));
                }
                return if self.part_row(head, word, most) { Ok(None) } else { Err(NoItem::Empty) };
            }
            // As for producers: pass this slot. If a longer run began here, the counter has already passed
            // the whole run.
            (Greater, _) => 1,
            (Equal, _) => self.codec.run(word),
        };
        self.pass_head(head, passed);
        if word.tag() == Tag::Abandoned && self.codec.lap_cmp(word, head) == Equal {
            // E2: hands the slots to the producer.
            let _ = self.atom(head).compare_exchange(word.0, self.codec.freed(word).0, Release);
        }
        Ok(None)
    }

    /// Counts the slots of the published items from `head` on that the limits allow, up to the end of the
    /// ring. Returns them with the tag of a claim on them. `first` is within the limits.
    #[inline]
    fn count_ready(&self, head: u64, first: Word, most_items: usize, most_slots: u64) -> (u64, Tag) {
        let most_slots = most_slots.min(self.codec.max_run());
        let words = self.memory.words(self.codec.slot(head), most_slots);
        let usual = self.codec.pack(Tag::Ready, head, 1, 0, 0);
        let mut run = self.codec.run(first);
        let (mut items, mut tag) = match first.tag() {
            Tag::ReadyRow => (run, Tag::ReadingRow),
            _ => (1, Tag::Reading),
        };
        while items < most_items as u64 {
            let Some(atom) = words.get(run as usize) else { break };
            // E1: this item's payload is visible too.
            let word = Word(atom.load(Acquire));
            if word == usual {
                run += 1;
                items += 1;
                if tag == Tag::ReadingRow {
                    tag = Tag::ReadingRows;
                }
                continue;
            }
            if self.codec.lap_cmp(word, head) != Equal {
                break;
            }
            let more = self.codec.run(word);
            match word.tag() {
                Tag::Ready if tag == Tag::Reading && run + more <= most_slots => items += 1,
                // A claim with rows has no items of several slots.
                Tag::ReadyRow if tag != Tag::Reading || items == run => {
                    if items + more > most_slots.min(most_items as u64) {
                        break;
                    }
                    items += more;
                    tag = Tag::ReadingRows;
                }
                _ => break,
            }
            run += more;
        }
        (run, tag)
    }

    #[inline]
    fn claim_read(&self, me: u32, head: u64, word: Word, run: u64, tag: Tag) -> Option<Claim> {
        let mine = self.codec.turned(word, tag, run, me, 1);
        if self.exclusive {
            // Relaxed: only recovery reads it, after this process's death.
            self.atom(head).store(mine.0, Relaxed);
            // E5: not before the store above. Otherwise a death in between could leave head past an unclaimed
            // item.
            self.memory.head().store(head.wrapping_add(run), Release);
        } else {
            // E10: a process that sees this owner also sees that it no longer only waits.
            self.atom(head).compare_exchange(word.0, mine.0, Release).ok()?;
            self.pass_head(head, run);
        }
        Some(Claim { position: head, word: mine })
    }

    /// Claims a returned item for consumer `me`: the first one found from slot `from` on. Without a slot, the
    /// search begins at head, since the oldest items are furthest behind it.
    pub fn claim_returned(&self, me: u32, from: Option<u64>) -> Option<Claim> {
        let head = self.near_head();
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
            // E3: the payload is visible, and the consumer that returned it is done with it. E10: as above.
            if atom.compare_exchange(word.0, mine.0, AcqRel).is_ok() {
                return Some(Claim { position: self.codec.position(word, slot, head), word: mine });
            }
        }
        None
    }

    /// Acknowledges the first item of a claim, which has `span` slots. Returns the claim on the rest of the
    /// run.
    #[inline]
    pub fn acknowledge_first(&self, claim: Claim, span: u64) -> Option<Claim> {
        if span >= self.run(claim) {
            self.acknowledge_one(claim);
            return None;
        }
        let position = claim.position.wrapping_add(span);
        let rest_run = self.run(claim) - span;
        // A row of one item is a single item.
        let tag = if rest_run == 1 { Tag::Reading } else { claim.word.tag() };
        let rest = self.codec.pack(tag, position, rest_run, claim.word.owner(), 1);
        // First the rest gets a record of its own, then the item is freed. A death in between leaves a run
        // within a run, which recovery handles. Relaxed: only recovery uses this mark.
        self.atom(position).store(rest.0, Relaxed);
        self.free_first(claim);
        Some(Claim { position, word: rest })
    }

    /// Acknowledges a claim of one item.
    #[inline]
    pub fn acknowledge_one(&self, claim: Claim) {
        self.free_first(claim);
    }

    /// Acknowledges all items of a claim. `spans` gives each item's slots, in order.
    #[inline]
    pub fn acknowledge_all(&self, claim: Claim, spans: impl DoubleEndedIterator<Item = u64>) {
        if claim.word.tag() == Tag::ReadingRow {
            return self.free_first(claim);
        }
        let mut end = claim.position.wrapping_add(self.run(claim));
        for span in spans.rev() {
            end = end.wrapping_sub(span);
            if end == claim.position {
                break;
            }
            // From the back: producers must pass the first word, so it is freed last. E2: hands the slots to
            // the producer, through the first word.
            self.atom(end).store(self.codec.free(end.wrapping_add(self.codec.capacity())).0, Release);
        }
        self.free_first(claim);
    }

    /// As [`acknowledge_all`](Self::acknowledge_all), for items of one slot each.
    #[inline]
    pub fn acknowledge_singles(&self, claim: Claim) {
        if claim.word.tag() == Tag::ReadingRow {
            // The inner words are free.
            return self.free_first(claim);
        }
        let words = self.memory.words(self.codec.slot(claim.position), self.run(claim));
        // A claim never wraps, so all slots get the same word.
        let free = self.codec.freed(claim.word);
        // E2: as in `acknowledge_all`.
        words.iter().skip(1).rev().for_each(|atom| atom.store(free.0, Release));
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
            // Producers have stepped over the slot meanwhile, which changed its word.
            self.exchange_own(claim.position, claim.word, |word| self.codec.freed(word));
        }
    }

    /// Gives back all items of a claim, to be delivered again. `spans` as for acknowledging.
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

    /// Steps over a writer that has delayed consumers for long: its item will arrive as a returned one. Only
    /// a run of one slot in a shared ring can be passed. Returns true if the caller should search again.
    pub fn pass_writer(&self, position: u64, word: Word) -> bool {
        if self.exclusive || word.tag() != Tag::Writing || self.codec.run(word) != 1 {
            return false;
        }
        let late = self.codec.turned(word, Tag::Late, 1, word.owner(), 0);
        // Relaxed: publishes nothing, since the writer is still writing.
        let _ = self.atom(position).compare_exchange(word.0, late.0, Relaxed);
        true
    }
}
