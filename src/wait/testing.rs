//! Helpers for the tests of waiting: the words and semaphores of a ring's two sides, without the ring.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::{Endpoint, Mutex, RingState, Signal, Sleepers, TurnPatience, WaitRequest};
use crate::layout::mapping::Words;
use crate::layout::named::{ObjectKind, ObjectLayout, entry, head};
use crate::sys::clock::Deadline;
use crate::sys::testing::TestName;

/// Producers, consumers and a mutex. Each uses the words and the semaphore of one participant of a condition.
pub struct Stage {
    words: Words,
    pub level: Cell<u64>,
    _name: TestName,
}

impl Stage {
    pub fn new() -> Stage {
        let (name, geometry) = (TestName::new(), ObjectLayout::new(ObjectKind::Condition, 0).unwrap());
        let segment = Arc::new(Words::create(&name.0, 0o600, &geometry, Vec::new).unwrap());
        let words = Words::new(segment, ObjectKind::Condition).unwrap();
        let stage = Stage { words, level: Cell::new(0), _name: name };
        stage.mutex().semaphore.post().unwrap();
        stage
    }

    fn word(&self, number: u32, offset: u64) -> &AtomicU64 {
        self.words.word(self.words.geometry().entry(number) + offset)
    }

    pub fn mutex(&self) -> Mutex<'_> {
        Mutex { owner: self.word(2, entry::WAIT), semaphore: self.words.semaphore_of(2) }
    }

    fn sleepers(&self, consumers: bool) -> Sleepers<'_> {
        let number = u32::from(consumers);
        let signal = Signal {
            waiting: self.word(number, entry::SLEEPING),
            semaphore: self.words.semaphore_of(number),
            fences: self.words.word(head::FENCES),
        };
        Sleepers { signal, starts: self.word(number, entry::WAIT), consumers }
    }

    pub fn consumer(&self) -> Endpoint<'_> {
        let (own, other) = (self.sleepers(true), self.sleepers(false));
        Endpoint { own, other, mutex: Some(self.mutex()), ring: self }
    }

    pub fn producer(&self) -> Endpoint<'_> {
        let (own, other) = (self.sleepers(false), self.sleepers(true));
        Endpoint { own, other, mutex: Some(self.mutex()), ring: self }
    }

    /// Adds a token for consumers, as a post does whose wake-up went to a process that was killed then.
    #[cfg(target_env = "gnu")]
    pub fn add_token_without_wake_up(&self) {
        self.word(1, entry::SEMAPHORE).fetch_add(1, Relaxed);
    }

    /// The word of the mutex: the current turn.
    pub fn turn(&self) -> u64 {
        self.mutex().owner.load(Relaxed)
    }
}

impl RingState for Stage {
    fn is_dead(&self, _: u32) -> bool {
        false
    }

    fn level(&self) -> u64 {
        self.level.get()
    }
}

impl Sleepers<'_> {
    /// Sets the count of sleepers.
    pub fn forge(&self, sleeping: u64) {
        self.signal.waiting.store(sleeping, Relaxed);
    }

    /// The count of sleepers, and the number of tokens for them.
    pub fn counts(&self) -> (u64, i32) {
        (self.signal.waiting.load(Relaxed), self.signal.semaphore.value())
    }

    /// How often this side was allowed to start.
    pub fn started(&self) -> u64 {
        self.starts.load(Relaxed)
    }
}

/// A wait for `slots` slots. What it finds is the number of slots.
pub fn request(slots: u64, deadline: Deadline) -> WaitRequest<'static, u64> {
    let patience = TurnPatience::Until(deadline, None);
    WaitRequest { slots, deadline, stop: None, patience, waits: true, weight: &|found| *found }
}
