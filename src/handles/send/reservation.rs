//! A reservation: an item that is written in place.

use std::io;
#[cfg(feature = "cli")]
use std::os::fd::BorrowedFd;

use super::core::{Blocking, Core};
use crate::Error;
use crate::protocol::Claim;
#[cfg(feature = "cli")]
use crate::sys::command::io::Wait;

/// Room for one item, claimed and not yet published: write it, then [`commit`](Self::commit). Dropping it gives
/// the room up, and sends nothing.
///
/// Bytes that the caller does not write keep the slots' earlier contents.
///
/// Committing consumes the reservation:
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
    core: &'p mut Core,
    claim: Option<Claim>,
    slot: u64,
    len: u64,
    written: u64,
}

impl<'p> Reservation<'p> {
    pub(super) fn new(core: &'p mut Core, claim: Claim, len: u64) -> Self {
        core.participant().guard_made();
        // The caller may take any time to write the item.
        core.end_turn();
        let slot = core.participant().slots.codec().slot(claim.position);
        Reservation { core, claim: Some(claim), slot, len, written: 0 }
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the length is zero.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Copies `bytes` to `offset`. False, with nothing copied, if they would exceed the reserved length, or in a
    /// child of the process that reserved.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let end = offset.checked_add(bytes.len() as u64);
        end.is_some_and(|end| end <= self.len)
            && self.core.participant().check().is_ok()
            && self.core.participant().mapping().copy_in(self.slot, offset, bytes)
    }

    /// Where the reserved bytes lie in shared memory, aligned to 8 bytes; valid until this value is dropped. By
    /// the protocol only this process writes them.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        let place = self.core.participant().mapping().payload(self.slot, 0, self.len);
        place.map_or(std::ptr::null_mut(), |place| place.as_ptr())
    }

    /// Reads from `file` into the first `len` of the reserved bytes, in one system call; returns 0 at the file's
    /// end. Commit what was read with [`commit_first`](Self::commit_first).
    ///
    /// During the read, consumers that wait for this item wait for the file.
    ///
    /// # Errors
    /// As `sys::command::io::read_into`; or the library's error, as for a write.
    #[cfg(feature = "cli")]
    pub fn read_from(&mut self, file: BorrowedFd<'_>, len: u64, wait: Wait) -> io::Result<u64> {
        self.core.participant().check().map_err(Error::into_io)?;
        let mapping = self.core.participant().mapping();
        mapping.read_from(self.slot, len.min(self.len), file, wait).map(|read| read as u64)
    }

    /// Publishes the item. Does nothing in a child of the process that reserved: the reservation belongs to the
    /// parent.
    pub fn commit(mut self) {
        self.publish(self.len);
    }

    /// Publishes the first `len` bytes as the item, or all of them if `len` is larger, or if all items of the ring have
    /// one length.
    pub fn commit_first(mut self, len: u64) {
        let fixed = self.core.participant().mapping().geometry().fixed > 0;
        self.publish(if fixed { self.len } else { len.min(self.len) });
    }

    fn publish(&mut self, len: u64) {
        let Some(claim) = self.claim.take() else { return };
        if self.core.participant().check().is_err() {
            return;
        }
        self.core.participant().guard_done();
        let time = self.core.time();
        self.core.write_header(self.slot, len, time);
        self.core.publish_part::<Blocking>(claim, len);
    }
}

/// Appends behind the bytes that this adapter has written so far; full when the reserved length is reached. Fails
/// with the library's error in a child of the process that reserved, and after the memory was lost.
impl io::Write for Reservation<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let take = (self.len - self.written).min(bytes.len() as u64);
        if !self.write_at(self.written, &bytes[..take as usize]) {
            // The length fits, so the memory was lost or the reservation belongs to the parent.
            self.core.participant().check().map_err(Error::into_io)?;
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
            && self.core.participant().check().is_ok()
        {
            self.core.participant().guard_done();
            self.core.give_up(claim);
        }
    }
}
