//! A transport that writes down what happens to each item (`--log`), around another one.
//!
//! An event that comes before a call is in the log when the call begins. If the event cannot be written, the
//! call is not made. Giving an item back is the exception: without its event, the item looks as after a kill.
//! An event that comes after a call may be missing, because the process was killed in between or the disk was
//! full: that is not a fault of the ring. A failed write is noticed at the next call, and [`RunLog::or_failure`]
//! reports it at the end.
//!
//! A ring of fixed items has no history: the key of such an item is its position, which is known only when it is sent.
//!
//! Other transports do not pay for this: the commands are generic, and a run without a log has no code of it.

mod receiver;
mod sender;

use std::io;
use std::marker::PhantomData;

use self::receiver::LoggedReceiver;
use self::sender::LoggedSender;
use super::{Observe, Opening, Patience, Receiver, Sender, Transport};
use crate::cli::common::create_args::CreateArgs;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::owner_args::OwnerArgs;
use crate::cli::common::run_log::RunLog;
use crate::testing::history::{Entry, EventKind, producer_in_ring};
use crate::{DropObserver, Error, ItemKey};

/// Writes the log of [`Opening::log`]. There must be one.
pub struct Logged<T>(PhantomData<T>);

impl<T: Transport> Transport for Logged<T> {
    type Sender = LoggedSender<T::Sender>;
    type Receiver = LoggedReceiver<T::Receiver>;

    fn check(opening: &Opening<'_>) -> Result<(), Failure> {
        T::check(opening)
    }

    fn open_sender(
        opening: &Opening<'_>,
        create: &CreateArgs,
        in_pieces: bool,
    ) -> Result<Option<Self::Sender>, Failure> {
        let sender = T::open_sender(opening, create, in_pieces)?;
        let logged = |sender: T::Sender| {
            let log = RingLog::new(opening, sender.observe())?;
            Ok(LoggedSender::new(sender, log))
        };
        sender.map(logged).transpose()
    }

    fn open_receiver(
        opening: &Opening<'_>,
        ring: Patience,
        owner: &OwnerArgs,
    ) -> Result<Option<Self::Receiver>, Failure> {
        let receiver = T::open_receiver(opening, ring, owner)?;
        let logged = |receiver: T::Receiver| {
            let log = RingLog::new(opening, receiver.observe())?;
            Ok(LoggedReceiver::new(receiver, log))
        };
        receiver.map(logged).transpose()
    }
}

/// The log of this process, with the numbers of one ring.
#[derive(Debug, Clone)]
struct RingLog {
    log: RunLog,
    /// Added to the number of a producer in the ring.
    first_producer: u64,
}

impl RingLog {
    fn new(opening: &Opening<'_>, ring: &impl Observe) -> Result<Self, Failure> {
        let log = opening.log.cloned().ok_or_else(|| Failure::new(code::RUNTIME, "there is no log"))?;
        Ok(RingLog { log, first_producer: producer_in_ring(ring.id(), 0) })
    }

    /// An item in an event.
    fn entry(&self, key: ItemKey, attempt: u8, hash: Option<u64>) -> Entry {
        let producer = self.first_producer + u64::from(key.producer);
        // Above 127, the library's numbers do not always rise. So all of them are written as 255.
        let attempt = if attempt > 127 { u8::MAX } else { attempt };
        Entry { producer, sequence: key.sequence, attempt, hash }
    }

    fn write(&self, kind: EventKind, items: impl IntoIterator<Item = Entry>) -> Result<(), Error> {
        self.log.write(kind, items).map_err(crate::cli::common::run_log::unwritten)
    }

    /// Writes what has happened already. A failed write is noticed at the next call.
    fn note(&self, kind: EventKind, items: impl IntoIterator<Item = Entry>) {
        let _ = self.log.write(kind, items);
    }
}

impl DropObserver for RingLog {
    fn dropping(&mut self, key: ItemKey, attempt: u8) -> io::Result<()> {
        self.log.write(EventKind::Dropping, [self.entry(key, attempt, None)])
    }

    fn dropped(&mut self, key: ItemKey, attempt: u8) -> io::Result<()> {
        self.log.write(EventKind::Dropped, [self.entry(key, attempt, None)])
    }
}
