//! What was sent and received in a trial: shared memory, so that it outlives whoever is killed.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU8, AtomicU64};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use crate::inherit::{self, Offer};

/// The most senders of a trial, one after the other.
pub const SENDERS: usize = 256;
/// The most messages of a sender. It waits to be killed after the last one.
pub const MESSAGES: u64 = 1 << 20;
/// The name under which workers inherit it.
const NAME: &str = "ledger";

/// One sender's messages.
#[repr(C)]
struct Sender {
    /// Messages whose sending has returned. The sender is the only writer.
    sent: AtomicU64,
    /// Messages of it that were received. The receiver is the only writer.
    received: AtomicU64,
    /// How often each message was received.
    times: [AtomicU8; MESSAGES as usize],
}

#[repr(C)]
struct Block {
    corrupted: AtomicU64,
    senders: [Sender; SENDERS],
}

/// The counts, mapped. Pages that are not written take no memory.
pub struct Ledger {
    block: NonNull<Block>,
}

// SAFETY: everything in the block is atomic, and the mapping belongs to the process.
unsafe impl Send for Ledger {}
// SAFETY: as above.
unsafe impl Sync for Ledger {}

/// What a trial came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    pub sent: u64,
    /// Messages that were sent and never received.
    pub lost: u64,
    /// Times that a message came again.
    pub doubled: u64,
    pub corrupted: u64,
}

impl Ledger {
    /// An empty ledger, which workers started from now on inherit.
    pub fn create() -> io::Result<(Ledger, Offer)> {
        let file = File::from(memfd_create("ringpipe-ledger", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(size_of::<Block>() as u64)?;
        let ledger = Ledger::map(&file)?;
        Ok((ledger, Offer::new(NAME.into(), OwnedFd::from(file))))
    }

    /// In the worker: the ledger of its parent.
    pub fn inherited() -> io::Result<Ledger> {
        Ledger::map(&inherit::take(NAME))
    }

    fn map(file: &impl AsFd) -> io::Result<Ledger> {
        let len = size_of::<Block>().try_into().map_err(io::Error::other)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; `create` gave the file this length, and no
        // process shortens it.
        let block = unsafe { mmap(None, len, access, MapFlags::MAP_SHARED, file.as_fd(), 0) }?;
        Ok(Ledger { block: block.cast() })
    }

    fn block(&self) -> &Block {
        // SAFETY: mapped until `self` is dropped, at the start of a page; all-zero bytes are a valid block, and all
        // of it is atomic.
        unsafe { self.block.as_ref() }
    }

    /// Counts that this sender has sent `count` messages.
    pub fn count_sent(&self, sender: usize, count: u64) {
        self.block().senders[sender].sent.store(count, Release);
    }

    pub fn sent(&self, sender: usize) -> u64 {
        self.block().senders[sender].sent.load(Acquire)
    }

    /// Counts a received message; `None`: it is not what any sender sent.
    pub fn count_received(&self, message: Option<(usize, u64)>) {
        let block = self.block();
        let found = message.filter(|(sender, number)| *sender < SENDERS && *number < MESSAGES);
        // Relaxed, all: the receiver is the only writer, and the parent reads when it is dead or at rest.
        let Some((sender, number)) = found else {
            block.corrupted.fetch_add(1, Relaxed);
            return;
        };
        let sender = &block.senders[sender];
        let times = &sender.times[number as usize];
        times.store(times.load(Relaxed).saturating_add(1), Relaxed);
        sender.received.fetch_add(1, Release);
    }

    pub fn received(&self, sender: usize) -> u64 {
        self.block().senders[sender].received.load(Acquire)
    }

    /// What all senders' messages came to. No process uses the link any more.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums { corrupted: self.block().corrupted.load(Acquire), ..Sums::default() };
        for sender in &self.block().senders {
            let sent = sender.sent.load(Acquire);
            sums.sent += sent;
            // The message after the last one was begun: a kill decides whether it comes.
            let begun = (sent + 1).min(MESSAGES);
            for (number, times) in (0..).zip(&sender.times[..begun as usize]) {
                let times = u64::from(times.load(Relaxed));
                sums.lost += u64::from(number < sent && times == 0);
                sums.doubled += times.saturating_sub(1);
            }
        }
        sums
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and unmapped once. A failure leaves it mapped, which does no harm.
        let _ = unsafe { munmap(self.block.cast(), size_of::<Block>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_and_did_not_come_is_lost_and_what_came_again_is_doubled() {
        let (ledger, _offer) = Ledger::create().unwrap();
        ledger.count_sent(3, 4);
        // The fifth was begun, and its sender killed.
        for number in [0, 2, 2, 4] {
            ledger.count_received(Some((3, number)));
        }
        ledger.count_received(None);
        ledger.count_received(Some((SENDERS, 0)));
        assert_eq!(ledger.received(3), 4);
        assert_eq!(ledger.sums(), Sums { sent: 4, lost: 2, doubled: 1, corrupted: 2 });
    }
}
