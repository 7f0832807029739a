//! What one call may cost, and how old a word may get: the ring's own code on plain memory that counts its loads.
//!
//! `cargo test --test library bounds:: -- --nocapture` prints the loads of each call against the number of held slots.

use std::cell::Cell;
use std::sync::atomic::AtomicU64 as Plain;
use std::sync::atomic::Ordering::{self, Relaxed};

use ringpipe::internal::protocol::memory::{Atom, LocalCursors, Memory};
use ringpipe::internal::protocol::word::{REFRESH_PERIOD, Tag, Word as State};
use ringpipe::internal::protocol::{Claim, RingCore};

thread_local! {
    static LOADS: Cell<u64> = const { Cell::new(0) };
}

/// A word that counts how often a word is read.
struct Word(Plain);

impl Atom for Word {
    fn load(&self, order: Ordering) -> u64 {
        LOADS.set(LOADS.get() + 1);
        self.0.load(order)
    }
    fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }
    fn compare_exchange(&self, current: u64, new: u64, order: Ordering) -> Result<u64, u64> {
        LOADS.set(LOADS.get() + 1);
        self.0.compare_exchange(current, new, order, Relaxed)
    }
    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.0.fetch_add(value, order)
    }
}

/// A ring in plain memory, and one handle to it that takes both sides.
struct Heap {
    exclusive: bool,
    words: Vec<Word>,
    tail: Word,
    head: Word,
    returned: Word,
    local_cursors: LocalCursors,
    /// Slots of each item.
    span: u64,
}

impl Memory for Heap {
    type Atom = Word;

    fn capacity(&self) -> u64 {
        self.words.len() as u64
    }
    fn is_exclusive(&self) -> bool {
        self.exclusive
    }
    fn word(&self, slot: u64) -> &Word {
        &self.words[slot as usize]
    }
    fn words(&self, slot: u64, count: u64) -> &[Word] {
        let words = &self.words[slot as usize..];
        &words[..words.len().min(count as usize)]
    }
    fn tail(&self) -> &Word {
        &self.tail
    }
    fn head(&self) -> &Word {
        &self.head
    }
    fn returned(&self) -> &Word {
        &self.returned
    }
    fn local_cursors(&self) -> &LocalCursors {
        &self.local_cursors
    }
    fn span(&self, _: u64) -> u64 {
        self.span
    }
    fn is_dead(&self, _: u32) -> bool {
        false
    }
}

const ME: u32 = 1;

fn ring(capacity: u64, span: u64, exclusive: bool) -> RingCore<Heap> {
    let word = || Word(Plain::new(0));
    let words = (0..capacity).map(|_| word()).collect();
    let (tail, head, returned) = (word(), word(), word());
    RingCore::new(Heap {
        exclusive,
        words,
        tail,
        head,
        returned,
        local_cursors: LocalCursors::default(),
        span,
    })
}

fn send(ring: &RingCore<Heap>, span: u64) -> bool {
    let claim = ring.claim_room(ME, span, span, |_| span).ok();
    claim.inspect(|claim| assert!(ring.publish(*claim, std::iter::once(span)))).is_some()
}

fn take(ring: &RingCore<Heap>) -> Option<Claim> {
    ring.claim_items(ME, 1, ring.codec().max_run()).ok()
}

/// The ring as it would be after this number of further positions, sent and received like the ones before: what
/// was written in each lap has that much later a lap, and nothing else has changed.
fn let_time_pass(ring: &RingCore<Heap>, positions: u64, is_written: impl Fn(u64) -> bool) {
    let (codec, memory) = (ring.codec(), ring.memory());
    for counter in [&memory.tail.0, &memory.head.0, &memory.local_cursors.tail, &memory.local_cursors.head] {
        counter.fetch_add(positions, Relaxed);
    }
    let tail = memory.tail.0.load(Relaxed);
    for slot in (0..codec.capacity()).filter(|slot| is_written(*slot)) {
        let word = State(memory.words[slot as usize].0.load(Relaxed));
        assert_eq!(word.tag(), Tag::Free, "only a ring at rest can be carried on");
        let position = codec.position(word, slot, tail.wrapping_sub(positions)).wrapping_add(positions);
        memory.words[slot as usize].0.store(codec.free(position).0, Relaxed);
    }
}

/// A life of 2^43 positions: more than twice what separates a word of the past from one of the future.
#[test]
fn items_of_several_slots_work_with_inner_words_of_any_age() {
    for (exclusive, span) in [(false, 2), (true, 2), (false, 3), (true, 3)] {
        let ring = ring(8, span, exclusive);
        for period in 0..(1_u64 << 43) / (REFRESH_PERIOD / 2) {
            for item in 0..8 {
                assert!(
                    send(&ring, span),
                    "exclusive {exclusive}, period {period}: item {item} finds no room"
                );
                let claim =
                    take(&ring).unwrap_or_else(|| panic!("period {period}: item {item} is not found"));
                ring.acknowledge_one(claim);
            }
            // The last two slots of a lap are too few for an item of three, and are given up as a run.
            let (laps, written): (u64, &[u64]) = if span == 2 { (2, &[0, 2, 4, 6]) } else { (4, &[0, 3, 6]) };
            let_time_pass(&ring, REFRESH_PERIOD / 2 - laps * 8, |slot| written.contains(&slot));
        }
    }
}

