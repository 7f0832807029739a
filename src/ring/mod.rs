//! The ring itself: positions, claims, publishing, acknowledging, recovery.
//!
//! The truth is in the slots: each has one state word (see [`word`]), and everything else, the head
//! and tail counters included, is a hint that lags behind and is moved on by whoever comes by.
//! docs/PROTOCOL.md has the table of states, and what a death before and after each
//! store leaves.
//!
//! ```text
//!   producer                                consumer
//!   --------                                --------
//!   sees FREE            <------ E2 ------  frees the slot
//!   claims it (E7), moves tail (E6)
//!   writes header and payload
//!   publishes READY      ------- E1 ----->  sees READY, claims it, moves head
//!                                           reads header and payload
//!                                           acknowledges: FREE (E2)
//!
//!   E1  publish -> claim           the payload
//!   E2  free -> claim to write     the licence to overwrite
//!   E3  return -> claim again      the payload, and that its former reader is done
//!   E5  a word -> its recoverer    what the dead did; the kernel's lock orders the rest
//!   E6  tail -> producer           the licence for slots inside a run that somebody else saw freed
//!   E7  claim -> who passes it     passes that licence on to E6
//!   E10 claim to read -> who ends  that the claimant is busy
//! ```
//! E4, E8, E9, E11 and E12 belong to the sync and handles floors: sleeping, the door, news, entries, turns.
//! docs/PROTOCOL.md lists them all.

mod consume;
pub mod inspect;
pub mod memory;
mod produce;
mod recover;
pub mod word;

use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release};

pub use consume::Nothing;
use memory::{Atom, Memory};
pub use produce::Full;
pub use recover::Recovered;
use word::{Codec, Word};

/// A run of slots that one participant owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Position of the first slot.
    pub position: u64,
    /// The first slot's word as the owner wrote it; the length of the run is in it. Two words in all: a
    /// third would be passed through memory, which takes longer than all the rest.
    pub word: Word,
}

/// The slots of one ring, as one handle knows them.
#[derive(Debug)]
pub struct Slots<M> {
    memory: M,
    codec: Codec,
    exclusive: bool,
    /// Claims of a single slot move a counter on at every position that ends a row of so many.
    row: u64,
}

impl<M: Memory> Slots<M> {
    /// The ring on `memory`.
    pub fn new(memory: M) -> Self {
        let codec = Codec::new(memory.capacity());
        let row = (codec.capacity() / 2).clamp(1, MOST_IN_ROW);
        Slots { codec, exclusive: memory.is_exclusive(), memory, row }
    }

    /// The memory below.
    #[inline]
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Reads and packs this ring's words.
    #[inline]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Number of slots of a claim. It never passes the end of the ring, unless a hostile word says so.
    #[inline]
    pub fn run(&self, claim: Claim) -> u64 {
        self.codec.run(claim.word).min(self.codec.to_end(claim.position))
    }

    #[inline]
    fn atom(&self, position: u64) -> &M::Atom {
        self.memory.word(self.codec.slot(position))
    }

    /// Where a producer looks next.
    #[inline]
    fn near_tail(&self) -> u64 {
        // E6: with the tail comes the licence for slots inside runs that others saw freed.
        later(self.memory.reach().tail.load(Relaxed), self.memory.tail().load(Acquire))
    }

    /// Where a consumer looks next.
    #[inline]
    fn near_head(&self) -> u64 {
        // Relaxed: the words decide; a stale head only leads over decided ones.
        later(self.memory.reach().head.load(Relaxed), self.memory.head().load(Relaxed))
    }

    /// From now on this handle looks for room behind a run that was decided.
    #[inline]
    fn pass_tail(&self, position: u64, run: u64) {
        let end = position.wrapping_add(run);
        // Relaxed: its own.
        self.memory.reach().tail.store(end, Relaxed);
        if self.moves_counter(position, run) {
            self.move_tail(end);
        }
    }

    /// From now on this handle looks for items behind a run that was decided.
    #[inline]
    fn pass_head(&self, position: u64, run: u64) {
        let end = position.wrapping_add(run);
        // Relaxed: its own.
        self.memory.reach().head.store(end, Relaxed);
        if self.moves_counter(position, run) {
            self.move_head(end);
        }
    }

    /// Whether whoever passes this run moves the counter behind it.
    ///
    /// A run of several slots must be behind the counter before its first word leaves the claim: its inner
    /// words may keep an earlier lap, and nobody could tell them from slots that were never claimed. A
    /// single slot tells by its own word that it was decided, so that one in a few is enough.
    #[inline]
    fn moves_counter(&self, position: u64, run: u64) -> bool {
        run > 1 || position & (self.row - 1) == self.row - 1
    }

    /// Moves tail to `end` at least; everything before it is decided.
    fn move_tail(&self, end: u64) {
        // E6: passes on what this process knows to be free.
        self.move_counter(self.memory.tail(), end, AcqRel);
    }

    /// Moves head to `end` at least; everything before it is decided.
    fn move_head(&self, end: u64) {
        // Relaxed: the words decide.
        self.move_counter(self.memory.head(), end, Relaxed);
    }

    #[inline]
    fn move_counter(&self, counter: &M::Atom, end: u64, order: Ordering) {
        for _ in 0..self.patience() {
            // Relaxed: the exchange decides.
            let now = counter.load(Relaxed);
            if now == later(now, end) || counter.compare_exchange(now, end, order).is_ok() {
                return;
            }
        }
    }

    /// Exchanges a word of one's own that others may have renewed or marked late.
    fn exchange_own(&self, position: u64, mine: Word, change: impl Fn(Word) -> Word) {
        let atom = self.atom(position);
        for _ in 0..self.patience() {
            // E2 or E3, as the change is to free or to return.
            let word = Word(atom.load(Acquire));
            let owned = word.is_owned() && word.owner() == mine.owner();
            if !owned || atom.compare_exchange(word.0, change(word).0, AcqRel).is_ok() {
                return;
            }
        }
    }

    /// Says that an item has become redeliverable.
    fn announce_returned(&self) {
        // E9: who sees the count finds the item, by E3.
        self.memory.returned().fetch_add(1, Release);
    }

    /// Looks after which a loop gives up that no honest ring keeps going for so long.
    fn patience(&self) -> u64 {
        4 * self.codec.capacity() + 1024
    }
}

/// Most single slots that are claimed for one move of the counter: those of a line of words.
const MOST_IN_ROW: u64 = 8;

/// The later of two positions.
#[inline]
fn later(one: u64, other: u64) -> u64 {
    if (one.wrapping_sub(other) as i64) > 0 { one } else { other }
}
