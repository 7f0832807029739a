//! A producer of a stream.
//!
//! Order: a sender publishes several items before it has the answer to the first. Each one but the first carries the id of
//! the one before it, and the server stores it only directly behind that one (`Nats-Expected-Last-Msg-Id`). So when an item
//! is refused, because the stream is full or another producer's item came in between, all later ones are refused, too,
//! and the sender goes on with the refused one. While the stream is full, and where it has
//! replicas, the sender publishes one item at a time.
//!
//! Doubles: an item whose answer was lost is published again under the same id, which the server remembers for two minutes.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, Context, ErrorCode};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::link::{ANSWER, LAST_ANSWER, passes, said};
use super::members::Membership;
use super::observe::Stream;
use super::stream::Found;
use crate::cli::transport::{Moved, Observe, Room, Sender};
use crate::framing::{Framing, Recorded};
use crate::sys::command::io::Wait;
use crate::{DropObserver, Error, ItemKey, OnFull, Role, Totals};

/// The header with the item's producer and sequence.
pub const KEY: &str = "Ringpipe-Key";
/// Items published without an answer.
const MOST_WINDOW: usize = 512;
/// The first and the longest pause between two attempts to send to a full stream.
const PAUSES: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// Without an answer for so long, a server counts as silent.
const SILENT: Duration = Duration::from_millis(250);
/// Bytes of a message's headers, which count against the server's limit.
const HEADERS: u64 = 512;
/// JetStream's code for a stream that refuses an item because of a limit, and the text for the number of items. The limit
/// of bytes and a disk without room have the same code.
const LIMIT: ErrorCode = ErrorCode::STREAM_STORE_FAILED;
const FULL: &str = "maximum messages exceeded";
/// JetStream's codes for items that are too large.
const TOO_LARGE: [ErrorCode; 2] =
    [ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM, ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM];

/// A producer of a stream.
pub struct NatsSender {
    stream: Stream,
    membership: Membership,
    made: bool,
    /// Before the sequence in the ids of messages: no other sender has it.
    nonce: String,
    policy: OnFull,
    most_bytes: u64,
    window: usize,
    /// The largest window.
    most_window: usize,
    totals: Totals,
    /// The sequence of the next item.
    next: u64,
    /// Items sent under the keys of others, and the last one whose answer is missing.
    forwarded: u64,
    unanswered: Option<ItemKey>,
    /// Sent by a call that ended before the answer.
    publication: Option<Publication>,
}

/// Items on their way to the server.
struct Publication {
    /// The id of the first.
    first: String,
    begun: Instant,
    answered: oneshot::Receiver<(usize, Option<PublishError>)>,
    task: JoinHandle<()>,
}

impl Drop for Publication {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Why an item was not stored, as far as is known.
enum Cause {
    /// The stream is full.
    Full,
    /// Another producer's item came in between, or an earlier item was refused.
    Interleaved,
    /// There was no answer: it may have been stored.
    Unknown,
    /// The server has said why, and that it passes.
    NotNow(String),
    /// For good.
    Refused(Error),
}

impl Cause {
    /// Why the stream takes no item, if not because it is full.
    fn reason(&self) -> Option<String> {
        match self {
            Cause::Full | Cause::Refused(_) => None,
            Cause::Interleaved => Some("other producers' items came first".into()),
            Cause::Unknown => Some("its server does not answer".into()),
            Cause::NotNow(text) => Some(format!("its server cannot store items now: {text}")),
        }
    }
}

impl NatsSender {
    pub fn new(stream: Stream, membership: Membership, made: bool, found: &Found) -> Self {
        let payload = stream.link().client.server_info().max_payload as u64;
        let most_bytes = found.most_bytes.unwrap_or(u64::MAX).min(payload).saturating_sub(HEADERS);
        // In a cluster, a condition that is not met can stop the whole stream: it is checked when the item was agreed on.
        let most_window = if found.replicas > 1 { 1 } else { MOST_WINDOW };
        NatsSender {
            stream,
            membership,
            made,
            nonce: format!("{:032x}", fastrand::u128(..)),
            policy: OnFull::Block,
            most_bytes,
            window: (MOST_WINDOW / 8).min(most_window),
            most_window,
            totals: Totals::default(),
            next: 0,
            forwarded: 0,
            unanswered: None,
            publication: None,
        }
    }

