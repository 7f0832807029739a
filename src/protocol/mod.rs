//! The ring protocol: positions, claims, publishing, acknowledging, recovery.
//!
//! The slots hold the truth: each has one state word (see [`word`]). Everything else is a hint that lags
//! behind, even the head and tail counters; any process that passes a counter moves it on. docs/PROTOCOL.md
//! has the table of states, and says what a death before and after each store leaves.
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
//!   E5  a word -> its recoverer    the dead owner's stores; the kernel's lock orders the rest
//!   E6  tail -> producer           the licence for slots inside a run that another producer saw freed
//!   E7  claim -> passing producer  passes that licence on to E6
//!   E10 claim to read -> end check that the claimant is busy
//! ```
//! The other edges belong to other parts of the library: E4 to sleeping, E8 to the stream's state, E9 to
//! events, E11 to entries, E12 to turns, E13 to a monitor's starts. docs/PROTOCOL.md lists them all.

mod claim_room;
mod consume;
pub mod inspect;
mod make_room;
pub mod memory;
pub mod names;
mod publish;
mod recover;
mod row;
pub mod word;

use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed, Release};

pub use consume::NoItem;
pub use make_room::Full;
use memory::{Atom, Memory};
pub use recover::Recovered;
use word::{Codec, Word};

/// A run of slots that one participant owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Position of the first slot.
    pub position: u64,
    /// The first slot's word as the owner wrote it, which includes the length of the run. A claim has just
    /// two words, because a struct of three would be passed through memory, which is slower.
    pub word: Word,
}

/// The slots of one ring, as one handle sees them.
#[derive(Debug)]
pub struct RingCore<M> {
    memory: M,
    codec: Codec,
    exclusive: bool,
    /// Claims of a single slot move a counter on only at the last of this many positions.
    stride: u64,
    /// The most items in a published row.
    most_in_row: u64,
}

impl<M: Memory> RingCore<M> {
    /// The ring on `memory`.
    pub fn new(memory: M) -> Self {
        let codec = Codec::new(memory.capacity());
        let most_in_row = memory.most_in_row();
        let stride = (codec.capacity() / 2).clamp(1, MOST_UNCOUNTED);
        RingCore { codec, exclusive: memory.is_exclusive(), memory, stride, most_in_row }
    }

    /// The memory that the ring uses.
    #[inline]
    pub fn memory(&self) -> &M {
        &self.memory
    }

    /// Packs and unpacks this ring's words.
    #[inline]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The number of slots in a claim. A claim never passes the end of the ring, unless a hostile word says
    /// so.
    #[inline]
    pub fn run(&self, claim: Claim) -> u64 {
        self.codec.run(claim.word).min(self.codec.to_end(claim.position))
    }

    #[inline]
    fn atom(&self, position: u64) -> &M::Atom {
        self.memory.word(self.codec.slot(position))
    }

    /// The position at which a producer begins its search.
    #[inline]
    fn near_tail(&self) -> u64 {
        // E6: the tail carries the licence for slots inside runs that other producers saw freed.
        later(self.memory.local_cursors().tail.load(Relaxed), self.memory.tail().load(Acquire))
    }

    /// The position at which a consumer begins its search.
    #[inline]
    pub fn near_head(&self) -> u64 {
        // Relaxed: the words decide; a stale head only leads over positions that are decided.
        later(self.memory.local_cursors().head.load(Relaxed), self.memory.head().load(Relaxed))
    }

    /// Makes this handle search for room after this run, which is decided.
    #[inline]
    fn pass_tail(&self, position: u64, run: u64) {
        let end = position.wrapping_add(run);
        // Relaxed: only this handle uses it.
        self.memory.local_cursors().tail.store(end, Relaxed);
        if self.moves_counter(position, run) {
            self.move_tail(end);
        }
    }

    /// Makes this handle search for items after this run, which is decided.
    #[inline]
    fn pass_head(&self, position: u64, run: u64) {
        let end = position.wrapping_add(run);
        // Relaxed: only this handle uses it.
        self.memory.local_cursors().head.store(end, Relaxed);
        if self.moves_counter(position, run) {
            self.move_head(end);
        }
    }

    /// Whether a process that passes this run must move the counter past it.
    ///
    /// The counter must have passed a run of several slots before the run's first word leaves the claim. The
    /// run's inner words may keep an earlier lap, and look like slots that were never claimed. A single
    /// slot's own word says that it was decided, so moving the counter once every few slots is enough.
    #[inline]
    fn moves_counter(&self, position: u64, run: u64) -> bool {
        run > 1 || position & (self.stride - 1) == self.stride - 1
    }

    /// Moves tail to at least `end`. Everything before `end` is decided.
    fn move_tail(&self, end: u64) {
        // E6: publishes what this process knows to be free.
        self.move_counter(self.memory.tail(), end, AcqRel);
    }

    /// Moves head to at least `end`. Everything before `end` is decided.
    fn move_head(&self, end: u64) {
        // Relaxed: the words decide.
        self.move_counter(self.memory.head(), end, Relaxed);
    }

    #[inline]
    fn move_counter(&self, counter: &M::Atom, end: u64, order: Ordering) {
        for _ in 0..self.max_steps() {
            // Relaxed: the exchange decides.
            let now = counter.load(Relaxed);
            if now == later(now, end) || counter.compare_exchange(now, end, order).is_ok() {
                return;
            }
        }
    }

    /// Exchanges a word that this participant owns. Other participants may have renewed it or marked it late.
    fn exchange_own(&self, position: u64, mine: Word, change: impl Fn(Word) -> Word) {
        let atom = self.atom(position);
        for _ in 0..self.max_steps() {
            // E2 or E3, depending on whether the change frees or returns the slot.
            let word = Word(atom.load(Acquire));
            let owned = word.is_owned() && word.owner() == mine.owner();
            if !owned || atom.compare_exchange(word.0, change(word).0, AcqRel).is_ok() {
                return;
            }
        }
    }

    /// Announces that an item has become redeliverable.
    fn announce_returned(&self) {
        // E9: a process that sees the count finds the item, by E3.
        self.memory.returned().fetch_add(1, Release);
    }

    /// The number of steps after which a loop gives up. Only a damaged ring needs as many.
    fn max_steps(&self) -> u64 {
        4 * self.codec.capacity() + 1024
    }
}

/// The most single slots that are claimed for one move of the counter: as many as a cache line has words.
const MOST_UNCOUNTED: u64 = 8;

/// The later of two positions.
#[inline]
fn later(one: u64, other: u64) -> u64 {
    if (one.wrapping_sub(other) as i64) > 0 { one } else { other }
}
