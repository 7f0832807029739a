//! A stream as its ends observe it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::State;

use super::link::{LAST_ANSWER, Link};
use super::members::{Denials, Membership, SharedView, is_denied, locked};
use super::state::Buckets;
use super::stream::{CONSUMER, Found, subject};
use crate::cli::common::progress::Fill;
use crate::cli::common::stream_name::StreamName;
use crate::cli::transport::{Observe, Peer, RingCounts};
use crate::framing::Recorded;
use crate::{Error, Role};

/// A stream, for observation; shared by what belongs to one end.
#[derive(Clone)]
pub struct Stream {
    pub inner: Arc<Inner>,
}

pub struct Inner {
    pub name: StreamName,
    pub subject: String,
    pub link: Link,
    pub buckets: Buckets,
    pub view: SharedView,
    pub capacity: u64,
    pub ack_wait: Duration,
    id: [u8; 16],
    /// Why the last attempt to send was refused, if not because the stream is full.
    refusal: Mutex<Option<String>>,
    denials: Mutex<Denials>,
}

impl Stream {
    pub fn new(name: &StreamName, link: &Link, found: &Found, membership: &Membership) -> Self {
        Stream {
            inner: Arc::new(Inner {
                name: name.clone(),
                subject: subject(name.stream()),
                link: link.clone(),
                buckets: found.buckets.clone(),
                view: Arc::clone(&membership.view),
                capacity: found.capacity,
                ack_wait: found.ack_wait,
                id: found.record.id(),
                refusal: Mutex::default(),
                denials: Mutex::default(),
            }),
        }
    }

    /// Notes why the stream takes no item. `None`: it does, or is full.
    pub fn note_refusal(&self, reason: Option<String>) {
        *self.refusal() = reason;
    }

    fn refusal(&self) -> MutexGuard<'_, Option<String>> {
        self.inner.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn link(&self) -> &Link {
        &self.inner.link
    }

    /// The figures of the server. `None`: it does not answer, or the stream is gone.
    pub fn state(&self) -> Option<State> {
        state(&self.inner)
    }

    /// Whether no item waits and none is held. `None`: the server does not answer within `limit`.
    ///
    /// A server that was killed may know that an item was acknowledged, and have forgotten that it was removed (2.9.10): it
    /// delivers the item to no one, and the item keeps its place. Such items are removed here.
    pub fn is_empty(&self, limit: Duration) -> Option<bool> {
        let inner = &self.inner;
        let emptied = inner.link.answer_within(limit, async {
            let stream = inner.link.jetstream.get_stream_no_info(inner.name.stream()).await.ok()?;
            // First the consumer: an item that comes in between is behind what was acknowledged.
            let info = stream.consumer_info(CONSUMER).await.ok()?;
            let state = stream.get_info().await.ok()?.state;
            if state.messages == 0 {
                return Some(true);
            }
            let acknowledged = info.ack_floor.stream_sequence;
            if state.first_sequence <= acknowledged {
                // If this fails, the next check tries it again.
                let _ = stream.purge().sequence(acknowledged + 1).await;
            }
            Some(info.num_pending == 0 && info.num_ack_pending == 0 && state.last_sequence <= acknowledged)
        });
        emptied.ok().flatten()
    }

    /// Items that wait for a consumer, and items that one holds.
    pub fn pending(&self) -> Option<(u64, u64)> {
        if self.inner.link.is_silent() {
            return None;
        }
        let info = self.inner.link.answer_within(LAST_ANSWER, async {
            let stream = self.inner.link.jetstream.get_stream_no_info(self.inner.name.stream()).await.ok()?;
            stream.consumer_info(CONSUMER).await.ok()
        });
        info.ok().flatten().map(|info| (info.num_pending, info.num_ack_pending as u64))
    }

    /// Asks the server, at most for `limit`, whether the stream is gone. It must say so for some time: one that is starting, or
    /// that follows the others of its cluster late, denies streams that exist.
    pub fn check_removal(&self, limit: Duration) -> bool {
        let inner = &self.inner;
        if locked(&inner.view).is_removed {
            return true;
        }
        let denied = inner.link.answer_within(limit, is_denied(&inner.link, inner.name.stream()));
        let mut denials = inner.denials.lock().unwrap_or_else(PoisonError::into_inner);
        let is_removed = match denied {
            Ok(is_denied) => denials.note(is_denied, Instant::now()),
            // No answer says nothing.
            Err(_) => false,
        };
        locked(&inner.view).is_removed |= is_removed;
        is_removed
    }

