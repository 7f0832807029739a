//! What a [`Signal`](super::Signal) is made of: words and a semaphore that processes share, and fences. In tests, what explores
//! every order of steps; the code between is the same.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::light_fence;
use crate::Result;
use crate::sys::fence;
use crate::sys::semaphore::{Semaphore, Wake};

/// A counting word.
pub trait Count {
    /// Reads it.
    fn load(&self, order: Ordering) -> u64;
    /// Adds to it.
    fn fetch_add(&self, more: u64, order: Ordering) -> u64;
    /// Changes it as `change` says; `Err` with what is there if that says nothing. Answers with what was there.
    fn fetch_update(
        &self,
        order: Ordering,
        change: impl FnMut(u64) -> Option<u64>,
    ) -> std::result::Result<u64, u64>;
}

/// What is slept on.
pub trait Tokens {
    /// Adds one; false if there are enough.
    fn post(&self) -> Result<bool>;
    /// Takes one if there is one.
    fn try_wait(&self) -> Result<bool>;
    /// Sleeps until there is one to take, at most a slice.
    fn wait_for(&self, slice: Duration) -> Result<Wake>;
}

/// All of it.
pub trait Parts {
    /// Its words.
    type Count: Count;
    /// Its semaphore.
    type Tokens: Tokens;

    /// The frequent side of E4.
    fn light_fence(fences: &Self::Count);
    /// The rare side of E4.
    fn heavy_fence();
}

/// In a segment.
#[derive(Debug, Clone, Copy)]
pub struct Shared;

impl Parts for Shared {
    type Count = AtomicU64;
    type Tokens = Semaphore;

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
        // Relaxed: of what is only looked at nothing follows.
        AtomicU64::fetch_update(self, order, Ordering::Relaxed, change)
    }
}

impl Tokens for Semaphore {
    #[inline(always)]
    fn post(&self) -> Result<bool> {
        Semaphore::post(self)
    }
    #[inline(always)]
    fn try_wait(&self) -> Result<bool> {
        Semaphore::try_wait(self)
    }
    #[inline(always)]
    fn wait_for(&self, slice: Duration) -> Result<Wake> {
        Semaphore::wait_for(self, slice)
    }
}
