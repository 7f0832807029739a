//! A producer's end.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::observe::Observe;
use crate::framing::Framing;
use crate::sys::command::io::Wait;
use crate::{DropObserver, Error, ItemKey, OnFull, Totals};

/// A producer's end of a ring. Dropping it detaches the producer.
pub trait Sender: Send {
    /// Whether [`reserve`](Self::reserve) is possible.
    const READS_IN_PLACE: bool;
    /// The ring, for observation.
    type Observer: Observe;
    /// The place of an item that is not sent yet.
    type Room<'s>: Room
    where
        Self: 's;

    /// The ring, for observation.
    fn observe(&self) -> &Self::Observer;

    /// Whether this process created the ring.
    fn has_made_ring(&self) -> bool;

    /// The number of this producer in the ring.
    fn id(&self) -> u32;

    /// Chooses what happens to an item when the ring is full.
    ///
    /// # Errors
    /// [`Error::Options`] for a policy that this ring does not allow.
    fn set_on_full(&mut self, on_full: OnFull) -> Result<(), Error>;

    /// Lets `observer` know each item that this producer drops.
    fn set_drop_observer(&mut self, observer: Box<dyn DropObserver>);

    /// Records, for consumers and observers, how this producer frames items.
    fn record_framing(&self, framing: Framing);

    /// The largest item in bytes that the ring accepts.
    fn max_item(&self) -> u64;

    /// Sends some of `items`, in order, at least the first; waits at most `limit` for room. Returns the number
    /// sent.
    ///
    /// # Errors
    /// As the library's `Producer::send_batch_timeout`.
    fn send(&mut self, items: &[&[u8]], limit: Duration) -> Result<usize, Error>;

    /// Sends one item under the key of another one; waits at most `limit` for room.
    ///
    /// # Errors
    /// As the library's `Producer::send_as_timeout`.
    fn send_as(&mut self, key: ItemKey, bytes: &[u8], limit: Duration) -> Result<(), Error>;

    /// Sends some of the items of another ring under their keys, in order, at least the first; waits at most `limit` for
    /// room. Returns the number sent. `source` is the id of that ring. Where [`Moved::sent_at`] is known, the same item sent
    /// again is not stored twice, if this transport can do that.
    ///
    /// # Errors
    /// As [`send_as`](Self::send_as).
    fn send_moved(&mut self, source: [u8; 16], items: &[Moved<'_>], limit: Duration) -> Result<usize, Error> {
        let _ = source;
        let Some(first) = items.first() else { return Ok(0) };
        self.send_as(first.key, first.bytes, limit).map(|()| 1)
    }

    /// Claims room for an item of up to `len` bytes; waits at most `limit` for it.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    fn reserve(&mut self, len: u64, limit: Duration) -> Result<Self::Room<'_>, Error>;

    /// Fails if the ring's memory was lost, or if this process is a fork of the one that attached.
    ///
    /// # Errors
    /// As the library's `Producer::check`.
    fn check(&self) -> Result<(), Error>;

    /// Consumers that ever attached to the ring.
    fn consumers_ever(&self) -> u64;

    /// Whether consumers were attached and all have left or died.
    fn is_abandoned(&self) -> bool;

    /// Items in the ring that no consumer has received. First recovers what dead consumers held. `None`: the ring
    /// cannot be read.
    fn undelivered(&self) -> Option<u64>;

    /// Items that this producer has sent; valid even after the ring's memory was lost.
    fn sent(&self) -> u64;

    /// The counters of this producer.
    fn totals(&self) -> Totals;

    /// Detaches the producer. `is_unused`: also removes the ring, unless another process uses it.
    fn close(self, is_unused: bool);
}

/// An item that moves from one ring to another.
#[derive(Debug, Clone, Copy)]
pub struct Moved<'a> {
    /// Identifies it.
    pub key: ItemKey,
    /// When it was sent to the first ring, in nanoseconds since 1970: together with the key, no other item has it.
    pub sent_at: Option<u64>,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// The place of an item that is not sent yet. Dropping it sends nothing.
pub trait Room {
    /// Reads up to `len` bytes from `file` into the place, in one system call. 0 is the file's end.
    ///
    /// # Errors
    /// As the library's `Reservation::read_from`.
    fn read_from(&mut self, file: BorrowedFd<'_>, len: u64, wait: Wait) -> io::Result<u64>;

    /// Sends the first `len` bytes of the place as an item.
    fn send_first(self, len: u64);
}
