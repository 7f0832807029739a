//! The state word of a slot: the only record of what the slot contains and which participant owns it.
//!
//! ```text
//!  63                                    23    22     21        14 13       4 3     0
//! +----------------------------------------+---------+------------+----------+-------+
//! | place: lap in the high part, run below | renewed | attempt    | owner    | tag   |
//! +----------------------------------------+---------+------------+----------+-------+
//! ```
//!
//! *Renewed* says that a producer has stepped over the slot since its item was sent: the item has a position before
//! the one that the word names.
//!
//! *Place* holds the low 41 bits of the position that the word names. The low bits of the position would
//! repeat the slot's own number, so the length in slots of the run that begins here replaces them. In a ring
//! of 2^b slots a word thus has 41 - b bits of lap and b bits of run. Positions repeat after 2^41 items
//! whatever the capacity. A run is at most half of the slots, so it always fits. The all-zero word is FREE
//! for lap 0: fresh memory is an empty ring.

use std::cmp::Ordering;

use crate::layout::geometry::MAX_PARTICIPANTS;

const TAG_BITS: u32 = 4;
const OWNER_BITS: u32 = MAX_PARTICIPANTS.ilog2();
const ATTEMPT_BITS: u32 = 8;
const RENEWED: u64 = 1 << (TAG_BITS + OWNER_BITS + ATTEMPT_BITS);
const PLACE_SHIFT: u32 = TAG_BITS + OWNER_BITS + ATTEMPT_BITS + 1;
/// Bits of a position that a word holds.
pub const PLACE_BITS: u32 = 64 - PLACE_SHIFT;
const PLACE_MASK: u64 = (1 << PLACE_BITS) - 1;
/// The number of positions between two laps in which producers rewrite inner words. It is far below 2^40,
/// beyond which an old word would compare as one of a later lap.
pub const REFRESH_PERIOD: u64 = 1 << 36;
/// Attempts are exact below this value. From here on they cycle through the upper half. So two deliveries of
/// one item never look alike to a recovering process that was stopped in between.
pub const ATTEMPT_CYCLE: u8 = 128;

/// The state of a slot. The numbers are part of the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Tag {
    /// Empty, to be claimed by a producer.
    Free = 0,
    /// Claimed by a producer that has not published yet.
    Writing = 1,
    /// As `Writing`, but consumers have passed it: it will be published as `Redeliver`.
    Late = 2,
    /// Published, to be claimed by a consumer at head.
    Ready = 3,
    /// Claimed by a consumer that has not acknowledged yet.
    Reading = 4,
    /// Published, behind head, to be claimed by any consumer.
    Redeliver = 5,
    /// Contains nothing; consumers step over the run and free it.
    Abandoned = 6,
    /// Published: a row of items of one slot each, whose inner words say nothing.
    ReadyRow = 7,
    /// A published row that any consumer may change into shorter ones; the attempt is the length of a piece.
    PartingRow = 8,
    /// A row claimed by a consumer, which has acknowledged none of its items.
    ReadingRow = 9,
    /// As `ReadingRow`, for several rows and single items that one consumer claimed at once: those after the first have
    /// words of their own.
    ReadingRows = 10,
    /// No honest process writes this.
    Damaged = 15,
}

/// One state word. Only the [`Codec`] of the ring, which knows the capacity, can take it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Word(pub u64);

impl Word {
    /// The tag; `Damaged` for bits that no honest process writes.
    #[inline]
    pub fn tag(self) -> Tag {
        match self.0 & ((1 << TAG_BITS) - 1) {
            0 => Tag::Free,
            1 => Tag::Writing,
            2 => Tag::Late,
            3 => Tag::Ready,
            4 => Tag::Reading,
            5 => Tag::Redeliver,
            6 => Tag::Abandoned,
            7 => Tag::ReadyRow,
            8 => Tag::PartingRow,
            9 => Tag::ReadingRow,
            10 => Tag::ReadingRows,
            _ => Tag::Damaged,
        }
    }

    /// The owner's participant number; meaningless if the tag has no owner.
    #[inline]
    pub fn owner(self) -> u32 {
        (self.0 >> TAG_BITS) as u32 & (MAX_PARTICIPANTS - 1)
    }

    /// How often the item has been delivered, this delivery included. Items of a row that is being parted have
    /// not been.
    #[inline]
    pub fn attempt(self) -> u8 {
        if self.tag() == Tag::PartingRow { 0 } else { self.attempt_bits() }
    }

    /// The length of the pieces into which a row is being parted, at least 1.
    #[inline]
    pub fn piece(self) -> u64 {
        u64::from(self.attempt_bits()).max(1)
    }

    #[inline]
    fn attempt_bits(self) -> u8 {
        (self.0 >> (TAG_BITS + OWNER_BITS)) as u8
    }

