//! Receiving.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::batch::Batch;
use super::item::{Copied, Item};
use super::participant::{Activity, Counter, Participant};
use super::search::Search;
use super::{ReadItems, Role, Totals, end};
use crate::layout::view::View;
use crate::ring::Claim;
use crate::ring::memory::Memory;
use crate::sync::{Look, Made, StopFlag, Strategy, WaitStrategy, Wanted};
use crate::sys::clock::{self, Deadline};
use crate::{Error, Result};

/// The receiving end of a ring: one participant, for one thread at a time.
///
/// What it receives is its own until acknowledged; what is dropped unacknowledged, or held by a process
/// that dies, is delivered again. Dropping the handle leaves the ring.
///
/// ```
/// # let name = format!("doc-consumer-{}", std::process::id());
/// # let ring = ringpipe::RingOptions::new().create(&name)?;
/// # ring.producer()?.send(b"hello")?;
/// let mut consumer = ring.consumer()?;
/// let item = consumer.recv()?;
/// assert_eq!(&*item, b"hello");
/// item.ack();
/// assert!(matches!(consumer.recv(), Err(ringpipe::Error::Ended)));
/// # ring.remove()?;
/// # Ok::<(), ringpipe::Error>(())
/// ```
///
/// One handle serves one thread at a time; it can be moved to another, not shared:
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<ringpipe::Consumer>();
/// ```
///
/// An item borrows its consumer: hold a [`Batch`] to have several at once.
///
/// ```compile_fail
/// fn two(consumer: &mut ringpipe::Consumer) {
///     let first = consumer.recv().unwrap();
///     let second = consumer.recv().unwrap();
///     first.ack();
/// }
/// ```
#[derive(Debug)]
pub struct Consumer {
    pub(super) participant: Participant,
    pub(super) copied: Copied,
    /// Room for the spans of a batch, kept from one batch to the next.
    pub(super) spans: VecDeque<u32>,
    search: Search,
    pub(super) strategy: Strategy,
    stop: Option<StopFlag>,
    follow: bool,
    /// Handles are Send, not Sync.
    _not_sync: std::marker::PhantomData<std::cell::Cell<()>>,
}

impl Consumer {
    pub(super) fn attach(view: &View, watches: bool) -> Result<Self> {
        let participant = Participant::attach(view, Role::Consumer, watches)?;
        Ok(Consumer {
            strategy: Strategy::new(view.geometry().discipline, participant.number),
            participant,
            copied: Copied::default(),
            spans: VecDeque::new(),
            search: Search::new(),
            stop: None,
            follow: false,
            _not_sync: std::marker::PhantomData,
        })
    }

    /// Lets `stop` end any wait of this handle with [`Error::Interrupted`], within 100 milliseconds.
    pub fn set_stop_flag(&mut self, stop: StopFlag) {
        self.stop = Some(stop);
    }

    /// Whether to go on waiting when every producer has left: then only closing or removing the ring
    /// ends the stream.
    pub fn set_follow(&mut self, follow: bool) {
        self.follow = follow;
    }

    /// Whether this handle can still be used: an error in a child of the process that attached, and, after
    /// [`survive_truncation`](crate::survive_truncation), when the ring's memory was lost.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Truncated`].
    pub fn check(&self) -> Result<()> {
        self.participant.check()
    }

    /// Counters of this handle: what it received, acknowledged and gave back.
    pub fn totals(&self) -> Totals {
        Totals::of(&self.participant)
    }

