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
mod observe;
mod opening;
mod patience;
mod receiver;
mod sender;
pub mod shm;

pub use self::observe::{Observe, Peer, RingCounts};
pub use self::opening::{Needs, Opening};
pub use self::patience::Patience;
pub use self::receiver::{Batch, Held, Item, Owned, Receiver};
pub use self::sender::{Moved, Room, Sender};
use super::common::create_args::CreateArgs;
use super::common::exit::Failure;
use super::common::owner_args::OwnerArgs;

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