    /// Whether a producer has stepped over the slot since its item was sent.
    #[inline]
    pub fn is_renewed(self) -> bool {
        self.0 & RENEWED != 0
    }

    /// Whether a participant owns this word.
    #[inline]
    pub fn is_owned(self) -> bool {
        matches!(self.tag(), Tag::Writing | Tag::Late | Tag::Reading | Tag::ReadingRow | Tag::ReadingRows)
    }

    /// Whether this word stands for several items of one slot each, whose own words say nothing.
    #[inline]
    pub fn is_row(self) -> bool {
        matches!(self.tag(), Tag::ReadyRow | Tag::PartingRow | Tag::ReadingRow | Tag::ReadingRows)
    }

    #[inline]
    fn place(self) -> u64 {
        self.0 >> PLACE_SHIFT
    }
}

/// The attempt after `attempt`.
#[inline]
pub fn next_attempt(attempt: u8) -> u8 {
    if attempt == u8::MAX { ATTEMPT_CYCLE } else { attempt + 1 }
}

/// Packs and unpacks the words of a ring of one capacity.
#[derive(Debug, Clone, Copy)]
pub struct Codec {
    mask: u64,
}

impl Codec {
    /// For a ring of `capacity` slots, a power of two from 2 to 2^24.
    pub fn new(capacity: u64) -> Self {
        debug_assert!(capacity.is_power_of_two() && (2..=1 << 24).contains(&capacity));
        Codec { mask: capacity - 1 }
    }

    /// Number of slots.
    #[inline]
    pub fn capacity(self) -> u64 {
        self.mask + 1
    }

    /// The longest run: half of the slots.
    #[inline]
    pub fn max_run(self) -> u64 {
        self.capacity() / 2
    }

    /// The slot of a position.
    #[inline]
    pub fn slot(self, position: u64) -> u64 {
        position & self.mask
    }

    /// Slots from `position` to the end of the ring.
    #[inline]
    pub fn to_end(self, position: u64) -> u64 {
        self.capacity() - self.slot(position)
    }

    /// The word for `position` with these fields.
    #[inline]
    pub fn pack(self, tag: Tag, position: u64, run: u64, owner: u32, attempt: u8) -> Word {
        debug_assert!(run <= self.max_run() && owner < MAX_PARTICIPANTS);
        let place = (position & !self.mask | run) & PLACE_MASK;
        Word(
            place << PLACE_SHIFT
                | (attempt as u64) << (TAG_BITS + OWNER_BITS)
                | (owner as u64) << TAG_BITS
                | tag as u64,
        )
    }

    /// The FREE word for the lap of `position`.
    #[inline]
    pub fn free(self, position: u64) -> Word {
        self.pack(Tag::Free, position, 0, 0, 0)
    }

    /// The FREE word for the lap after the word's own.
    #[inline]
    pub fn freed(self, word: Word) -> Word {
        let place = ((word.place() & !self.mask) + self.capacity()) & PLACE_MASK;
        Word(place << PLACE_SHIFT)
    }

    /// The length of the run in slots, limited to 1 to half of the ring whatever the bits say.
    #[inline]
    pub fn run(self, word: Word) -> u64 {
        (word.place() & self.mask).clamp(1, self.max_run())
    }

    /// The word's lap compared with the lap of `position`.
    #[inline]
    pub fn lap_cmp(self, word: Word, position: u64) -> Ordering {
        let difference = self.lap_difference(word, position);
        difference.cmp(&0)
    }

    /// The word's lap minus the lap of `position`, in positions: a multiple of the capacity.
    #[inline]
    fn lap_difference(self, word: Word, position: u64) -> i64 {
        let theirs = word.place() & !self.mask;
        let ours = position & !self.mask;
        let shift = 64 - PLACE_BITS;
        (theirs.wrapping_sub(ours) << shift) as i64 >> shift
    }

    /// The full position that the word of `slot` names: the possible one that is nearest to `reference`.
    #[inline]
    pub fn position(self, word: Word, slot: u64, reference: u64) -> u64 {
        let lap = (reference & !self.mask).wrapping_add(self.lap_difference(word, reference) as u64);
        lap | (slot & self.mask)
    }

    /// Whether producers rewrite the inner words of their claims in the lap of `position`. One lap in each
    /// [`REFRESH_PERIOD`] is such a lap.
    #[inline]
    pub fn refreshes(self, position: u64) -> bool {
        // Offset by half a period, so that a new ring does not begin with such a lap.
        position & (REFRESH_PERIOD - self.capacity()) == REFRESH_PERIOD / 2
    }