/// The same where each slot is an inner one for a long time, and then the first of a single item.
#[test]
fn a_slot_that_was_an_inner_one_for_many_laps_takes_single_items_again() {
    for exclusive in [false, true] {
        let ring = ring(8, 2, exclusive);
        for period in 0..(1_u64 << 43) / (REFRESH_PERIOD / 2) {
            let mut room = 0;
            while send(&ring, 2) {
                room += 1;
            }
            assert_eq!(room, 4, "exclusive {exclusive}, period {period}: wide items that fit");
            (0..room).for_each(|_| ring.acknowledge_one(take(&ring).expect("an item that was sent")));
            let_time_pass(&ring, REFRESH_PERIOD / 2 - 8, |slot| slot % 2 == 0);
        }
        let mut room = 0;
        while send(&ring, 1) {
            room += 1;
        }
        assert_eq!(room, 8, "exclusive {exclusive}: single items that fit");
        (0..room).for_each(|_| ring.acknowledge_one(take(&ring).expect("an item that was sent")));
    }
}

/// The loads of one call for room of `span` slots.
fn loads(ring: &RingCore<Heap>, span: u64) -> (u64, bool) {
    let before = LOADS.get();
    let found = ring.claim_room(ME, span, span, |_| span).is_ok();
    (LOADS.get() - before, found)
}

/// Fills the ring, takes all, and keeps the items that `keeps` selects.
fn held(capacity: u64, keeps: impl Fn(u64) -> bool) -> RingCore<Heap> {
    let ring = ring(capacity, 1, false);
    (0..capacity).for_each(|_| assert!(send(&ring, 1)));
    for position in 0..capacity {
        let claim = take(&ring).expect("an item that was sent");
        if !keeps(position) {
            ring.acknowledge_one(claim);
        }
    }
    ring
}

/// Gaps in the whole ring, which no consumer has passed, and at the end one free slot.
fn gaps(capacity: u64) -> RingCore<Heap> {
    let ring = ring(capacity, 1, false);
    for _ in 0..capacity {
        ring.abandon(ring.claim_room(ME, 1, 1, |_| 1).expect("room in an empty ring"));
    }
    ring
}

#[test]
fn a_call_reads_each_word_a_few_times_however_many_slots_are_held() {
    println!("{:>42} {:>8} {:>9} {:>6}", "a ring in which", "held", "loads", "found");
    for bits in [6, 10, 14] {
        let held_slots = 1_u64 << bits;
        let capacity = 4 * held_slots;
        let worlds: [(&str, RingCore<Heap>, u64); 6] = [
            ("a row is held", held(capacity, |at| at < held_slots), 1),
            ("a row is held, for a wide item", held(capacity, |at| at < held_slots), held_slots),
            ("every other slot of half is held", held(capacity, |at| at < 2 * held_slots && at % 2 == 1), 2),
            ("every other slot is held", held(capacity, |at| at % 2 == 1), 2),
            ("all is held", held(capacity, |_| true), 1),
            ("all was given up, for a wide item", gaps(capacity), capacity / 2),
        ];
        for (world, ring, span) in worlds {
            let (loads, found) = loads(&ring, span);
            println!("{world:>42} {held_slots:>8} {loads:>9} {found:>6}");
            assert!(loads <= 8 * capacity + 4096, "{world}: {loads} loads in a ring of {capacity} slots");
        }
    }
}

/// Words of all kinds in any order.
#[test]
fn a_call_reads_each_word_a_few_times_whatever_the_words_say() {
    let (capacity, mut seed) = (1_u64 << 9, 1_u64);
    let mut random = move |below: u64| {
        // Marsaglia's xorshift.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    let tags = [
        Tag::Free,
        Tag::Writing,
        Tag::Late,
        Tag::Ready,
        Tag::Reading,
        Tag::Redeliver,
        Tag::Abandoned,
        Tag::ReadyRow,
        Tag::PartingRow,
        Tag::ReadingRow,
        Tag::ReadingRows,
    ];
    let mut most = 0;
    for round in 0..3000 {
        let ring = ring(capacity, 1, false);
        let codec = ring.codec();
        // Few kinds at a time, or the first look ends at something that has to be waited for.
        let kinds: Vec<Tag> = (0..1 + random(3)).map(|_| tags[random(tags.len() as u64) as usize]).collect();
        let (position, runs) = (capacity * (1 + random(3)), 1 + random(1 + round % 4));
        for slot in 0..capacity {
            let tag = kinds[random(kinds.len() as u64) as usize];
            let lap = (position + slot + capacity).wrapping_sub(capacity * random(3));
            let word = codec.pack(tag, lap, 1 + random(runs), random(4) as u32, random(3) as u8);
            ring.memory().words[slot as usize].0.store(word.0, Relaxed);
        }
        ring.memory().tail.0.store(position + random(capacity), Relaxed);
        ring.memory().head.0.store(position + random(capacity), Relaxed);
        for span in [1, 2, capacity / 2] {
            most = most.max(loads(&ring, span).0);
            let before = LOADS.get();
            let _ = (take(&ring), ring.claim_returned(ME, None), ring.find_head(), ring.find_tail());
            most = most.max(LOADS.get() - before);
            let mut visits = 0;
            ring.survey(|_| visits += 1);
            assert!(visits <= 2 * capacity, "{visits} visits of {capacity} slots");
        }
    }
    println!("at most {most} loads in a ring of {capacity} slots");
    assert!(most <= 16 * capacity, "{most} loads in a ring of {capacity} slots");
}