    /// Receives the next item, and waits for it; its bytes are copied out of the ring when they are asked for.
    ///
    /// # Errors
    /// [`Error::Ended`] when everything was delivered and acknowledged and no producer is left, after at
    /// least one (or the expected number) came, or the ring was closed; [`Error::Interrupted`] when the
    /// stop flag was raised while waiting.
    #[inline(always)]
    pub fn recv(&mut self) -> Result<Item<'_>> {
        let claim = match self.claim_fast(1)? {
            Some(claim) => claim,
            None => self.claim(1, Deadline::never())?,
        };
        Item::new(self, claim)
    }

    /// Receives the next item, and waits for it at most `timeout`.
    ///
    /// ```
    /// # let name = format!("doc-recv-timeout-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// # let mut consumer = ring.consumer()?;
    /// use std::time::Duration;
    /// let result = consumer.recv_timeout(Duration::from_millis(5));
    /// assert!(matches!(result, Err(ringpipe::Error::TimedOut)));
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`Error::TimedOut`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Item<'_>> {
        let claim = match self.claim_fast(1)? {
            Some(claim) => claim,
            None => self.claim(1, Deadline::after(timeout))?,
        };
        Item::new(self, claim)
    }

    /// Receives the next item if there is one now; what is dropped comes back, and says so.
    ///
    /// ```
    /// # let name = format!("doc-try-recv-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// # let mut consumer = ring.consumer()?;
    /// ring.producer()?.send(b"again")?;
    /// drop(consumer.try_recv()?);
    /// let item = consumer.try_recv()?;
    /// assert!(item.redelivered());
    /// assert_eq!(item.attempt(), 2);
    /// item.ack();
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    /// A death is noticed within about a millisecond.
    ///
    /// # Errors
    /// [`Error::Empty`] if there is none; [`Error::Ended`] at the end of the stream.
    pub fn try_recv(&mut self) -> Result<Item<'_>> {
        let claim = match self.claim_fast(1)? {
            Some(claim) => claim,
            None => self.claim_once()?.ok_or(Error::Empty)?,
        };
        Item::new(self, claim)
    }

    /// Receives up to `most` items, at least one, and waits for the first.
    ///
    /// ```
    /// # let name = format!("doc-recv-batch-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// # ring.producer()?.send_batch(&["a", "b"])?;
    /// # let mut consumer = ring.consumer()?;
    /// let batch = consumer.recv_batch(16)?;
    /// let texts: Vec<Vec<u8>> = batch.iter().map(|item| item.to_vec()).collect();
    /// batch.ack();
    /// assert_eq!(texts, [b"a", b"b"]);
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn recv_batch(&mut self, most: usize) -> Result<Batch<'_>> {
        let claim = match self.claim_fast(most)? {
            Some(claim) => claim,
            None => self.claim(most, Deadline::never())?,
        };
        Batch::new(self, claim)
    }

    /// As [`recv_batch`](Self::recv_batch), waiting at most `timeout` for the first; a zero timeout looks
    /// everywhere, and does not wait.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`Error::TimedOut`].
    pub fn recv_batch_timeout(&mut self, most: usize, timeout: Duration) -> Result<Batch<'_>> {
        let claim = match self.claim_fast(most)? {
            Some(claim) => claim,
            None if timeout.is_zero() => self.claim(most, Deadline::immediate())?,
            None => self.claim(most, Deadline::after(timeout))?,
        };
        Batch::new(self, claim)
    }

    /// The items as owned bytes, to the end of the stream. An item is acknowledged when the next one is
    /// asked for, and delivered again if that never happens.
    ///
    /// ```
    /// # let name = format!("doc-iter-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// # ring.producer()?.send_batch(&["a", "b"])?;
    /// # let mut consumer = ring.consumer()?;
    /// let mut bytes = 0;
    /// for item in consumer.items() {
    ///     bytes += item?.len();
    /// }
    /// assert_eq!(bytes, 2);
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    pub fn items(&mut self) -> Items<'_> {
        Items { consumer: self, held: None }
    }

    /// An [`std::io::Read`] over the bytes of the items, one after the other; an item is acknowledged
    /// when its last byte was read.
    pub fn reader(&mut self) -> ReadItems<'_> {
        ReadItems::new(self)
    }

    #[inline(always)]
    pub(super) fn claim_fast(&mut self, most: usize) -> Result<Option<Claim>> {
        self.participant.check()?;
        if self.search.is_due(&self.participant) || self.strategy.takes_turns() {
            return Ok(None);
        }
        let slots = &self.participant.slots;
        Ok(slots.claim_items(self.participant.number, most, slots.codec().max_run()).ok())
    }

    /// Claims the next item if there is one, after a look that is a thorough one from time to time.
    #[cold]
    fn claim_once(&mut self) -> Result<Option<Claim>> {
        let depth = self.search.depth_of_try();
        self.look_once(depth, false, 1)
    }

    /// One look for up to `most` items as the ring's discipline has it, without sleeping.
    pub(super) fn look_once(&mut self, depth: Look, waits: bool, most: usize) -> Result<Option<Claim>> {
        let Consumer { participant, search, strategy, follow, .. } = self;
        let (deadline, weight) = (Deadline::immediate(), &|claim: &Claim| participant.slots.run(*claim));
        let wanted = Wanted { slots: 1, deadline, stop: None, waits, weight };
        let side = participant.side(Role::Consumer);
        let claim =
            strategy.attempt(side, &wanted, depth, |depth| search.look(participant, depth, most, *follow));
        strategy.end_turn(side);
        participant.check()?;
        claim
    }

    #[cold]
    fn claim(&mut self, most: usize, deadline: Deadline) -> Result<Claim> {
        let Consumer { participant, search, strategy, stop, follow, .. } = self;
        let (slots, news) = (&participant.slots, search.news());
        // Relaxed: who looks reads it again.
        let there = |more| slots.items_there(more) || slots.memory().returned().load(Relaxed) != news;
        // Only while it really waits does what it holds not count for the end of others (E10).
        let look = |look| {
            participant.check()?;
            participant.set_activity(Activity::Busy);
            let found = search.look(participant, look, most, *follow);
            if matches!(found, Ok(None)) {
                participant.set_activity(Activity::WaitingForItems);
            }
            found
        };
        let (side, weight) = (participant.side(Role::Consumer), &|claim: &Claim| slots.run(*claim));
        let wanted = Wanted { slots: 1, deadline, stop: stop.as_ref(), waits: true, weight };
        let claim = strategy.wait(side, &wanted, there, look);
        strategy.end_turn(side);
        self.waited();
        // What a look at lost memory says is nothing.
        self.participant.check()?;
        claim
    }

    /// A wait is over.
    pub(super) fn waited(&self) {
        self.participant.set_activity(Activity::Busy);
        let more = || self.participant.slots.items_there(0) || self.search.expects_more();
        if !self.strategy.takes_turns() && more() {
            // The wake-up stands for as many as there are items: pass it on.
            self.participant.memory().items().notify(1);
        }
    }

    /// Takes note of a claim that goes to the user.
    #[inline]
    pub(super) fn received(&self, items: u64, bytes: u64) {
        self.participant.guard_made();
        self.participant.count_all([(Counter::Received, items), (Counter::BytesReceived, bytes)]);
        self.participant.set_held_since(clock::coarse_ns);
    }

    /// Acknowledges a claim of one item.
    #[inline]
    pub(super) fn acknowledge_item(&self, claim: Claim) {
        if self.participant.check().is_ok() {
            self.participant.slots.acknowledge_one(claim);
            self.participant.guard_done();
            self.acknowledged(1, self.participant.slots.run(claim));
        }
    }

    /// Gives a claim of one item back.
    #[cold]
    pub(super) fn return_item(&self, claim: Claim) {
        if self.participant.check().is_ok() {
            let run = self.participant.slots.run(claim);
            self.participant.slots.give_back(claim, std::iter::once(run));
            self.participant.guard_done();
            self.returned(1, run);
        }
    }

    /// Takes note of slots that were freed.
    #[inline]
    pub(super) fn acknowledged(&self, items: u64, slots: u64) {
        match self.strategy {
            Strategy::Adaptive(_) => self.participant.memory().room().notify(slots),
            _ => self.wake_producers(slots),
        }
        self.participant.count(Counter::Acknowledged, items);
        self.participant.set_held_since(|| 0);
    }

    #[cold]
    #[inline(never)]
    fn wake_producers(&self, slots: u64) {
        let producers = self.participant.memory().sleepers(Role::Producer);
        self.strategy.wake(producers, &self.participant.slots, Made { items: slots, slots });
    }

    /// Takes note of items that were given back.
    pub(super) fn returned(&self, items: u64, slots: u64) {
        let consumers = self.participant.memory().sleepers(Role::Consumer);
        self.strategy.wake_now(consumers, &self.participant.slots, Made { items, slots });
        self.participant.count(Counter::Returned, items);
        self.participant.set_held_since(|| 0);
    }
}

/// The items of a consumer as owned bytes: see [`Consumer::items`].
#[derive(Debug)]
pub struct Items<'c> {
    consumer: &'c mut Consumer,
    held: Option<Claim>,
}

impl Iterator for Items<'_> {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(claim) = self.held.take() {
            self.consumer.acknowledge_item(claim);
        }
        match self.consumer.recv() {
            Ok(item) => {
                let mut bytes = vec![0; item.len()];
                item.copy_to(&mut bytes);
                if let Err(error) = item.check() {
                    return Some(Err(error));
                }
                self.held = Some(item.into_claim());
                Some(Ok(bytes))
            }
            Err(Error::Ended) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

impl Drop for Items<'_> {
    fn drop(&mut self) {
        if let Some(claim) = self.held.take() {
            self.consumer.return_item(claim);
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if self.participant.check().is_err() {
            return;
        }
        self.participant.leave();
        end::retire_if_over(&self.participant);
    }
}
