//! The transport over shared memory.

mod attach;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::{Batch, Held, Item, Observe, Owned, Peer, Receiver, RingCounts, Room, Sender};
use crate::cli::common::progress::Fill;
use crate::framing::{Framing, Recorded};
use crate::sys::command::io::Wait;
use crate::{
    BatchItem, Consumer, DropObserver, Error, HeldBatch, ItemKey, Liveness, OnFull, OwnedItem, Producer,
    Reservation, Ring, RingObserver, Role, SlotState, Totals,
};

/// The transport over shared memory.
pub struct Shm;

/// How full a ring is, and how many producers and consumers are attached that may be alive. `None`: it cannot be
/// read.
pub fn fill(ring: &RingObserver) -> Option<Fill> {
    let seen = ring.snapshot().ok()?;
    let alive = |role| {
        let counts = |one: &&crate::ParticipantInfo| one.role == role && one.liveness != Liveness::Dead;
        seen.participants.iter().filter(counts).count()
    };
    let percent = seen.used_slots.saturating_mul(100) / seen.capacity.max(1);
    let producers = alive(Role::Producer);
    let have_left = producers == 0 && seen.producers_ever > 0;
    Some(Fill {
        percent: percent.min(100),
        items: seen.ready + seen.held.iter().filter(|held| !held.writing).count() as u64,
        acknowledged: seen.totals.acknowledged,
        no_more_come: seen.closed || have_left && seen.producers_ever >= seen.expected_producers.into(),
        producers,
        consumers: alive(Role::Consumer),
    })
}

impl Observe for Ring {
    fn name(&self) -> &str {
        RingObserver::name(self)
    }

    fn id(&self) -> [u8; 16] {
        RingObserver::id(self)
    }

    fn capacity(&self) -> u64 {
        RingObserver::capacity(self)
    }

    fn slot_size(&self) -> u64 {
        RingObserver::slot_size(self)
    }

    fn fixed(&self) -> Option<u64> {
        RingObserver::fixed(self)
    }

    fn is_exclusive(&self) -> bool {
        RingObserver::is_exclusive(self)
    }

    fn wake_at(&self) -> Option<u64> {
        self.discipline().thresholds().map(|thresholds| thresholds.wake_at)
    }

    fn is_closed(&self) -> bool {
        RingObserver::is_closed(self)
    }

    fn is_over(&self) -> bool {
        RingObserver::is_over(self)
    }

    fn is_drained(&self) -> bool {
        RingObserver::is_drained(self)
    }

    fn is_nameless(&self) -> bool {
        self.is_removed().unwrap_or(false)
    }

    fn has_items(&self) -> bool {
        self.slots().any(|slot| matches!(slot.state, SlotState::Ready | SlotState::Redeliver))
    }

    fn counts(&self) -> Option<RingCounts> {
        let seen = self.snapshot().ok()?;
        Some(RingCounts { used_slots: seen.used_slots, acknowledged: seen.totals.acknowledged })
    }

    fn peers(&self, role: Role) -> Vec<Peer> {
        let all = self.participants().into_iter().filter(|one| one.role == role);
        all.map(|one| Peer { pid: one.pid, liveness: one.liveness }).collect()
    }

    fn framing(&self) -> Recorded {
        Recorded::of(self.framing_word())
    }

    fn check(&self) -> Result<(), Error> {
        RingObserver::check(self)
    }

    fn gauge(&self) -> impl Fn() -> Option<Fill> + Send + 'static {
        let ring = self.clone();
        move || fill(&ring)
    }
}

/// A producer attached to a ring in shared memory.
pub struct ShmSender {
    ring: Ring,
    producer: Producer,
    /// Whether this process created the ring.
    made: bool,
}

impl Sender for ShmSender {
    const READS_IN_PLACE: bool = true;
    type Observer = Ring;
    type Room<'s> = Reservation<'s>;

    fn observe(&self) -> &Ring {
        &self.ring
    }

    fn has_made_ring(&self) -> bool {
        self.made
    }

    fn id(&self) -> u32 {
        self.producer.id()
    }

    fn set_on_full(&mut self, on_full: OnFull) -> Result<(), Error> {
        self.producer.set_on_full(on_full)
    }

    fn set_drop_observer(&mut self, observer: Box<dyn DropObserver>) {
        self.producer.set_drop_observer(observer);
    }

    fn record_framing(&self, framing: Framing) {
        self.ring.tell_framing(|word| Recorded::of(word).with(framing));
    }

    fn max_item(&self) -> u64 {
        self.producer.max_item()
    }

    #[inline]
    fn send(&mut self, items: &[&[u8]], limit: Duration) -> Result<usize, Error> {
        self.producer.send_slices_timeout(items, limit)
    }

    fn send_as(&mut self, key: ItemKey, bytes: &[u8], limit: Duration) -> Result<(), Error> {
        self.producer.send_as_timeout(key, bytes, limit)
    }

