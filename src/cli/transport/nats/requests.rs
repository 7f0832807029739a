//! Requests for items, and the task that reads what the server sends to this process.
//!
//! There is one request at a time. It is open from when it is asked until the server has sent as many items as it asks for, or
//! a status that ends it; a call that ends before leaves it to the next one. The task holds each item as soon as it
//! comes, so that no item lies unread until the server delivers it again. What comes for a request that was given up is given
//! back at once: this process may be busy for hours. An item does not say which request it answers, so after such a
//! request the next ones have an inbox of their own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::AckKind;
use async_nats::{Client, Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::holder::{Arrival, Holder};
use super::link::{ANSWER, Link};
use super::reply::{Facts, Stored};
use super::stream::CONSUMER;
use crate::Error;

/// The subject of requests for items.
const NEXT: &str = "$JS.API.CONSUMER.MSG.NEXT";
/// How long the end of a request may come after its last item.
const ENDING: Duration = Duration::from_millis(500);
/// How long this process gives back items that come for a request that was given up.
const LATE: Duration = Duration::from_secs(60);
/// How long this process waits for the last items when it leaves.
const LEAVING: Duration = Duration::from_millis(500);
/// Statuses of answers to a request. Each but a heartbeat ends it.
const HEARTBEAT: u16 = 100;
const BAD_REQUEST: u16 = 400;
const CONFLICT: u16 = 409;
const NO_RESPONDERS: u16 = 503;

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

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// With items, or without.
    Yes,
    /// The connection was lost, or the server is silent.
    No,
    /// The server has no such consumer, or ended the request for another reason.
    Refused,
}

/// An item that came, and is held.
pub struct Came {
    pub item: Stored,
    pub message: Message,
}

/// The requests of one consumer.
pub struct Requests {
    link: Link,
    holder: Arc<Holder>,
    /// Where requests are sent.
    subject: String,
    shared: Arc<Shared>,
    /// `None`: the last request was given up, and the next one begins a new inbox.
    inbox: Option<Inbox>,
    /// Of requests that were given up.
    old: Vec<Inbox>,
    next: u64,
    /// When the server should have ended the open request, and the connection that it was sent over.
    due: Instant,
    connects: u64,
}

/// Where the answers to requests come: `PREFIX.NUMBER`.
struct Inbox {
    prefix: String,
    reading: JoinHandle<()>,
    ends: Arc<Ends>,
}

/// What a task that reads an inbox is told.
#[derive(Default)]
struct Ends {
    /// To give back what comes.
    old: Notify,
    /// To take what is still on its way, and end.
    leaving: Notify,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// Items that came and were not taken.
    arrived: VecDeque<Came>,
}

/// The open request.
struct Open {
    number: u64,
    /// Items that may still come.
    left: usize,
    end: Option<Answered>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No invariant spans two statements that can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes a status of the request with this number.
    fn note_status(&mut self, number: Option<u64>, status: u16) {
        let Some(open) = self.open.as_mut().filter(|open| Some(open.number) == number) else { return };
        match status {
            HEARTBEAT => {}
            BAD_REQUEST | CONFLICT | NO_RESPONDERS => open.end = Some(Answered::Refused),
            _ => open.end = Some(Answered::Yes),
        }
    }

    /// Notes an item; `is_old`: for a request that was given up. Returns what to answer to it at once.
    fn note_item(&mut self, is_old: bool, message: Message, holder: &Holder) -> Option<(Subject, Bytes)> {
        let reply = message.reply.clone()?;
        let facts = Facts::of(&reply)?;
        let open = self.open.as_mut().filter(|_| !is_old);
        let is_wanted = open.is_some();
        if let Some(open) = open {
            open.left = open.left.saturating_sub(1);
            if open.left == 0 {
                open.end = Some(Answered::Yes);
            }
        }
        match holder.arrive(facts, &reply) {
            Arrival::Settled(how) => Some((reply, how.bytes())),
            Arrival::Held => None,
            Arrival::New if is_wanted => {
                self.arrived.push_back(Came { item: facts.item, message });
                None
            }
            Arrival::New => {
                holder.forget(facts.item);
                Some((reply, AckKind::Nak(None).into()))
            }
        }
    }
}

impl Requests {
    pub fn new(link: &Link, stream: &str, holder: &Arc<Holder>) -> Self {
        Requests {
            link: link.clone(),
            holder: Arc::clone(holder),
            subject: format!("{NEXT}.{stream}.{CONSUMER}"),
            shared: Arc::default(),
            inbox: None,
            old: Vec::new(),
            next: 1,
            due: Instant::now(),
            connects: 0,
        }
    }

    /// Whether items came that were not taken.
    pub fn have_items(&self) -> bool {
        !self.shared.state().arrived.is_empty()
    }

    /// Takes up to `most` of the items that came.
    pub fn take(&mut self, most: usize) -> Vec<Came> {
        let arrived = &mut self.shared.state().arrived;
        let count = arrived.len().min(most);
        arrived.drain(..count).collect()
    }

    /// Whether the last request has not ended.
    pub fn is_open(&self) -> bool {
        self.shared.state().open.is_some()
    }

    /// Closes the open request. If it has not ended, what comes for it from now on is given back.
    pub fn close(&mut self) {
        let open = self.shared.state().open.take();
        if open.is_some_and(|open| open.end.is_none())
            && let Some(inbox) = self.inbox.take()
        {
            inbox.ends.old.notify_one();
            self.old.retain(|old| !old.reading.is_finished());
            self.old.push(inbox);
        }
    }

