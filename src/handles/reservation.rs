//! Writing an item in place.

use std::io;
#[cfg(feature = "cli")]
use std::os::fd::BorrowedFd;

use super::adapters::as_io;
use super::producer::Producer;
use crate::ring::Claim;
#[cfg(feature = "cli")]
use crate::sys::io::Wait;

/// Room for one item, claimed and not yet published: write it, then [`commit`](Self::commit). Dropping it
/// gives the room up, and nothing was sent.
///
/// Bytes that were not written hold whatever the slots held before.
///
/// A committed reservation is gone:
///
/// ```compile_fail
/// fn twice(reservation: ringpipe::Reservation<'_>) {
///     reservation.commit();
///     reservation.commit();
/// }
/// ```
#[derive(Debug)]
#[must_use = "a reservation that is dropped is given up, and nothing was sent"]
pub struct Reservation<'p> {
    producer: &'p mut Producer,
    claim: Option<Claim>,
    slot: u64,
    len: u64,
    written: u64,
}

impl<'p> Reservation<'p> {
    pub(super) fn new(producer: &'p mut Producer, claim: Claim, len: u64) -> Self {
        producer.participant.guard_made();
        // What is written into it, and how long that takes, is nobody else's business.
        producer.end_turn();
        let slot = producer.participant.slots.codec().slot(claim.position);
        Reservation { producer, claim: Some(claim), slot, len, written: 0 }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the length is zero.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies `bytes` to `offset`. False, and nothing copied, if they would pass the reserved length, or in
    /// a child of the process that reserved.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let end = offset.checked_add(bytes.len() as u64);
        end.is_some_and(|end| end <= self.len)
            && self.producer.participant.check().is_ok()
            && self.producer.participant.view().copy_in(self.slot, offset, bytes)
    }

    /// Where the reserved bytes lie in shared memory, aligned to 8 bytes; valid until this value goes.
    /// Only this process may write them, by the protocol; whoever wants a slice makes it with that in mind.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        let place = self.producer.participant.view().payload(self.slot, 0, self.len);
        place.map_or(std::ptr::null_mut(), |place| place.as_ptr())
    }

    /// One read from `file` into the first `len` of the reserved bytes; 0 is the file's end. Commit what was
    /// read with [`commit_first`](Self::commit_first).
    ///
    /// Meanwhile those who wait for this item wait for the file.
    ///
    /// # Errors
    /// As `sys::io::read_into`, or the library's: as when writing.
    #[cfg(feature = "cli")]
    pub(crate) fn read_from(&mut self, file: BorrowedFd<'_>, len: u64, wait: Wait) -> io::Result<u64> {
        self.producer.participant.check().map_err(as_io)?;
        let view = self.producer.participant.view();
        view.read_from(self.slot, len.min(self.len), file, wait).map(|read| read as u64)
    }

    /// Publishes the item. In a child of the process that reserved, nothing happens: the reservation is
    /// the parent's.
    pub fn commit(mut self) {
        self.publish(self.len);
    }

    /// Publishes the first `len` bytes as the item; more than the reserved length means all of it.
    pub fn commit_first(mut self, len: u64) {
        self.publish(len.min(self.len));
    }

    fn publish(&mut self, len: u64) {
        let Some(claim) = self.claim.take() else { return };
        if self.producer.participant.check().is_err() {
            return;
        }
        self.producer.participant.guard_done();
        let time = self.producer.time();
        self.producer.write_header(self.slot, len, time);
        self.producer.publish_part(claim, len);
    }
}

/// Appends after what this adapter has written so far; full when the reserved length is reached. In a child of the process
/// that reserved, and once the memory is lost, it fails with the library's error.
impl io::Write for Reservation<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let take = (self.len - self.written).min(bytes.len() as u64);
        if !self.write_at(self.written, &bytes[..take as usize]) {
            // As far as the length goes it fits: the memory was lost, or the reservation is the parent's.
            self.producer.participant.check().map_err(as_io)?;
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.written += take;
        Ok(take as usize)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take()
            && self.producer.participant.check().is_ok()
        {
            self.producer.participant.guard_done();
            self.producer.give_up(claim);
        }
    }
}
