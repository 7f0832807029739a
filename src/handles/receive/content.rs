//! The header and bytes of a received item, in place in the ring.

use std::cell::{OnceCell, RefCell};
use std::sync::atomic::Ordering::Relaxed;

use crate::Result;
use crate::handles::ItemKey;
use crate::layout::header;
use crate::membership::memory::SegmentMemory;

/// An item in its slots. Valid as long as its claim is held.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    memory: &'a SegmentMemory,
    slot: u64,
    len: u64,
}

impl<'a> Content<'a> {
    /// The item that begins in `slot`, with at most `run` slots, whatever its header says.
    #[inline]
    pub fn new(memory: &'a SegmentMemory, slot: u64, run: u64) -> Self {
        let (len, _) = memory.length_and_producer(slot, run);
        Content { memory, slot, len }
    }

    #[inline]
    pub fn len(self) -> u64 {
        self.len
    }

    pub fn producer(self) -> u32 {
        self.memory.length_and_producer(self.slot, 1).1
    }

    pub fn sequence(self) -> u64 {
        self.memory.sequence(self.slot)
    }

    pub fn key(self) -> ItemKey {
        ItemKey { producer: self.producer(), sequence: self.sequence() }
    }

    pub fn failures(self) -> u8 {
        self.memory.failures(self.slot)
    }

    /// Adds a failure, if `check` finds that the item is still held. Returns the new number, or the old one if it
    /// was not changed.
    pub fn record_failure(self, check: impl Fn() -> Result<()>) -> u8 {
        let word = self.memory.sequence_and_failures(self.slot);
        // Relaxed, both: E3 hands the word to the next holder. While the item is held, only threads that share it
        // write the word: after a failed exchange there is one more failure, and 255 are the most.
        let mut old = word.load(Relaxed);
        for _ in 0..u8::MAX {
            let new = header::with_failure(old);
            // Check after the load: if the slot gets another item after the check, its word changes, and the
            // exchange fails.
            if new == old || check().is_err() {
                return header::failures_in(old);
            }
            match word.compare_exchange(old, new, Relaxed, Relaxed) {
                Ok(_) => return header::failures_in(new),
                Err(now) => old = now,
            }
        }
        header::failures_in(old)
    }

    pub fn sent_at(self) -> Option<u64> {
        self.memory.time(self.slot)
    }

    pub fn in_place(self) -> *const [u8] {
        let place = self.memory.mapping.payload(self.slot, 0, self.len);
        let start = place.map_or(std::ptr::null(), |place| place.as_ptr().cast_const());
        std::ptr::slice_from_raw_parts(start, self.len as usize)
    }

    #[inline]
    pub fn copy_to(self, out: &mut [u8]) -> usize {
        let len = (self.len as usize).min(out.len());
        let copied = self.memory.mapping.copy_to(self.slot, 0, &mut out[..len]);
        debug_assert!(copied, "a claim never wraps");
        len
    }

    #[inline]
    pub fn append_to(self, out: &mut Vec<u8>) {
        let copied = self.memory.mapping.copy_out(self.slot, 0, self.len, out);
        debug_assert!(copied, "a claim never wraps");
    }

    /// Copies the bytes to the empty `out`, or leaves it empty if the memory is lost: half of an item followed by
    /// zeros would look like an item.
    #[inline]
    pub fn copy_all(self, out: &mut Vec<u8>) {
        self.append_to(out);
        if self.memory.mapping.segment().is_lost() {
            out.clear();
        }
    }

    /// Writes up to `len` bytes from `offset` on to `file`, in one system call, straight from the slots.
    ///
    /// # Errors
    /// As `sys::command::io::write_from`; `InvalidInput` beyond the end of the item.
    #[cfg(feature = "cli")]
    pub fn write_to(
        self,
        offset: u64,
        len: u64,
        file: std::os::fd::BorrowedFd<'_>,
        wait: crate::sys::command::io::Wait,
    ) -> std::io::Result<usize> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(std::io::ErrorKind::InvalidInput.into());
        }
        self.memory.mapping.write_to(self.slot, offset, len, file, wait)
    }
}

/// The methods of a received item that only read its slots, the same for every type of item. The type must have
/// methods `content` and `attempt`.
macro_rules! item_accessors {
    () => {
        /// Length in bytes.
        pub fn len(&self) -> usize {
            self.content().len() as usize
        }

        /// Whether the item has no bytes.
        pub fn is_empty(&self) -> bool {
            self.len() == 0
        }

        /// The number of the producer that sent it: unique in the life of the ring.
        pub fn producer(&self) -> u32 {
            self.content().producer()
        }

        /// The producer's count of its items, from 0. Together with [`producer`](Self::producer) it identifies the
        /// item.
        pub fn sequence(&self) -> u64 {
            self.content().sequence()
        }

        /// Its producer's number and sequence number, which identify it.
        pub fn key(&self) -> $crate::handles::ItemKey {
            self.content().key()
        }

        /// Whether it was delivered before: its effects may already have happened.
        pub fn redelivered(&self) -> bool {
            self.attempt() > 1
        }

        /// How many attempts at processing it have failed, as its holders recorded with
        /// [`OwnedItem::record_failure`](crate::OwnedItem::record_failure). Unlike
        /// [`attempt`](Self::attempt), this does not count a delivery that ended because its consumer stopped
        /// or died.
        pub fn failures(&self) -> u8 {
            self.content().failures()
        }

        /// When it was sent, nanoseconds since 1970; only in rings with timestamps.
        pub fn sent_at(&self) -> Option<u64> {
            self.content().sent_at()
        }
    };
}
pub(super) use item_accessors;

/// The bytes of a consumer's current item, after their first access.
#[derive(Debug, Default)]
pub struct Copied {
    bytes: OnceCell<Vec<u8>>,
    /// The bytes of an earlier item; its allocation is reused.
    spare: RefCell<Vec<u8>>,
}

impl Copied {
    /// Makes another item the current one.
    #[inline]
    pub fn forget(&mut self) {
        if let Some(bytes) = self.bytes.take() {
            self.spare.replace(bytes);
        }
    }

    #[inline]
    pub fn get_or_copy(&self, copy: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.bytes.get_or_init(|| {
            let mut bytes = self.spare.take();
            bytes.clear();
            copy(&mut bytes);
            bytes
        })
    }
}