    /// The inbox for the next request. `None`: the connection has ended.
    fn inbox(&mut self) -> Option<String> {
        if let Some(inbox) = &self.inbox {
            return Some(inbox.prefix.clone());
        }
        let client = &self.link.client;
        let prefix = client.new_inbox();
        let answers =
            self.link.wait(ANSWER, Duration::ZERO, client.subscribe(format!("{prefix}.*"))).ok()?.ok()?;
        let ends = Arc::new(Ends::default());
        let (shared, holder) = (Arc::clone(&self.shared), Arc::clone(&self.holder));
        let reader = Reader { answers, client: client.clone(), shared, holder, ends: Arc::clone(&ends) };
        let reading = self.link.spawn(reader.read());
        self.inbox = Some(Inbox { prefix: prefix.clone(), reading, ends });
        Some(prefix)
    }

    /// Asks for up to `most` items: those that there are, or with `expires`, the first that comes in this time.
    pub fn ask(&mut self, most: usize, expires: Duration) {
        // Without an inbox, the request has no answer in its time.
        let inbox = self.inbox();
        let number = self.next;
        self.next += 1;
        self.shared.state().open = Some(Open { number, left: most, end: None });
        self.due = Instant::now() + expires + ANSWER;
        self.connects = self.link.connects();
        let ask = Ask { batch: most, expires: expires.as_nanos() as u64, no_wait: expires.is_zero() };
        let payload = Bytes::from(serde_json::to_vec(&ask).unwrap_or_default());
        let (client, subject) = (self.link.client.clone(), self.subject.clone());
        let Some(inbox) = inbox else { return };
        let reply = format!("{inbox}.{number}");
        // An error is a connection that ends: so does the wait for the answer.
        let _ = self.link.wait(ANSWER, Duration::ZERO, client.publish_with_reply(subject, reply, payload));
    }

    /// Waits for the end of the open request, at most `limit`.
    ///
    /// # Errors
    /// [`Error::TimedOut`]: it stays open. [`Error::Interrupted`].
    pub fn answered(&mut self, limit: Duration) -> Result<Answered, Error> {
        let left = self.due.saturating_duration_since(Instant::now());
        let (shared, link, connects) = (&self.shared, &self.link, self.connects);
        let work = async {
            tokio::select! {
                biased;
                end = shared.end() => end,
                () = link.is_cut(connects) => Answered::No,
                // Overdue: the server has forgotten it.
                () = tokio::time::sleep(left) => Answered::No,
            }
        };
        let result = link.wait(limit, Duration::ZERO, work);
        if !matches!(result, Err(Error::Interrupted)) {
            // A request ends before the wait for it does.
            link.note_answer(matches!(result, Ok(Answered::Yes | Answered::Refused)));
        }
        let answered = result?;
        self.close();
        Ok(answered)
    }
}

impl Shared {
    /// Waits for the end of the open request. After an item the end comes soon, or was lost.
    async fn end(&self) -> Answered {
        loop {
            let has_items = {
                let state = self.state();
                match &state.open {
                    None => return Answered::Yes,
                    Some(Open { end: Some(end), .. }) => return *end,
                    Some(_) => !state.arrived.is_empty(),
                }
            };
            let change = self.changed.notified();
            match has_items {
                false => change.await,
                true => {
                    if tokio::time::timeout(ENDING, change).await.is_err() {
                        return Answered::Yes;
                    }
                }
            }
        }
    }
}

/// Reads what comes to an inbox.
struct Reader {
    answers: Subscriber,
    client: Client,
    shared: Arc<Shared>,
    holder: Arc<Holder>,
    ends: Arc<Ends>,
}

impl Reader {
    async fn read(mut self) {
        // When this inbox became old.
        let (mut old_since, mut leaving) = (None, false);
        loop {
            let message = tokio::select! {
                biased;
                message = self.answers.next() => message,
                () = self.ends.leaving.notified(), if !leaving => {
                    leaving = true;
                    self.unsubscribe().await;
                    continue;
                }
                () = self.ends.old.notified(), if old_since.is_none() => {
                    old_since = Some(tokio::time::Instant::now());
                    continue;
                }
                () = until(old_since), if !leaving => {
                    leaving = true;
                    self.unsubscribe().await;
                    continue;
                }
            };
            let Some(message) = message else { return };
            self.note(old_since.is_some(), message).await;
        }
    }

    /// What the server sent before it knows of this still comes.
    async fn unsubscribe(&mut self) {
        let _ = self.answers.unsubscribe().await;
        let _ = self.client.flush().await;
    }

    async fn note(&self, is_old: bool, message: Message) {
        let answer = match message.status {
            Some(status) => {
                let number = message.subject.rsplit('.').next().and_then(|number| number.parse().ok());
                self.shared.state().note_status(number, status.as_u16());
                None
            }
            None => self.shared.state().note_item(is_old, message, &self.holder),
        };
        self.shared.changed.notify_one();
        if let Some((reply, bytes)) = answer {
            // If this is lost, the server delivers the item again.
            let _ = self.client.publish(reply, bytes).await;
        }
    }
}

/// Until an inbox that became old then is not needed any more.
async fn until(old_since: Option<tokio::time::Instant>) {
    match old_since {
        Some(since) => tokio::time::sleep_until(since + LATE).await,
        None => std::future::pending().await,
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.close();
        let mut all: Vec<Inbox> = self.inbox.take().into_iter().chain(self.old.drain(..)).collect();
        all.iter().for_each(|inbox| inbox.ends.leaving.notify_one());
        if !self.link.is_silent() {
            let ends = join_all(all.iter_mut().map(|inbox| &mut inbox.reading));
            let _ = self.link.wait(LEAVING, LEAVING, ends);
        }
        all.iter().for_each(|inbox| inbox.reading.abort());
        let items: Vec<Stored> = self.take(usize::MAX).into_iter().map(|came| came.item).collect();
        self.holder.refuse(&items);
    }
}
