//! A ring as the commands observe it.

use crate::cli::common::exit::{Failure, MORE_ROOM};
use crate::cli::common::progress::Fill;
use crate::framing::Recorded;
use crate::{Error, Liveness, Role};

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
