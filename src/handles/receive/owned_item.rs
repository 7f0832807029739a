//! A received item that does not borrow its consumer.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use super::content::{Content, item_accessors};
use super::core::Attachment;
use crate::Result;
use crate::protocol::Claim;

/// A received item that does not borrow its consumer; [`Item::into_owned`](crate::Item::into_owned) makes one. For
/// workers that hold several items, and for bindings to other languages.
///
/// Like an [`Item`](crate::Item), it belongs to its consumer until it is acknowledged, dropping it gives it back,
/// and it is delivered again when the process dies. Unlike an `Item`, it can be kept, sent to another thread (it
/// is `Send` and `Sync`), and acknowledged there while its consumer waits for more. A consumer may have several,
/// up to as many as the ring has slots, and acknowledge or give them back in any order.
///
/// ```
/// # let name = format!("doc-owned-item-{}", std::process::id());
/// # let ring = ringpipe::RingOptions::new().create(&name)?;
/// # ring.producer()?.send_batch(&["a", "b", "c", "d"])?;
/// use std::sync::{Mutex, mpsc};
/// let mut consumer = ring.consumer()?;
/// let (give, take) = mpsc::channel::<ringpipe::OwnedItem>();
/// let take = Mutex::new(take);
/// std::thread::scope(|scope| {
///     for _worker in 0..2 {
///         scope.spawn(|| {
///             loop {
///                 let next = take.lock().unwrap().recv();
///                 let Ok(item) = next else { break };
///                 assert_eq!(item.len(), 1); // the work; a panic here gives the item back
///                 item.ack();
///             }
///         });
///     }
///     while let Ok(item) = consumer.recv() {
///         give.send(item.into_owned()).unwrap();
///     }
///     drop(give);
/// });
/// # drop(consumer);
/// assert_eq!(ring.snapshot()?.totals.acknowledged, 4);
/// # ring.remove()?;
/// # Ok::<(), ringpipe::Error>(())
/// ```
///
/// # Room
///
/// An unacknowledged item keeps its slots. In a shared ring, when producers come round to it, they step over an
/// item of one slot, and wait at a longer one. In an exclusive ring they wait at the oldest unacknowledged item:
/// room that was freed behind it becomes usable only after it is acknowledged, too.
///
/// # The consumer
///
/// The consumer may be dropped before its items. It then stays attached until the last of them is gone, and keeps
/// its number, which in an exclusive ring is the only one for a consumer; only its death watch ends at once. An
/// item that is leaked with [`std::mem::forget`] keeps it attached until the process ends.
///
/// # The end of the stream
///
/// Other consumers see the end only when these items are acknowledged, even while their consumer waits for
/// more. An ephemeral ring is removed after the last of them. Their own consumer sees the end earlier: for
/// it, [`Error::Ended`](crate::Error::Ended) means that no items are left except its own unacknowledged ones.
/// If it gives one of these back, its next call receives it again.
///
/// So at most one consumer of a ring may keep its items until it sees the end: two such consumers would wait for
/// each other's items.
///
/// # Acknowledging twice
///
/// ```compile_fail
/// fn twice(item: ringpipe::OwnedItem) {
///     item.ack();
///     item.ack();
/// }
/// ```
#[derive(Debug)]
#[must_use = "an item that is dropped is given back, to be delivered again"]
pub struct OwnedItem {
    attachment: Arc<Attachment>,
    claim: Claim,
    /// Whether dropping this value must give the claim back.
    held: bool,
    bytes: OnceLock<Vec<u8>>,
}

impl OwnedItem {
    /// An owned value that the attachment has counted.
    pub(super) fn new(attachment: Arc<Attachment>, claim: Claim) -> Self {
        OwnedItem { attachment, claim, held: true, bytes: OnceLock::new() }
    }

    fn content(&self) -> Content<'_> {
        self.attachment.content(self.claim)
    }

    /// Whether the bytes that were read so far really were the item's, and the item still belongs to this
    /// consumer. If not, acknowledging it or giving it back does nothing.
    ///
    /// # Errors
    /// [`Error::Truncated`](crate::Error::Truncated) if the memory was lost, reported only to a program that
    /// called [`survive_truncation`](crate::survive_truncation); [`Error::Forked`](crate::Error::Forked) in a
    /// child of the process that received it; [`Error::Evicted`](crate::Error::Evicted) when other code of this
    /// process has closed the consumer's descriptors, so that others took it for dead and its items were delivered
    /// again.
    pub fn check(&self) -> Result<()> {
        self.attachment.participant.check_entry()
    }

    item_accessors!();

    /// Deliveries so far, this one included: exact up to 127; beyond that, at least 128.
    pub fn attempt(&self) -> u8 {
        self.claim.word.attempt()
    }

    /// Records that an attempt at processing the item has failed; returns how many have by now. The number stays
    /// with the item until it is acknowledged: the next holder reads it with [`failures`](Self::failures), even if
    /// this process dies right after this call. It goes up to 255 and stays there.
    ///
    /// Giving the item back records nothing. Where [`check`](Self::check) fails, nothing is recorded, and the
    /// returned number means nothing.
    ///
    /// ```
    /// # let name = format!("doc-record-failure-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// # ring.producer()?.send(b"job")?;
    /// # let mut consumer = ring.consumer()?;
    /// let item = consumer.recv()?.into_owned();
    /// assert_eq!(item.record_failure(), 1);
    /// item.give_back();
    /// let again = consumer.recv()?;
    /// assert_eq!((again.failures(), again.attempt()), (1, 2));
    /// # again.ack();
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    pub fn record_failure(&self) -> u8 {
        self.content().record_failure(|| self.check())
    }

    /// Where the original bytes lie in shared memory; valid until this value is dropped. Processes that keep to
    /// the protocol do not write them while the item is held.
    pub fn in_place(&self) -> *const [u8] {
        self.content().in_place()
    }

    /// Copies the bytes to the beginning of `out`, as many as fit; returns their number.
    pub fn copy_to(&self, out: &mut [u8]) -> usize {
        self.content().copy_to(out)
    }

    /// Acknowledges the item: it is processed, and its slots become free.
    pub fn ack(mut self) {
        self.held = false;
        self.attachment.acknowledge_owned(self.claim);
    }

    /// Gives the item back: it is delivered again, to its consumer or another. Dropping it does the same.
    pub fn give_back(self) {
        drop(self);
    }
}

/// The bytes are copied out of the ring at first access, as those of an [`Item`](crate::Item).
impl Deref for OwnedItem {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get_or_init(|| {
            let mut bytes = Vec::new();
            self.content().copy_all(&mut bytes);
            bytes
        })
    }
}

impl Drop for OwnedItem {
    fn drop(&mut self) {
        if self.held {
            self.attachment.return_owned(self.claim);
        }
    }
}
