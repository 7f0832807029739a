//! A producer that logs.

use std::collections::VecDeque;
use std::time::Duration;

use super::RingLog;
use crate::cli::transport::{Room, Sender};
use crate::framing::Framing;
use crate::testing::history::{EventKind, hash_of};
use crate::{DropObserver, Error, ItemKey, OnFull, Totals};

/// The most items that are announced at a time, including items for which there is no room yet.
const MOST: usize = 256;

/// A producer that logs what it sends.
pub struct LoggedSender<S> {
    sender: S,
    log: RingLog,
    /// The hashes of the next items, as far as their attempts are in the log.
    announced: VecDeque<u64>,
    /// The key under which an item was announced and not sent yet.
    forwarding: Option<ItemKey>,
    /// Items to send at a time.
    most: usize,
}

impl<S: Sender> LoggedSender<S> {
    pub(super) fn new(sender: S, log: RingLog) -> Self {
        LoggedSender { sender, log, announced: VecDeque::new(), forwarding: None, most: MOST }
    }

    /// Writes an event of this producer's items from `first` on, with these hashes.
    fn write(&self, kind: EventKind, first: u64, hashes: &[Option<u64>]) -> Result<(), Error> {
        let producer = self.sender.id();
        let entries = (first..)
            .zip(hashes)
            .map(|(sequence, hash)| self.log.entry(ItemKey { producer, sequence }, 0, *hash));
        self.log.write(kind, entries)
    }

    /// Announces the items, as far as earlier calls have not.
    fn announce(&mut self, items: &[&[u8]]) -> Result<(), Error> {
        let hashes: Vec<u64> = items.iter().map(|item| hash_of(item)).collect();
        let same = self.announced.iter().zip(&hashes).take_while(|(one, other)| one == other).count();
        if same < self.announced.len().min(hashes.len()) {
            self.withdraw(same)?;
        }
        let first = self.sender.sent() + self.announced.len() as u64;
        let new: Vec<Option<u64>> = hashes.into_iter().skip(self.announced.len()).map(Some).collect();
        if !new.is_empty() {
            self.write(EventKind::Attempt, first, &new)?;
            self.announced.extend(new.into_iter().flatten());
        }
        Ok(())
    }

    /// Withdraws the announced items, except the first `but` of them.
    fn withdraw(&mut self, but: usize) -> Result<(), Error> {
        let more = self.announced.len().saturating_sub(but);
        self.announced.truncate(but);
        if more == 0 {
            return Ok(());
        }
        self.write(EventKind::Refused, self.sender.sent() + but as u64, &vec![None; more])
    }
}

impl<S: Sender> Sender for LoggedSender<S> {
    /// False: the bytes of an item that is read in place are not known before it is sent.
    const READS_IN_PLACE: bool = false;
    type Observer = S::Observer;
    type Room<'s>
        = NoRoom
    where
        Self: 's;

    fn observe(&self) -> &S::Observer {
        self.sender.observe()
    }

    fn has_made_ring(&self) -> bool {
        self.sender.has_made_ring()
    }

    fn id(&self) -> u32 {
        self.sender.id()
    }

    fn set_on_full(&mut self, on_full: OnFull) -> Result<(), Error> {
        self.sender.set_on_full(on_full)?;
        if on_full == OnFull::DropOldest {
            self.sender.set_drop_observer(Box::new(self.log.clone()));
        }
        // A dropped item's number is the next one's.
        self.most = if on_full == OnFull::DropNewest { 1 } else { MOST };
        Ok(())
    }

    fn set_drop_observer(&mut self, observer: Box<dyn DropObserver>) {
        self.sender.set_drop_observer(observer);
    }

    fn record_framing(&self, framing: Framing) {
        self.sender.record_framing(framing);
    }

    fn max_item(&self) -> u64 {
        self.sender.max_item()
    }

    fn send(&mut self, items: &[&[u8]], limit: Duration) -> Result<usize, Error> {
        let items = &items[..items.len().min(self.most)];
        let first = self.sender.sent();
        self.announce(items)?;
        let result = self.sender.send(items, limit);
        let sent = (self.sender.sent() - first) as usize;
        self.announced.drain(..sent.min(self.announced.len()));
        // After an error, what was written into the ring may have been lost with it.
        let Ok(taken) = result else { return result };
        let producer = self.sender.id();
        let entry = |n| self.log.entry(ItemKey { producer, sequence: first + n as u64 }, 0, None);
        if sent > 0 {
            self.log.note(EventKind::Sent, (0..sent).map(entry));
        }
        if taken > sent {
            // The other items were dropped, as the policy for full rings says.
            let _ = self.withdraw(0);
        }
        Ok(taken)
    }

    fn send_as(&mut self, key: ItemKey, bytes: &[u8], limit: Duration) -> Result<(), Error> {
        if self.forwarding != Some(key) {
            self.log.write(EventKind::Forwarding, [self.log.entry(key, 0, None)])?;
            self.forwarding = Some(key);
        }
        self.sender.send_as(key, bytes, limit)?;
        self.forwarding = None;
        self.log.note(EventKind::Sent, [self.log.entry(key, 0, None)]);
        Ok(())
    }

    fn reserve(&mut self, _len: u64, _limit: Duration) -> Result<NoRoom, Error> {
        Err(Error::Unsupported("a producer with a log reads nothing in place".into()))
    }

    fn check(&self) -> Result<(), Error> {
        self.sender.check()?;
        self.log.log.check()
    }

    fn consumers_ever(&self) -> u64 {
        self.sender.consumers_ever()
    }

    fn is_abandoned(&self) -> bool {
        self.sender.is_abandoned()
    }

    fn undelivered(&self) -> Option<u64> {
        self.sender.undelivered()
    }

    fn sent(&self) -> u64 {
        self.sender.sent()
    }

    fn totals(&self) -> Totals {
        self.sender.totals()
    }

    fn close(mut self, is_unused: bool) {
        let _ = self.withdraw(0);
        self.sender.close(is_unused);
    }
}

/// The type of a reservation, of which this sender makes none.
pub enum NoRoom {}

impl Room for NoRoom {
    fn read_from(
        &mut self,
        _file: std::os::fd::BorrowedFd<'_>,
        _len: u64,
        _wait: crate::sys::command::io::Wait,
    ) -> std::io::Result<u64> {
        match *self {}
    }

    fn send_first(self, _len: u64) {
        match self {}
    }
}
