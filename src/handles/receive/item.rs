//! One received item.

use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::sync::Arc;

use super::content::{Content, item_accessors};
use super::core::Core;
use super::owned_item::OwnedItem;
use crate::Result;
use crate::protocol::Claim;

/// A received item. It belongs to this consumer until acknowledged; dropping it gives it back. It borrows the
/// consumer; [`into_owned`](Self::into_owned) turns it into one that does not.
///
/// It derefs to its bytes, which are *copied* out of the ring at first access, so that no other process can change
/// them. [`copy_to`](Self::copy_to) copies them to a buffer of the caller, and [`in_place`](Self::in_place)
/// returns the address of the originals.
///
/// Acknowledging consumes the item, so that it cannot happen twice:
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
    // Keep this struct small: a value that is returned through memory in small pieces, and read back in large
    // ones, costs more than everything else.
    core: &'c mut Core,
    claim: Claim,
}

impl<'c> Item<'c> {
    #[inline(always)]
    pub(in crate::handles) fn new(core: &'c mut Core, claim: Claim) -> Result<Self> {
        core.copied.forget();
        // Read from the core once: each access through the core costs time.
        let attachment = &*core.attachment;
        attachment.received(1, attachment.content(claim).len());
        // What was found in lost memory is not an item, and must not be given back.
        attachment.participant.check()?;
        Ok(Item { core, claim })
    }

    /// Whether the bytes that were read so far really were the item's.
    ///
    /// A program that called [`survive_truncation`](crate::survive_truncation) calls this after it read the bytes,
    /// and before it does anything that cannot be undone. If the memory was lost meanwhile, the item reads as
    /// zeros or as no bytes at all, and acknowledging it does nothing.
    ///
    /// # Errors
    /// [`Error::Truncated`](crate::Error::Truncated) if the memory was lost, [`Error::Forked`](crate::Error::Forked)
    /// in a child of the process that received it.
    #[inline]
    pub fn check(&self) -> Result<()> {
        self.core.participant().check()
    }

    #[inline]
    fn content(&self) -> Content<'_> {
        self.core.attachment.content(self.claim)
    }

    item_accessors!();

    /// Deliveries so far, this one included: exact up to 127; beyond that, at least 128.
    pub fn attempt(&self) -> u8 {
        self.claim.word.attempt()
    }

    /// Where the original bytes lie in shared memory; valid until this value is dropped. Processes that keep to
    /// the protocol do not write them while the item is held.
    pub fn in_place(&self) -> *const [u8] {
        self.content().in_place()
    }

    /// Copies the bytes to the beginning of `out`, as many as fit; returns their number.
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
        self.content().copy_to(out)
    }

    /// Acknowledges the item: it is processed, and its slots become free.
    #[inline]
    pub fn ack(self) {
        let item = ManuallyDrop::new(self);
        item.core.attachment.acknowledge_item(item.claim);
    }

    /// Gives the item back: it is delivered again, to this consumer or another. Dropping it does the same.
    pub fn give_back(self) {
        drop(self);
    }

    /// Turns the item into a value that does not borrow the consumer. A program may hold several of them, and
    /// acknowledge them in any order and on any thread.
    ///
    /// ```
    /// # let name = format!("doc-into-owned-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// # ring.producer()?.send_batch(&["a", "b", "c"])?;
    /// let mut consumer = ring.consumer()?;
    /// let first = consumer.recv()?.into_owned();
    /// let second = consumer.recv()?.into_owned();
    /// let third = consumer.recv()?.into_owned();
    /// let worker = std::thread::spawn(move || {
    ///     assert_eq!(&*second, b"b");
    ///     second.ack();
    /// });
    /// third.ack();
    /// first.give_back();
    /// # worker.join().unwrap();
    /// let again = consumer.recv()?;
    /// assert_eq!((&*again, again.attempt()), (&b"a"[..], 2));
    /// # again.ack();
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    pub fn into_owned(self) -> OwnedItem {
        let attachment = Arc::clone(&self.core.attachment);
        attachment.own();
        OwnedItem::new(attachment, self.into_claim())
    }

    /// Hands the claim to the caller, which must acknowledge it or give it back.
    pub(in crate::handles) fn into_claim(self) -> Claim {
        ManuallyDrop::new(self).claim
    }
}

impl Deref for Item<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.core.copied.get_or_copy(|bytes| self.content().copy_all(bytes))
    }
}

impl Drop for Item<'_> {
    #[inline]
    fn drop(&mut self) {
        self.core.attachment.return_item(self.claim);
    }
}
