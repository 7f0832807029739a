//! What the ring needs from the world: some words, and an answer to "is it dead?".
//!
//! In a segment these are atomics between processes and the kernel's locks; under the model checker
//! they are steps that may be interleaved, and deaths that may happen at any of them. The ring's code
//! is the same.

use std::sync::atomic::{AtomicU64, Ordering};

/// A 64-bit word that several processes share.
pub trait Atom {
    /// Reads the word.
    fn load(&self, order: Ordering) -> u64;
    /// Overwrites the word.
    fn store(&self, value: u64, order: Ordering);
    /// Replaces `current` by `new`, or answers with what was there instead. A failed exchange
    /// orders nothing: who fails looks again.
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

/// How far one handle has seen positions decided. Its own; atomic only so that those who just look may
/// share one between threads, where any of the values that they write will do.
#[derive(Debug, Default)]
pub struct Reach {
    /// Every position before it was claimed by a producer, or stepped over.
    pub tail: AtomicU64,
    /// Every position before it was claimed by a consumer, or stepped over.
    pub head: AtomicU64,
}

/// The shared words of one ring. Slots are given modulo the capacity by the caller.
pub trait Memory {
    /// The kind of word.
    type Atom: Atom;

    /// Number of slots: a power of two from 2 to 2^24, the same at every call.
    fn capacity(&self) -> u64;
    /// Whether one producer and one consumer have the ring to themselves.
    fn is_exclusive(&self) -> bool;
    /// The state word of `slot`. Written as PROTOCOL.md's table says; the truth.
    fn word(&self, slot: u64) -> &Self::Atom;
    /// The state words of `count` slots from `slot` on, or as many as there are before the end of the ring.
    fn words(&self, slot: u64, count: u64) -> &[Self::Atom];
    /// The next position to write: a hint, never ahead of the truth, and behind it by some single slots.
    /// Written by whoever passes it.
    fn tail(&self) -> &Self::Atom;
    /// The next position to read: a hint of the same kind. Written likewise.
    fn head(&self) -> &Self::Atom;
    /// Counts items that became redeliverable: a hint that a search is worth it. Written by whoever
    /// makes an item redeliverable, after it did.
    fn returned(&self) -> &Self::Atom;
    /// What this handle has seen decided beyond the counters: its own, shared with nobody.
    fn reach(&self) -> &Reach;
    /// Slots of the published item that begins at `slot`, from its header, at least 1.
    fn span(&self, slot: u64) -> u64;
    /// Whether participant `number` is certainly dead. `false` means that it may be alive.
    fn is_dead(&self, number: u32) -> bool;
}
