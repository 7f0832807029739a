//! Words, cells and threads as loom has them.

pub use loom::sync::atomic::fence;
pub use loom::sync::{Condvar, Mutex};
pub use loom::thread::ThreadId;
use std::sync::atomic::Ordering;
pub use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// Bytes that are not atomic: loom checks that no two accesses are concurrent.
pub struct Cell(loom::cell::UnsafeCell<()>);

// SAFETY: there is nothing in it, and loom's threads are one thread of the operating system.
unsafe impl Sync for Cell {}

impl Cell {
    pub fn new() -> Self {
        Cell(loom::cell::UnsafeCell::new(()))
    }

    pub fn read<T>(&self, read: impl FnOnce() -> T) -> T {
        self.0.with(|_| read())
    }

    pub fn write<T>(&self, write: impl FnOnce() -> T) -> T {
        self.0.with_mut(|_| write())
    }
}

pub fn current() -> ThreadId {
    loom::thread::current().id()
}

pub fn spawn<T: 'static>(work: impl FnOnce() -> T + 'static) -> loom::thread::JoinHandle<T> {
    loom::thread::spawn(work)
}

/// A word. Loom remembers of each word only the last access when it looks for steps that could be made in another
/// order; a thread that loads a word and then changes it hides the loads of others before it. So that none is missed,
/// each load is told by a step on a word of its own.
pub struct AtomicU64 {
    word: loom::sync::atomic::AtomicU64,
    loads: loom::sync::atomic::AtomicU64,
}

impl AtomicU64 {
    pub fn new(value: u64) -> Self {
        AtomicU64 { word: loom::sync::atomic::AtomicU64::new(value), loads: Default::default() }
    }

    pub fn load(&self, order: Ordering) -> u64 {
        // Relaxed: it orders nothing.
        self.loads.fetch_add(1, Relaxed);
        self.word.load(order)
    }

    pub fn store(&self, value: u64, order: Ordering) {
        self.word.store(value, order);
    }

    pub fn compare_exchange(&self, old: u64, new: u64, yes: Ordering, no: Ordering) -> Result<u64, u64> {
        self.word.compare_exchange(old, new, yes, no)
    }

    pub fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        self.word.fetch_add(value, order)
    }
}
