//! A consumer of a stream.
//!
//! It asks for what is there, and if that is nothing, for one item as soon as there is one. Each request ends before the
//! call returns, so that the server sends no item to a process that does not wait for it.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::{Duration, Instant};

use async_nats::jetstream::AckKind;
use async_nats::{Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::Serialize;
use tokio::task::JoinHandle;

use super::holder::Holder;
use super::link::ANSWER;
use super::members::Membership;
use super::observe::Stream;
use super::reply::Facts;
use super::send::KEY;
use super::stream::{CONSUMER, consumer};
use crate::cli::transport::{Batch, Held, Item, Owned, Receiver};
use crate::sys::command::io::Wait;
use crate::{Error, ItemKey, Role};

/// The subject of requests for items.
const NEXT: &str = "$JS.API.CONSUMER.MSG.NEXT";
/// How long an answer may come after the end of a request.
const LATE: Duration = Duration::from_millis(500);
/// The pause between two attempts while the server cannot be reached.
const PAUSE: Duration = Duration::from_millis(20);
/// Statuses of answers to a request.
const HEARTBEAT: u16 = 100;
const NO_RESPONDERS: u16 = 503;
const CONFLICT: u16 = 409;

/// A request for items.
#[derive(Serialize)]
struct Ask {
    batch: usize,
    #[serde(skip_serializing_if = "is_zero")]
    expires: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    no_wait: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A consumer of a stream.
pub struct NatsReceiver {
    stream: Stream,
    holder: Arc<Holder>,
    marking: JoinHandle<()>,
    answers: Subscriber,
    /// The subject that answers come to, without the number of the request.
    inbox: String,
    requests: u64,
    /// Items that came and were not asked for any more.
    arrived: VecDeque<Message>,
    follow: bool,
    /// How often the connection was made when the stream was last found empty.
    emptied_at: u64,
    /// The last to be dropped: leaves the stream.
    membership: Membership,
}

/// How a request ended.
enum Answered {
    /// With items, or without.
    Yes,
    /// The server did not answer.
    No,
    /// The server has no such consumer, or ended the request for another reason.
    Refused,
}

impl NatsReceiver {
    /// # Errors
    /// The server does not answer.
    pub fn new(stream: Stream, membership: Membership) -> Result<Self, Error> {
        let link = stream.link();
        let inbox = link.client.new_inbox();
        let subscribed = link.answer(link.client.subscribe(format!("{inbox}.*")))?;
        let answers = subscribed.map_err(|error| link.refused(&error))?;
        let (holder, marking) = Holder::begin(&stream);
        Ok(NatsReceiver {
            stream,
            holder,
            marking,
            answers,
            inbox,
            requests: 0,
            arrived: VecDeque::new(),
            follow: false,
            emptied_at: 0,
            membership,
        })
    }

    /// Asks for up to `most` items; waits at most `limit` for the first. What comes is in `arrived`.
    fn ask(&mut self, most: usize, limit: Duration) -> Result<Answered, Error> {
        self.requests += 1;
        let (number, stream) = (self.requests, self.stream.clone());
        let (inner, link) = (&stream.inner, stream.link());
        let ask = Ask { batch: most, expires: limit.as_nanos() as u64, no_wait: limit.is_zero() };
        let payload = Bytes::from(serde_json::to_vec(&ask).unwrap_or_default());
        let subject = format!("{NEXT}.{}.{CONSUMER}", inner.name.stream());
        let reply = format!("{}.{number}", self.inbox);
        let (answers, arrived) = (&mut self.answers, &mut self.arrived);
        let before = arrived.len();
        let work = async {
            if link.client.publish_with_reply(subject, reply.clone(), payload).await.is_err() {
                return Answered::No;
            }
            while let Some(message) = answers.next().await {
                match message.status.map(|status| status.as_u16()) {
                    Some(HEARTBEAT) => {}
                    // The end of an earlier request.
                    Some(_) if message.subject.as_str() != reply => {}
                    Some(NO_RESPONDERS | CONFLICT) => return Answered::Refused,
                    Some(_) => return Answered::Yes,
                    None => {
                        let is_last = pending(&message) == Some(0);
                        arrived.push_back(message);
                        if arrived.len() - before >= most || is_last {
                            return Answered::Yes;
                        }
                    }
                }
            }
            Answered::No
        };
        let limit = if limit.is_zero() { ANSWER } else { limit + LATE };
        match link.wait(limit, Duration::ZERO, work) {
            Err(Error::TimedOut) => Ok(Answered::No),
            result => result,
        }
    }

    /// Waits for items: 1 to `most` have arrived.
    fn wait(&mut self, most: usize, limit: Duration) -> Result<(), Error> {
        let start = Instant::now();
        loop {
            if !self.arrived.is_empty() {
                return Ok(());
            }
            if !self.stream.link().is_up() {
                self.pause(start, limit)?;
                continue;
            }
            let mut answered = self.ask(most, Duration::ZERO)?;
            if self.arrived.is_empty() && matches!(answered, Answered::Yes) {
                // The server may have been started again since.
                let connects = self.stream.link().connects();
                if self.emptied_at != connects && self.stream.is_empty() == Some(true) {
                    self.emptied_at = connects;
                }
                if self.is_over()? {
                    return Err(Error::Ended);
                }
                let left = limit.saturating_sub(start.elapsed());
                if left.is_zero() {
                    return Err(Error::TimedOut);
                }
                answered = self.ask(1, left)?;
            }
            match answered {
                Answered::Yes | Answered::No => {}
                Answered::Refused => {
                    if self.stream.check_removal() {
                        return Err(Error::Ended);
                    }
                    // Makes the consumer again, if it is what is missing.
                    let (link, name) = (self.stream.link(), &self.stream.inner.name);
                    let _ = link.answer(consumer(link, name));
                    self.pause(start, limit)?;
                }
            }
        }
    }

    fn pause(&self, start: Instant, limit: Duration) -> Result<(), Error> {
        let left = limit.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(Error::TimedOut);
        }
        if self.stream.link().sleep(PAUSE.min(left)) { Ok(()) } else { Err(Error::Interrupted) }
    }

    /// Whether the stream has come to its end: no item is left, and none will come. Begins the next generation.
    fn is_over(&self) -> Result<bool, Error> {
        if self.stream.is_removed() {
            return Ok(true);
        }
        let may_be_over = {
            let view = super::members::locked(&self.membership.view);
            let Some(record) = &view.record else { return Ok(false) };
            let is_ended = record.producers >= record.expected && view.are_gone(Role::Producer);
            record.closed || !self.follow && (is_ended || record.generation != self.membership.generation())
        };
        if !may_be_over {
            return Ok(false);
        }
        let (link, buckets) = (self.stream.link(), &self.stream.inner.buckets);
        // First the record, then the number of items: a producer that enters changes the record before it sends.
        let (mut record, revision) = match link.answer(buckets.read(link)).flatten() {
            Ok(Some(read)) => read,
            // The server does not answer now, or the stream is being removed.
            Ok(None) | Err(Error::Io { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        if self.stream.is_empty() != Some(true) {
            return Ok(false);
        }
        if record.closed || !self.follow && record.generation != self.membership.generation() {
            return Ok(true);
        }
        let (came, left) = record.came_and_left(Role::Producer);
        // The view may have counted dead ones that this record does not show as left.
        let all_left =
            came >= record.expected && came > 0 && (left >= came || self.stream.are_gone(Role::Producer));
        if self.follow || !all_left {
            return Ok(false);
        }
        record.begin_again();
        // If a producer has entered meanwhile, the stream goes on.
        match link.answer(buckets.write(link, &record, revision)).flatten() {
            Err(Error::Io { .. }) => Ok(false),
            result => result,
        }
    }

    fn take(&mut self, most: usize) -> Vec<Received> {
        let count = self.arrived.len().min(most);
        self.arrived.drain(..count).filter_map(|message| Received::new(message, &self.holder)).collect()
    }

    fn bundle(&self, items: Vec<Received>) -> Bundle {
        Bundle { items: items.into(), holder: Some(Arc::clone(&self.holder)) }
    }
}

/// How many items wait behind this one, as its message says.
fn pending(message: &Message) -> Option<u64> {
    message.reply.as_ref()?.rsplit('.').next()?.parse().ok()
}

impl Drop for NatsReceiver {
    fn drop(&mut self) {
        let link = self.stream.link().clone();
        let (answers, arrived) = (&mut self.answers, &mut self.arrived);
        let rest = async {
            let _ = answers.unsubscribe().await;
            let _ = link.client.flush().await;
            while let Some(message) = answers.next().await {
                if message.status.is_none() {
                    arrived.push_back(message);
                }
            }
        };
        match link.is_up() {
            true => drop(link.wait(LATE, LATE, rest)),
            false => drop(rest),
        }
        self.holder.refuse(self.arrived.drain(..).filter_map(|message| message.reply));
        self.marking.abort();
    }
}

impl Receiver for NatsReceiver {
    type Observer = Stream;
    type Owned = OwnedReceived;
    type Held = Bundle;
    type Batch<'r> = Bundle;

    fn observe(&self) -> &Stream {
        &self.stream
    }

    fn set_follow(&mut self, follow: bool) {
        self.follow = follow;
    }

    fn receive(&mut self, most: usize, limit: Duration) -> Result<Bundle, Error> {
        self.wait(most, limit)?;
        let items = self.take(most);
        Ok(self.bundle(items))
    }

    fn receive_owned(&mut self, limit: Duration) -> Result<OwnedReceived, Error> {
        loop {
            self.wait(1, limit)?;
            let Some(item) = self.take(1).pop() else { continue };
            let (in_stream, delivered) = (item.in_stream, item.delivered);
            let owned = OwnedReceived {
                item: Some(item),
                failures: AtomicU8::new(0),
                stream: self.stream.clone(),
                holder: Arc::clone(&self.holder),
            };
            if delivered > 1 {
                let (link, buckets) = (self.stream.link(), &self.stream.inner.buckets);
                // An error gives the item back.
                let failures = link.answer(buckets.failures(in_stream))?;
                owned.failures.store(failures.unwrap_or(0), Relaxed);
            }
            return Ok(owned);
        }
    }

    fn resume(&mut self, held: Bundle) -> Bundle {
        held
    }

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn returned(&self) -> u64 {
        self.holder.returned.load(Relaxed)
    }
}

/// A received item.
pub struct Received {
    payload: Bytes,
    key: ItemKey,
    /// Its sequence in the stream.
    in_stream: u64,
    delivered: u64,
    sent_at: u64,
    token: u64,
    reply: Subject,
}

impl Received {
    /// `None`: not a message of the stream.
    fn new(message: Message, holder: &Holder) -> Option<Self> {
        let reply = message.reply?;
        let Facts { in_stream, delivered, sent_at } = Facts::of(&reply)?;
        let key = message.headers.as_ref().and_then(|headers| key(headers.get(KEY)?.as_str()));
        // Sent by another program.
        let key = key.unwrap_or(ItemKey { producer: ItemKey::NO_PRODUCER, sequence: in_stream });
        let token = holder.hold(&reply);
        Some(Received { payload: message.payload, key, in_stream, delivered, sent_at, token, reply })
    }

    fn attempt(&self) -> u8 {
        self.delivered.min(u8::MAX.into()) as u8
    }

    fn settled(&self) -> (u64, Subject) {
        (self.token, self.reply.clone())
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
    fn settle(&self, count: usize) -> Result<(), Error> {
        let Some(holder) = &self.holder else { return Ok(()) };
        let items: Vec<_> = self.items.iter().take(count).map(Received::settled).collect();
        holder.settle(&items, &AckKind::Ack)
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if let Some(holder) = self.holder.as_ref().filter(|_| !self.items.is_empty()) {
            let items: Vec<_> = self.items.iter().map(Received::settled).collect();
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
        Some(self.sent_at)
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

    fn settle(mut self, kind: &AckKind) -> Result<(), Error> {
        let Some(item) = self.item.take() else { return Ok(()) };
        self.holder.settle(&[item.settled()], kind)?;
        if self.failures.load(Relaxed) > 0 {
            let inner = &self.stream.inner;
            let _ = inner.link.answer(inner.buckets.forget_failures(item.in_stream));
        }
        Ok(())
    }
}

impl Drop for OwnedReceived {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            self.holder.give_back(&[item.settled()]);
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
        Some(self.item().sent_at)
    }

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn record_failure(&self) -> u8 {
        // Relaxed: the item has one holder.
        let failures = self.failures.load(Relaxed).saturating_add(1);
        self.failures.store(failures, Relaxed);
        let inner = &self.stream.inner;
        let _ = inner.link.answer(inner.buckets.record_failures(self.item().in_stream, failures));
        failures
    }

    fn acknowledge(self) -> Result<(), Error> {
        self.settle(&AckKind::Ack)
    }

    fn acknowledge_failed(self) -> Result<(), Error> {
        // The server tells its other users that this one is given up.
        self.settle(&AckKind::Term)
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