    /// Publishes these items, with their keys and ids, in this order. The task answers how many were stored, from the first on,
    /// and why the next was not.
    fn publish(&self, items: &[(ItemKey, String, &[u8])]) -> Publication {
        let link = self.stream.link();
        let mut before: Option<String> = None;
        let messages: Vec<_> = items
            .iter()
            .map(|(key, id, bytes)| {
                let mut headers = HeaderMap::new();
                headers.insert(KEY, format!("{} {}", key.producer, key.sequence));
                let mut message = PublishMessage::build().headers(headers).message_id(id);
                if let Some(before) = before.replace(id.clone()) {
                    message = message.expected_last_message_id(before);
                }
                message.payload(Bytes::copy_from_slice(bytes))
            })
            .collect();
        let (jetstream, subject) = (link.jetstream.clone(), self.stream.inner.subject.clone());
        let (answer, answered) = oneshot::channel();
        let task = link.spawn(async move {
            let _ = answer.send(publish_all(&jetstream, &subject, messages).await);
        });
        let first = items.first().map(|(_, id, _)| id.clone()).unwrap_or_default();
        Publication { first, begun: Instant::now(), answered, task }
    }

    fn cause(&self, error: &PublishError) -> Cause {
        let said = said(error);
        let code = said.as_ref().map(jetstream::Error::error_code);
        match (error.kind(), said) {
            (PublishErrorKind::WrongLastMessageId, _) => Cause::Interleaved,
            (PublishErrorKind::MaxPayloadExceeded, _) => Cause::Refused(self.too_large()),
            (_, Some(_)) if code.is_some_and(|code| TOO_LARGE.contains(&code)) => {
                Cause::Refused(self.too_large())
            }
            (_, Some(said)) if code == Some(LIMIT) && said.to_string().contains(FULL) => Cause::Full,
            (_, Some(said)) if passes(&said) => Cause::NotNow(said.to_string()),
            (PublishErrorKind::Other, Some(_)) => Cause::Refused(self.stream.link().refused(error)),
            // No answer, or none of JetStream.
            _ => Cause::Unknown,
        }
    }

    fn too_large(&self) -> Error {
        let most = self.most_bytes;
        Error::Unsupported(
            format!("an item is too large: its server takes up to {most} bytes; expected a shorter one")
                .into(),
        )
    }

