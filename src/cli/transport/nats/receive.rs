//! A consumer of a stream.
//!
//! It asks for what is there, and if that is nothing, for one item as soon as there is one. A request ends a little before
//! the call does, so that the server sends no item to a process that does not wait for it.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use super::holder::Holder;
use super::link::ANSWER;
use super::members::Membership;
use super::observe::Stream;
use super::received::{Bundle, OwnedReceived, Received};
use super::requests::{Answered, Requests};
use super::stream::consumer;
use crate::cli::transport::Receiver;
use crate::{Error, Role};

/// The pause between two attempts while the server cannot be reached.
const PAUSE: Duration = Duration::from_millis(20);
/// The shortest time that the server is given for an answer.
const LEAST: Duration = Duration::from_secs(1);
/// The longest request. One that the server has forgotten is asked again after it.
const LONGEST: Duration = Duration::from_secs(20);
/// A request ends so much before the call, at most.
const BEFORE: Duration = Duration::from_millis(50);

/// A consumer of a stream.
pub struct NatsReceiver {
    stream: Stream,
    holder: Arc<Holder>,
    marking: JoinHandle<()>,
    requests: Requests,
    follow: bool,
    /// How often the connection was made when the stream was last found empty.
    emptied_at: u64,
    /// The last to be dropped: leaves the stream.
    membership: Membership,
}

/// The time that a call has.
#[derive(Clone, Copy)]
struct Limit {
    start: Instant,
    /// How long to wait for an item.
    items: Duration,
}

impl Limit {
    fn new(items: Duration) -> Self {
        Limit { start: Instant::now(), items }
    }

    /// What is left to wait for an item.
    fn left(&self) -> Duration {
        self.items.saturating_sub(self.start.elapsed())
    }

    /// What is left to wait for an answer: a call that does not wait for items still waits for the server, and one that
    /// waits for a moment waits long enough for the server to say that the stream has ended.
    fn answer(&self) -> Duration {
        let whole = if self.items.is_zero() { ANSWER } else { self.items.max(LEAST) };
        whole.saturating_sub(self.start.elapsed()).min(ANSWER)
    }
}

impl NatsReceiver {
    pub fn new(stream: Stream, membership: Membership) -> Self {
        let (holder, marking) = Holder::begin(&stream);
        let requests = Requests::new(stream.link(), stream.inner.name.stream(), &holder);
        NatsReceiver { stream, holder, marking, requests, follow: false, emptied_at: 0, membership }
    }

    /// Waits for items: 1 to `most` have arrived.
    fn wait(&mut self, most: usize, limit: Limit) -> Result<(), Error> {
        while !self.requests.have_items() {
            if !self.stream.link().is_up() {
                self.pause(limit)?;
                continue;
            }
            // Perhaps one that an earlier call left open.
            if !self.requests.is_open() {
                self.requests.ask(most, Duration::ZERO);
            }
            let whole = if limit.items.is_zero() { limit.answer() } else { limit.left() };
            let mut answered = self.requests.answered(whole)?;
            if answered == Answered::Yes && !self.requests.have_items() {
                self.remove_settled(limit);
                if self.is_over(limit)? {
                    return Err(Error::Ended);
                }
                let left = limit.left();
                if left.is_zero() {
                    return Err(Error::TimedOut);
                }
                self.requests.ask(1, left.saturating_sub(BEFORE.min(left / 4)).min(LONGEST));
                answered = self.requests.answered(left)?;
            }
            if answered == Answered::Refused {
                self.mend(limit)?;
            }
        }
        Ok(())
    }

    /// After each connection: the server may have been started again since.
    fn remove_settled(&mut self, limit: Limit) {
        let connects = self.stream.link().connects();
        if self.emptied_at != connects && self.stream.is_empty(limit.answer()) == Some(true) {
            self.emptied_at = connects;
        }
    }

    /// Makes the consumer on the server again, if it is what is missing.
    fn mend(&self, limit: Limit) -> Result<(), Error> {
        if self.stream.check_removal(limit.answer()) {
            return Err(Error::Ended);
        }
        let (link, name) = (self.stream.link(), &self.stream.inner.name);
        let _ = link.answer_within(limit.answer(), consumer(link, name));
        self.pause(limit)
    }

    fn pause(&self, limit: Limit) -> Result<(), Error> {
        let left = limit.left();
        if left.is_zero() {
            return Err(Error::TimedOut);
        }
        if self.stream.link().sleep(PAUSE.min(left)) { Ok(()) } else { Err(Error::Interrupted) }
    }

    /// Whether the stream has come to its end: no item is left, and none will come. Begins the next generation.
    fn is_over(&self, limit: Limit) -> Result<bool, Error> {
        if self.stream.is_removed() {
            return Ok(true);
        }
        self.stream.check_record()?;
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
        let (mut record, revision) = match link.answer_within(limit.answer(), buckets.read(link)).flatten() {
            Ok(Some(read)) => read,
            // The server does not answer now, or the stream is being removed.
            Ok(None) | Err(Error::Io { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        if self.stream.is_empty(limit.answer()) != Some(true) {
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
        match link.answer_within(limit.answer(), buckets.write(link, &record, revision)).flatten() {
            Err(Error::Io { .. }) => Ok(false),
            result => result,
        }
    }

    fn take(&mut self, most: usize) -> Vec<Received> {
        self.requests.take(most).into_iter().map(|came| Received::new(came, &self.holder)).collect()
    }
}

impl Drop for NatsReceiver {
    fn drop(&mut self) {
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
        self.wait(most, Limit::new(limit))?;
        let items = self.take(most);
        Ok(Bundle::new(items, &self.holder))
    }

    fn receive_owned(&mut self, limit: Duration) -> Result<OwnedReceived, Error> {
        let limit = Limit::new(limit);
        loop {
            self.wait(1, limit)?;
            // This process may be busy with the item for hours: no other one is to wait here.
            self.requests.close();
            let Some(item) = self.take(1).pop() else { continue };
            let mut owned = OwnedReceived::new(item, &self.stream, &self.holder);
            // Without the number of its failures, an item would be tried too often: it is given back.
            if owned.read_failures(limit.answer())? {
                return Ok(owned);
            }
            drop(owned);
            self.pause(limit)?;
        }
    }

    fn resume(&mut self, held: Bundle) -> Bundle {
        held
    }

    fn check(&self) -> Result<(), Error> {
        self.stream.check_record()
    }

    fn returned(&self) -> u64 {
        self.holder.returned.load(Relaxed)
    }
}
