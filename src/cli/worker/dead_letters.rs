//! Sends items that failed for good to another ring, with the reason.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::stop::Stop;
use super::verdict::Ending;
use crate::cli::common::dead_letter::DeadLetter;
use crate::cli::common::exit::Failure;
use crate::cli::common::relay::{self, Unsent, send_on};
use crate::cli::transport::{Owned, Sender};
use crate::{ItemKey, StopFlag};

/// Opens the ring for dead letters. `None`: a signal came first.
type Open<'o, S> = Box<dyn FnMut() -> Result<Option<S>, Failure> + Send + 'o>;

/// A ring for items that failed for good; opened, and if it is missing created, for the first of them.
pub struct DeadLetters<'o, S> {
    /// The ring that the items come from.
    ring: &'o str,
    place: Mutex<(Option<S>, Open<'o, S>)>,
}

impl<'o, S: Sender> DeadLetters<'o, S> {
    pub fn new(ring: &'o str, open: impl FnMut() -> Result<Option<S>, Failure> + Send + 'o) -> Self {
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
        let (key, letter) = (item.key(), letter.with(item.bytes()));
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let (kept, open) = &mut *place;
        let mut is_again = false;
        loop {
            let mut sender = match kept.take() {
                Some(sender) => sender,
                None => open()?.ok_or(Stop::Stopped)?,
            };
            match send_on(&mut sender, key, &letter, None, late) {
                Ok(()) => {
                    *kept = Some(sender);
                    return Ok(());
                }
                // If the ring for dead letters was removed, it is made again, once for each item.
                Err(Unsent::Refused(error)) if !is_again && relay::is_removed(&sender, &error) => {
                    is_again = true;
                }
                Err(unsent) => {
                    let stop = stop(&sender, unsent);
                    relay::close(sender);
                    return Err(stop);
                }
            }
        }
    }
}

/// Sends an item to another ring. Waits for room until `late` is raised.
///
/// # Errors
/// [`Stop`], and the item was not sent: there is no room, or the ring takes no such item.
pub fn send<S: Sender>(sender: &mut S, key: ItemKey, bytes: &[u8], late: &StopFlag) -> Result<(), Stop> {
    send_on(sender, key, bytes, None, late).map_err(|unsent| stop(sender, unsent))
}

fn stop(sender: &impl Sender, unsent: Unsent) -> Stop {
    match unsent {
        Unsent::Stopped | Unsent::NoRoom => Stop::Stopped,
        Unsent::Refused(error) => relay::refusal(sender, &error).into(),
    }
}
