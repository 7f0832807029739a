//! Words, cells and threads as they are.

use std::cell::UnsafeCell;

pub use std::sync::atomic::Ordering::{Relaxed, SeqCst};
pub use std::sync::atomic::{AtomicU64, fence};
pub use std::sync::{Condvar, Mutex};
pub use std::thread::{JoinHandle, ThreadId};

/// Bytes that are not atomic: Miri and ThreadSanitizer notice accesses that nothing orders.
pub struct Cell(UnsafeCell<u64>);

// SAFETY: whether the ring orders the accesses is what is tested.
unsafe impl Sync for Cell {}

impl Cell {
    pub fn new() -> Self {
        Cell(UnsafeCell::new(0))
    }

    pub fn read<T>(&self, read: impl FnOnce() -> T) -> T {
        // SAFETY: the cell lives; no thread writes it now, if the ring is right. Volatile: the value is of no use.
        unsafe { self.0.get().read_volatile() };
        read()
    }

    pub fn write<T>(&self, write: impl FnOnce() -> T) -> T {
        // SAFETY: the cell lives; no other thread uses it now, if the ring is right.
        unsafe { self.0.get().write_volatile(1) };
        write()
    }
}

pub fn current() -> ThreadId {
    std::thread::current().id()
}

pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::spawn(work)
}
