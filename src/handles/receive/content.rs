//! The header and bytes of a received item, in place in the ring.

use std::cell::{OnceCell, RefCell};
use std::sync::atomic::Ordering::{Relaxed, Release};

use crate::Result;
use crate::handles::ItemKey;
use crate::membership::memory::SegmentMemory;
use crate::protocol::names::name_in;
use crate::protocol::word::Word;

/// An item in its slots. Valid as long as its claim is held.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    memory: &'a SegmentMemory,
    slot: u64,
    len: u64,
    /// Its position by its state word, and that word: they give its name in a ring of fixed items. The name itself would be
    /// read from memory, also where no caller asks for it.
    position: u64,
    word: Word,
}

impl<'a> Content<'a> {
    /// The item that begins in `slot`, with at most `run` slots, whatever its length says. It is at `position` by its claim's
    /// `word`.
    #[inline]
    pub fn new(memory: &'a SegmentMemory, slot: u64, run: u64, position: u64, word: Word) -> Self {
        Content { memory, slot, len: memory.length(slot, run), position, word }
    }

    fn name(self) -> u64 {
        name_in(self.memory, self.slot, self.position, self.word)
    }

    #[inline]
    pub fn len(self) -> u64 {
        self.len
    }

    pub fn key(self) -> ItemKey {
        self.memory.producer_and_sequence(self.slot, self.name()).into()
    }

    pub fn failures(self) -> u8 {
        self.memory.failures(self.slot, self.name())
    }

    /// Adds a failure, if `check` finds that the item is still held. Returns the new number, or the old one if it
    /// was not changed.
    pub fn record_failure(self, check: impl Fn() -> Result<()>) -> u8 {
        let (word, name) = (self.memory.failures_word(self.slot), self.name());
        // Relaxed: E3 hands the word to the next holder. While the item is held, only threads that share it
        // write the word, and in a ring of fixed items a producer that steps over it: after a failed exchange there is
        // one more failure, of which 255 are the most, or the item's name.
        let mut old = word.load(Relaxed);
        for _ in 0..=u8::MAX {
            let new = self.memory.with_failure(old, name);
            // Check after the load: if the slot gets another item after the check, its word changes, and the
            // exchange fails. In a ring of fixed items it may succeed, with the name of this item, which counts for
            // no other one.
            if new == old || check().is_err() {
                return self.memory.failures_in(old, name);
            }
            // Release: as a name that is kept, in `protocol::names`.
            match word.compare_exchange(old, new, Release, Relaxed) {
                Ok(_) => return self.memory.failures_in(new, name),
                Err(now) => old = now,
            }
        }
        self.memory.failures_in(old, name)
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

        /// The number of the producer that sent it: unique in the life of the ring. In a ring of fixed items, which does
        /// not record it, [`ItemKey::NO_PRODUCER`](crate::ItemKey::NO_PRODUCER).
        pub fn producer(&self) -> u32 {
            self.key().producer
        }

        /// The producer's count of its items, from 0; in a ring of fixed items, the item's position. Together with
        /// [`producer`](Self::producer) it identifies the item.
        pub fn sequence(&self) -> u64 {
            self.key().sequence
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
