//! Where items come from: the receiving end of the ring, which the main thread shares with the slots.
//!
//! The main thread waits for items. A slot whose standing command has answered takes the next item itself if one is there:
//! a detour through the main thread would cost two changes of threads for each item.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use super::slots::Job;
use crate::cli::transport::Receiver;
use crate::{Error, StopFlag};

/// How often a slot tries to reach the receiving end while another slot uses it.
const MOST_TRIES: u32 = 16;

/// The receiving end.
pub struct Source<'a, R: Receiver> {
    taking: Mutex<Taking<R>>,
    /// The main thread waits for an item, or is about to. Only a hint: a slot that misses it waits for nothing either.
    awaits: AtomicBool,
    stop: &'a StopFlag,
}

/// What belongs to the receiving end.
pub struct Taking<R> {
    pub receiver: R,
    /// Items taken that count, and how many are wanted.
    pub taken: u64,
    wanted: u64,
    /// Jobs made of items.
    number: u64,
    /// Slots may take items.
    is_shared: bool,
    /// The error that a slot got instead of an item, for the main thread.
    failed: Option<Error>,
}

impl<'a, R: Receiver> Source<'a, R> {
    /// Takes at most `wanted` items. `is_shared`: slots may take items, each a job.
    pub fn new(receiver: R, wanted: Option<u64>, is_shared: bool, stop: &'a StopFlag) -> Self {
        let wanted = wanted.unwrap_or(u64::MAX);
        let taking = Taking { receiver, taken: 0, wanted, number: 0, is_shared, failed: None };
        Source { taking: Mutex::new(taking), awaits: AtomicBool::new(false), stop }
    }

    /// For the main thread; no slot takes items meanwhile.
    pub fn taking(&self) -> MutexGuard<'_, Taking<R>> {
        // No invariant spans two statements that can panic.
        self.taking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Receives an item for the main thread, and waits at most `limit` for it. `None`: enough items were taken.
    pub fn receive(&self, limit: Duration) -> Option<Result<R::Owned, Error>> {
        self.awaits.store(true, Relaxed);
        let mut taking = self.taking();
        let received = match taking.failed.take() {
            _ if taking.has_enough() => None,
            Some(error) => Some(Err(error)),
            None => Some(taking.receiver.receive_owned(limit)),
        };
        taking.taken += u64::from(matches!(received, Some(Ok(_))));
        drop(taking);
        self.awaits.store(false, Relaxed);
        received
    }

    /// From now on no slot takes an item.
    pub fn close(&self) {
        self.taking().is_shared = false;
    }

    /// The receiving end, for a slot. `None`: the main thread waits there, or others use it.
    fn try_taking(&self) -> Option<MutexGuard<'_, Taking<R>>> {
        for _ in 0..MOST_TRIES {
            match self.taking.try_lock() {
                Ok(taking) => return Some(taking),
                Err(TryLockError::Poisoned(taking)) => return Some(taking.into_inner()),
                Err(TryLockError::WouldBlock) if self.awaits.load(Relaxed) => return None,
                Err(TryLockError::WouldBlock) => thread::yield_now(),
            }
        }
        None
    }
}

impl<R: Receiver> Taking<R> {
    /// Whether no more items are wanted.
    pub fn has_enough(&self) -> bool {
        self.taken >= self.wanted
    }

    /// The number of a new job.
    pub fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }
}

/// Takes items for a slot.
pub trait TakeNow<O>: Sync {
    /// A job of the next item, without waiting. `None`: the main thread decides how to go on.
    fn take_now(&self) -> Option<Job<O>>;
}

impl<R: Receiver> TakeNow<R::Owned> for Source<'_, R> {
    fn take_now(&self) -> Option<Job<R::Owned>> {
        let mut taking = self.try_taking()?;
        if !taking.is_shared || taking.has_enough() || taking.failed.is_some() || self.stop.is_raised() {
            return None;
        }
        match taking.receiver.receive_owned(Duration::ZERO) {
            // A signal may have come together with the item: the item is given back.
            Ok(_) if self.stop.is_raised() => None,
            Ok(item) => {
                taking.taken += 1;
                Some(Job { number: taking.next_number(), items: vec![item] })
            }
            Err(Error::TimedOut | Error::Empty) => None,
            Err(error) => {
                taking.failed = Some(error);
                None
            }
        }
    }
}
