//! Sends several items at once.

#[cfg(feature = "cli")]
use std::time::Duration;

#[cfg(feature = "cli")]
use super::core::Blocking;
use super::core::OnFull;
use super::core::{Core, RoomWait};
#[cfg(feature = "cli")]
use super::producer::Producer;
use crate::layout::geometry::Geometry;
use crate::protocol::Claim;
use crate::sys::clock::Deadline;
use crate::{Error, Result};

/// The maximum number of slots that a batch claims at once.
const MOST_SLOTS: u64 = 4096;

/// The number of `items` that fit into `slots` slots, and the slots that they need.
fn fitting(geometry: &Geometry, items: &[&[u8]], slots: u64) -> (usize, u64) {
    let mut taken = 0;
    let count = items.iter().take_while(|item| {
        let more = geometry.span(item.len() as u64);
        let fits = taken + more <= slots;
        taken += if fits { more } else { 0 };
        fits
    });
    (count.count(), taken)
}

#[cfg(feature = "cli")]
impl Producer {
    /// As `send_batch_timeout`, for slices: it need not call the caller's `as_ref` first.
    pub fn send_slices_timeout(&mut self, items: &[&[u8]], timeout: Duration) -> Result<usize> {
        let items = &items[..items.len().min(MOST_SLOTS as usize)];
        self.core.send_slices(items, &mut Blocking, Deadline::after(timeout))
    }
}

impl Core {
    /// Sends as many of the items as there is room for; waits only for the first.
    pub fn send_batch<T: AsRef<[u8]>, W: RoomWait>(
        &mut self,
        items: &[T],
        wait: &mut W,
        deadline: Deadline,
    ) -> Result<usize> {
        // Runs the caller's code once per item, before anything is claimed.
        let items: Vec<&[u8]> = items.iter().take(MOST_SLOTS as usize).map(AsRef::as_ref).collect();
        self.send_slices(&items, wait, deadline)
    }

    fn send_slices<W: RoomWait>(
        &mut self,
        items: &[&[u8]],
        wait: &mut W,
        deadline: Deadline,
    ) -> Result<usize> {
        let Some(head) = items.first() else { return Ok(0) };
        let geometry = *self.participant().mapping().geometry();
        let most = (geometry.capacity / 2).min(MOST_SLOTS);
        let items = match geometry.fixed {
            0 => items,
            len => {
                self.span(head.len() as u64)?;
                // As a larger item in another ring, one of another length ends the batch.
                let other = items.iter().position(|item| item.len() as u64 != len);
                &items[..other.unwrap_or(items.len())]
            }
        };
        if items.iter().all(|item| item.len() as u64 <= geometry.slot_size) {
            let most = most.min(items.len() as u64);
            let Some(claim) = self.claim_run(head, 1, most, |free| free, wait, deadline)? else {
                return Ok(1);
            };
            let count = self.participant().slots.run(claim) as usize;
            self.publish_singles::<W>(claim, &items[..count]);
            self.participant().check()?;
            return Ok(count);
        }
        let first = self.span(head.len() as u64)?;
        let (_, most) = fitting(&geometry, items, most.max(first));
        let fit = |free| fitting(&geometry, items, free).1;
        let Some(claim) = self.claim_run(head, first, most, fit, wait, deadline)? else { return Ok(1) };
        let run = self.participant().slots.run(claim);
        let (count, _) = fitting(&geometry, items, run);
        match count as u64 == run {
            true => self.publish_singles::<W>(claim, &items[..count]),
            false => self.publish_spans::<W>(claim, &items[..count]),
        }
        // As in `try_send`.
        self.participant().check()?;
        Ok(count)
    }

    /// Sends as many of the fixed items in `bytes` as there is room for; waits only for the first.
    pub fn send_packed<W: RoomWait>(
        &mut self,
        bytes: &[u8],
        wait: &mut W,
        deadline: Deadline,
    ) -> Result<usize> {
        let Geometry { fixed, capacity, .. } = *self.participant().mapping().geometry();
        let len = bytes.len() as u64;
        let Some(whole) = len.checked_rem(fixed) else {
            return Err(Error::Options(
                "items of any length cannot be packed; expected a ring of fixed items".into(),
            ));
        };
        if whole > 0 {
            return Err(Error::Mismatch { len: whole, expected: fixed });
        }
        let most = (len / fixed).min(capacity / 2).min(MOST_SLOTS);
        if most == 0 {
            return Ok(0);
        }
        let head = &bytes[..fixed as usize];
        let Some(claim) = self.claim_run(head, 1, most, |free| free, wait, deadline)? else { return Ok(1) };
        let slots = &self.participant().slots;
        let count = slots.run(claim);
        let bytes = &bytes[..(count * fixed) as usize];
        let fitted = self.participant().mapping().copy_in_fixed(slots.codec().slot(claim.position), bytes);
        debug_assert!(fitted, "a claim never wraps");
        self.sequence += count;
        let in_time = self.participant().slots.publish_singles(claim);
        self.after_batch::<W>(claim, in_time, count, bytes.len() as u64);
        self.participant().check()?;
        Ok(count as usize)
    }

    /// Claims room for some items, the first of which is `head`. `None`: `head` was sent by itself.
    fn claim_run<W: RoomWait>(
        &mut self,
        head: &[u8],
        first: u64,
        most: u64,
        fit: impl Fn(u64) -> u64,
        wait: &mut W,
        deadline: Deadline,
    ) -> Result<Option<Claim>> {
        match self.claim_now::<W>(first, most, &fit) {
            Err(Error::Full) if self.on_full == OnFull::Block => {
                self.claim(first, most, fit, wait, deadline).map(Some)
            }
            // The policies for full rings apply to single items.
            Err(Error::Full) => self.send_slowly(head, wait, deadline).map(|()| None),
            result => result.map(Some),
        }
    }

    /// Writes and publishes items of any numbers of slots.
    #[inline(always)]
    fn publish_spans<W: RoomWait>(&mut self, claim: Claim, items: &[&[u8]]) {
        let geometry = *self.participant().mapping().geometry();
        let time = self.time();
        let mut slot = self.participant().slots.codec().slot(claim.position);
        let mut bytes = 0;
        for item in items {
            self.write_item(slot, item, time);
            // A claim never wraps.
            slot += geometry.span(item.len() as u64);
            bytes += item.len() as u64;
        }
        let spans = items.iter().map(|item| geometry.span(item.len() as u64));
        let in_time = self.participant().slots.publish(claim, spans);
        self.after_batch::<W>(claim, in_time, items.len() as u64, bytes);
    }

    /// Writes and publishes items of one slot each.
    #[inline(always)]
    fn publish_singles<W: RoomWait>(&mut self, claim: Claim, items: &[&[u8]]) {
        let slot = self.participant().slots.codec().slot(claim.position);
        let bytes = self.participant().mapping().copy_in_singles(slot, items);
        debug_assert!(bytes.is_some(), "a claim never wraps");
        self.write_headers(slot, items.len() as u64);
        let in_time = self.participant().slots.publish_singles(claim);
        self.after_batch::<W>(claim, in_time, items.len() as u64, bytes.unwrap_or_default());
    }

    /// What follows the publication of a batch: counts it, wakes consumers, and waits if it came late.
    #[inline(always)]
    fn after_batch<W: RoomWait>(&mut self, claim: Claim, in_time: bool, items: u64, bytes: u64) {
        self.after_publish(items, self.participant().slots.run(claim), bytes);
        if !in_time {
            self.await_taking::<W>(claim);
        }
    }
}
