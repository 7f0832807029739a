//! A batch: several items, claimed at once.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
#[cfg(feature = "cli")]
use std::{io, os::fd::BorrowedFd, sync::Arc};

use super::content::{Content, item_accessors};
#[cfg(feature = "cli")]
use super::core::Attachment;
use super::core::Core;
use crate::Result;
use crate::layout::geometry::Geometry;
use crate::membership::memory::SegmentMemory;
use crate::protocol::Claim;
use crate::protocol::word::Word;
#[cfg(feature = "cli")]
use crate::sys::command::io::Wait;

/// Items that one consumer holds. Acknowledge them all, or one by one from the front; dropping the batch gives the
/// rest back.
///
/// Their bytes stay in the ring; each [`BatchItem`] copies its own out.
#[derive(Debug)]
#[must_use = "items that are dropped are given back, to be delivered again"]
pub struct Batch<'c> {
    core: &'c mut Core,
    claim: Option<Claim>,
    /// Items still held.
    items: usize,
    /// The number of slots of each item; empty if each has one.
    spans: VecDeque<u32>,
    attempt: u8,
}

impl<'c> Batch<'c> {
    pub(in crate::handles) fn new(core: &'c mut Core, claim: Claim) -> Result<Self> {
        let mut spans = std::mem::take(&mut core.spans);
        let attachment = &*core.attachment;
        let slots = &attachment.participant.slots;
        let run = slots.run(claim);
        let slot = slots.codec().slot(claim.position);
        let (items, bytes) = match singles(slots.memory(), slot, run) {
            Some(bytes) => (run as usize, bytes),
            None => measure(slots.memory(), slot, run, &mut spans),
        };
        attachment.received(items as u64, bytes);
        let attempt = claim.word.attempt();
        let batch = Batch { core, claim: Some(claim), items, spans, attempt };
        // Discard what was found in memory that was lost meanwhile.
        batch.check()?;
        Ok(batch)
    }

    /// Whether the bytes that were read so far really were the items': see [`Item::check`](crate::Item::check).
    ///
    /// # Errors
    /// As [`Item::check`](crate::Item::check).
    #[inline]
    pub fn check(&self) -> Result<()> {
        self.core.participant().check()
    }

    /// Number of items still held.
    pub fn len(&self) -> usize {
        self.items
    }

