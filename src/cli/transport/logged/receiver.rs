//! A consumer that logs.

use std::time::Duration;

use super::RingLog;
use crate::cli::transport::{Batch, Item, Owned, Receiver};
use crate::testing::history::{Entry, EventKind, hash_of};
use crate::{Error, ItemKey};

/// A consumer that logs what it receives, acknowledges and gives back.
pub struct LoggedReceiver<R> {
    receiver: R,
    log: RingLog,
}

impl<R: Receiver> LoggedReceiver<R> {
    pub(super) fn new(receiver: R, log: RingLog) -> Self {
        LoggedReceiver { receiver, log }
    }
}

impl<R: Receiver> Receiver for LoggedReceiver<R> {
    type Observer = R::Observer;
    type Owned = LoggedOwned<R::Owned>;
    type Held = R::Held;
    type Batch<'r>
        = LoggedBatch<R::Batch<'r>>
    where
        Self: 'r;

    fn observe(&self) -> &R::Observer {
        self.receiver.observe()
    }

    fn set_follow(&mut self, follow: bool) {
        self.receiver.set_follow(follow);
    }

    fn receive(&mut self, most: usize, limit: Duration) -> Result<Self::Batch<'_>, Error> {
        self.log.log.check()?;
        let batch = self.receiver.receive(most, limit)?;
        let mut bytes = Vec::new();
        let entry = |item: <R::Batch<'_> as Batch>::Item<'_>| {
            bytes.clear();
            item.append_to(&mut bytes);
            self.log.entry(item.key(), item.attempt(), Some(hash_of(&bytes)))
        };
        let entries: Vec<Entry> = batch.items(0).map(entry).collect();
        // What was read from lost memory is not an item.
        if batch.check().is_ok() {
            // If that fails, the items are given back.
            self.log.write(EventKind::Got, entries)?;
        }
        Ok(LoggedBatch { batch, log: self.log.clone() })
    }

    fn receive_owned(&mut self, limit: Duration) -> Result<Self::Owned, Error> {
        self.log.log.check()?;
        let item = self.receiver.receive_owned(limit)?;
        let hash = hash_of(item.bytes());
        if item.check().is_ok() {
            self.log.write(EventKind::Got, [self.log.entry(item.key(), item.attempt(), Some(hash))])?;
        }
        Ok(LoggedOwned { item: Some(item), log: self.log.clone() })
    }

    fn resume(&mut self, held: R::Held) -> Self::Batch<'_> {
        LoggedBatch { batch: self.receiver.resume(held), log: self.log.clone() }
    }

    fn check(&self) -> Result<(), Error> {
        self.receiver.check()?;
        self.log.log.check()
    }

    fn returned(&self) -> u64 {
        self.receiver.returned()
    }
}

/// Items of a consumer that logs.
pub struct LoggedBatch<B> {
    batch: B,
    log: RingLog,
}

impl<B: Batch> LoggedBatch<B> {
    /// The first items still held.
    fn entries(&self, most: usize) -> Vec<Entry> {
        let entry = |item: B::Item<'_>| self.log.entry(item.key(), item.attempt(), None);
        self.batch.items(0).take(most).map(entry).collect()
    }
}

impl<B: Batch> Batch for LoggedBatch<B> {
    type Held = B::Held;
    type Item<'b>
        = B::Item<'b>
    where
        Self: 'b;

    fn items(&self, first: usize) -> impl ExactSizeIterator<Item = Self::Item<'_>> {
        self.batch.items(first)
    }

    fn append_separated(
        &self,
        first: usize,
        most: usize,
        separator: Option<u8>,
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) {
        self.batch.append_separated(first, most, separator, out, ends);
    }

    fn check(&self) -> Result<(), Error> {
        self.batch.check()
    }

    fn acknowledge(self) -> Result<(), Error> {
        let entries = self.entries(usize::MAX);
        // If that fails, the items are given back.
        self.log.write(EventKind::Acking, entries.iter().copied())?;
        self.batch.acknowledge()?;
        self.log.note(EventKind::Acked, entries);
        Ok(())
    }

    fn acknowledge_first(&mut self, count: usize) -> Result<(), Error> {
        let entries = self.entries(count);
        self.log.write(EventKind::Acking, entries.iter().copied())?;
        self.batch.acknowledge_first(count)?;
        self.log.note(EventKind::Acked, entries);
        Ok(())
    }

    fn give_back(self) {
        // Without the event, the items' next deliveries look as after a death.
        self.log.note(EventKind::Returning, self.entries(usize::MAX));
        self.batch.give_back();
    }

    fn set_aside(self) -> B::Held {
        self.batch.set_aside()
    }
}

/// An item of a consumer that logs.
pub struct LoggedOwned<O: Owned> {
    /// `None` once it was acknowledged or given back.
    item: Option<O>,
    log: RingLog,
}

impl<O: Owned> LoggedOwned<O> {
    #[allow(clippy::expect_used)]
    fn item(&self) -> &O {
        self.item.as_ref().expect("only calls that consume the value take the item out")
    }

    fn entry(&self, item: &O) -> Entry {
        self.log.entry(item.key(), item.attempt(), None)
    }

    fn put_back(&mut self) {
        if let Some(item) = self.item.take() {
            self.log.note(EventKind::Returning, [self.entry(&item)]);
            item.give_back();
        }
    }
}

impl<O: Owned> Owned for LoggedOwned<O> {
    fn bytes(&self) -> &[u8] {
        self.item().bytes()
    }

    fn key(&self) -> ItemKey {
        self.item().key()
    }

    fn attempt(&self) -> u8 {
        self.item().attempt()
    }

    fn failures(&self) -> u8 {
        self.item().failures()
    }

    fn sent_at(&self) -> Option<u64> {
        self.item().sent_at()
    }

    fn check(&self) -> Result<(), Error> {
        self.item().check()?;
        self.log.log.check()
    }

    fn record_failure(&self) -> u8 {
        self.item().record_failure()
    }

    fn acknowledge(mut self) -> Result<(), Error> {
        let entry = self.entry(self.item());
        // If that fails, the item is given back.
        self.log.write(EventKind::Acking, [entry])?;
        if let Some(item) = self.item.take() {
            item.acknowledge()?;
        }
        self.log.note(EventKind::Acked, [entry]);
        Ok(())
    }

    fn give_back(mut self) {
        self.put_back();
    }
}

impl<O: Owned> Drop for LoggedOwned<O> {
    fn drop(&mut self) {
        self.put_back();
    }
}