    #[inline]
    fn reserve(&mut self, len: u64, limit: Duration) -> Result<Reservation<'_>, Error> {
        self.producer.reserve_timeout(len, limit)
    }

    fn check(&self) -> Result<(), Error> {
        self.producer.check()
    }

    fn consumers_ever(&self) -> u64 {
        self.producer.consumers_ever()
    }

    fn is_abandoned(&self) -> bool {
        self.producer.is_abandoned()
    }

    fn undelivered(&self) -> Option<u64> {
        self.ring.repair();
        self.ring.snapshot().ok().map(|seen| seen.ready)
    }

    fn sent(&self) -> u64 {
        self.producer.sent()
    }

    fn totals(&self) -> Totals {
        self.producer.totals()
    }

    fn close(self, is_unused: bool) {
        let ShmSender { ring, producer, .. } = self;
        drop(producer);
        if is_unused {
            // If this fails, an empty ring stays. The command has another failure to report.
            let _ = ring.remove_if_deserted(false);
        }
    }
}

impl Room for Reservation<'_> {
    #[inline]
    fn read_from(&mut self, file: BorrowedFd<'_>, len: u64, wait: Wait) -> io::Result<u64> {
        Reservation::read_from(self, file, len, wait)
    }

    #[inline]
    fn send_first(self, len: u64) {
        self.commit_first(len);
    }
}

/// A consumer attached to a ring in shared memory.
pub struct ShmReceiver {
    ring: Ring,
    consumer: Consumer,
}

impl Receiver for ShmReceiver {
    type Observer = Ring;
    type Owned = OwnedItem;
    type Held = HeldBatch;
    type Batch<'r> = crate::Batch<'r>;

    fn observe(&self) -> &Ring {
        &self.ring
    }

    fn set_follow(&mut self, follow: bool) {
        self.consumer.set_follow(follow);
    }

    #[inline]
    fn receive(&mut self, most: usize, limit: Duration) -> Result<crate::Batch<'_>, Error> {
        self.consumer.recv_batch_timeout(most, limit)
    }

    fn receive_owned(&mut self, limit: Duration) -> Result<OwnedItem, Error> {
        self.consumer.recv_timeout(limit).map(crate::Item::into_owned)
    }

    #[inline]
    fn resume(&mut self, held: HeldBatch) -> crate::Batch<'_> {
        self.consumer.resume(held)
    }

    fn check(&self) -> Result<(), Error> {
        self.consumer.check()
    }

    fn returned(&self) -> u64 {
        self.consumer.totals().returned
    }
}

impl Owned for OwnedItem {
    fn bytes(&self) -> &[u8] {
        self
    }

    fn key(&self) -> ItemKey {
        OwnedItem::key(self)
    }

    fn attempt(&self) -> u8 {
        OwnedItem::attempt(self)
    }

    fn failures(&self) -> u8 {
        OwnedItem::failures(self)
    }

    fn sent_at(&self) -> Option<u64> {
        OwnedItem::sent_at(self)
    }

    fn check(&self) -> Result<(), Error> {
        OwnedItem::check(self)
    }

    fn record_failure(&self) -> u8 {
        OwnedItem::record_failure(self)
    }

    fn acknowledge(self) -> Result<(), Error> {
        self.ack();
        Ok(())
    }

    fn give_back(self) {
        OwnedItem::give_back(self);
    }
}

impl Held for HeldBatch {
    #[inline]
    fn len(&self) -> usize {
        HeldBatch::len(self)
    }
}

impl<'r> Batch for crate::Batch<'r> {
    type Held = HeldBatch;
    type Item<'b>
        = BatchItem<'b>
    where
        Self: 'b;

    #[inline]
    fn items(&self, first: usize) -> impl ExactSizeIterator<Item = BatchItem<'_>> {
        self.iter_from(first)
    }

    fn redelivered(&self) -> usize {
        // They were claimed at once, so all have the same number of deliveries.
        self.iter().next().filter(|item| item.attempt() > 1).map_or(0, |_| self.len())
    }

    fn append_separated(
        &self,
        first: usize,
        most: usize,
        separator: Option<u8>,
        out: &mut Vec<u8>,
        ends: &mut Vec<usize>,
    ) {
        crate::Batch::append_separated(self, first, most, separator, out, ends);
    }

    #[inline]
    fn check(&self) -> Result<(), Error> {
        crate::Batch::check(self)
    }

    #[inline]
    fn acknowledge(self) -> Result<(), Error> {
        self.ack();
        Ok(())
    }

    #[inline]
    fn acknowledge_first(&mut self, count: usize) -> Result<(), Error> {
        for _ in 0..count {
            self.ack_first();
        }
        Ok(())
    }

    fn give_back(self) {
        crate::Batch::give_back(self);
    }

    #[inline]
    fn set_aside(self) -> HeldBatch {
        crate::Batch::set_aside(self)
    }
}

