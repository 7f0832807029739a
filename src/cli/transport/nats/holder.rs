//! The items that this process holds: marks them as in progress, so that the server delivers them to no one else, and
//! settles them.
//!
//! The server may deliver an item again that is still held: its marks were late, since this process was stopped or not
//! connected. The later delivery replaces the earlier one, and the item stays one item. An item that was settled and comes
//! again, because the server was killed before it had written that, is settled once more and not received again.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_nats::client::RequestErrorKind;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use async_nats::{Request, Subject};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::task::JoinHandle;

use super::link::{ANSWER, LAST_ANSWER, Link};
use super::observe::Stream;
use super::reply::{Facts, Stored};
use super::stream::CONSUMER;
use crate::Error;

/// In this share of the time that the server waits, each item is marked.
const MARKS: u32 = 3;
/// How long a settlement is tried again after a stop signal, while the server does not answer. Without a signal: until it
/// answers.
const LAST: Duration = Duration::from_secs(5);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(100);
/// How long items that are given back may take.
const GIVING_BACK: Duration = Duration::from_secs(1);
/// Settled items that are remembered: several times what a consumer holds.
const MOST_SETTLED: usize = 16_384;

/// What the process holds.
pub struct Holder {
    stream: Stream,
    table: Mutex<Table>,
    /// Items that were given back.
    pub returned: AtomicU64,
}

#[derive(Default)]
struct Table {
    held: HashMap<Stored, Hold>,
    /// The items that were settled last, and how.
    settled: HashMap<Stored, Settlement>,
    /// The same, the oldest first.
    order: VecDeque<Stored>,
}

/// The newest delivery of an item.
struct Hold {
    reply: Subject,
    delivered: u64,
}

/// How an item leaves the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    Acknowledged,
    /// It has failed for good. The server tells its other users.
    GivenUp,
}

impl Settlement {
    pub fn bytes(self) -> Bytes {
        match self {
            Settlement::Acknowledged => AckKind::Ack,
            Settlement::GivenUp => AckKind::Term,
        }
        .into()
    }
}

/// What a delivery brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// An item, which is held from now on.
    New,
    /// An item that is held already.
    Held,
    /// An item that was settled like this.
    Settled(Settlement),
}

impl Table {
    fn arrive(&mut self, facts: Facts, reply: &Subject) -> Arrival {
        let Facts { item, delivered } = facts;
        if let Some(how) = self.settled.get(&item) {
            return Arrival::Settled(*how);
        }
        match self.held.get_mut(&item) {
            Some(hold) => {
                if delivered > hold.delivered {
                    *hold = Hold { reply: reply.clone(), delivered };
                }
                Arrival::Held
            }
            None => {
                self.held.insert(item, Hold { reply: reply.clone(), delivered });
                Arrival::New
            }
        }
    }

    fn settle(&mut self, item: Stored, how: Settlement) {
        self.held.remove(&item);
        if self.settled.insert(item, how).is_none() {
            self.order.push_back(item);
        }
        if self.order.len() > MOST_SETTLED
            && let Some(oldest) = self.order.pop_front()
        {
            self.settled.remove(&oldest);
        }
    }
}

/// What the server says about an item whose settlement it has not confirmed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is not in the stream any more: it was settled, and the confirmation was lost.
    Gone,
    /// The server was killed, and does not know that it delivered the item: it will deliver it again. Until then, it ignores
    /// settlements.
    Undelivered,
    /// Nothing that ends the wait.
    Open,
}