    /// Sends some of the items; waits at most `limit` for room and for the server. Returns how many were stored, at least one.
    fn send_keyed(&mut self, items: &[(ItemKey, String, &[u8])], limit: Duration) -> Result<usize, Error> {
        let (start, mut pause) = (Instant::now(), PAUSES.0);
        loop {
            if self.stream.is_closed() {
                return Err(Error::Closed);
            }
            self.stream.check_record()?;
            let left = limit.saturating_sub(start.elapsed());
            let (stored, cause) = self.publish_within(items, left, limit.is_zero())?;
            self.adapt_window(stored, cause.as_ref());
            self.stream.note_refusal(cause.as_ref().filter(|_| stored == 0).and_then(Cause::reason));
            if stored > 0 {
                return Ok(stored.min(items.len()));
            }
            match cause {
                Some(Cause::Refused(error)) => return Err(error),
                Some(Cause::Full) if self.fails_at_once() => return Err(Error::Full),
                Some(Cause::Unknown) if self.stream.check_removal(limit.saturating_sub(start.elapsed())) => {
                    return Err(Error::Closed);
                }
                // The first item has no condition.
                None | Some(_) => {}
            }
            let left = limit.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(Error::TimedOut);
            }
            if !self.stream.link().sleep(pause.min(left)) {
                return Err(Error::Interrupted);
            }
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// Whether an item that has no room is not to wait for it.
    fn fails_at_once(&self) -> bool {
        matches!(self.policy, OnFull::Fail | OnFull::DropNewest)
    }

    /// Publishes some of the items, unless an earlier call has begun to, and waits at most `left` for the answer. A call
    /// that does not wait for room (`is_now`) still gives the server time to answer.
    ///
    /// # Errors
    /// [`Error::TimedOut`]: the next call for the same items goes on with the wait. [`Error::Full`], if the server is silent
    /// and the policy is not to wait.
    fn publish_within(
        &mut self,
        items: &[(ItemKey, String, &[u8])],
        left: Duration,
        is_now: bool,
    ) -> Result<(usize, Option<Cause>), Error> {
        let earlier =
            self.publication.take().filter(|earlier| Some(&earlier.first) == items.first().map(|one| &one.1));
        let limit = if is_now && earlier.is_none() { ANSWER } else { left };
        let mut publication = earlier.unwrap_or_else(|| self.publish(&items[..items.len().min(self.window)]));
        let link = self.stream.link();
        match link.wait(limit, LAST_ANSWER, &mut publication.answered) {
            Ok(Ok((stored, error))) => {
                link.note_answer(stored > 0 || error.as_ref().is_some_and(|error| said(error).is_some()));
                Ok((stored, error.map(|error| self.cause(&error))))
            }
            // The task ended without an answer.
            Ok(Err(_)) => Ok((0, Some(Cause::Unknown))),
            Err(Error::TimedOut) => {
                let waited = publication.begun.elapsed();
                // In less time, even a server that answers does not.
                if waited >= SILENT {
                    link.note_answer(false);
                }
                if self.fails_at_once() && waited >= ANSWER {
                    return Err(Error::Full);
                }
                self.publication = Some(publication);
                Err(Error::TimedOut)
            }
            Err(error) => Err(error),
        }
    }

    fn adapt_window(&mut self, stored: usize, cause: Option<&Cause>) {
        self.window = match cause {
            None => (self.window * 2).min(self.most_window),
            Some(Cause::Full) => 1,
            Some(_) => stored.max(1),
        };
    }
}

/// Publishes messages without a wait in between. Returns how many were stored, from the first on, and why the next was not.
async fn publish_all(
    jetstream: &Context,
    subject: &str,
    messages: Vec<PublishMessage>,
) -> (usize, Option<PublishError>) {
    let mut answers = Vec::with_capacity(messages.len());
    for message in messages {
        answers.push(jetstream.send_publish(subject.to_string(), message).await);
    }
    let mut stored = 0;
    for answer in answers {
        let error = match answer {
            Ok(answer) => answer.await.err(),
            Err(error) => Some(error),
        };
        match error {
            None => stored += 1,
            Some(error) => return (stored, Some(error)),
        }
    }
    (stored, None)
}

impl Sender for NatsSender {
    const READS_IN_PLACE: bool = false;
    type Observer = Stream;
    type Room<'s> = NoRoom;

    fn observe(&self) -> &Stream {
        &self.stream
    }

    fn has_made_ring(&self) -> bool {
        self.made
    }

    fn id(&self) -> u32 {
        self.membership.number as u32
    }

    fn set_on_full(&mut self, on_full: OnFull) -> Result<(), Error> {
        if on_full == OnFull::DropOldest {
            let line = "--on-full drop-oldest is for rings in shared memory: a server may have handed the oldest item to a worker already; expected block, fail or drop-newest";
            return Err(Error::Options(line.into()));
        }
        self.policy = on_full;
        Ok(())
    }

    fn set_drop_observer(&mut self, _observer: Box<dyn DropObserver>) {
        // Only for drop-oldest.
    }

