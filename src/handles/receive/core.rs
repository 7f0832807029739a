//! The one core of the receiving side: it claims items, acknowledges them, and gives them back.
//!
//! [`Consumer`](super::Consumer), [`Item`](super::Item), [`Batch`](super::Batch), [`OwnedItem`](super::OwnedItem) and the
//! asynchronous consumer are built on it.
//!
//! Each claim is held by one of two kinds of value: a *guard*, which borrows the core, or an *owned* value, which
//! does not, and which may be on another thread. The participant counts guards, on the thread that has the core.
//! The [`Attachment`], which owned values share with the core, counts owned values.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::content::{Content, Copied};
use super::scan::Scan;
use crate::layout::mapping::Mapping;
use crate::membership::Role;
use crate::membership::entry::{Activity, Counter};
use crate::membership::participant::Participant;
use crate::membership::stream_end;
use crate::protocol::Claim;
use crate::protocol::memory::Memory;
use crate::sys::clock::{self, Deadline};
use crate::wait::{Depth, StopFlag, Strategy, TurnPatience, WaitProgress, WaitRequest, WaitStrategy};
use crate::{Error, Result};

/// A consumer's place in the ring. The consumer and the owned items that came from it share it; dropping the last
/// of them leaves the ring.
#[derive(Debug)]
pub struct Attachment {
    pub participant: Participant,
    /// The number of owned claims: owned items, and batches that were set aside. Only the thread that has the core
    /// adds to it.
    owned: AtomicU32,
    /// Wakes others. It shares no state with the wait: an owned item may wake others while its consumer waits.
    tells: Strategy,
}

impl Attachment {
    /// Counts a claim that goes to the user in a guard.
    #[inline]
    pub fn received(&self, items: u64, bytes: u64) {
        self.participant.guard_made();
        self.participant.count_all([(Counter::Received, items), (Counter::BytesReceived, bytes)]);
        self.participant.set_held_since(clock::coarse_ns);
    }

