//! The interface of `producer` and `consumer` to a ring: open, send, receive, acknowledge, give back, close,
//! observe.
//!
//! Their loops (waits, pauses, framing, delivery, ends, exit codes) are generic over [`Transport`] and name no
//! concrete ring type, so that each transport gets a copy of them without dynamic dispatch. [`shm`] is the
//! transport over shared memory.
//!
//! Two capabilities are optional. A producer may read bytes straight into the place of an item that is not sent
//! yet ([`Room`]) where [`Sender::READS_IN_PLACE`] is true. A consumer may write bytes straight from where a
//! received item lies ([`Item::write_to`]) where [`Item::WRITES_IN_PLACE`] is true. Without them, bytes go through
//! a buffer.

pub mod logged;
#[cfg(feature = "nats")]
pub mod nats;
mod patience;
pub mod shm;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub use self::patience::Patience;
use super::common::address::Address;
use super::common::create_args::CreateArgs;
use super::common::exit::{Failure, MORE_ROOM, code};
use super::common::owner_args::OwnerArgs;
use super::common::progress::Fill;
use super::common::report::Reporter;
use super::common::run_log::RunLog;
use crate::framing::{Framing, Recorded};
use crate::sys::command::io::Wait;
use crate::{DropObserver, Error, ItemKey, Liveness, OnFull, Role, StopFlag, Totals};

/// A kind of ring, with its two ways to attach.
pub trait Transport {
    /// The producer's end.
    type Sender: Sender;
    /// The consumer's end.
    type Receiver: Receiver;

    /// Fails if the ring exists and cannot be used as `opening` says. Attaches to nothing.
    ///
    /// # Errors
    /// As [`Opening::check`].
    fn check(opening: &Opening<'_>) -> Result<(), Failure>;

    /// Attaches a producer to the ring. Creates a missing ring as `create` says, if that allows it; `in_pieces`:
    /// for pieces of a stream. If the ring has no place for another producer, waits for one. `None`: the stop flag
    /// was raised first.
    ///
    /// # Errors
    /// The [`Failure`] of any step; a usage error if the ring cannot be created as requested, even if the ring
    /// exists already.
    fn open_sender(
        opening: &Opening<'_>,
        create: &CreateArgs,
        in_pieces: bool,
    ) -> Result<Option<Self::Sender>, Failure>;

    /// Attaches a consumer. Waits for the ring as `ring` says. If the ring has no place for another consumer,
    /// waits for one, counted from the same moment. `None`: the stop flag was raised first.
    ///
    /// # Errors
    /// The [`Failure`] of any step: not found with [`Patience::None`], timed out with [`Patience::Limited`].
    fn open_receiver(
        opening: &Opening<'_>,
        ring: Patience,
        owner: &OwnerArgs,
    ) -> Result<Option<Self::Receiver>, Failure>;
}

/// The parameters of both ways to attach.
pub struct Opening<'a> {
    /// The ring.
    pub name: &'a Address,
    /// How long to wait for a place in it.
    pub place: Patience,
    /// Writes the notes.
    pub report: &'a Reporter,
    /// Ends the wait, and later waits of the attached end.
    pub stop: &'a StopFlag,
    /// Where [`logged`] ends write what they do.
    pub log: Option<&'a RunLog>,
    /// What the items need.
    pub needs: Needs,
}

/// What items need that a ring of fixed items does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// The keys of other items: dead letters, answers.
    Keys,
    /// Different lengths: blocks of lines.
    Lengths,
}

impl Opening<'_> {
    /// Fails if the ring has fixed items, of this length, and cannot be used like this.
    ///
    /// # Errors
    /// A usage error.
    pub fn check(&self, fixed: Option<u64>) -> Result<(), Failure> {
        let Some(bytes) = fixed else { return Ok(()) };
        let (why, hint) = match (self.log, self.needs) {
            (Some(_), _) => (
                "whose keys are unknown before they are sent: it has no history",
                "leave out --log and RINGPIPE_LOG, or use a ring made without --fixed",
            ),
            (None, Needs::Keys) => (
                "which cannot keep the keys of dead letters, answers and requeued items",
                "use another ring, made without --fixed",
            ),
            (None, Needs::Lengths) => (
                "and --block makes items of different lengths",
                "without --block, an item is a line; with --raw, it is a piece of the ring's length",
            ),
            (None, Needs::Nothing) => return Ok(()),
        };
        let name = self.name.as_str();
        let line =
            format!("ring {name:?} has fixed items of {bytes} bytes, {why}; expected an ordinary ring");
        Err(Failure::new(code::USAGE, line).hint(hint))
    }
}

/// Figures of a ring at one moment.
#[derive(Debug, Clone, Copy)]
pub struct RingCounts {
    /// Slots that are not free.
    pub used_slots: u64,
    /// Items that were acknowledged since the ring was created.
    pub acknowledged: u64,
}

/// A process that is attached to a ring.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// Its process id, in its own PID namespace.
    pub pid: u32,
    /// Whether it is alive.
    pub liveness: Liveness,
}

/// A ring as either end observes it. Observing changes nothing.
pub trait Observe {
    /// The ring's name.
    fn name(&self) -> &str;

    /// Distinguishes this ring from others of the same name.
    fn id(&self) -> [u8; 16];

    /// Number of slots.
    fn capacity(&self) -> u64;

    /// Bytes in a slot.
    fn slot_size(&self) -> u64;

    /// The length in bytes of every item, if the ring has fixed items.
    fn fixed(&self) -> Option<u64>;

    /// Whether it is exclusive: one producer and one consumer at a time.
    fn is_exclusive(&self) -> bool;

    /// The number of items that wakes a consumer which has found none; `None` if the first item does.
    fn wake_at(&self) -> Option<u64>;

    /// Whether it accepts no more items.
    fn is_closed(&self) -> bool;

    /// Whether the stream has come to its end.
    fn is_over(&self) -> bool;

    /// Whether no item is ready, held or being written.
    fn is_drained(&self) -> bool;

    /// Whether the name no longer refers to this ring: a process that opens the name now does not find it.
    fn is_nameless(&self) -> bool;

    /// Whether there are items, perhaps behind one that its producer has not finished.
    fn has_items(&self) -> bool;

    /// Its figures. `None`: they cannot be read.
    fn counts(&self) -> Option<RingCounts>;

    /// The attached processes of this role, dead ones included.
    fn peers(&self, role: Role) -> Vec<Peer>;

    /// Whether a process of this role is, or may be, alive.
    fn has_live(&self, role: Role) -> bool {
        self.peers(role).iter().any(|peer| peer.liveness != Liveness::Dead)
    }

    /// How its producers frame items.
    fn framing(&self) -> Recorded;

    /// Whether the bytes that were read so far really were the ring's.
    ///
    /// # Errors
    /// [`Error::Truncated`] if another program truncated it.
    fn check(&self) -> Result<(), Error>;

    /// The values for the progress display, readable from another thread. `None`: they cannot be read.
    fn gauge(&self) -> impl Fn() -> Option<Fill> + Send + 'static;

    /// Why it accepts no item now, if not because it is full.
    fn refusal_reason(&self) -> Option<String> {
        None
    }

    /// What the longest item is, and how longer ones become possible.
    fn item_limit(&self) -> (&'static str, &'static str) {
        ("half of the slots", MORE_ROOM)
    }

    /// Returns `failure`; but if another program truncated the ring, returns the failure that says so.
    fn explained(&self, failure: Failure) -> Failure {
        match self.check() {
            Err(error @ Error::Truncated) => Failure::of_ring(self.name(), &error),
            _ => failure,
        }
    }
}

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
