//! Sends an item of one ring, or an answer or a dead letter about it, to another ring under the same key.

use std::thread;
use std::time::{Duration, Instant};

use super::args::{ByteSize, Count};
use super::create_args::CreateArgs;
use super::exit::{Failure, code};
use crate::cli::transport::{Observe, Opening, Sender, Transport};
use crate::{Error, ItemKey, StopFlag};

/// The longest wait for room without a check of the flag.
const SLICE: Duration = Duration::from_millis(100);
/// The pause between two attempts that do not wait.
const PAUSE: Duration = Duration::from_millis(5);
/// Slots of a ring that is made for items sent on, their least size, and the largest size of a slot in any ring.
const SLOTS: u64 = 8192;
const LEAST_SLOT: u64 = 64;
const LARGEST_SLOT: u64 = 1 << 30;

/// Why an item was not sent.
#[derive(Debug)]
pub enum Unsent {
    /// The flag was raised while there was no room.
    Stopped,
    /// There was no room in the time.
    NoRoom,
    /// The ring does not take it.
    Refused(Error),
}

/// Sends an item under the key of another one. Waits for room, at most `limit`, until `flag` is raised.
/// Continues if another flag ends the waits of `sender`.
///
/// # Errors
/// Why the item was not sent.
pub fn send_on(
    sender: &mut impl Sender,
    key: ItemKey,
    bytes: &[u8],
    limit: Option<Duration>,
    flag: &StopFlag,
) -> Result<(), Unsent> {
    let start = Instant::now();
    loop {
        let left = limit.map_or(SLICE, |limit| limit.saturating_sub(start.elapsed()).min(SLICE));
        match sender.send_as(key, bytes, left) {
            Ok(()) => return Ok(()),
            Err(Error::TimedOut | Error::Full | Error::Interrupted) if flag.is_raised() => {
                return Err(Unsent::Stopped);
            }
            Err(Error::TimedOut | Error::Full) => {}
            // After a signal it does not wait.
            Err(Error::Interrupted) => thread::sleep(PAUSE),
            Err(error) => return Err(Unsent::Refused(error)),
        }
        if limit.is_some_and(|limit| start.elapsed() >= limit) {
            return Err(Unsent::NoRoom);
        }
    }
}

/// The failure of a ring that does not take an item.
pub fn refusal(sender: &impl Sender, error: &Error) -> Failure {
    let ring = sender.observe();
    match is_removed(sender, error) {
        true => Failure::new(code::CLOSED, format!("ring {:?} was removed", ring.name())),
        false => ring.explained(Failure::of_ring(ring.name(), error)),
    }
}

/// Whether a ring does not take an item because it was removed: another one can be made under its name.
pub fn is_removed(sender: &impl Sender, error: &Error) -> bool {
    matches!(error, Error::Closed) && sender.observe().is_nameless()
}

/// Attaches to a ring; makes a missing one as `create` says. `None`: the stop flag was raised first.
///
/// # Errors
/// As [`Transport::open_sender`].
pub fn open<T: Transport>(opening: &Opening<'_>, create: &CreateArgs) -> Result<Option<T::Sender>, Failure> {
    // No note that an existing ring has another size: the size is not the user's choice.
    let found = CreateArgs { no_create: true, owner: create.owner, ..CreateArgs::default() };
    match T::open_sender(opening, &found, false) {
        Err(failure) if failure.code == code::EMPTY => T::open_sender(opening, create, false),
        result => result,
    }
}

/// Detaches from a ring, and removes it if this process made it and sent nothing to it.
pub fn close(sender: impl Sender) {
    let is_unused = sender.has_made_ring() && sender.sent() == 0;
    sender.close(is_unused);
}

/// How a ring is made that takes items of up to `largest` bytes.
pub fn for_items(largest: u64) -> CreateArgs {
    // An item takes half of the slots at most.
    let slot = largest.div_ceil(SLOTS / 2).clamp(LEAST_SLOT, LARGEST_SLOT).next_multiple_of(8);
    CreateArgs { capacity: Some(Count(SLOTS)), slot_size: Some(ByteSize(slot)), ..CreateArgs::default() }
}
