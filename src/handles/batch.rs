//! Several items, claimed at once.

use std::collections::VecDeque;
#[cfg(feature = "cli")]
use std::{io, os::fd::BorrowedFd};

use super::consumer::Consumer;
use super::item::Header;
use crate::layout::view::View;
use crate::ring::Claim;
#[cfg(feature = "cli")]
use crate::sys::io::Wait;

#[derive(Debug, Clone, Copy)]
struct Part {
    slot: u64,
    span: u64,
    header: Header,
}

/// Items that one consumer holds: acknowledge them all, or one by one from the front; the rest is given
/// back when this is dropped.
///
/// Their bytes stay in the ring; each [`BatchItem`] copies them out.
#[derive(Debug)]
#[must_use = "items that are dropped are given back, to be delivered again"]
pub struct Batch<'c> {
    consumer: &'c mut Consumer,
    claim: Option<Claim>,
    parts: VecDeque<Part>,
    attempt: u8,
}

impl<'c> Batch<'c> {
    pub(super) fn new(consumer: &'c mut Consumer, claim: Claim) -> Self {
        let slots = &consumer.participant.slots;
        slots.memory().prefetch_items(claim.position, slots.run(claim));
        let mut parts = std::mem::take(&mut consumer.parts.0);
        let (mut position, mut left, mut bytes) = (claim.position, slots.run(claim), 0);
        // The claim's items are whole: their spans add up to the run. A hostile header is cut to it.
        while left > 0 {
            let slot = slots.codec().slot(position);
            let within = left.min(slots.codec().to_end(position));
            let header = Header::read(slots.memory(), slot, within);
            let span = slots.memory().view.geometry().span(header.len);
            bytes += header.len;
            parts.push_back(Part { slot, span, header });
            position = position.wrapping_add(span);
            left -= span;
        }
        consumer.received(parts.len() as u64, bytes);
        Batch { consumer, claim: Some(claim), parts, attempt: claim.word.attempt() }
    }

    /// Number of items still held.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Whether no item is held any more.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The items still held, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = BatchItem<'_>> {
        let view = self.consumer.participant.view();
        self.parts.iter().map(|part| BatchItem {
            view,
            slot: part.slot,
            header: part.header,
            attempt: self.attempt,
        })
    }

    /// Acknowledges all items still held.
    pub fn ack(mut self) {
        let Some(claim) = self.claim.take() else { return };
        if self.consumer.participant.check().is_ok() {
            let spans = self.parts.iter().map(|part| part.span);
            self.consumer.participant.slots.acknowledge_all(claim, spans);
            self.consumer.participant.guard_done();
            self.consumer.acknowledged(self.parts.len() as u64, self.consumer.participant.slots.run(claim));
        }
        self.parts.clear();
    }

    /// Acknowledges the first item still held. False: there was none.
    pub fn ack_first(&mut self) -> bool {
        let (Some(claim), Some(part)) = (self.claim.take(), self.parts.pop_front()) else { return false };
        if self.consumer.participant.check().is_ok() {
            self.claim = self.consumer.participant.slots.acknowledge_first(claim, part.span);
            if self.claim.is_none() {
                self.consumer.participant.guard_done();
            }
            self.consumer.acknowledged(1, part.span);
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
            let spans = self.parts.iter().map(|part| part.span);
            self.consumer.participant.slots.give_back(claim, spans);
            self.consumer.participant.guard_done();
            self.consumer.returned(self.parts.len() as u64);
        }
        self.parts.clear();
        self.consumer.parts.0 = std::mem::take(&mut self.parts);
    }
}

/// Room for the parts of a batch, kept from one batch to the next.
#[derive(Debug, Default)]
pub(super) struct Parts(VecDeque<Part>);

/// One item of a [`Batch`].
#[derive(Debug, Clone, Copy)]
pub struct BatchItem<'b> {
    view: &'b View,
    slot: u64,
    header: Header,
    attempt: u8,
}

impl BatchItem<'_> {
    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.header.len as usize
    }

    /// Whether the item has no bytes.
    pub fn is_empty(&self) -> bool {
        self.header.len == 0
    }

    /// The number of the producer that sent it.
    pub fn producer(&self) -> u32 {
        self.header.producer
    }

    /// The producer's count of its items, from 0.
    pub fn sequence(&self) -> u64 {
        self.header.sequence
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
        self.header.time
    }

    /// Appends a copy of the bytes to `out`.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let copied = self.view.copy_out(self.slot, 0, self.header.len, out);
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
        if offset.checked_add(len).is_none_or(|end| end > self.header.len) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.view.write_to(self.slot, offset, len, file, wait)
    }

    /// A copy of the bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes);
        bytes
    }
}
