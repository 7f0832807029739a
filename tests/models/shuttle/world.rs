//! Words, cells and threads as shuttle has them: every access is a point where another thread may go on, and all are
//! sequentially consistent.

use std::sync::atomic::AtomicU64 as Plain;

pub use shuttle::sync::atomic::{AtomicU64, fence};
pub use shuttle::sync::{Condvar, Mutex};
pub use shuttle::thread::{JoinHandle, ThreadId};
pub use std::sync::atomic::Ordering::{Relaxed, SeqCst};

/// Bytes that are not atomic: no access may overlap with a writing one.
pub struct Cell {
    readers: Plain,
    writers: Plain,
}

impl Cell {
    pub fn new() -> Self {
        Cell { readers: Plain::new(0), writers: Plain::new(0) }
    }

    pub fn read<T>(&self, read: impl FnOnce() -> T) -> T {
        self.readers.fetch_add(1, SeqCst);
        assert_eq!(self.writers.load(SeqCst), 0, "read while another one writes");
        shuttle::thread::yield_now();
        let value = read();
        self.readers.fetch_sub(1, SeqCst);
        value
    }

    pub fn write<T>(&self, write: impl FnOnce() -> T) -> T {
        let others = self.writers.fetch_add(1, SeqCst) + self.readers.load(SeqCst);
        assert_eq!(others, 0, "written while another one is at it");
        shuttle::thread::yield_now();
        let value = write();
        self.writers.fetch_sub(1, SeqCst);
        value
    }
}

pub fn current() -> ThreadId {
    shuttle::thread::current().id()
}

pub fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    shuttle::thread::spawn(work)
}