    /// Whether the batch holds no more items.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// The items still held, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = BatchItem<'_>> {
        self.iter_from(0)
    }

    /// The items still held, in order, without the first `first`.
    pub fn iter_from(&self, first: usize) -> impl ExactSizeIterator<Item = BatchItem<'_>> {
        let slots = &self.core.participant().slots;
        // A batch without a claim has no items.
        let Claim { position, word } = self.claim.unwrap_or(Claim { position: 0, word: Word(0) });
        let start = slots.codec().slot(position);
        let singles = self.spans.is_empty();
        let before =
            if singles { first as u64 } else { self.spans.iter().take(first).map(|&n| n as u64).sum() };
        let mut slot = start + before;
        (first.min(self.items)..self.items).map(move |n| {
            let span = if singles { 1 } else { self.spans[n] as u64 };
            let position = position.wrapping_add(slot - start);
            let content = Content::new(slots.memory(), slot, span, position, word);
            let item = BatchItem { content, attempt: self.attempt };
            // A claim never wraps.
            slot += span;
            item
        })
    }

    /// Copies the bytes of the items still held, one after the other, to the beginning of `out`, as many whole items as fit;
    /// returns their number. Only in a ring of fixed items: in others it copies nothing. Items that the ring keeps without a gap
    /// (lengths that are multiples of 8) are copied at once.
    pub fn copy_packed(&self, out: &mut [u8]) -> usize {
        let slots = &self.core.participant().slots;
        let fixed = slots.memory().mapping.geometry().fixed as usize;
        let (Some(claim), Some(room)) = (self.claim, out.len().checked_div(fixed)) else { return 0 };
        let count = self.items.min(room);
        let slot = slots.codec().slot(claim.position);
        let copied = slots.memory().mapping.copy_out_fixed(slot, &mut out[..count * fixed]);
        debug_assert!(copied, "a claim never wraps");
        count
    }

    /// Appends the bytes of the items still held to `out`, without the first `first` items, each one followed by the
    /// separator, until `out` has `most` bytes or more. Appends to `ends` where in `out` each one ends.
    #[cfg(feature = "cli")]
    #[doc(hidden)]
    pub fn append_separated(
        &self,
        first: usize,
        most: usize,
        separator: Option<u8>,
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) {
        let slots = &self.core.participant().slots;
        let mapping = &slots.memory().mapping;
        let (Some(claim), true) = (self.claim, self.spans.is_empty() && mapping.geometry().fixed == 0) else {
            for item in self.iter_from(first) {
                item.append_to(out);
                out.extend(separator);
                ends.push(out.len());
                if out.len() >= most {
                    break;
                }
            }
            return;
        };
        let start = slots.codec().slot(claim.position) + first as u64;
        let lengths = mapping.lengths(start, self.items.saturating_sub(first) as u64);
        for (slot, len) in (start..).zip(lengths) {
            // Relaxed: E1 or E3 ordered it when the batch was claimed.
            mapping.copy_out_single(slot, u64::from(len.load(Relaxed)), out);
            out.extend(separator);
            ends.push(out.len());
            if out.len() >= most {
                break;
            }
        }
    }

    /// Acknowledges all items still held, from the last to the first: if the process is killed in the middle, the
    /// first ones are delivered again. [`ack_first`](Self::ack_first) goes from the front, at some cost for each
    /// item.
    pub fn ack(mut self) {
        let Some(claim) = self.claim.take() else { return };
        if self.core.participant().check().is_ok() {
            let slots = &self.core.participant().slots;
            match self.spans.is_empty() {
                true => slots.acknowledge_singles(claim),
                false => slots.acknowledge_all(claim, self.spans.iter().map(|&span| span as u64)),
            }
            self.core.participant().guard_done();
            self.core.attachment.acknowledged(self.items as u64, || slots.run(claim));
        }
    }

    /// Acknowledges the first item still held. False: the batch holds none.
    pub fn ack_first(&mut self) -> bool {
        let Some(claim) = self.claim.take() else { return false };
        let span = self.spans.pop_front().unwrap_or(1) as u64;
        self.items -= 1;
        if self.core.participant().check().is_ok() {
            self.claim = self.core.participant().slots.acknowledge_first(claim, span);
            if self.claim.is_none() {
                self.core.participant().guard_done();
            }
            self.core.attachment.acknowledged(1, || span);
        }
        true
    }

    /// Gives all items still held back; they are delivered again. Dropping the batch does the same.
    pub fn give_back(self) {
        drop(self);
    }

    /// Keeps the items for later, so that the consumer can receive further ones meanwhile: [`Consumer::resume`](crate::Consumer::resume).
    /// While the batch is set aside, other consumers do not see the end of the stream, even if its consumer waits.
    #[cfg(feature = "cli")]
    #[doc(hidden)]
    pub fn set_aside(mut self) -> HeldBatch {
        let spans = std::mem::take(&mut self.spans);
        let held = self.claim.take().map(|claim| {
            self.core.attachment.own();
            (Arc::clone(&self.core.attachment), claim)
        });
        HeldBatch { held, items: self.items, spans, attempt: self.attempt }
    }
}

/// The items of a [`Batch`] that was set aside. Its consumer holds them until it resumes the batch, and stays
/// attached for as long as this value lives. Dropped, the items are delivered again.
#[cfg(feature = "cli")]
#[derive(Debug, Default)]
#[must_use = "the items are held until the batch is resumed"]
pub struct HeldBatch {
    held: Option<(Arc<Attachment>, Claim)>,
    items: usize,
    spans: VecDeque<u32>,
    attempt: u8,
}

