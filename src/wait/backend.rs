//! The parts of a [`Signal`](super::Signal): shared words, a semaphore that processes share, and fences. In
//! tests, a backend that explores every order of steps replaces them; the code of the signal is the same.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering, Ordering::SeqCst, compiler_fence, fence as full_fence};
use std::time::Duration;

use crate::Result;
use crate::sys::fence;
use crate::sys::semaphore::{RawSemaphore, Wake};

/// A shared word that counts.
pub trait Count {
    /// Reads the word.
    fn load(&self, order: Ordering) -> u64;
    /// Adds to the word.
    fn fetch_add(&self, more: u64, order: Ordering) -> u64;
    /// Changes the word as `change` says, and returns the value before. If `change` returns `None`, returns
    /// the value as `Err`.
    fn fetch_update(
        &self,
        order: Ordering,
        change: impl FnMut(u64) -> Option<u64>,
    ) -> std::result::Result<u64, u64>;
}

/// A counting semaphore, on which handles sleep.
pub trait Tokens {
    /// Posts one token. Returns false if there are enough.
    fn post(&self) -> Result<bool>;
    /// Takes a token if there is one.
    fn try_wait(&self) -> Result<bool>;
    /// About how many tokens there are.
    fn value(&self) -> u64;
    /// Sleeps until there is a token and takes it, for at most one slice.
    fn wait_for(&self, slice: Duration) -> Result<Wake>;
}

/// A set of words, semaphores and fences.
pub trait Backend {
    /// The kind of word.
    type Count: Count;
    /// The kind of semaphore.
    type Tokens: Tokens;

    /// The fence on the frequent side of E4.
    fn light_fence(fences: &Self::Count);
    /// The fence on the rare side of E4.
    fn heavy_fence();
}

/// The backend of a segment that stays mapped for `'a`.
#[derive(Debug, Clone, Copy)]
pub struct Shared<'a>(PhantomData<&'a ()>);

impl<'a> Backend for Shared<'a> {
    type Count = AtomicU64;
    type Tokens = RawSemaphore<'a>;

    #[inline(always)]
    fn light_fence(fences: &AtomicU64) {
        light_fence(fences);
    }

    #[inline(always)]
    fn heavy_fence() {
        fence::heavy();
    }
}

impl Count for AtomicU64 {
    #[inline(always)]
    fn load(&self, order: Ordering) -> u64 {
        AtomicU64::load(self, order)
    }
    #[inline(always)]
    fn fetch_add(&self, more: u64, order: Ordering) -> u64 {
        AtomicU64::fetch_add(self, more, order)
    }
    #[inline(always)]
    fn fetch_update(
        &self,
        order: Ordering,
        change: impl FnMut(u64) -> Option<u64>,
    ) -> std::result::Result<u64, u64> {
        // Relaxed: a value that is only read decides nothing.
        AtomicU64::fetch_update(self, order, Ordering::Relaxed, change)
    }
}

impl Tokens for RawSemaphore<'_> {
    #[inline(always)]
    fn post(&self) -> Result<bool> {
        RawSemaphore::post(self)
    }
    #[inline(always)]
    fn try_wait(&self) -> Result<bool> {
        RawSemaphore::try_wait(self)
    }
    fn value(&self) -> u64 {
        RawSemaphore::value(self).max(0) as u64
    }
    #[inline(always)]
    fn wait_for(&self, slice: Duration) -> Result<Wake> {
        RawSemaphore::wait_for(self, slice)
    }
}

/// The fence on the frequent side of E4. `fences` is not 0 if asymmetric fences cannot reach some
/// participant, perhaps this one: it stored that when it attached. Then every participant uses full fences.
#[inline]
pub fn light_fence(fences: &AtomicU64) {
    // Relaxed: a participant sets it once, when it attaches; a stale value costs at most one slice.
    if fences.load(Ordering::Relaxed) != 0 {
        full_fence(SeqCst);
    } else {
        compiler_fence(SeqCst);
    }
}
