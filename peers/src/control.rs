//! The few words that the parent and its workers share during a measurement.
//!
//! They lie in a file without a name that every worker inherits as its standard input. The parent opens the
//! gate, lets time pass, reads the counts, and asks the senders to stop; every worker has a line of its own
//! to count on, so that counting moves no cache line between workers.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::message::{Checker, Faults};

/// Most workers of a measurement.
pub const WORKERS: usize = 64;

/// Where a measurement stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub enum Phase {
    /// Workers attach to the link.
    Attach,
    /// All workers work, and nothing counts yet.
    WarmUp,
    /// What is done now counts.
    Measure,
    /// Senders stop.
    Stop,
}

/// One worker's counts: its only writer.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct Line {
    messages: AtomicU64,
    sum: AtomicU64,
    finished: AtomicU32,
    attached: AtomicU32,
    corrupted: AtomicU64,
    lost: AtomicU64,
    doubled: AtomicU64,
}

impl Line {
    /// Counts messages up to now, the sum of their stamps with them.
    #[inline]
    pub fn count(&self, messages: u64, sum: u64) {
        self.sum.store(sum, Relaxed);
        // Release: a reader of this count finds a sum that is at least as new.
        self.messages.store(messages, Release);
    }

    /// Counts what a receiver has seen.
    #[inline]
    pub fn show(&self, checker: &Checker) {
        if checker.faults.any() {
            self.blame(&checker.faults);
        }
        self.count(checker.received, checker.sum);
    }

    #[cold]
    fn blame(&self, faults: &Faults) {
        self.corrupted.store(faults.corrupted, Relaxed);
        self.lost.store(faults.lost, Relaxed);
        self.doubled.store(faults.doubled, Relaxed);
    }

    /// This worker has its end of the link.
    pub fn attached(&self) {
        self.attached.store(1, Release);
    }

    pub fn is_attached(&self) -> bool {
        self.attached.load(Acquire) == 1
    }

    /// This worker will do nothing more.
    pub fn finish(&self) {
        self.finished.store(1, Release);
    }

    pub fn is_finished(&self) -> bool {
        self.finished.load(Acquire) == 1
    }

    /// Messages so far, and the sum of their stamps.
    pub fn counted(&self) -> (u64, u64) {
        let messages = self.messages.load(Acquire);
        (messages, self.sum.load(Relaxed))
    }

    pub fn faults(&self) -> Faults {
        Faults {
            corrupted: self.corrupted.load(Relaxed),
            lost: self.lost.load(Relaxed),
            doubled: self.doubled.load(Relaxed),
        }
    }
}

#[repr(C, align(128))]
#[derive(Debug)]
struct Block {
    phase: AtomicU32,
    lines: [Line; WORKERS],
}

/// The shared words, mapped.
#[derive(Debug)]
pub struct Control {
    block: NonNull<Block>,
}

// SAFETY: everything in the block is atomic, and the mapping belongs to the process.
unsafe impl Send for Control {}
// SAFETY: as above.
unsafe impl Sync for Control {}

impl Control {
    /// New words, all zero, and what to give to a worker as its standard input.
    pub fn create() -> io::Result<(Control, OwnedFd)> {
        let file = File::from(memfd_create("ringpipe-peers", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(size_of::<Block>() as u64)?;
        Ok((Control::map(&file)?, file.into()))
    }

    /// The words that the parent gave this worker.
    pub fn inherited() -> io::Result<Control> {
        Control::map(&io::stdin())
    }

    fn map(file: &impl AsFd) -> io::Result<Control> {
        let len = size_of::<Block>().try_into().map_err(io::Error::other)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; `create` gave the file this length, and
        // no process shortens it.
        let block = unsafe { mmap(None, len, access, MapFlags::MAP_SHARED, file.as_fd(), 0) }?;
        Ok(Control { block: block.cast() })
    }

    fn block(&self) -> &Block {
        // SAFETY: mapped until `self` is dropped, at the start of a page; all-zero bytes are a valid block,
        // and all of it is atomic.
        unsafe { self.block.as_ref() }
    }

    pub fn line(&self, worker: usize) -> &Line {
        &self.block().lines[worker]
    }

    pub fn set_phase(&self, phase: Phase) {
        self.block().phase.store(phase as u32, Release);
    }

    #[inline]
    pub fn phase(&self) -> Phase {
        match self.block().phase.load(Relaxed) {
            0 => Phase::Attach,
            1 => Phase::WarmUp,
            2 => Phase::Measure,
            _ => Phase::Stop,
        }
    }

    #[inline]
    pub fn is_stopped(&self) -> bool {
        self.phase() == Phase::Stop
    }

    /// Says that this worker is ready, and waits until the parent lets all workers go.
    pub fn pass_gate(&self, worker: usize) {
        self.line(worker).attached();
        while self.phase() == Phase::Attach {
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and unmapped once. A failure leaves it mapped, which does no
        // harm.
        let _ = unsafe { munmap(self.block.cast(), size_of::<Block>()) };
    }
}