    /// Fails if the record of the stream cannot be read.
    ///
    /// # Errors
    /// [`Error::Damaged`].
    pub fn check_record(&self) -> Result<(), Error> {
        match locked(&self.inner.view).is_damaged {
            true => Err(self.inner.buckets.damaged()),
            false => Ok(()),
        }
    }

    pub fn is_removed(&self) -> bool {
        locked(&self.inner.view).is_removed
    }

    /// Whether all of a role came and left, or died.
    pub fn are_gone(&self, role: Role) -> bool {
        locked(&self.inner.view).are_gone(role)
    }
}

fn state(inner: &Inner) -> Option<State> {
    // No wait is longer because of figures that will not come.
    if inner.link.is_silent() {
        return None;
    }
    let info = inner.link.answer_within(LAST_ANSWER, async {
        let stream = inner.link.jetstream.get_stream(inner.name.stream()).await.ok()?;
        Some(stream.cached_info().state.clone())
    });
    info.ok().flatten()
}

impl Observe for Stream {
    fn name(&self) -> &str {
        self.inner.name.as_str()
    }

    fn id(&self) -> [u8; 16] {
        self.inner.id
    }

    fn capacity(&self) -> u64 {
        self.inner.capacity
    }

    /// Items have any length.
    fn slot_size(&self) -> u64 {
        1
    }

    fn fixed(&self) -> Option<u64> {
        None
    }

    fn is_exclusive(&self) -> bool {
        false
    }

    fn wake_at(&self) -> Option<u64> {
        None
    }

    fn is_closed(&self) -> bool {
        let view = locked(&self.inner.view);
        view.is_removed || view.record.as_ref().is_some_and(|record| record.closed)
    }

    fn is_over(&self) -> bool {
        let (came, expected, closed_early) = {
            let view = locked(&self.inner.view);
            view.record
                .as_ref()
                .map_or((0, 1, false), |record| (record.producers, record.expected, record.closed_early))
        };
        // Producers also leave because it was closed.
        !closed_early && came >= expected && self.are_gone(Role::Producer) && self.is_drained()
    }

    fn is_drained(&self) -> bool {
        !self.inner.link.is_silent() && self.is_empty(LAST_ANSWER) == Some(true)
    }

    fn is_nameless(&self) -> bool {
        self.is_removed()
    }

    fn has_items(&self) -> bool {
        self.pending().is_some_and(|(waiting, _)| waiting > 0)
    }

    fn counts(&self) -> Option<RingCounts> {
        self.state().map(|state| RingCounts {
            used_slots: state.messages,
            // Each item that was ever stored has a sequence, and leaves the stream when it is acknowledged.
            acknowledged: state.last_sequence.saturating_sub(state.messages),
        })
    }

    fn peers(&self, role: Role) -> Vec<Peer> {
        locked(&self.inner.view).peers(role)
    }

    fn framing(&self) -> Recorded {
        Recorded::of(locked(&self.inner.view).record.as_ref().map_or(0, |record| record.framing))
    }

    fn check(&self) -> Result<(), Error> {
        self.check_record()
    }

    fn gauge(&self) -> impl Fn() -> Option<Fill> + Send + 'static {
        let inner = Arc::clone(&self.inner);
        move || {
            let state = state(&inner)?;
            let view = locked(&inner.view);
            let alive = |role| view.of(role).iter().filter(|(_, member)| member.is_alive()).count();
            let record = view.record.as_ref()?;
            let came_all = record.producers >= record.expected.max(1);
            Some(Fill {
                percent: (state.messages.saturating_mul(100) / inner.capacity.max(1)).min(100),
                items: state.messages,
                acknowledged: state.last_sequence.saturating_sub(state.messages),
                no_more_come: record.closed || came_all && view.are_gone(Role::Producer),
                producers: alive(Role::Producer),
                consumers: alive(Role::Consumer),
            })
        }
    }

    fn refusal_reason(&self) -> Option<String> {
        match self.inner.link.is_silent() {
            true => Some("its server does not answer".into()),
            false => self.refusal().clone(),
        }
    }

    fn item_limit(&self) -> (&'static str, &'static str) {
        (
            "the most that the server takes",
            "max_payload in the server's configuration allows larger ones, up to 64M",
        )
    }
}
