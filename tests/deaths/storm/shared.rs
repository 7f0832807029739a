//! Words in memory that a process shares with those it forks.

use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Zero at first. Those never touched take no memory.
pub struct Words {
    words: NonNull<AtomicU64>,
    count: usize,
}

impl Words {
    pub fn new(count: usize) -> Words {
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let bytes = (count * size_of::<AtomicU64>()).try_into().expect("not zero");
        // SAFETY: a new mapping at a place of the kernel's choice.
        let words = unsafe { mmap_anonymous(None, bytes, protection, flags) };
        Words { words: words.expect("shared memory").cast(), count }
    }
}

impl std::ops::Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: this number of words is mapped until this is dropped, zeroed at first, and used only
        // as atomics through this.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.count) }
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: no reference to the words is left: each borrows this.
        unsafe { munmap(self.words.cast(), self.count * size_of::<AtomicU64>()) }.expect("it was mapped");
    }
}
