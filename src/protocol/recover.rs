//! Recovery of a dead participant's slots. It needs no lock: any number of processes may do it at once, each
//! may be killed or stopped at any step, and any may begin again.

use std::cmp::Ordering::{Equal, Greater};
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use super::RingCore;
use super::memory::{Atom, Memory};
use super::word::{Tag, Word};

/// What a recovery changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recovered {
    /// Half-written runs that were given up.
    pub abandoned: u64,
    /// The slots of these runs.
    pub room: u64,
    /// Items that will be delivered again.
    pub returned: u64,
    /// The slots of their runs.
    pub filled: u64,
}

impl<M: Memory> RingCore<M> {
    /// Resolves every word that dead participant `number` owns. If the participant was dead before the call,
    /// it owns nothing afterwards, even if other processes recover at the same time.
    pub fn recover(&self, number: u32) -> Recovered {
        self.recover_while(number, || self.memory.is_dead(number))
    }

    /// As [`recover`](Self::recover), for a participant that was dead before. `stands` is called after each
    /// word is read. It returns whether the word must be the dead participant's, because no other participant
    /// has taken the number.
    pub fn recover_while(&self, number: u32, stands: impl Fn() -> bool) -> Recovered {
        let mut total = Recovered::default();
        // Valid runs do not overlap, so they have fewer inner words than the ring has slots. Damaged words
        // get no more steps than that.
        let mut inner = 0;
        for slot in 0..self.codec.capacity() {
            // Other processes may renew the word or mark it late meanwhile. A few attempts always suffice,
            // since the dead owner changes it no more. The limit stops an endless loop over hostile words.
            for _ in 0..self.max_steps() {
                // E5: see what the dead participant did.
                let word = Word(self.memory.word(slot).load(Acquire));
                if !word.is_owned() || word.owner() != number || !stands() {
                    break;
                }
                inner += self.codec.run(word);
                if inner > self.max_steps() {
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

    /// Resolves the run that begins at `slot` with `word`, which was read while its owner was dead.
    fn recover_run(&self, slot: u64, word: Word) -> Recovered {
        // Head is near the position, so it serves as the reference.
        let position = self.codec.position(word, slot, self.near_head());
        let run = self.codec.run(word);
        let mut done = Recovered::default();
        match word.tag() {
            Tag::Writing => {
                if run > 1 {
                    self.move_tail(position.wrapping_add(run));
                }
                let withdrawn = self.recover_inner(position, run, word, |at, inner| match inner.tag() {
                    Tag::Ready | Tag::ReadyRow | Tag::Abandoned if self.is_of_lap(at, inner) => {
                        Some(self.codec.freed(inner))
                    }
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
                // A single slot may have been stepped over, so head may not have reached it yet.
                if run > 1 {
                    self.move_head(position.wrapping_add(run));
                }
                let end = position.wrapping_add(run);
                let returned = self.recover_inner(position, run, word, |at, inner| match inner.tag() {
                    _ if !self.is_of_lap(at, inner) => None,
                    Tag::Ready => {
                        let span = self.codec.run(inner);
                        Some(self.codec.turned(inner, Tag::Redeliver, span, 0, word.attempt()))
                    }
                    Tag::Reading if inner.owner() == word.owner() => Some(self.as_returned(inner, at, end)),
                    _ => None,
                });
                let Some(returned) = returned else { return done };
                let first = self.as_returned(word, position, end);
                done.returned += returned;
                if self.exchange_dead(position, word, first) {
                    done.returned += 1;
                    done.filled = run;
                }
            }
            Tag::ReadingRow | Tag::ReadingRows => {
                self.move_head(position.wrapping_add(run));
                let item = |at| self.codec.pack(Tag::Redeliver, at, 1, 0, word.attempt());
                let returned = self.recover_inner(position, run, word, |at, inner| match inner.tag() {
                    // Free of this lap or an earlier one: an item that its reader has not touched.
                    Tag::Free if self.codec.lap_cmp(inner, at) != Greater => Some(item(at)),
                    Tag::Ready | Tag::ReadyRow if self.is_of_lap(at, inner) => Some(item(at)),
                    Tag::Reading | Tag::ReadingRow | Tag::ReadingRows => {
                        (inner.owner() == word.owner() && self.is_of_lap(at, inner)).then(|| item(at))
                    }
                    _ => None,
                });
                let Some(returned) = returned else { return done };
                done.returned += returned;
                if self.exchange_dead(position, word, item(position)) {
                    done.returned += 1;
                    done.filled = run;
                }
            }
            _ => {}
        }
        done
    }

    fn is_of_lap(&self, position: u64, word: Word) -> bool {
        self.codec.lap_cmp(word, position) == Equal
    }

    /// The word that returns the item which the reader's word at `position` holds. The reader's word has the
    /// length of the run; only the item's header has the length of the first item.
    fn as_returned(&self, word: Word, position: u64, end: u64) -> Word {
        let span = self.memory.span(self.codec.slot(position)).clamp(1, end.wrapping_sub(position));
        let span = span.min(self.codec.max_run());
        self.codec.turned(word, Tag::Redeliver, span, 0, word.attempt())
    }

    /// Changes the inner words of a dead owner's run from the back, each as `change` says. Returns `None` if
    /// another process resolved the run meanwhile.
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
            let Some(new) = change(at, inner) else { continue };
            // E5: the inner word is certainly the dead owner's only while the first word is unchanged.
            if self.atom(position).load(Acquire) != first.0 {
                return None;
            }
            // E3: hands the dead owner's items to the next claimant.
            changed += atom.compare_exchange(inner.0, new.0, AcqRel).is_ok() as u64;
        }
        Some(changed)
    }

    fn exchange_dead(&self, position: u64, word: Word, new: Word) -> bool {
        // E3: as above.
        self.atom(position).compare_exchange(word.0, new.0, AcqRel).is_ok()
    }
}
