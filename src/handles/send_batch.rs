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
        let first = self.span(head.len() as u64)?;
        let geometry = *self.participant.view().geometry();
        let (whole, most) = fitting(&geometry, items, (geometry.capacity / 2).min(MOST_SLOTS).max(first));
        let fit = |free| if free >= most { most } else { fitting(&geometry, items, free).1 };
        let claim = match self.claim_now(first, most, fit) {
            Err(Error::Full) if self.on_full == OnFull::Block => self.claim(first, most, fit, deadline)?,
            // The policies are about single items.
            Err(Error::Full) => {
                self.send_slowly(head, deadline)?;
                return Ok(1);
            }
            result => result?,
        };
        let run = self.participant.slots.run(claim);
        let count = if run == most { whole } else { fitting(&geometry, items, run).0 };
        self.write_batch(claim, &items[..count], &geometry);
        Ok(count)
    }

    fn write_batch(&mut self, claim: Claim, items: &[&[u8]], geometry: &Geometry) {
        self.participant.memory().prefetch_room(claim.position, self.participant.slots.run(claim));
        let time = self.time();
        let codec = self.participant.slots.codec();
        let span = |item: &&[u8]| geometry.span(item.len() as u64);
        let mut position = claim.position;
        let mut bytes = 0;
        for item in items {
            self.write_item(codec.slot(position), item, time);
            position = position.wrapping_add(span(item));
            bytes += item.len() as u64;
        }
        self.participant.slots.publish(claim, items.iter().map(span));
        self.after_publish(items.len() as u64, bytes);
    }
}
