//! One received item.

use std::cell::{OnceCell, RefCell};
use std::mem::ManuallyDrop;
use std::ops::Deref;

use super::consumer::Consumer;
use super::memory::SegmentMemory;
use crate::Result;
use crate::ring::Claim;

/// What an item's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub len: u64,
    pub producer: u32,
    pub sequence: u64,
    pub time: Option<u64>,
}

impl Header {
    /// Reads the header of the item at `slot`, whose claim has `run` slots from there on.
    #[inline]
    pub fn read(memory: &SegmentMemory, slot: u64, run: u64) -> Self {
        let (len, producer) = memory.length_and_producer(slot, run);
        let (sequence, time) = (memory.sequence(slot), memory.time(slot));
        Header { len, producer, sequence, time }
    }
}

/// A received item: this consumer's own until acknowledged, given back when dropped.
///
/// It derefs to its bytes, which are *copied* out of the ring when they are first asked for: no other process
/// can change them. [`copy_to`](Self::copy_to) copies them where they are wanted, and
/// [`in_place`](Self::in_place) tells where the originals lie.
///
/// Acknowledging takes the item, so that it cannot happen twice:
///
/// ```compile_fail
/// fn twice(item: ringpipe::Item<'_>) {
///     item.ack();
///     item.ack();
/// }
/// ```
#[derive(Debug)]
#[must_use = "an item that is dropped is given back, to be delivered again"]
pub struct Item<'c> {
    // As little as can be: what is returned through memory in small pieces, and read back in large ones,
    // costs more than all the rest.
    consumer: &'c mut Consumer,
    claim: Claim,
}

impl<'c> Item<'c> {
    #[inline(always)]
    pub(super) fn new(consumer: &'c mut Consumer, claim: Claim) -> Result<Self> {
        consumer.copied.forget();
        let item = Item { consumer, claim };
        item.consumer.received(1, item.length());
        // What was found in lost memory is no item.
        item.check()?;
        Ok(item)
    }

    /// Whether the bytes that were read so far were the item's.
    ///
    /// Whoever called [`survive_truncation`](crate::survive_truncation) asks this after reading them, before
    /// doing what cannot be undone: of an item whose memory was lost meanwhile, nothing is left but zeros, or no
    /// bytes at all. To acknowledge it then does nothing.
    ///
    /// # Errors
    /// [`Error::Truncated`](crate::Error::Truncated) if the memory was lost, [`Error::Forked`](crate::Error::Forked)
    /// in a child of the process that received it.
    #[inline]
    pub fn check(&self) -> Result<()> {
        self.consumer.participant.check()
    }

    #[inline]
    fn memory(&self) -> &SegmentMemory {
        self.consumer.participant.memory()
    }

    #[inline]
    fn slot(&self) -> u64 {
        self.consumer.participant.slots.codec().slot(self.claim.position)
    }

    #[inline]
    fn length(&self) -> u64 {
        let run = self.consumer.participant.slots.run(self.claim);
        self.memory().length_and_producer(self.slot(), run).0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.length() as usize
    }

    /// Whether the item has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the producer that sent it: unique in the life of the ring.
    pub fn producer(&self) -> u32 {
        self.memory().length_and_producer(self.slot(), 1).1
    }

    /// The producer's count of its items, from 0: with [`producer`](Self::producer) it names the item.
    pub fn sequence(&self) -> u64 {
        self.memory().sequence(self.slot())
    }

    /// Deliveries so far, this one included: exact to 127, and at least 128 from there on.
    pub fn attempt(&self) -> u8 {
        self.claim.word.attempt()
    }

    /// Whether it was delivered before: its effects may have happened already.
    pub fn redelivered(&self) -> bool {
        self.attempt() > 1
    }

    /// When it was sent, nanoseconds since 1970; only in rings with timestamps.
    pub fn sent_at(&self) -> Option<u64> {
        self.memory().time(self.slot())
    }

    /// Where the original bytes lie in shared memory; valid until this value goes. No honest process
    /// writes them while the item is held.
    pub fn in_place(&self) -> *const [u8] {
        let len = self.length();
        let place = self.memory().view.payload(self.slot(), 0, len);
        let start = place.map_or(std::ptr::null(), |place| place.as_ptr().cast_const());
        std::ptr::slice_from_raw_parts(start, len as usize)
    }

    /// Copies the bytes to the beginning of `out`, as many as it has room for; answers how many.
    ///
    /// ```
    /// # let name = format!("doc-copy-to-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// # ring.producer()?.send(b"hello")?;
    /// # let mut consumer = ring.consumer()?;
    /// let mut bytes = [0; 64];
    /// let item = consumer.recv()?;
    /// let len = item.copy_to(&mut bytes);
    /// item.ack();
    /// assert_eq!(&bytes[..len], b"hello");
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    #[inline]
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        let len = self.len().min(out.len());
        let copied = self.memory().view.copy_to(self.slot(), 0, &mut out[..len]);
        debug_assert!(copied, "a claim never wraps");
        len
    }

    /// Acknowledges the item: it is done, and its slots are free.
    #[inline]
    pub fn ack(self) {
        let item = ManuallyDrop::new(self);
        item.consumer.acknowledge_item(item.claim);
    }

    /// Gives the item back, to be delivered again, to anybody. Dropping it does the same.
    pub fn give_back(self) {
        drop(self);
    }

    /// Hands the claim to the caller, who answers for it.
    pub(super) fn into_claim(self) -> Claim {
        ManuallyDrop::new(self).claim
    }
}

impl Deref for Item<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.consumer.copied.get_or_copy(|bytes| {
            let copied = self.memory().view.copy_out(self.slot(), 0, self.length(), bytes);
            debug_assert!(copied, "a claim never wraps");
            if self.memory().view.segment().is_lost() {
                // Half of an item, and zeros, would look like one.
                bytes.clear();
            }
        })
    }
}

impl Drop for Item<'_> {
    #[inline]
    fn drop(&mut self) {
        self.consumer.return_item(self.claim);
    }
}

/// The bytes of a consumer's present item, once they were asked for.
#[derive(Debug, Default)]
pub(super) struct Copied {
    bytes: OnceCell<Vec<u8>>,
    /// The bytes of an earlier item, kept for their room.
    spare: RefCell<Vec<u8>>,
}

impl Copied {
    /// Another item is the present one.
    #[inline]
    fn forget(&mut self) {
        if let Some(bytes) = self.bytes.take() {
            self.spare.replace(bytes);
        }
    }

    #[inline]
    fn get_or_copy(&self, copy: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.bytes.get_or_init(|| {
            let mut bytes = self.spare.take();
            bytes.clear();
            copy(&mut bytes);
            bytes
        })
    }
}
