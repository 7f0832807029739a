//! Taking back what the dead held. No lock: everyone may do it at once, be killed or be stopped in
//! the middle, and begin again.

use std::cmp::Ordering::Equal;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use super::Slots;
use super::memory::{Atom, Memory};
use super::word::{Tag, Word};

/// What a recovery changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Half-written runs that were given up.
    pub abandoned: u64,
    /// Their slots.
    pub room: u64,
    /// Items that will be delivered again.
    pub returned: u64,
    /// The slots of their runs.
    pub filled: u64,
}

impl<M: Memory> Slots<M> {
    /// Resolves every word that dead participant `number` owns. When this returns, and the participant
    /// was dead before, it owns nothing, whoever else recovers at the same time.
    pub fn recover(&self, number: u32) -> Recovered {
        let mut total = Recovered::default();
        // Honest runs do not overlap: the inner words of all of them are fewer than the slots. Words that
        // say otherwise get no more time than that.
        let mut inner = 0;
        for slot in 0..self.codec.capacity() {
            // A word may be renewed or marked late while we look: a few looks always suffice, since
            // its dead owner changes it no more; a hostile one gets no endless loop.
            for _ in 0..self.patience() {
                // E5: what the dead did before they died is seen.
                let word = Word(self.memory.word(slot).load(Acquire));
                if !word.is_owned() || word.owner() != number || !self.memory.is_dead(number) {
                    break;
                }
                inner += self.codec.run(word);
                if inner > self.patience() {
                    break;
                }
                let part = self.recover_run(slot, word);
                total.abandoned += part.abandoned;
                total.room += part.room;
                total.returned += part.returned;
                total.filled += part.filled;
            }
        }
        if total.returned > 0 {
            self.announce_returned();
        }
        total
    }

    /// Resolves the run that begins at `slot` with `word`, read while its owner was dead.
    fn recover_run(&self, slot: u64, word: Word) -> Recovered {
        // A point of reference near which the position lies.
        let position = self.codec.position(word, slot, self.near_head());
        let run = self.codec.run(word);
        let mut done = Recovered::default();
        match word.tag() {
            Tag::Writing => {
                if run > 1 {
                    self.move_tail(position.wrapping_add(run));
                }
                let withdrawn = self.recover_inner(position, run, word, |_, inner| match inner.tag() {
                    Tag::Ready | Tag::Abandoned => Some(self.codec.freed(inner)),
                    _ => None,
                });
                let abandoned = self.codec.turned(word, Tag::Abandoned, run, 0, 0);
                if withdrawn.is_some() && self.exchange_dead(position, word, abandoned) {
                    (done.abandoned, done.room) = (1, run);
                }
            }
            Tag::Late => {
                let freed = self.exchange_dead(position, word, self.codec.freed(word)) as u64;
                (done.abandoned, done.room) = (freed, freed);
            }
            Tag::Reading => {
                // A single slot may have been stepped over: head need not have come to it yet.
                if run > 1 {
                    self.move_head(position.wrapping_add(run));
                }
                let returned = self.recover_inner(position, run, word, |at, inner| match inner.tag() {
                    Tag::Ready => {
                        let span = self.codec.run(inner);
                        Some(self.codec.turned(inner, Tag::Redeliver, span, 0, word.attempt()))
                    }
                    Tag::Reading if inner.owner() == word.owner() => {
                        Some(self.as_returned(inner, at, position.wrapping_add(run)))
                    }
                    _ => None,
                });
                let Some(returned) = returned else { return done };
                let first = self.as_returned(word, position, position.wrapping_add(run));
                done.returned += returned;
                if self.exchange_dead(position, word, first) {
                    done.returned += 1;
                    done.filled = run;
                }
            }
            _ => {}
        }
        done
    }

    /// The item that a reader's word at `position` holds, as one to be delivered again. The word knows
    /// the run; how much of it is the first item, only the item's header does.
    fn as_returned(&self, word: Word, position: u64, end: u64) -> Word {
        let span = self.memory.span(self.codec.slot(position)).clamp(1, end.wrapping_sub(position));
        let span = span.min(self.codec.max_run());
        self.codec.turned(word, Tag::Redeliver, span, 0, word.attempt())
    }

    /// Changes the inner words of a dead owner's run from the back, each as `change` says. `None`: the
    /// run was resolved by somebody else meanwhile.
    fn recover_inner(
        &self,
        position: u64,
        run: u64,
        first: Word,
        change: impl Fn(u64, Word) -> Option<Word>,
    ) -> Option<u64> {
        let mut changed = 0;
        for ahead in (1..run).rev() {
            let at = position.wrapping_add(ahead);
            let atom = self.atom(at);
            // E5: as in `recover`.
            let inner = Word(atom.load(Acquire));
            if self.codec.lap_cmp(inner, at) != Equal {
                continue;
            }
            let Some(new) = change(at, inner) else { continue };
            // Only while the first word stands is the inner one certainly the dead owner's. E5.
            if self.atom(position).load(Acquire) != first.0 {
                return None;
            }
            // E3: hands what the dead had to whoever comes next.
            changed += atom.compare_exchange(inner.0, new.0, AcqRel).is_ok() as u64;
        }
        Some(changed)
    }

    fn exchange_dead(&self, position: u64, word: Word, new: Word) -> bool {
        // E3: as above.
        self.atom(position).compare_exchange(word.0, new.0, AcqRel).is_ok()
    }
}
