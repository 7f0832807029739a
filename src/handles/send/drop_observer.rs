//! The notifications that a producer gives about the items that it drops.

use std::fmt::Debug;
use std::io;

use crate::handles::ItemKey;

/// Is told of each item that a producer takes out of a full ring to make room: [`OnFull::DropOldest`](crate::OnFull).
///
/// See [`Producer::set_drop_observer`](crate::Producer::set_drop_observer). A program that writes a history of its ring
/// needs it, since a dropped item is received by no consumer.
///
/// If it panics, the producer forgets it. An item that it was about to drop is delivered to a consumer when the producer
/// has been dropped.
pub trait DropObserver: Debug + Send {
    /// Called before an item is dropped; `attempt` counts its deliveries, this one included. If the producer dies during
    /// the call, the item is delivered to a consumer.
    ///
    /// # Errors
    /// The item is then given back, and the call of the producer fails with this error.
    fn dropping(&mut self, key: ItemKey, attempt: u8) -> io::Result<()>;

    /// Called after the item was dropped.
    ///
    /// # Errors
    /// The item stays dropped, and the call of the producer fails with this error.
    fn dropped(&mut self, key: ItemKey, attempt: u8) -> io::Result<()>;
}
