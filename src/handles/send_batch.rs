//! Sending several items at once.

#[cfg(feature = "cli")]
use std::time::Duration;

use super::producer::{OnFull, Producer};
use crate::layout::geometry::Geometry;
use crate::ring::Claim;
use crate::sys::clock::Deadline;
use crate::{Error, Result};

/// Most slots that a batch claims at once.
const MOST_SLOTS: u64 = 4096;

/// How many of `items` fit into `slots` slots, and the slots that they take.
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

impl Producer {
    pub(super) fn send_batch_by<T: AsRef<[u8]>>(&mut self, items: &[T], deadline: Deadline) -> Result<usize> {
        // The caller's code runs here once per item, before anything is claimed.
        let items: Vec<&[u8]> = items.iter().take(MOST_SLOTS as usize).map(AsRef::as_ref).collect();
        self.send_slices_by(&items, deadline)
    }

    /// As `send_batch_timeout`, without a pass over the items for the caller's code.
    #[cfg(feature = "cli")]
    pub(crate) fn send_slices_timeout(&mut self, items: &[&[u8]], timeout: Duration) -> Result<usize> {
        self.send_slices_by(&items[..items.len().min(MOST_SLOTS as usize)], Deadline::after(timeout))
    }

    fn send_slices_by(&mut self, items: &[&[u8]], deadline: Deadline) -> Result<usize> {
        let Some(head) = items.first() else { return Ok(0) };
        let geometry = *self.participant.view().geometry();
        let most = (geometry.capacity / 2).min(MOST_SLOTS);
        if items.iter().all(|item| item.len() as u64 <= geometry.slot_size) {
            let most = most.min(items.len() as u64);
            let Some(claim) = self.claim_run(head, 1, most, |free| free, deadline)? else { return Ok(1) };
            let count = self.participant.slots.run(claim) as usize;
            self.publish_batch(claim, &items[..count], |_| 1);
            self.participant.check()?;
            return Ok(count);
        }
        let first = self.span(head.len() as u64)?;
        let (_, most) = fitting(&geometry, items, most.max(first));
        let fit = |free| fitting(&geometry, items, free).1;
        let Some(claim) = self.claim_run(head, first, most, fit, deadline)? else { return Ok(1) };
        let (count, _) = fitting(&geometry, items, self.participant.slots.run(claim));
        self.publish_batch(claim, &items[..count], |item| geometry.span(item.len() as u64));
        // As in `try_send`.
        self.participant.check()?;
        Ok(count)
    }

    /// Claims room for some items, of which `head` is the first. `None`: that one was sent by itself.
    fn claim_run(
        &mut self,
        head: &[u8],
        first: u64,
        most: u64,
        fit: impl Fn(u64) -> u64,
        deadline: Deadline,
    ) -> Result<Option<Claim>> {
        match self.claim_now(first, most, &fit) {
            Err(Error::Full) if self.on_full == OnFull::Block => {
                self.claim(first, most, fit, deadline).map(Some)
            }
            // The policies are about single items.
            Err(Error::Full) => self.send_slowly(head, deadline).map(|()| None),
            result => result.map(Some),
        }
    }

    #[inline(always)]
    fn publish_batch(&mut self, claim: Claim, items: &[&[u8]], span: impl Fn(&[u8]) -> u64) {
        let time = self.time();
        let mut slot = self.participant.slots.codec().slot(claim.position);
        let mut bytes = 0;
        for item in items {
            self.write_item(slot, item, time);
            // A claim never wraps.
            slot += span(item);
            bytes += item.len() as u64;
        }
        let in_time = match items.len() as u64 == self.participant.slots.run(claim) {
            true => self.participant.slots.publish_singles(claim),
            false => self.participant.slots.publish(claim, items.iter().map(|item| span(item))),
        };
        self.after_publish(items.len() as u64, self.participant.slots.run(claim), bytes);
        if !in_time {
            self.await_taking(claim);
        }
    }
}
