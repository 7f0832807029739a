//! The items that this process holds: marks them as in progress, so that the server delivers them to no one else, and
//! settles them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::{Request, Subject};
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::task::JoinHandle;

use super::link::{ANSWER, LAST_ANSWER, Link};
use super::observe::Stream;
use super::reply::sequence_of;
use crate::Error;

/// In this share of the time that the server waits, each item is marked.
const MARKS: u32 = 3;
/// How long a settlement is tried again while the server does not answer; after a stop signal, `LAST`.
const PATIENCE: Duration = Duration::from_secs(120);
const LAST: Duration = Duration::from_secs(5);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// How long items that are given back may take.
const GIVING_BACK: Duration = Duration::from_secs(1);

/// What the process holds.
pub struct Holder {
    stream: Stream,
    held: Mutex<HashMap<u64, Subject>>,
    next: AtomicU64,
    /// Items that were given back.
    pub returned: AtomicU64,
}

impl Holder {
    /// Begins to mark what is held; the task ends when it is aborted.
    pub fn begin(stream: &Stream) -> (Arc<Self>, JoinHandle<()>) {
        let holder = Arc::new(Holder {
            stream: stream.clone(),
            held: Mutex::default(),
            next: AtomicU64::new(0),
            returned: AtomicU64::new(0),
        });
        let (marking, every) = (Arc::clone(&holder), stream.inner.ack_wait / MARKS);
        let task = stream.link().spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                marking.mark().await;
            }
        });
        (holder, task)
    }

    fn link(&self) -> &Link {
        self.stream.link()
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Subject>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks all items that are held. A mark that is lost is made up for by the next one.
    async fn mark(&self) {
        let all: Vec<Subject> = self.held().values().cloned().collect();
        if !self.link().is_up() {
            return;
        }
        for reply in all {
            let _ = self.link().client.publish(reply, AckKind::Progress.into()).await;
        }
    }

    /// Holds an item from now on. Returns the token to settle it with.
    pub fn hold(&self, reply: &Subject) -> u64 {
        // Relaxed: only distinguishes items.
        let token = self.next.fetch_add(1, Relaxed);
        self.held().insert(token, reply.clone());
        token
    }

    /// Settles items, and waits until the server has confirmed each.
    ///
    /// # Errors
    /// If the server does not answer: the items are delivered again, unless it got the settlements.
    pub fn settle(&self, items: &[(u64, Subject)], kind: &AckKind) -> Result<(), Error> {
        let (start, mut stopped) = (Instant::now(), None);
        let mut rest: Vec<&(u64, Subject)> = items.iter().collect();
        while !rest.is_empty() {
            let asked = rest.iter().map(|(_, reply)| {
                let request = Request::new().payload(Bytes::from(*kind));
                self.link().client.send_request(reply.clone(), request)
            });
            // Each request ends by itself before this limit, so that no confirmation is lost with the others.
            let answers = self.link().wait(ANSWER + PAUSE, LAST_ANSWER, join_all(asked));
            let answers = answers.unwrap_or_default();
            let mut no_one = false;
            if !answers.is_empty() {
                let mut outcomes = answers.iter();
                rest.retain(|(token, _)| match outcomes.next() {
                    Some(Ok(_)) => {
                        self.held().remove(token);
                        false
                    }
                    Some(Err(error)) => {
                        no_one |= error.kind() == RequestErrorKind::NoResponders;
                        true
                    }
                    None => true,
                });
            }
            if !rest.is_empty() && self.link().is_up() {
                let gone = self.gone(&rest);
                let mut gone = gone.iter();
                rest.retain(|(token, _)| {
                    let is_gone = gone.next().copied().unwrap_or(false);
                    if is_gone {
                        self.held().remove(token);
                    }
                    !is_gone
                });
            }
            if rest.is_empty() {
                break;
            }
            // A stream that was removed has no item to settle any more.
            if no_one && self.stream.check_removal() {
                self.release(items);
                return Ok(());
            }
            if self.link().stop().is_raised() {
                stopped.get_or_insert_with(Instant::now);
            }
            let is_over = stopped.is_some_and(|since: Instant| since.elapsed() >= LAST);
            if is_over || start.elapsed() >= PATIENCE {
                self.release(items);
                return Err(self.link().silent());
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Which of the items are no longer in the stream. If a confirmation was lost, the item may be settled all the same.
    fn gone(&self, items: &[&(u64, Subject)]) -> Vec<bool> {
        let inner = &self.stream.inner;
        let work = async {
            let Ok(stream) = inner.link.jetstream.get_stream_no_info(inner.name.stream()).await else {
                return Vec::new();
            };
            let is_gone = |sequence: Option<u64>| {
                let stream = &stream;
                async move {
                    let Some(sequence) = sequence else { return false };
                    let found = stream.get_raw_message(sequence).await;
                    found.is_err_and(|error| error.kind() == LastRawMessageErrorKind::NoMessageFound)
                }
            };
            join_all(items.iter().map(|(_, reply)| is_gone(sequence_of(reply)))).await
        };
        inner.link.answer(work).unwrap_or_default()
    }

    /// Stops to mark items.
    fn release(&self, items: &[(u64, Subject)]) {
        let mut held = self.held();
        for (token, _) in items {
            held.remove(token);
        }
    }

    /// Gives items back, for redelivery at once. If the server does not get this, it redelivers them when it misses marks.
    pub fn give_back(&self, items: &[(u64, Subject)]) {
        self.release(items);
        self.returned.fetch_add(items.len() as u64, Relaxed);
        self.refuse(items.iter().map(|(_, reply)| reply.clone()));
    }

    /// Gives back what was delivered and never held.
    pub fn refuse(&self, replies: impl Iterator<Item = Subject>) {
        let replies: Vec<Subject> = replies.collect();
        if replies.is_empty() || !self.link().is_up() {
            return;
        }
        let client = &self.link().client;
        let work = async {
            for reply in replies {
                let _ = client.publish(reply, AckKind::Nak(None).into()).await;
            }
            let _ = client.flush().await;
        };
        let _ = self.link().wait(GIVING_BACK, GIVING_BACK, work);
    }
}
