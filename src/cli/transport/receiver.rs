//! A consumer's end, and the items that it holds.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::observe::Observe;
use crate::sys::command::io::Wait;
use crate::{Error, ItemKey};

/// A consumer's end of a ring. Dropping it detaches the consumer.
pub trait Receiver: Send {
    /// The ring, for observation.
    type Observer: Observe;
    /// An item that does not borrow this receiver.
    type Owned: Owned;
    /// Items that were received and set aside.
    type Held: Held;
    /// Items that this consumer holds.
    type Batch<'r>: Batch<Held = Self::Held>
    where
        Self: 'r;

    /// The ring, for observation.
    fn observe(&self) -> &Self::Observer;

    /// Whether the stream continues after the last producer has left.
    fn set_follow(&mut self, follow: bool);

    /// Receives 1 to `most` items; waits at most `limit` for the first.
    ///
    /// # Errors
    /// As the library's `Consumer::recv_batch_timeout`.
    fn receive(&mut self, most: usize, limit: Duration) -> Result<Self::Batch<'_>, Error>;

    /// Receives one item that does not borrow this receiver; waits at most `limit` for it.
    ///
    /// # Errors
    /// As the library's `Consumer::recv_timeout`.
    fn receive_owned(&mut self, limit: Duration) -> Result<Self::Owned, Error>;

    /// Continues a batch that this receiver set aside.
    fn resume(&mut self, held: Self::Held) -> Self::Batch<'_>;

    /// Fails if the ring's memory was lost, or if this process is a fork of the one that attached.
    ///
    /// # Errors
    /// As the library's `Consumer::check`.
    fn check(&self) -> Result<(), Error>;

    /// Items that this consumer received and gave back.
    fn returned(&self) -> u64;
}

/// A received item that does not borrow its receiver: several may be in hand, on any thread. Dropping it gives it
/// back.
pub trait Owned: Send + 'static {
    /// A copy of its bytes, made at the first call.
    fn bytes(&self) -> &[u8];

    /// Identifies the item.
    fn key(&self) -> ItemKey;

    /// Deliveries so far, this one included.
    fn attempt(&self) -> u8;

    /// How many attempts at processing it have failed.
    fn failures(&self) -> u8;

    /// When it was sent, in nanoseconds since 1970, where that is recorded.
    fn sent_at(&self) -> Option<u64>;

    /// Fails if the bytes that were read may not be the item's, or if the item is no longer held.
    ///
    /// # Errors
    /// As the library's `OwnedItem::check`.
    fn check(&self) -> Result<(), Error>;

    /// Adds one failure, which the next holder sees; returns their new number.
    fn record_failure(&self) -> u8;

    /// Acknowledges the item.
    ///
    /// # Errors
    /// The acknowledgement could not be logged, and the item was given back.
    fn acknowledge(self) -> Result<(), Error>;

    /// Acknowledges an item that has failed for good.
    ///
    /// # Errors
    /// As [`acknowledge`](Self::acknowledge).
    fn acknowledge_failed(self) -> Result<(), Error>
    where
        Self: Sized,
    {
        self.acknowledge()
    }

    /// Gives the item back; it is delivered again. Adds no failure.
    fn give_back(self);
}

/// Items that were received and set aside.
#[allow(clippy::len_without_is_empty)]
pub trait Held: Default {
    /// Items that were neither acknowledged nor given back.
    fn len(&self) -> usize;
}

/// Items that this consumer holds; dropping them gives them back.
pub trait Batch {
    /// The batch after it was set aside.
    type Held;
    /// One of the items.
    type Item<'b>: Item
    where
        Self: 'b;

    /// The items still held, in order, without the first `first`.
    fn items(&self, first: usize) -> impl ExactSizeIterator<Item = Self::Item<'_>>;

    /// The number of items still held that were delivered before.
    fn redelivered(&self) -> usize {
        self.items(0).filter(|item| item.attempt() > 1).count()
    }

    /// Appends the bytes of the items still held to `out`, without the first `first` items, each one followed by the
    /// separator, until `out` has `most` bytes or more. Appends to `ends` where in `out` each one ends.
    fn append_separated(
        &self,
        first: usize,
        most: usize,
        separator: Option<u8>,
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) {
        for item in self.items(first) {
            item.append_to(out);
            out.extend(separator);
            ends.push(out.len());
            if out.len() >= most {
                break;
            }
        }
    }

    /// Fails if the bytes that were read may not be the items'.
    ///
    /// # Errors
    /// As the library's `Batch::check`.
    fn check(&self) -> Result<(), Error>;

    /// Acknowledges all items still held.
    ///
    /// # Errors
    /// The acknowledgements could not be logged, and the items were given back.
    fn acknowledge(self) -> Result<(), Error>;

    /// Acknowledges the first `count` items still held.
    ///
    /// # Errors
    /// The acknowledgements could not be logged, and the items are still held.
    fn acknowledge_first(&mut self, count: usize) -> Result<(), Error>;

    /// Gives all items still held back; they are delivered again.
    fn give_back(self);

    /// Keeps the items for later, so that the consumer can receive further ones meanwhile.
    fn set_aside(self) -> Self::Held;
}

/// One received item.
#[allow(clippy::len_without_is_empty)]
pub trait Item {
    /// Whether [`write_to`](Self::write_to) is possible.
    const WRITES_IN_PLACE: bool;

    /// Bytes of the item.
    fn len(&self) -> usize;

    /// The number of the producer that sent it, or [`ItemKey::NO_PRODUCER`].
    fn producer(&self) -> u32;

    /// The producer's count of its items, from 0.
    fn sequence(&self) -> u64;

    /// Identifies the item.
    fn key(&self) -> ItemKey {
        ItemKey { producer: self.producer(), sequence: self.sequence() }
    }

    /// Deliveries so far, this one included.
    fn attempt(&self) -> u8;

    /// When it was sent, in nanoseconds since 1970, where that is recorded.
    fn sent_at(&self) -> Option<u64>;

    /// Appends a copy of the bytes to `out`.
    fn append_to(&self, out: &mut Vec<u8>);

    /// Writes up to `len` bytes from `offset` on to `file`, in one system call, straight from where the item lies.
    ///
    /// # Errors
    /// As the library's `BatchItem::write_to`.
    fn write_to(&self, offset: u64, len: u64, file: BorrowedFd<'_>, wait: Wait) -> io::Result<usize>;
}