impl Holder {
    /// Begins to mark what is held; the task ends when it is aborted.
    pub fn begin(stream: &Stream) -> (Arc<Self>, JoinHandle<()>) {
        let holder =
            Arc::new(Holder { stream: stream.clone(), table: Mutex::default(), returned: AtomicU64::new(0) });
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

    fn table(&self) -> MutexGuard<'_, Table> {
        // No invariant spans two statements that can panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks all items that are held. A mark that is lost is made up for by the next one.
    async fn mark(&self) {
        let all: Vec<Subject> = self.table().held.values().map(|hold| hold.reply.clone()).collect();
        if !self.link().is_up() {
            return;
        }
        for reply in all {
            let _ = self.link().client.publish(reply, AckKind::Progress.into()).await;
        }
    }

    /// Notes a delivery, and holds its item.
    pub fn arrive(&self, facts: Facts, reply: &Subject) -> Arrival {
        self.table().arrive(facts, reply)
    }

    /// How often a held item was delivered.
    pub fn delivered(&self, item: Stored) -> u64 {
        self.table().held.get(&item).map_or(1, |hold| hold.delivered)
    }

    /// Settles items, and waits until the server has confirmed each. An item that the server delivers again before it knows
    /// of the settlement is settled then.
    ///
    /// # Errors
    /// After a stop signal, if the server does not answer: the items are delivered again, unless it got the settlements.
    pub fn settle(&self, items: &[Stored], how: Settlement) -> Result<(), Error> {
        let mut stopped = None;
        loop {
            let rest = self.replies(items);
            if rest.is_empty() {
                return Ok(());
            }
            let no_one = self.ask(&rest, how);
            let rest = self.replies(items);
            if rest.is_empty() {
                return Ok(());
            }
            if self.link().is_up() {
                let fates = self.fates(&rest);
                for ((item, _), _) in rest.iter().zip(fates).filter(|(_, fate)| *fate != Fate::Open) {
                    self.table().settle(*item, how);
                }
            }
            // A stream that was removed has no item to settle any more.
            if no_one && self.stream.check_removal(ANSWER) {
                self.release(items);
                return Ok(());
            }
            if self.link().stop().is_raised() {
                stopped.get_or_insert_with(Instant::now);
            }
            if stopped.is_some_and(|since: Instant| since.elapsed() >= LAST) {
                self.release(items);
                return Err(self.link().silent());
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Those of the items that are held, with the subjects of their newest deliveries.
    fn replies(&self, items: &[Stored]) -> Vec<(Stored, Subject)> {
        let table = self.table();
        items.iter().filter_map(|item| Some((*item, table.held.get(item)?.reply.clone()))).collect()
    }

    /// Asks the server once to settle items, and notes those that it confirms. Ends early when the connection is lost, with
    /// which the answers are lost. Returns whether no subscriber of the server settles them.
    fn ask(&self, items: &[(Stored, Subject)], how: Settlement) -> bool {
        let (link, connects) = (self.link(), self.link().connects());
        let mut asked: FuturesUnordered<_> = items
            .iter()
            .map(|(item, reply)| async move {
                let request = Request::new().payload(how.bytes());
                (*item, link.client.send_request(reply.clone(), request).await)
            })
            .collect();
        let mut no_one = false;
        let answers = async {
            while let Some((item, answer)) = asked.next().await {
                match answer {
                    Ok(_) => self.table().settle(item, how),
                    Err(error) => no_one |= error.kind() == RequestErrorKind::NoResponders,
                }
            }
        };
        let work = async {
            tokio::select! {
                () = answers => {}
                () = link.is_cut(connects) => {}
            }
        };
        let answered = link.wait(ANSWER, LAST_ANSWER, work);
        if !matches!(answered, Err(Error::Interrupted)) {
            link.note_answer(answered.is_ok());
        }
        no_one
    }

    /// What the server says about items. Empty: it does not answer.
    fn fates(&self, items: &[(Stored, Subject)]) -> Vec<Fate> {
        let inner = &self.stream.inner;
        let work = async {
            let Ok(stream) = inner.link.jetstream.get_stream_no_info(inner.name.stream()).await else {
                return Vec::new();
            };
            let Ok(consumer) = stream.consumer_info(CONSUMER).await else { return Vec::new() };
            let fate = |item: Stored| {
                let stream = &stream;
                let is_undelivered = item.sequence > consumer.delivered.stream_sequence;
                async move {
                    match stream.get_raw_message(item.sequence).await {
                        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Fate::Gone,
                        Ok(_) if is_undelivered => Fate::Undelivered,
                        _ => Fate::Open,
                    }
                }
            };
            join_all(items.iter().map(|(item, _)| fate(*item))).await
        };
        inner.link.answer(work).unwrap_or_default()
    }

    /// Stops to mark an item that was not taken.
    pub fn forget(&self, item: Stored) {
        self.table().held.remove(&item);
    }

    /// Stops to mark items. Returns the subjects of their newest deliveries.
    fn release(&self, items: &[Stored]) -> Vec<Subject> {
        let mut table = self.table();
        items.iter().filter_map(|item| Some(table.held.remove(item)?.reply)).collect()
    }

    /// Gives items back, for redelivery at once. If the server does not get this, it redelivers them when it misses marks.
    pub fn give_back(&self, items: &[Stored]) {
        self.returned.fetch_add(items.len() as u64, Relaxed);
        self.refuse(items);
    }

    /// Gives back what was not taken by anyone here.
    pub fn refuse(&self, items: &[Stored]) {
        let replies = self.release(items);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(sequence: u64, delivered: u64) -> Facts {
        Facts { item: Stored { sequence, at: 7 }, delivered }
    }

    fn reply(delivered: u64) -> Subject {
        format!("reply.{delivered}").into()
    }

    #[test]
    fn a_later_delivery_of_a_held_item_replaces_the_earlier_one() {
        let mut table = Table::default();
        assert_eq!(table.arrive(facts(1, 2), &reply(2)), Arrival::New);
        assert_eq!(table.arrive(facts(1, 3), &reply(3)), Arrival::Held);
        // One that was overtaken.
        assert_eq!(table.arrive(facts(1, 1), &reply(1)), Arrival::Held);
        let hold = &table.held[&facts(1, 1).item];
        assert_eq!((hold.delivered, hold.reply.as_str()), (3, "reply.3"));
        assert_eq!(table.held.len(), 1);
    }

    #[test]
    fn a_settled_item_does_not_come_again() {
        let mut table = Table::default();
        table.arrive(facts(1, 1), &reply(1));
        table.settle(facts(1, 1).item, Settlement::Acknowledged);
        assert!(table.held.is_empty());
        assert_eq!(table.arrive(facts(1, 2), &reply(2)), Arrival::Settled(Settlement::Acknowledged));
        // Another item under the same number.
        let other = Facts { item: Stored { sequence: 1, at: 8 }, delivered: 1 };
        assert_eq!(table.arrive(other, &reply(1)), Arrival::New);
    }

    #[test]
    fn the_memory_for_settled_items_is_bounded() {
        let mut table = Table::default();
        for sequence in 0..MOST_SETTLED as u64 + 3 {
            table.settle(facts(sequence, 1).item, Settlement::GivenUp);
        }
        assert_eq!((table.settled.len(), table.order.len()), (MOST_SETTLED, MOST_SETTLED));
        assert_eq!(table.arrive(facts(0, 1), &reply(1)), Arrival::New);
        assert_eq!(table.arrive(facts(3, 1), &reply(1)), Arrival::Settled(Settlement::GivenUp));
    }
}
