//! Received items.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;

use super::holder::{Holder, Settlement};
use super::observe::Stream;
use super::reply::Stored;
use super::requests::Came;
use super::send::KEY;
use crate::cli::transport::{Batch, Held, Item, Owned};
use crate::sys::command::io::Wait;
use crate::{Error, ItemKey};

/// A received item.
pub struct Received {
    payload: Bytes,
    key: ItemKey,
    /// As the server stores it.
    pub item: Stored,
    pub delivered: u64,
}

impl Received {
    pub fn new(came: Came, holder: &Holder) -> Self {
        let Came { item, message } = came;
        let key = message.headers.as_ref().and_then(|headers| key(headers.get(KEY)?.as_str()));
        // Sent by another program.
        let key = key.unwrap_or(ItemKey { producer: ItemKey::NO_PRODUCER, sequence: item.sequence });
        Received { payload: message.payload, key, item, delivered: holder.delivered(item) }
    }

    fn attempt(&self) -> u8 {
        self.delivered.min(u8::MAX.into()) as u8
    }
}

/// Producer and sequence, from the header.
pub fn key(text: &str) -> Option<ItemKey> {
    let (producer, sequence) = text.split_once(' ')?;
    Some(ItemKey { producer: producer.parse().ok()?, sequence: sequence.parse().ok()? })
}

/// Items that are held. Dropping it gives them back.
#[derive(Default)]
pub struct Bundle {
    items: VecDeque<Received>,
    holder: Option<Arc<Holder>>,
}

impl Bundle {
    pub fn new(items: Vec<Received>, holder: &Arc<Holder>) -> Self {
        Bundle { items: items.into(), holder: Some(Arc::clone(holder)) }
    }

    fn settle(&self, count: usize) -> Result<(), Error> {
        let Some(holder) = &self.holder else { return Ok(()) };
        let items: Vec<Stored> = self.items.iter().take(count).map(|one| one.item).collect();
        holder.settle(&items, Settlement::Acknowledged)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if let Some(holder) = self.holder.as_ref().filter(|_| !self.items.is_empty()) {
            let items: Vec<Stored> = self.items.iter().map(|one| one.item).collect();
            holder.give_back(&items);
        }
    }
}

impl Held for Bundle {
    fn len(&self) -> usize {
        self.items.len()
    }
}

impl Batch for Bundle {
    type Held = Bundle;
    type Item<'b> = &'b Received;

    fn items(&self, first: usize) -> impl ExactSizeIterator<Item = &Received> {
        self.items.range(first.min(self.items.len())..)
    }

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn acknowledge(mut self) -> Result<(), Error> {
        let settled = self.settle(self.items.len());
        if settled.is_ok() {
            self.items.clear();
        }
        settled
    }

    fn acknowledge_first(&mut self, count: usize) -> Result<(), Error> {
        self.settle(count)?;
        self.items.drain(..count.min(self.items.len()));
        Ok(())
    }

    fn give_back(self) {}

    fn set_aside(self) -> Bundle {
        self
    }
}

impl Item for &Received {
    const WRITES_IN_PLACE: bool = false;

    fn len(&self) -> usize {
        self.payload.len()
    }

    fn producer(&self) -> u32 {
        self.key.producer
    }

    fn sequence(&self) -> u64 {
        self.key.sequence
    }

    fn attempt(&self) -> u8 {
        Received::attempt(self)
    }

    fn sent_at(&self) -> Option<u64> {
        Some(self.item.at)
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.payload);
    }

    fn write_to(
        &self,
        _offset: u64,
        _len: u64,
        _file: BorrowedFd<'_>,
        _wait: Wait,
    ) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// An item that does not borrow its receiver.
pub struct OwnedReceived {
    /// `None` once it was settled.
    item: Option<Received>,
    failures: AtomicU8,
    stream: Stream,
    holder: Arc<Holder>,
}

impl OwnedReceived {
    #[allow(clippy::expect_used)]
    fn item(&self) -> &Received {
        self.item.as_ref().expect("only calls that consume the value take the item out")
    }

    pub fn new(item: Received, stream: &Stream, holder: &Arc<Holder>) -> Self {
        OwnedReceived {
            item: Some(item),
            failures: AtomicU8::new(0),
            stream: stream.clone(),
            holder: Arc::clone(holder),
        }
    }

    /// Asks how often an item has failed that was delivered before. False: the server does not answer.
    ///
    /// # Errors
    /// [`Error::Interrupted`].
    pub fn read_failures(&mut self, limit: Duration) -> Result<bool, Error> {
        if self.item().delivered <= 1 {
            return Ok(true);
        }
        let inner = &self.stream.inner;
        let failures = inner.buckets.failures(&inner.link, self.item().item.sequence);
        match inner.link.answer_within(limit, failures).flatten() {
            Ok(failures) => {
                *self.failures.get_mut() = failures;
                Ok(true)
            }
            Err(Error::Io { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn settle(mut self, how: Settlement) -> Result<(), Error> {
        let Some(Received { item, .. }) = self.item.take() else { return Ok(()) };
        self.holder.settle(&[item], how)?;
        if self.failures.load(Relaxed) > 0 {
            let inner = &self.stream.inner;
            let _ = inner.link.answer(inner.buckets.forget_failures(item.sequence));
        }
        Ok(())
    }
}

impl Drop for OwnedReceived {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            self.holder.give_back(&[item.item]);
        }
    }
}

impl Owned for OwnedReceived {
    fn bytes(&self) -> &[u8] {
        &self.item().payload
    }

    fn key(&self) -> ItemKey {
        self.item().key
    }

    fn attempt(&self) -> u8 {
        self.item().attempt()
    }

    fn failures(&self) -> u8 {
        self.failures.load(Relaxed)
    }

    fn sent_at(&self) -> Option<u64> {
        Some(self.item().item.at)
    }

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn record_failure(&self) -> u8 {
        // Relaxed: the item has one holder.
        let failures = self.failures.load(Relaxed).saturating_add(1);
        self.failures.store(failures, Relaxed);
        let inner = &self.stream.inner;
        let _ = inner.link.answer(inner.buckets.record_failures(self.item().item.sequence, failures));
        failures
    }

    fn acknowledge(self) -> Result<(), Error> {
        self.settle(Settlement::Acknowledged)
    }

    fn acknowledge_failed(self) -> Result<(), Error> {
        self.settle(Settlement::GivenUp)
    }

    fn give_back(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_two_numbers() {
        assert_eq!(key("3 17"), Some(ItemKey { producer: 3, sequence: 17 }));
        for other in ["", "3", "3 x", "x 3", "3 17 1", "-1 2"] {
            assert_eq!(key(other), None, "{other:?}");
        }
    }
}
