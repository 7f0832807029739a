//! What the tests of this floor share: the words and semaphores of a ring's two sides, without the ring.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::{Around, Mutex, Side, Signal, Sleepers, Wanted};
use crate::layout::named::{Geometry, Kind, entry, head};
use crate::layout::view::Words;
use crate::sys::clock::Deadline;
use crate::sys::segment::Segment;
use crate::sys::testing::TestName;

/// Producers, consumers and a mutex: each has the words and the semaphore of one of a condition's participants.
pub struct Stage {
    words: Words,
    pub level: Cell<u64>,
    _name: TestName,
}

impl Stage {
    pub fn new() -> Stage {
        let (name, geometry) = (TestName::new(), Geometry::new(Kind::Condition, 0).unwrap());
        let init = |base, _| Words::initialise(base, &geometry, []);
        let segment = Arc::new(Segment::create(&name.0, geometry.size, 0o600, init).unwrap());
        let words = Words::new(segment, Kind::Condition).unwrap();
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

    pub fn consumer(&self) -> Side<'_> {
        let (own, other) = (self.sleepers(true), self.sleepers(false));
        Side { own, other, mutex: Some(self.mutex()), around: self }
    }

    pub fn producer(&self) -> Side<'_> {
        let (own, other) = (self.sleepers(false), self.sleepers(true));
        Side { own, other, mutex: Some(self.mutex()), around: self }
    }

    /// Whose turn it is.
    pub fn turn(&self) -> u64 {
        self.mutex().owner.load(Relaxed)
    }
}

impl Around for Stage {
    fn is_dead(&self, _: u32) -> bool {
        false
    }

    fn level(&self) -> u64 {
        self.level.get()
    }
}

impl Sleepers<'_> {
    /// So many sleep, as far as anybody knows.
    pub fn forge(&self, sleeping: u64) {
        self.signal.waiting.store(sleeping, Relaxed);
    }

    /// How many sleep, and how many tokens there are for them.
    pub fn counts(&self) -> (u64, i32) {
        (self.signal.waiting.load(Relaxed), self.signal.semaphore.value())
    }

    /// How often they were let go on.
    pub fn started(&self) -> u64 {
        self.starts.load(Relaxed)
    }
}

/// A wait for so many slots. What is found says how many it has.
pub fn wanted(slots: u64, deadline: Deadline) -> Wanted<'static, u64> {
    Wanted { slots, deadline, stop: None, waits: true, weight: &|found| *found }
}
