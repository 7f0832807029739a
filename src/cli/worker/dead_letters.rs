//! Sends items that failed for good to another ring, with the reason.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use super::stop::Stop;
use super::verdict::Ending;
use crate::cli::common::dead_letter::DeadLetter;
use crate::cli::common::exit::Failure;
use crate::cli::transport::{Observe, Owned, Sender};
use crate::{Error, ItemKey, StopFlag};

/// The longest wait for room in another ring without a check of the stop flag.
const SLICE: Duration = Duration::from_millis(100);
/// The pause between two attempts that do not wait.
const PAUSE: Duration = Duration::from_millis(5);

/// Opens the ring for dead letters.
type Open<'o, S> = Box<dyn FnMut() -> Result<S, Failure> + Send + 'o>;

/// A ring for items that failed for good; opened, and if it is missing created, for the first of them.
pub struct DeadLetters<'o, S> {
    /// The ring that the items come from.
    ring: &'o str,
    place: Mutex<(Option<S>, Open<'o, S>)>,
}

impl<'o, S: Sender> DeadLetters<'o, S> {
    pub fn new(ring: &'o str, open: impl FnMut() -> Result<S, Failure> + Send + 'o) -> Self {
        DeadLetters { ring, place: Mutex::new((None, Box::new(open))) }
    }

    /// Sends `item` with the reason; waits for room.
    ///
    /// # Errors
    /// [`Stop`], and the item was not sent.
    pub fn send<O: Owned>(
        &self,
        item: &O,
        ending: &Ending,
        failures: u8,
        stderr: &[u8],
        late: &StopFlag,
    ) -> Result<(), Stop> {
        let (exit, signal) = match *ending {
            Ending::Exited(code) | Ending::Left(code) => (Some(code), None),
            Ending::Signalled(signal) => (None, Some(signal)),
            Ending::TimedOut | Ending::NotRun(_) | Ending::Told(..) | Ending::Exhausted => (None, None),
        };
        let letter = DeadLetter {
            failures,
            reason: ending.to_string(),
            exit,
            signal,
            time: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            stderr: String::from_utf8_lossy(stderr).into_owned(),
            ..DeadLetter::new(self.ring, item.key())
        };
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let (sender, open) = &mut *place;
        if sender.is_none() {
            *sender = Some(open()?);
        }
        match sender {
            Some(sender) => send(sender, item.key(), &letter.with(item.bytes()), late),
            None => Ok(()),
        }
    }
}

/// Sends an item to another ring, and waits for room in it; once `late` is raised, no longer.
///
/// # Errors
/// [`Stop`], and the item was not sent: there is no room, or the ring takes no such item.
pub fn send<S: Sender>(sender: &mut S, key: ItemKey, bytes: &[u8], late: &StopFlag) -> Result<(), Stop> {
    loop {
        match sender.send_as(key, bytes, SLICE) {
            Ok(()) => return Ok(()),
            Err(Error::TimedOut | Error::Interrupted) if late.is_raised() => return Err(Stop::Stopped),
            Err(Error::TimedOut) => {}
            // After a signal it does not wait.
            Err(Error::Interrupted) => thread::sleep(PAUSE),
            Err(error) => return Err(Failure::of_ring(sender.observe().name(), &error).into()),
        }
    }
}