    /// The item of a claim of one.
    #[inline]
    pub fn content(&self, claim: Claim) -> Content<'_> {
        let slots = &self.participant.slots;
        let Claim { position, word } = claim;
        Content::new(slots.memory(), slots.codec().slot(position), slots.run(claim), position, word)
    }

    /// Acknowledges a claim of one item.
    #[inline]
    pub fn acknowledge_item(&self, claim: Claim) {
        if self.participant.check().is_ok() {
            self.participant.slots.acknowledge_one(claim);
            self.participant.guard_done();
            self.acknowledged(1, || self.participant.slots.run(claim));
        }
    }

    /// Gives a claim of one item back.
    #[cold]
    pub fn return_item(&self, claim: Claim) {
        if self.participant.check().is_ok() {
            let run = self.participant.slots.run(claim);
            self.participant.slots.give_back(claim, std::iter::once(run));
            self.participant.guard_done();
            self.returned(1, run);
        }
    }

    /// Records that a guard has freed the slots of some items. `slots` is computed only where producers are woken.
    #[inline]
    pub fn acknowledged(&self, items: u64, slots: impl FnOnce() -> u64) {
        self.tell_room(slots);
        self.guard_resolved(Counter::Acknowledged, items);
    }

    /// Records that a guard has given items back.
    pub fn returned(&self, items: u64, slots: u64) {
        self.tell_returned(items, slots);
        self.guard_resolved(Counter::Returned, items);
    }

    #[inline]
    fn guard_resolved(&self, counter: Counter, items: u64) {
        // Acquire: with `let_go`. An owned value that is gone has updated the counters before.
        if self.owned.load(Acquire) != 0 {
            return self.participant.count_shared(counter, items);
        }
        self.participant.count(counter, items);
        self.participant.clear_held_since();
    }

    #[inline]
    fn tell_room(&self, slots: impl FnOnce() -> u64) {
        match self.tells {
            Strategy::Adaptive(_) => self.participant.memory().room().notify_counted(slots),
            _ => self.wake_producers(slots()),
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_producers(&self, slots: u64) {
        let producers = self.participant.memory().sleepers(Role::Producer);
        self.tells.wake(producers, &self.participant.slots, WaitProgress { items: slots, slots });
    }

    fn tell_returned(&self, items: u64, slots: u64) {
        let consumers = self.participant.memory().sleepers(Role::Consumer);
        self.tells.wake_now(consumers, &self.participant.slots, WaitProgress { items, slots });
    }

    /// A guard's claim becomes an owned value's.
    pub fn own(&self) {
        self.participant.guard_done();
        // Relaxed: only this thread adds, and the value reaches other threads by other means.
        self.owned.fetch_add(1, Relaxed);
    }

    /// An owned value's claim becomes a guard's.
    #[cfg(feature = "cli")]
    pub fn disown(&self) {
        self.participant.guard_made();
        self.owned.fetch_sub(1, Release); // Release: as in `let_go`.
    }

    /// Records that the consumer waits, after a look that found nothing (E10). If the consumer has owned items,
    /// other consumers do not see the end of the stream before these are acknowledged, which can happen while it
    /// waits. What guards hold does not count: such guards were forgotten, and two consumers would wait for each
    /// other.
    fn say_waiting(&self) {
        // Acquire: with `let_go`.
        match self.owned.load(Acquire) {
            0 => self.participant.set_activity(Activity::WaitingForItems),
            _ => self.participant.set_waiting_with_items(),
        }
    }

    /// Acknowledges an owned claim of one item, on any thread.
    pub fn acknowledge_owned(&self, claim: Claim) {
        if self.participant.check_entry().is_ok() {
            self.participant.slots.acknowledge_one(claim);
            self.tell_room(|| self.participant.slots.run(claim));
            self.participant.count_shared(Counter::Acknowledged, 1);
        }
        self.let_go();
    }

    /// Gives an owned claim of one item back, on any thread.
    pub fn return_owned(&self, claim: Claim) {
        if self.participant.check_entry().is_ok() {
            let run = self.participant.slots.run(claim);
            self.participant.slots.give_back(claim, std::iter::once(run));
            self.tell_returned(1, run);
            self.participant.count_shared(Counter::Returned, 1);
        }
        self.let_go();
    }

    /// Gives an owned claim of `items` items back, on any thread. No spans: each item has one slot.
    #[cfg(feature = "cli")]
    pub fn return_batch(&self, claim: Claim, items: usize, spans: &VecDeque<u32>) {
        if self.participant.check_entry().is_ok() {
            let slots = &self.participant.slots;
            let run = slots.run(claim);
            match spans.is_empty() {
                true => slots.give_back(claim, std::iter::repeat_n(1, items)),
                false => slots.give_back(claim, spans.iter().map(|&span| u64::from(span))),
            }
            self.tell_returned(items as u64, run);
            self.participant.count_shared(Counter::Returned, items as u64);
        }
        self.let_go();
    }

    fn let_go(&self) {
        // Release: the thread that has the core counts without atomic exchanges once it finds no owned value.
        let last = self.owned.fetch_sub(1, Release) == 1;
        if last && self.participant.check().is_ok() {
            self.participant.clear_held_since();
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        if self.participant.check().is_err() {
            return;
        }
        if *self.owned.get_mut() != 0 {
            // A panic took an owned value before its claim was resolved: the claim is recovered like that of a
            // forgotten guard. A forgotten value is not meant here: it keeps this attachment.
            self.participant.guard_made();
        }
        self.participant.leave();
        stream_end::retire_if_over(&self.participant);
    }
}

/// The common part of all consumers, whichever type hands out the items.
#[derive(Debug)]
pub struct Core {
    pub attachment: Arc<Attachment>,
    /// The bytes of the item that was received last.
    pub copied: Copied,
    /// Space for the spans of a batch, kept from one batch to the next.
    pub spans: VecDeque<u32>,
    scan: Scan,
    strategy: Strategy,
    pub stop: Option<StopFlag>,
    pub follow: bool,
}

impl Core {
    pub fn attach(mapping: &Mapping, watches: bool) -> Result<Self> {
        let participant = Participant::attach(mapping, Role::Consumer)?;
        let strategy = || Strategy::new(mapping.geometry().discipline, participant.number);
        let (strategy, tells) = (strategy(), strategy());
        Ok(Core {
            attachment: Arc::new(Attachment { participant, owned: AtomicU32::new(0), tells }),
            copied: Copied::default(),
            spans: VecDeque::new(),
            scan: Scan::new(watches),
            strategy,
            stop: None,
            follow: false,
        })
    }

    #[inline(always)]
    pub fn participant(&self) -> &Participant {
        &self.attachment.participant
    }

    /// Claims up to `most` items by one quick look at head. `None`: a more thorough look is needed.
    #[inline(always)]
    pub fn claim_fast(&mut self, most: usize) -> Result<Option<Claim>> {
        let participant = &self.attachment.participant;
        participant.check()?;
        if self.scan.is_due(participant) || self.strategy.takes_turns() {
            return Ok(None);
        }
        let slots = &participant.slots;
        Ok(slots.claim_items(participant.number, most, slots.codec().max_run()).ok())
    }

    /// Claims up to `most` items; waits until the deadline for the first.
    #[inline(always)]
    pub fn claim(&mut self, most: usize, deadline: impl FnOnce() -> Deadline) -> Result<Claim> {
        match self.claim_fast(most)? {
            Some(claim) => Ok(claim),
            None => self.claim_slowly(most, deadline()),
        }
    }

    /// Claims the next item if there is one.
    #[inline(always)]
    pub fn try_claim(&mut self) -> Result<Claim> {
        match self.claim_fast(1)? {
            Some(claim) => Ok(claim),
            None => self.claim_once()?.ok_or(Error::Empty),
        }
    }

    #[cold]
    fn claim_once(&mut self) -> Result<Option<Claim>> {
        match self.look_once(Depth::Thorough, false, 1)? {
            None if self.scan.reaps_all(&self.attachment.participant) => {
                self.look_once(Depth::Thorough, false, 1)
            }
            found => Ok(found),
        }
    }

    /// One look for up to `most` items, as the ring's discipline requires, without sleeping.
    fn look_once(&mut self, depth: Depth, waits: bool, most: usize) -> Result<Option<Claim>> {
        let Core { attachment, scan, strategy, follow, .. } = self;
        let participant = &attachment.participant;
        participant.check_entry()?;
        let (deadline, weight) = (Deadline::immediate(), &|claim: &Claim| participant.slots.run(*claim));
        let request =
            WaitRequest { slots: 1, deadline, stop: None, patience: TurnPatience::None, waits, weight };
        let endpoint = participant.endpoint(Role::Consumer);
        scan.waits = waits;
        let claim =
            strategy.attempt(endpoint, &request, depth, |depth| scan.look(participant, depth, most, *follow));
        strategy.end_turn(endpoint);
        participant.check()?;
        claim
    }

    #[cold]
    fn claim_slowly(&mut self, most: usize, deadline: Deadline) -> Result<Claim> {
        match self.claim_by(most, deadline) {
            Err(Error::TimedOut) if self.scan.reaps_all(&self.attachment.participant) => {
                self.claim_by(most, Deadline::immediate())
            }
            claim => claim,
        }
    }

    fn claim_by(&mut self, most: usize, deadline: Deadline) -> Result<Claim> {
        let Core { attachment, scan, strategy, stop, follow, .. } = self;
        let participant = &attachment.participant;
        scan.waits = !deadline.passed();
        let (slots, events) = (&participant.slots, scan.events());
        // A waiting reader asks for the item's lines beside its word, so that it waits for both at the same time. Not
        // where the producer may still write the line, and would have to get it back: batches, long items.
        let mapping = participant.mapping();
        let asks = most == 1 && mapping.geometry().is_exclusive() && mapping.geometry().slot_size <= 64;
        let there = |more| {
            // Relaxed: the look reads it again.
            let there = slots.items_there(more) || slots.memory().returned().load(Relaxed) != events;
            if asks && !there {
                mapping.prefetch(slots.codec().slot(slots.near_head()));
            }
            there
        };
        let look = |depth| {
            participant.check_entry()?;
            participant.set_activity(Activity::Busy);
            let found = scan.look(participant, depth, most, *follow);
            if matches!(found, Ok(None)) {
                attachment.say_waiting();
            }
            found
        };
        let (endpoint, weight) = (participant.endpoint(Role::Consumer), &|claim: &Claim| slots.run(*claim));
        let patience = TurnPatience::Until(deadline, stop.as_ref());
        let request = WaitRequest { slots: 1, deadline, stop: stop.as_ref(), patience, waits: true, weight };
        let claim = strategy.wait(endpoint, &request, there, look);
        strategy.end_turn(endpoint);
        self.waited();
        // Discard what was found in memory that was lost meanwhile.
        self.participant().check()?;
        claim
    }

    /// One look of a wait that sleeps elsewhere. Before and after it the handle is free for other use.
    #[cfg(feature = "tokio")]
    pub fn poll_claim(&mut self, depth: Depth, most: usize) -> Result<Option<Claim>> {
        // E10: recorded before the claim. Others cannot tell whether the task still waits.
        self.participant().set_activity(Activity::Busy);
        if let Some(claim) = self.claim_fast(most)? {
            return Ok(Some(claim));
        }
        let found = self.look_once(depth, true, most);
        if matches!(found, Ok(None)) {
            self.attachment.say_waiting();
        }
        found
    }

    /// Records that a wake-up for this consumer has ended a sleep that was done elsewhere.
    #[cfg(feature = "tokio")]
    pub fn woken(&mut self) {
        self.strategy.woken();
    }

    /// Ends a wait.
    pub fn waited(&self) {
        let participant = self.participant();
        participant.set_activity(Activity::Busy);
        let more = || participant.slots.items_there(0) || self.scan.expects_more();
        if !self.strategy.takes_turns() && more() {
            // One wake-up stands for all items that are there: wake the next consumer.
            participant.memory().items().notify(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handles::testing::ring;
    use crate::layout::{entry, head};

    #[test]
    fn resolving_an_owned_item_wakes_the_side_that_waits_for_it() {
        let (_name, ring) = ring(Default::default());
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        (0..2).for_each(|_| producer.try_send(b"x").unwrap());
        let items = [(); 2].map(|()| consumer.try_recv().unwrap().into_owned());
        let waiting = [head::ROOM_WAITING, head::ITEMS_WAITING].map(|word| ring.mapping().head_word(word));
        let left = || waiting.map(|word| word.load(Relaxed));
        waiting.iter().for_each(|word| word.store(2, Relaxed));
        let [acknowledged, returned] = items;
        acknowledged.ack();
        assert_eq!(left(), [1, 2]);
        returned.give_back();
        assert_eq!(left(), [1, 1]);
    }

    #[test]
    fn an_owned_item_is_counted_until_it_is_gone_and_its_guard_is_not() {
        let name = crate::sys::testing::TestName::new();
        let options = crate::handles::RingOptions::new().capacity(4).slot_size(64).timestamps(true);
        let ring = options.create(name.0.as_str()).unwrap();
        ring.producer().unwrap().send_batch(&["a", "b"]).unwrap();
        let mut consumer = ring.consumer().unwrap();
        let attachment = Arc::clone(&consumer.core.attachment);
        let counts = || {
            let participant = &attachment.participant;
            let since = participant.mapping().entry_word(participant.number, entry::HELD_SINCE).load(Relaxed);
            (attachment.owned.load(Relaxed), participant.holds(), since != 0)
        };
        let item = consumer.recv().unwrap().into_owned();
        assert_eq!(counts(), (1, false, true));
        consumer.recv().unwrap().ack();
        assert_eq!(counts(), (1, false, true), "it is held still");
        item.ack();
        assert_eq!(counts(), (0, false, false));
    }

    #[test]
    #[cfg(feature = "cli")]
    fn a_batch_that_is_set_aside_and_dropped_is_given_back_and_a_forgotten_one_keeps_its_consumer() {
        let (_name, ring) = ring(Default::default());
        ring.producer().unwrap().send_batch(&["a", "b"]).unwrap();
        let mut consumer = ring.consumer().unwrap();
        let owned = Arc::clone(&consumer.core.attachment);
        drop(consumer.recv_batch(2).unwrap().set_aside());
        assert_eq!((owned.owned.load(Relaxed), owned.participant.holds()), (0, false));
        let again = consumer.recv_batch(2).unwrap();
        assert_eq!(again.iter().next().unwrap().attempt(), 2);
        std::mem::forget(again.set_aside());
        drop((owned, consumer));
        assert_eq!(ring.participants().len(), 1, "what was forgotten keeps its consumer attached");
    }

    #[test]
    fn a_claim_that_an_owned_value_left_unresolved_is_recovered_when_its_consumer_is_gone() {
        let (_name, ring) = ring(Default::default());
        ring.producer().unwrap().send(b"a").unwrap();
        let mut consumer = ring.consumer().unwrap();
        // As an owned item does whose resolution panics.
        std::mem::forget(consumer.recv().unwrap());
        consumer.core.attachment.own();
        drop(consumer);
        assert_eq!(ring.repair().returned, 1);
        assert_eq!(ring.consumer().unwrap().try_recv().expect("what was left").attempt(), 2);
    }

    #[test]
    #[cfg(feature = "cli")]
    fn an_empty_batch_that_was_set_aside_counts_for_nothing() {
        let (_name, ring) = ring(Default::default());
        ring.producer().unwrap().send(b"a").unwrap();
        let mut consumer = ring.consumer().unwrap();
        drop(consumer.resume(Default::default()));
        let mut batch = consumer.recv_batch(1).unwrap();
        assert!(batch.ack_first() && !batch.ack_first());
        let empty = batch.set_aside();
        assert!(empty.is_empty());
        drop(consumer.resume(empty));
        assert_eq!(consumer.core.attachment.owned.load(Relaxed), 0);
        assert!(!consumer.core.participant().holds());
        drop(consumer);
        assert_eq!((ring.participants().len(), ring.repair().participants), (0, 0), "it has left in order");
    }

    #[test]
    #[cfg(feature = "cli")]
    fn a_batch_of_another_consumer_is_refused_and_given_back() {
        let (_name, ring) = ring(Default::default());
        ring.producer().unwrap().send(b"a").unwrap();
        let (mut one, mut other) = (ring.consumer().unwrap(), ring.consumer().unwrap());
        let held = one.recv_batch(1).unwrap().set_aside();
        let resume = std::panic::AssertUnwindSafe(|| drop(other.resume(held)));
        let refusal = std::panic::catch_unwind(resume).unwrap_err();
        let why = refusal.downcast_ref::<&str>().unwrap();
        assert!(why.contains("its own consumer"), "{why}");
        assert_eq!(one.core.attachment.owned.load(Relaxed), 0);
        let item = other.try_recv().expect("what was set aside");
        assert_eq!(item.attempt(), 2);
        item.ack();
        drop(one);
        assert_eq!((ring.participants().len(), ring.repair().participants), (1, 0), "it has left in order");
    }
}