    /// Whether all of these words are FREE, for the lap of `free` or an earlier one; `free` is the FREE word of a position.
    #[inline(always)]
    pub fn are_free(self, free: Word, words: impl IntoIterator<Item = Word>) -> bool {
        // In a FREE word all bits below the place are 0, and so is the run. So words compare as their laps do.
        let low = ((1 << PLACE_SHIFT) - 1) | (self.mask << PLACE_SHIFT);
        let both = |(bits, later), word: Word| (bits | word.0, later | free.0.wrapping_sub(word.0));
        let (bits, later) = words.into_iter().fold((0, 0), both);
        bits & low == 0 && later as i64 >= 0
    }

    /// The same word with the lap of `position`, marked as renewed.
    #[inline]
    pub fn renewed(self, word: Word, position: u64) -> Word {
        let place = (position & !self.mask | word.place() & self.mask) & PLACE_MASK;
        Word(place << PLACE_SHIFT | RENEWED | word.0 & ((1 << PLACE_SHIFT) - 1))
    }

    /// The same lap and mark with another tag, run, owner and attempt.
    #[inline]
    pub fn turned(self, word: Word, tag: Tag, run: u64, owner: u32, attempt: u8) -> Word {
        let turned = self.pack(tag, word.place() & !self.mask, run, owner, attempt);
        Word(turned.0 | word.0 & RENEWED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_memory_is_free_for_lap_zero() {
        let codec = Codec::new(8);
        assert_eq!(codec.free(3), Word(0));
        assert_eq!(Word(0).tag(), Tag::Free);
        assert_eq!(codec.lap_cmp(Word(0), 7), Ordering::Equal);
        assert_eq!(codec.lap_cmp(Word(0), 8), Ordering::Less);
    }

    #[test]
    fn a_word_unpacks_to_what_was_packed_at_every_capacity_and_near_the_wrap() {
        for bits in 1..=24 {
            let codec = Codec::new(1 << bits);
            for position in [0, 1, 12345, (1 << PLACE_BITS) - 1, 1 << PLACE_BITS, u64::MAX - 1, u64::MAX] {
                let run = codec.max_run();
                let word = codec.pack(Tag::Reading, position, run, 1023, 200);
                assert_eq!(word.tag(), Tag::Reading);
                assert_eq!(word.owner(), 1023);
                assert_eq!(word.attempt(), 200);
                assert_eq!(codec.run(word), run);
                assert_eq!(codec.lap_cmp(word, position), Ordering::Equal);
                let later = position.wrapping_add(codec.capacity());
                assert_eq!(codec.lap_cmp(word, later), Ordering::Less);
                assert_eq!(codec.lap_cmp(codec.freed(word), position), Ordering::Greater);
                assert_eq!(codec.lap_cmp(codec.freed(word), later), Ordering::Equal);
                assert!(!word.is_renewed() && !codec.freed(codec.renewed(word, later)).is_renewed());
                assert!(codec.renewed(word, later).is_renewed());
                assert_eq!(codec.renewed(word, later).owner(), 1023);
                assert_eq!(codec.lap_cmp(codec.renewed(word, later), later), Ordering::Equal);
                let slot = codec.slot(position);
                assert_eq!(codec.position(word, slot, later), position);
                assert_eq!(codec.position(word, slot, position.wrapping_sub(5)), position);
            }
        }
    }

    #[test]
    fn words_are_free_for_a_lap_if_they_are_for_an_earlier_one() {
        for bits in [1, 3, 24] {
            let codec = Codec::new(1 << bits);
            let lap = codec.capacity();
            for position in [0, 5 * lap + 1, (1 << PLACE_BITS) - 1, 1 << PLACE_BITS] {
                let free = codec.free(position);
                let at = |laps: u64| codec.free(position.wrapping_sub(laps.wrapping_mul(lap)));
                assert!(codec.are_free(free, [at(0), at(1), at(2)]) && codec.are_free(free, []));
                assert!(!codec.are_free(free, [at(0), at(u64::MAX)]), "of the next lap");
                for tag in [Tag::Writing, Tag::Ready, Tag::Reading, Tag::Abandoned, Tag::ReadyRow] {
                    let word = codec.pack(tag, position.wrapping_sub(lap), 1, 0, 0);
                    assert!(!codec.are_free(free, [at(0), word]), "{tag:?}");
                }
            }
        }
    }

    #[test]
    fn any_bits_give_a_run_within_the_ring() {
        let codec = Codec::new(4);
        for bits in [0, u64::MAX, 0x5555_5555_5555_5555] {
            let run = codec.run(Word(bits));
            assert!((1..=2).contains(&run));
        }
        assert_eq!(Word(u64::MAX).tag(), Tag::Damaged);
    }

    #[test]
    fn successive_attempts_differ() {
        let mut attempt = 0;
        for _ in 0..1000 {
            let next = next_attempt(attempt);
            assert_ne!(next, attempt);
            assert!(next > 0);
            attempt = next;
        }
        assert!(attempt >= ATTEMPT_CYCLE);
    }
}
