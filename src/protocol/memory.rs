//! What a ring requires from its surroundings: shared words, and an answer to the question whether a
//! participant is dead.
//!
//! In a segment the words are atomics that processes share, and the kernel's locks answer the question. In
//! the model checker every access is a step that may be interleaved, and at which a process may die. The
//! ring's code is the same.

use std::sync::atomic::{AtomicU64, Ordering};

/// A 64-bit word that several processes share.
pub trait Atom {
    /// Reads the word.
    fn load(&self, order: Ordering) -> u64;
    /// Overwrites the word.
    fn store(&self, value: u64, order: Ordering);
    /// Replaces `current` by `new`, or returns the other value that it found. A failed exchange orders
    /// nothing: the caller reads the word again.
    fn compare_exchange(&self, current: u64, new: u64, order: Ordering) -> Result<u64, u64>;
    /// Adds to the word.
    fn fetch_add(&self, value: u64, order: Ordering) -> u64;
}

impl Atom for AtomicU64 {
    #[inline(always)]
    fn load(&self, order: Ordering) -> u64 {
        AtomicU64::load(self, order)
    }
    #[inline(always)]
    fn store(&self, value: u64, order: Ordering) {
        AtomicU64::store(self, value, order)
    }
    #[inline(always)]
    fn compare_exchange(&self, current: u64, new: u64, order: Ordering) -> Result<u64, u64> {
        AtomicU64::compare_exchange(self, current, new, order, Ordering::Relaxed)
    }
    #[inline(always)]
    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        AtomicU64::fetch_add(self, value, order)
    }
}

/// How far one handle has seen positions decided. Each handle has its own. They are atomic only so that
/// threads may share a handle that just observes; any of the values that such threads write is correct.
#[derive(Debug, Default)]
pub struct LocalCursors {
    /// Every position before it was claimed by a producer, or stepped over.
    pub tail: AtomicU64,
    /// Every position before it was claimed by a consumer, or stepped over.
    pub head: AtomicU64,
}

/// The most items in a published row.
pub const MOST_IN_ROW: u64 = 1024;

/// The shared words of one ring. The caller gives slots modulo the capacity.
pub trait Memory {
    /// The kind of word.
    type Atom: Atom;

    /// Number of slots: a power of two from 2 to 2^24, the same at every call.
    fn capacity(&self) -> u64;
    /// Whether one producer and one consumer have the ring to themselves.
    fn is_exclusive(&self) -> bool;
    /// The most items in a published row: [`MOST_IN_ROW`], except in a small ring of a test.
    fn most_in_row(&self) -> u64 {
        MOST_IN_ROW
    }
    /// The state word of `slot`: the only truth about the slot. It is written as the table in PROTOCOL.md
    /// says.
    fn word(&self, slot: u64) -> &Self::Atom;
    /// The state words of `count` slots from `slot` on, or as many as there are before the end of the ring.
    fn words(&self, slot: u64, count: u64) -> &[Self::Atom];
    /// The next position to write: a hint, never ahead of the truth, and possibly behind it by some single
    /// slots. Any process that passes it moves it on.
    fn tail(&self) -> &Self::Atom;
    /// The next position to read: a hint of the same kind. Any process that passes it moves it on.
    fn head(&self) -> &Self::Atom;
    /// Counts items that became redeliverable: a hint that a search may find one. The process that makes an
    /// item redeliverable adds to it afterwards.
    fn returned(&self) -> &Self::Atom;
    /// What this handle has seen decided beyond the counters. Not shared with other handles.
    fn local_cursors(&self) -> &LocalCursors;
    /// In a ring of fixed items, the word beside `slot` that keeps the name of an item which producers have stepped
    /// over: see `protocol::names`.
    fn name(&self, _slot: u64) -> Option<&Self::Atom> {
        None
    }
    /// The number of slots, at least 1, of the published item that begins at `slot`, from its header.
    fn span(&self, slot: u64) -> u64;
    /// Whether participant `number` is certainly dead. `false` means that it may be alive.
    fn is_dead(&self, number: u32) -> bool;
}