    fn record_framing(&self, framing: Framing) {
        let inner = &self.stream.inner;
        let change = |record: &mut super::state::Record| {
            let word = Recorded::of(record.framing).with(framing);
            (std::mem::replace(&mut record.framing, word) != word).then_some(())
        };
        // Only for a note of consumers: a silent server is not waited for.
        let _ = inner.link.answer_within(LAST_ANSWER, inner.buckets.change(&inner.link, change));
    }

    fn max_item(&self) -> u64 {
        self.most_bytes
    }

    fn send(&mut self, items: &[&[u8]], limit: Duration) -> Result<usize, Error> {
        let (producer, first) = (self.id(), self.next);
        let most = items.len().min(self.window);
        let keyed: Vec<_> = (first..)
            .zip(&items[..most])
            .map(|(sequence, item)| {
                (ItemKey { producer, sequence }, format!("{}.{sequence}", self.nonce), *item)
            })
            .collect();
        match self.send_keyed(&keyed, limit) {
            Ok(stored) => {
                self.totals.sent += stored as u64;
                self.next += stored as u64;
                self.totals.bytes_sent += items[..stored].iter().map(|item| item.len() as u64).sum::<u64>();
                Ok(stored)
            }
            Err(Error::Full) if self.policy == OnFull::DropNewest => {
                self.totals.dropped_newest += 1;
                if self.stream.link().is_silent() {
                    // It may have been stored under this number, and the next item is another one.
                    self.next += 1;
                }
                Ok(1)
            }
            Err(error) => Err(error),
        }
    }

    fn send_as(&mut self, key: ItemKey, bytes: &[u8], limit: Duration) -> Result<(), Error> {
        // The next attempt for the same item has the same id.
        if self.unanswered.replace(key) != Some(key) {
            self.forwarded += 1;
        }
        let id = format!("{}.as.{}", self.nonce, self.forwarded);
        self.send_keyed(&[(key, id, bytes)], limit)?;
        self.unanswered = None;
        Ok(())
    }

    fn send_moved(&mut self, source: [u8; 16], items: &[Moved<'_>], limit: Duration) -> Result<usize, Error> {
        let (source, most) = (u128::from_be_bytes(source), items.len().min(self.window));
        let id = |index: usize, item: &Moved<'_>| match item.sent_at {
            Some(time) => format!("{source:032x}.{}.{}.{time}", item.key.producer, item.key.sequence),
            // An item that is sent to the source again has the same key, and must not be taken for this one.
            None => format!("{}.moved.{}", self.nonce, self.forwarded + index as u64),
        };
        let keyed: Vec<_> = items[..most]
            .iter()
            .enumerate()
            .map(|(index, item)| (item.key, id(index, item), item.bytes))
            .collect();
        let stored = self.send_keyed(&keyed, limit)?;
        self.forwarded += stored as u64;
        Ok(stored)
    }

    fn reserve(&mut self, _len: u64, _limit: Duration) -> Result<NoRoom, Error> {
        Err(Error::Unsupported("nothing is read in place into a stream".into()))
    }

    fn check(&self) -> Result<(), Error> {
        self.stream.check_record()
    }

    fn consumers_ever(&self) -> u64 {
        let view = super::members::locked(&self.membership.view);
        view.record.as_ref().map_or(0, |record| record.consumers)
    }

    fn is_abandoned(&self) -> bool {
        self.stream.are_gone(Role::Consumer)
    }

    fn undelivered(&self) -> Option<u64> {
        self.stream.pending().map(|(waiting, _)| waiting)
    }

    fn sent(&self) -> u64 {
        self.totals.sent
    }

    fn totals(&self) -> Totals {
        self.totals
    }

    /// A stream stays on its server, also an empty one.
    fn close(self, _is_unused: bool) {}
}

/// The type of a place in a stream, of which there is none.
pub enum NoRoom {}

impl Room for NoRoom {
    fn read_from(
        &mut self,
        _file: std::os::fd::BorrowedFd<'_>,
        _len: u64,
        _wait: Wait,
    ) -> std::io::Result<u64> {
        match *self {}
    }

    fn send_first(self, _len: u64) {
        match self {}
    }
}
