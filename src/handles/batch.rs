//! Several items, claimed at once.

use std::collections::VecDeque;
#[cfg(feature = "cli")]
use std::{io, os::fd::BorrowedFd};

use super::consumer::Consumer;
use super::memory::{SegmentMemory, length};
use crate::Result;
use crate::ring::Claim;
#[cfg(feature = "cli")]
use crate::sys::io::Wait;

/// Items that one consumer holds: acknowledge them all, or one by one from the front; the rest is given
/// back when this is dropped.
///
/// Their bytes stay in the ring; each [`BatchItem`] copies them out.
#[derive(Debug)]
#[must_use = "items that are dropped are given back, to be delivered again"]
pub struct Batch<'c> {
    consumer: &'c mut Consumer,
    claim: Option<Claim>,
    /// Items still held.
    items: usize,
    /// How many slots each of them has; empty if each has one.
    spans: VecDeque<u32>,
    attempt: u8,
}

impl<'c> Batch<'c> {
    pub(super) fn new(consumer: &'c mut Consumer, claim: Claim) -> Result<Self> {
        let mut spans = std::mem::take(&mut consumer.spans);
        let slots = &consumer.participant.slots;
        let run = slots.run(claim);
        let slot = slots.codec().slot(claim.position);
        let (items, bytes) = match singles(slots.memory(), slot, run) {
            Some(bytes) => (run as usize, bytes),
            None => measure(slots.memory(), slot, run, &mut spans),
        };
        consumer.received(items as u64, bytes);
        let attempt = claim.word.attempt();
        let batch = Batch { consumer, claim: Some(claim), items, spans, attempt };
        // What was found in lost memory are no items.
        batch.check()?;
        Ok(batch)
    }

    /// Whether the bytes that were read so far were those of the items: see [`Item::check`](super::Item::check).
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn check(&self) -> Result<()> {
        self.consumer.participant.check()
    }

    /// Number of items still held.
    pub fn len(&self) -> usize {
        self.items
    }

    /// Whether no item is held any more.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// The items still held, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = BatchItem<'_>> {
        let slots = &self.consumer.participant.slots;
        let mut slot = self.claim.map_or(0, |claim| slots.codec().slot(claim.position));
        let singles = self.spans.is_empty();
        (0..self.items).map(move |n| {
            let span = if singles { 1 } else { self.spans[n] as u64 };
            let (len, _) = slots.memory().length_and_producer(slot, span);
            let item = BatchItem { memory: slots.memory(), slot, len, attempt: self.attempt };
            // A claim never wraps.
            slot += span;
            item
        })
    }

    /// Acknowledges all items still held.
    pub fn ack(mut self) {
        let Some(claim) = self.claim.take() else { return };
        if self.consumer.participant.check().is_ok() {
            let slots = &self.consumer.participant.slots;
            match self.spans.is_empty() {
                true => slots.acknowledge_singles(claim),
                false => slots.acknowledge_all(claim, self.spans.iter().map(|&span| span as u64)),
            }
            self.consumer.participant.guard_done();
            self.consumer.acknowledged(self.items as u64, slots.run(claim));
        }
    }

    /// Acknowledges the first item still held. False: there was none.
    pub fn ack_first(&mut self) -> bool {
        let Some(claim) = self.claim.take() else { return false };
        let span = self.spans.pop_front().unwrap_or(1) as u64;
        self.items -= 1;
        if self.consumer.participant.check().is_ok() {
            self.claim = self.consumer.participant.slots.acknowledge_first(claim, span);
            if self.claim.is_none() {
                self.consumer.participant.guard_done();
            }
            self.consumer.acknowledged(1, span);
        }
        true
    }

    /// Gives all items still held back, to be delivered again. Dropping the batch does the same.
    pub fn give_back(self) {
        drop(self);
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take()
            && self.consumer.participant.check().is_ok()
        {
            let slots = &self.consumer.participant.slots;
            match self.spans.is_empty() {
                true => slots.give_back(claim, std::iter::repeat_n(1, self.items)),
                false => slots.give_back(claim, self.spans.iter().map(|&span| span as u64)),
            }
            self.consumer.participant.guard_done();
            self.consumer.returned(self.items as u64, slots.run(claim));
        }
        self.spans.clear();
        self.consumer.spans = std::mem::take(&mut self.spans);
    }
}

/// The bytes of all items in the `run` slots from `slot` on, if each has one slot.
#[inline]
fn singles(memory: &SegmentMemory, slot: u64, run: u64) -> Option<u64> {
    let slot_size = memory.view.geometry().slot_size;
    memory.view.headers(slot, run).try_fold(0, |bytes, header| {
        let len = length(header);
        (len <= slot_size).then_some(bytes + len)
    })
}

/// Number and bytes of the items in the `run` slots from `slot` on; their spans are appended, and add up to
/// the run. A hostile header is cut to it.
fn measure(memory: &SegmentMemory, mut slot: u64, mut run: u64, spans: &mut VecDeque<u32>) -> (usize, u64) {
    let mut bytes = 0;
    while run > 0 {
        let (len, _) = memory.length_and_producer(slot, run);
        let span = memory.view.geometry().span(len);
        spans.push_back(span as u32);
        bytes += len;
        slot += span;
        run -= span;
    }
    (spans.len(), bytes)
}

/// One item of a [`Batch`].
#[derive(Debug, Clone, Copy)]
pub struct BatchItem<'b> {
    memory: &'b SegmentMemory,
    slot: u64,
    len: u64,
    attempt: u8,
}

impl BatchItem<'_> {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the item has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The number of the producer that sent it.
    pub fn producer(&self) -> u32 {
        self.memory.length_and_producer(self.slot, 1).1
    }

    /// The producer's count of its items, from 0.
    pub fn sequence(&self) -> u64 {
        self.memory.sequence(self.slot)
    }

    /// Deliveries so far, this one included: see [`Item::attempt`](super::Item::attempt).
    pub fn attempt(&self) -> u8 {
        self.attempt
    }

    /// Whether it was delivered before.
    pub fn redelivered(&self) -> bool {
        self.attempt > 1
    }

    /// When it was sent, nanoseconds since 1970; only in rings with timestamps.
    pub fn sent_at(&self) -> Option<u64> {
        self.memory.time(self.slot)
    }

    /// Copies the bytes to the beginning of `out`, as many as it has room for; answers how many.
    #[inline]
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        let len = self.len().min(out.len());
        let copied = self.memory.view.copy_to(self.slot, 0, &mut out[..len]);
        debug_assert!(copied, "a claim never wraps");
        len
    }

    /// Appends a copy of the bytes to `out`.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let copied = self.memory.view.copy_out(self.slot, 0, self.len, out);
        debug_assert!(copied, "a claim never wraps");
    }

    /// One write to `file` of up to `len` bytes from `offset` on, straight from the slots.
    ///
    /// # Errors
    /// As `sys::io::write_from`; `InvalidInput` beyond the end of the item.
    #[cfg(feature = "cli")]
    pub(crate) fn write_to(
        &self,
        offset: u64,
        len: u64,
        file: BorrowedFd<'_>,
        wait: Wait,
    ) -> io::Result<usize> {
        if offset.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.memory.view.write_to(self.slot, offset, len, file, wait)
    }

    /// A copy of the bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes);
        bytes
    }
}