#[cfg(feature = "cli")]
impl HeldBatch {
    /// Number of items still held.
    pub fn len(&self) -> usize {
        self.items
    }

    /// Whether the batch holds no more items.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// Continues the batch with the core of the consumer that received it. Panics if it is another consumer's.
    pub(super) fn resume(mut self, core: &mut Core) -> Batch<'_> {
        // While the batch still has its claim: a batch that is refused is given back.
        let is_own = |(attachment, _): &(Arc<Attachment>, Claim)| Arc::ptr_eq(attachment, &core.attachment);
        assert!(self.held.as_ref().is_none_or(is_own), "a batch is resumed by its own consumer");
        let claim = self.held.take().map(|(attachment, claim)| {
            attachment.disown();
            claim
        });
        let spans = std::mem::take(&mut self.spans);
        Batch { core, claim, items: self.items, spans, attempt: self.attempt }
    }
}

#[cfg(feature = "cli")]
impl Drop for HeldBatch {
    fn drop(&mut self) {
        if let Some((attachment, claim)) = self.held.take() {
            attachment.return_batch(claim, self.items, &self.spans);
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take()
            && self.core.participant().check().is_ok()
        {
            let slots = &self.core.participant().slots;
            match self.spans.is_empty() {
                true => slots.give_back(claim, std::iter::repeat_n(1, self.items)),
                false => slots.give_back(claim, self.spans.iter().map(|&span| span as u64)),
            }
            self.core.participant().guard_done();
            self.core.attachment.returned(self.items as u64, slots.run(claim));
        }
        self.spans.clear();
        self.core.spans = std::mem::take(&mut self.spans);
    }
}

/// The bytes of all items in the `run` slots from `slot` on, if each has one slot.
#[inline]
fn singles(memory: &SegmentMemory, slot: u64, run: u64) -> Option<u64> {
    let Geometry { slot_size, fixed, .. } = *memory.mapping.geometry();
    if fixed > 0 {
        return Some(run * fixed);
    }
    memory.mapping.lengths(slot, run).iter().try_fold(0, |bytes, len| {
        // Relaxed: E1 or E3 ordered it when the batch was claimed.
        let len = u64::from(len.load(Relaxed));
        (len <= slot_size).then_some(bytes + len)
    })
}

/// Number and bytes of the items in the `run` slots from `slot` on. Appends their spans, which add up to the run:
/// a hostile length cannot exceed it.
fn measure(memory: &SegmentMemory, mut slot: u64, mut run: u64, spans: &mut VecDeque<u32>) -> (usize, u64) {
    let mut bytes = 0;
    while run > 0 {
        let len = memory.length(slot, run);
        let span = memory.mapping.geometry().span(len);
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
    content: Content<'b>,
    attempt: u8,
}

impl BatchItem<'_> {
    fn content(&self) -> Content<'_> {
        self.content
    }

    item_accessors!();

    /// Deliveries so far, this one included: see [`Item::attempt`](crate::Item::attempt).
    pub fn attempt(&self) -> u8 {
        self.attempt
    }

    /// Copies the bytes to the beginning of `out`, as many as fit; returns their number.
    #[inline]
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        self.content.copy_to(out)
    }

    /// Appends a copy of the bytes to `out`.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        self.content.append_to(out);
    }

    /// Writes up to `len` bytes from `offset` on to `file`, in one system call, straight from the slots.
    ///
    /// # Errors
    /// As `sys::command::io::write_from`; `InvalidInput` beyond the end of the item.
    #[cfg(feature = "cli")]
    pub fn write_to(&self, offset: u64, len: u64, file: BorrowedFd<'_>, wait: Wait) -> io::Result<usize> {
        self.content.write_to(offset, len, file, wait)
    }

    /// A copy of the bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes);
        bytes
    }
}
