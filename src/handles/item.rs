//! One received item.

use std::ops::Deref;
use std::sync::atomic::Ordering::Relaxed;

use super::consumer::Consumer;
use super::memory::SegmentMemory;
use crate::layout::fields::item;
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
        // Relaxed, both: the claim's E1 or E3 ordered them.
        let [_, sequence] = memory.view.header(slot);
        let sequence = sequence.load(Relaxed);
        let timed = memory.view.geometry().has_timestamps();
        let time = timed.then(|| memory.view.item_word(slot, item::TIME).load(Relaxed));
        Header { len, producer, sequence, time }
    }
}

/// A received item: this consumer's own until acknowledged, given back when dropped.
///
/// It derefs to its bytes, which were *copied* out of the ring: no other process can change them.
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
    consumer: &'c mut Consumer,
    claim: Option<Claim>,
    header: Header,
    attempt: u8,
}

impl<'c> Item<'c> {
    #[inline]
    pub(super) fn new(consumer: &'c mut Consumer, claim: Claim) -> Self {
        let Consumer { participant, buffer, .. } = &mut *consumer;
        participant.memory().prefetch_items(claim.position, participant.slots.run(claim));
        let slot = participant.slots.codec().slot(claim.position);
        // A run never passes the end of the ring, unless a hostile word says so.
        let within = participant.slots.run(claim).min(participant.slots.codec().to_end(claim.position));
        let header = Header::read(participant.memory(), slot, within);
        buffer.clear();
        let copied = participant.view().copy_out(slot, 0, header.len, buffer);
        debug_assert!(copied, "a claim never wraps");
        consumer.received(1, header.len);
        Item { consumer, claim: Some(claim), header, attempt: claim.word.attempt() }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.consumer.buffer.len()
    }

    /// Whether the item has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of the producer that sent it: unique in the life of the ring.
    pub fn producer(&self) -> u32 {
        self.header.producer
    }

    /// The producer's count of its items, from 0: with [`producer`](Self::producer) it names the item.
    pub fn sequence(&self) -> u64 {
        self.header.sequence
    }

    /// Deliveries so far, this one included: exact to 127, and at least 128 from there on.
    pub fn attempt(&self) -> u8 {
        self.attempt
    }

    /// Whether it was delivered before: its effects may have happened already.
    pub fn redelivered(&self) -> bool {
        self.attempt > 1
    }

    /// When it was sent, nanoseconds since 1970; only in rings with timestamps.
    pub fn sent_at(&self) -> Option<u64> {
        self.header.time
    }

    /// Where the original bytes lie in shared memory; valid until this value goes. No honest process
    /// writes them while the item is held.
    pub fn in_place(&self) -> *const [u8] {
        let participant = &self.consumer.participant;
        let place = self.claim.and_then(|claim| {
            let slot = participant.slots.codec().slot(claim.position);
            participant.view().payload(slot, 0, self.header.len)
        });
        let start = place.map_or(std::ptr::null(), |place| place.as_ptr().cast_const());
        std::ptr::slice_from_raw_parts(start, self.header.len as usize)
    }

    /// Acknowledges the item: it is done, and its slots are free.
    #[inline]
    pub fn ack(mut self) {
        if let Some(claim) = self.claim.take() {
            self.consumer.acknowledge_item(claim);
        }
    }

    /// Gives the item back, to be delivered again, to anybody. Dropping it does the same.
    pub fn give_back(self) {
        drop(self);
    }

    /// Hands the claim to the caller, who answers for it.
    pub(super) fn into_claim(mut self) -> Option<Claim> {
        self.claim.take()
    }
}

impl Deref for Item<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.consumer.buffer
    }
}

impl Drop for Item<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take() {
            self.consumer.return_item(claim);
        }
    }
}
