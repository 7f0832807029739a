//! The names of items in a ring of fixed items: the positions at which they were sent.
//!
//! Such a ring has no headers, so an item is named by its position, which is unique in the life of the ring. The
//! state word gives it, until a producer steps over the held item: that renews the word, which then has a later
//! position. Before it renews a word for the first time, the producer keeps the item's position beside the slot.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::RingCore;
use super::memory::{Atom, Memory};
use super::word::Word;
use crate::layout::header::{MAX_SEQUENCE, name, sequence_in};

/// The name of the item in `slot`, whose state word, or that of its row, is `word`; the item is at `position` by that word.
#[inline]
pub fn name_in(memory: &impl Memory, slot: u64, position: u64, word: Word) -> u64 {
    match memory.name(slot) {
        // Relaxed: the renewal of the word, which the caller has read, came after it with E3.
        Some(kept) if word.is_renewed() => sequence_in(kept.load(Relaxed)),
        _ => position & MAX_SEQUENCE,
    }
}

impl<M: Memory> RingCore<M> {
    /// The name of the item whose state word, or that of its row, is `word`; the item is at `position` by that
    /// word.
    #[inline]
    pub fn name_of(&self, position: u64, word: Word) -> u64 {
        name_in(&self.memory, self.codec.slot(position), position, word)
    }

    /// Keeps the name of the held item in the slot of `ahead`, whose state word is `word`, before a producer
    /// renews the word.
    pub(super) fn keep_name(&self, ahead: u64, word: Word) {
        let slot = self.codec.slot(ahead);
        let Some(kept) = self.memory.name(slot).filter(|_| !word.is_renewed()) else { return };
        let position = self.codec.position(word, slot, ahead);
        for _ in 0..self.max_steps() {
            // Acquire: if it is the name of a later item, the look at the state word sees that item, too.
            let old = kept.load(Acquire);
            // With the item's position it may also have failures, which its holder recorded.
            let is_kept = sequence_in(old) == position & MAX_SEQUENCE;
            // Relaxed: if the word has changed meanwhile, its renewal fails.
            let stands = self.memory.word(slot).load(Relaxed) == word.0;
            // Each later item that keeps its name here writes another one, so this cannot overwrite it. Release: with the
            // acquire above, a process that sees this name also sees that the slot has this item.
            if is_kept || !stands || kept.compare_exchange(old, name(position), Release).is_ok() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::layout::header::{failures_in, with_failure};
    use crate::protocol::memory::LocalCursors;
    use crate::protocol::word::{Codec, Tag};

    type Deed = Box<dyn FnOnce()>;

    /// A word; other processes may do something before its next load.
    #[derive(Clone, Default)]
    struct Shared {
        word: Rc<AtomicU64>,
        meanwhile: Rc<RefCell<Option<Deed>>>,
    }

    impl Atom for Shared {
        fn load(&self, order: Ordering) -> u64 {
            let deed = self.meanwhile.take();
            deed.into_iter().for_each(|deed| deed());
            self.word.load(order)
        }
        fn store(&self, value: u64, order: Ordering) {
            self.word.store(value, order);
        }
        fn compare_exchange(&self, current: u64, new: u64, order: Ordering) -> Result<u64, u64> {
            Atom::compare_exchange(&*self.word, current, new, order)
        }
        fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
            self.word.fetch_add(value, order)
        }
    }

    /// Two slots, of which only the first is used.
    #[derive(Clone, Default)]
    struct Slots {
        words: Rc<[Shared; 2]>,
        names: Rc<[Shared; 2]>,
        counter: Shared,
        local: Rc<LocalCursors>,
    }

    impl Memory for Slots {
        type Atom = Shared;

        fn capacity(&self) -> u64 {
            2
        }
        fn is_exclusive(&self) -> bool {
            false
        }
        fn word(&self, slot: u64) -> &Shared {
            &self.words[slot as usize]
        }
        fn words(&self, slot: u64, count: u64) -> &[Shared] {
            &self.words[slot as usize..(slot + count) as usize]
        }
        fn tail(&self) -> &Shared {
            &self.counter
        }
        fn head(&self) -> &Shared {
            &self.counter
        }
        fn returned(&self) -> &Shared {
            &self.counter
        }
        fn local_cursors(&self) -> &LocalCursors {
            &self.local
        }
        fn name(&self, slot: u64) -> Option<&Shared> {
            Some(&self.names[slot as usize])
        }
        fn span(&self, _: u64) -> u64 {
            1
        }
        fn is_dead(&self, _: u32) -> bool {
            false
        }
    }

    fn held_at(position: u64) -> Word {
        Codec::new(2).pack(Tag::Reading, position, 1, 3, 1)
    }

    /// A ring in which the first slot holds the item that was sent at position 4.
    fn ring() -> (Slots, RingCore<Slots>) {
        let slots = Slots::default();
        slots.words[0].word.store(held_at(4).0, Relaxed);
        (slots.clone(), RingCore::new(slots))
    }

    #[test]
    fn a_name_and_its_failures_outlive_any_number_of_renewals() {
        let (slots, ring) = ring();
        assert_eq!(ring.name_of(4, held_at(4)), 4);
        slots.names[0].word.store(with_failure(name(4)), Relaxed);
        let mut word = held_at(4);
        for position in [6, 8, 10] {
            ring.keep_name(position, word);
            word = ring.codec().renewed(word, position);
            slots.words[0].word.store(word.0, Relaxed);
            assert_eq!(ring.name_of(position, word), 4);
            assert_eq!(failures_in(slots.names[0].word.load(Relaxed)), 1);
        }
    }

    #[test]
    fn a_producer_that_is_late_does_not_overwrite_the_name_of_a_later_item() {
        let (slots, ring) = ring();
        let (others, codec) = (slots.clone(), ring.codec());
        // The item is done, another one came at position 6, and was stepped over at position 8.
        *slots.names[0].meanwhile.borrow_mut() = Some(Box::new(move || {
            others.names[0].word.store(name(6), Relaxed);
            others.words[0].word.store(codec.renewed(held_at(6), 8).0, Relaxed);
        }));
        ring.keep_name(6, held_at(4));
        let word = Word(slots.words[0].word.load(Relaxed));
        assert_eq!(ring.name_of(8, word), 6);
    }
}