impl Item for BatchItem<'_> {
    const WRITES_IN_PLACE: bool = true;

    #[inline]
    fn len(&self) -> usize {
        BatchItem::len(self)
    }

    fn producer(&self) -> u32 {
        BatchItem::producer(self)
    }

    fn sequence(&self) -> u64 {
        BatchItem::sequence(self)
    }

    #[inline]
    fn attempt(&self) -> u8 {
        BatchItem::attempt(self)
    }

    fn sent_at(&self) -> Option<u64> {
        BatchItem::sent_at(self)
    }

    #[inline]
    fn append_to(&self, out: &mut Vec<u8>) {
        BatchItem::append_to(self, out);
    }

    #[inline]
    fn write_to(&self, offset: u64, len: u64, file: BorrowedFd<'_>, wait: Wait) -> io::Result<usize> {
        BatchItem::write_to(self, offset, len, file, wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, RingOptions};

    const LIMIT: Duration = Duration::from_secs(60);

    /// Answers the next item on another thread, under its key; the first time, the answer fails.
    fn answer<S: Sender, R: Receiver>(sender: &mut S, receiver: &mut R) -> ItemKey {
        let item = receiver.receive_owned(LIMIT).unwrap();
        assert_eq!((item.bytes(), item.attempt(), item.failures()), (&b"question"[..], 1, 0));
        let failures = std::thread::spawn(move || {
            let failures = item.record_failure();
            item.give_back();
            failures
        });
        assert_eq!(failures.join().unwrap(), 1);
        let item = receiver.receive_owned(LIMIT).unwrap();
        assert_eq!((item.attempt(), item.failures(), item.check().is_ok()), (2, 1, true));
        sender.send_as(item.key(), b"answer", LIMIT).unwrap();
        let key = item.key();
        item.acknowledge().unwrap();
        key
    }

    #[test]
    fn an_owned_item_is_answered_under_its_key() {
        let name = format!("ringpipe-transport-{}", std::process::id());
        let make = |what| RingOptions::new().capacity(2).create(&format!("{name}-{what}")).unwrap();
        let (questions, answers) = (make("questions"), make("answers"));
        let attached = |ring: &Ring| ShmReceiver { consumer: ring.consumer().unwrap(), ring: ring.clone() };
        let mut sender =
            ShmSender { producer: answers.producer().unwrap(), ring: answers.clone(), made: false };
        let (mut receiver, mut end) = (attached(&questions), attached(&answers));
        questions.producer().unwrap().send(b"question").unwrap();
        let key = answer(&mut sender, &mut receiver);
        let item = end.receive_owned(LIMIT).unwrap();
        assert_eq!((item.bytes(), Owned::key(&item), sender.sent()), (&b"answer"[..], key, 0));
        assert_eq!(Owned::sent_at(&item).is_some(), answers.has_timestamps());
        item.acknowledge().unwrap();
        let none = end.receive_owned(Duration::ZERO).map(drop);
        assert_eq!(none.unwrap_err().kind(), ErrorKind::TimedOut);
        questions.remove().unwrap();
        answers.remove().unwrap();
    }

    #[test]
    fn a_batch_is_appended_as_its_items_one_by_one_are() {
        let mut random = fastrand::Rng::with_seed(5);
        let forms = [(8, 8, false), (64, 64, false), (100, 100, false), (64, 300, false), (24, 24, true)];
        for (form, (slot, longest, fixed)) in forms.into_iter().enumerate() {
            let options = RingOptions::new().capacity(64);
            let options = if fixed { options.fixed(slot) } else { options.slot_size(slot) };
            let ring = options.create(&format!("ringpipe-transport-{}-{form}", std::process::id())).unwrap();
            let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
            for _ in 0..60 {
                let count = random.usize(1..10);
                let len = |random: &mut fastrand::Rng| if fixed { slot } else { random.u64(..=longest) };
                let items: Vec<Vec<u8>> =
                    (0..count).map(|_| (0..len(&mut random)).map(|_| random.u8(..)).collect()).collect();
                let sent = producer.send_batch(&items).unwrap();
                let mut batch = consumer.recv_batch(10).unwrap();
                assert_eq!((batch.len(), Batch::redelivered(&batch)), (sent, 0));
                batch.ack_first();
                let (first, most) = (random.usize(..=batch.len()), random.usize(..600));
                let separator = [None, Some(b'\n')][random.usize(..2)];
                let (mut out, mut ends) = (b"before".to_vec(), vec![1]);
                Batch::append_separated(&batch, first, most, separator, &mut out, &mut ends);
                let (mut expected, mut places) = (b"before".to_vec(), vec![1]);
                for item in &items[1..sent][first..] {
                    expected.extend_from_slice(item);
                    expected.extend(separator);
                    places.push(expected.len());
                    if expected.len() >= most {
                        break;
                    }
                }
                assert_eq!((out, ends), (expected, places), "{slot} bytes, from item {first} on");
                batch.ack();
            }
            ring.remove().unwrap();
        }
    }
}
