//! The one core of the sending side: it claims room, writes items, and publishes them.
//!
//! [`Producer`](super::Producer), [`Reservation`](super::Reservation) and the asynchronous producer are built on
//! it. They differ in what a call does when it finds no room: see [`RoomWait`].

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::drop_observer::DropObserver;
use crate::handles::ItemKey;
use crate::layout::header;
use crate::layout::mapping::Mapping;
use crate::membership::Role;
use crate::membership::entry::Counter;
use crate::membership::fairness::FairnessRequest;
use crate::membership::participant::Participant;
use crate::membership::recovery::reap_all;
use crate::membership::stream_end;
use crate::membership::sweep::Sweep;
use crate::protocol::Claim;
use crate::sys::clock::{self, Deadline};
use crate::wait::{Depth, SLICE, StopFlag, Strategy, WaitProgress, WaitStrategy};
use crate::{Error, Result};

/// A producer's place in the ring, and what its handle remembers of other participants.
#[derive(Debug)]
pub struct Place {
    pub participant: Participant,
    pub sweep: Sweep,
    /// Requests to hold back.
    pub fairness: FairnessRequest,
}

/// How a call continues when it finds no room.
pub trait RoomWait {
    /// Whether the calling thread may sleep.
    const SLEEPS: bool;

    /// Claims room of `first` slots, with what `look` returns before the deadline passes.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when the deadline passed, or the wait continues elsewhere; any error of `look`.
    fn claim(
        &mut self,
        core: &mut Core,
        first: u64,
        deadline: Deadline,
        look: impl FnMut(&Place, Depth) -> Result<Option<Claim>>,
    ) -> Result<Claim>;
}

/// The calling thread waits.
#[derive(Debug)]
pub struct Blocking;

impl RoomWait for Blocking {
    const SLEEPS: bool = true;

    fn claim(
        &mut self,
        core: &mut Core,
        first: u64,
        deadline: Deadline,
        look: impl FnMut(&Place, Depth) -> Result<Option<Claim>>,
    ) -> Result<Claim> {
        core.wait_for_room(first, deadline, look)
    }
}

/// What `send` does when the ring is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// Waits for room.
    #[default]
    Block,
    /// Returns [`Error::Full`].
    Fail,
    /// Drops the item that is being sent, counts it, and returns `Ok`.
    DropNewest,
    /// Drops the oldest item that no consumer holds, counts it, and sends. Not on exclusive rings, where only the
    /// consumer may take items.
    DropOldest,
}

/// What a producer has seen of returned items.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReturnedSeen {
    /// The event counter at the last search; `None` before the first.
    pub events: Option<u64>,
    /// Where the last search found an item: there may be more.
    pub again: Option<u64>,
}

/// The common part of all producers, whichever type writes the items.
#[derive(Debug)]
pub struct Core {
    pub place: Place,
    pub strategy: Strategy,
    pub stop: Option<StopFlag>,
    pub on_full: OnFull,
    pub sequence: u64,
    /// What this producer had seen of returned items when it last dropped old ones.
    pub returned: ReturnedSeen,
    pub drop_observer: Option<Box<dyn DropObserver>>,
}

impl Core {
    pub fn attach(mapping: &Mapping, watches: bool) -> Result<Self> {
        let participant = Participant::attach(mapping, Role::Producer)?;
        Ok(Core {
            strategy: Strategy::new(mapping.geometry().discipline, participant.number),
            place: Place { participant, sweep: Sweep::new(watches), fairness: FairnessRequest::new() },
            stop: None,
            on_full: OnFull::Block,
            sequence: 0,
            returned: ReturnedSeen::default(),
            drop_observer: None,
        })
    }

    #[inline(always)]
    pub fn participant(&self) -> &Participant {
        &self.place.participant
    }

    /// Sends one item, under the policy for full rings, at most until the deadline.
    #[inline]
    pub fn send<W: RoomWait>(
        &mut self,
        bytes: &[u8],
        wait: &mut W,
        deadline: impl FnOnce() -> Deadline,
    ) -> Result<()> {
        match self.send_now::<W>(bytes) {
            Err(Error::Full) => self.send_slowly(bytes, wait, deadline()),
            result => result,
        }
    }

    /// Sends one item if there is room now.
    #[inline]
    pub fn try_send(&mut self, bytes: &[u8]) -> Result<()> {
        match self.send_now::<Blocking>(bytes) {
            Err(Error::Full) => self.send_after_asking(bytes),
            result => result,
        }
    }

    #[cold]
    #[inline(never)]
    fn send_after_asking(&mut self, bytes: &[u8]) -> Result<()> {
        // Another process may have recovered a dead participant's slots meanwhile: look again in any case.
        reap_all(&self.participant().slots);
        self.send_now::<Blocking>(bytes)
    }

    #[inline(always)]
    fn send_now<W: RoomWait>(&mut self, bytes: &[u8]) -> Result<()> {
        let span = self.span(bytes.len() as u64)?;
        let claim = match span {
            // A constant, so that the compiler makes a short path for short items.
            1 => self.claim_now::<W>(1, 1, |_| 1)?,
            _ => self.claim_wide::<W>(span)?,
        };
        self.write_and_publish::<W>(claim, span, bytes);
        // An item that was written into lost memory was not sent.
        self.participant().check()
    }

    #[inline(never)]
    fn claim_wide<W: RoomWait>(&mut self, span: u64) -> Result<Claim> {
        self.claim_now::<W>(span, span, |_| span)
    }

    #[cold]
    #[inline(never)]
    pub fn send_slowly<W: RoomWait>(&mut self, bytes: &[u8], wait: &mut W, deadline: Deadline) -> Result<()> {
        let span = self.span(bytes.len() as u64)?;
        let Some(claim) = self.claim_by_policy(span, wait, deadline)? else { return Ok(()) };
        self.write_and_publish::<W>(claim, span, bytes);
        // An item that was written into lost memory was not sent.
        self.participant().check()
    }

    /// Claims room of `span` slots for one item, under the policy for full rings. `None`: the item is dropped.
    fn claim_by_policy<W: RoomWait>(
        &mut self,
        span: u64,
        wait: &mut W,
        deadline: Deadline,
    ) -> Result<Option<Claim>> {
        let fit = |_| span;
        match self.on_full {
            OnFull::Block => self.claim(span, span, fit, wait, deadline),
            OnFull::Fail => self.claim(span, span, fit, wait, Deadline::immediate()).map_err(full),
            OnFull::DropNewest => match self.claim(span, span, fit, wait, Deadline::immediate()) {
                Err(Error::TimedOut) => {
                    self.participant().count(Counter::DroppedNewest, 1);
                    return Ok(None);
                }
                result => result,
            },
            OnFull::DropOldest => self.claim_dropping(span, wait, deadline),
        }
        .map(Some)
    }

    /// Sends one item under the key of another one. The producer's own count stays as it is.
    #[cold]
    #[inline(never)]
    pub fn send_as<W: RoomWait>(
        &mut self,
        key: ItemKey,
        bytes: &[u8],
        wait: &mut W,
        deadline: Deadline,
    ) -> Result<()> {
        key.check()?;
        if self.participant().mapping().geometry().fixed > 0 {
            let text = format!(
                "the key {key} for a ring of fixed items, which keeps no keys; expected a ring with headers"
            );
            return Err(Error::Options(text.into()));
        }
        let span = self.span(bytes.len() as u64)?;
        let claim = match self.claim_now::<W>(span, span, |_| span) {
            Err(Error::Full) => match self.claim_by_policy(span, wait, deadline)? {
                Some(claim) => claim,
                None => return Ok(()),
            },
            result => result?,
        };
        let slot = self.participant().slots.codec().slot(claim.position);
        let (len, time) = (bytes.len() as u64, self.time());
        let fitted = self.participant().mapping().copy_in(slot, 0, bytes);
        debug_assert!(fitted, "a claim never wraps");
        self.write_keyed_header(slot, len, key, time);
        self.publish_part::<W>(claim, len);
        // As in `send_slowly`.
        self.participant().check()
    }

    /// The number of slots of an item of `len` bytes.
    #[inline]
    pub fn span(&self, len: u64) -> Result<u64> {
        let geometry = self.participant().mapping().geometry();
        let span = geometry.span(len);
        if span == 1 {
            return match geometry.fixed {
                0 => Ok(1),
                fixed if fixed == len => Ok(1),
                expected => Err(Error::Mismatch { len, expected }),
            };
        }
        if span > geometry.capacity / 2 || len > geometry.max_item() {
            return Err(Error::TooLarge { len, limit: geometry.max_item() });
        }
        Ok(span)
    }

    /// Writes and publishes the item of a claim of `span` slots.
    #[inline(always)]
    fn write_and_publish<W: RoomWait>(&mut self, claim: Claim, span: u64, bytes: &[u8]) {
        let slot = self.participant().slots.codec().slot(claim.position);
        let time = self.time();
        self.write_item(slot, bytes, time);
        let in_time = self.participant().slots.publish_one(claim, span);
        self.after_publish(1, span, bytes.len() as u64);
        if !in_time {
            self.await_taking::<W>(claim);
        }
    }

    /// Publishes a claim as one item of `len` bytes, which may need fewer slots than were claimed.
    pub fn publish_part<W: RoomWait>(&mut self, claim: Claim, len: u64) {
        let span = self.participant().mapping().geometry().span(len);
        let run = self.participant().slots.run(claim);
        let in_time = self.participant().slots.publish_part(claim, span);
        self.after_publish(1, span, len);
        if span < run {
            self.give_room_back(run - span);
        }
        if !in_time {
            self.await_taking::<W>(claim);
        }
    }

    /// For an item that consumers have moved past and now find as a returned one: waits until a consumer takes it.
    /// Otherwise a consumer that has just searched for returned items could take this producer's next item first.
    /// Waits at most for a slice, as there may be no consumer. Where the calling thread may not sleep, the next
    /// item may be taken first.
    #[cold]
    #[inline(never)]
    pub fn await_taking<W: RoomWait>(&self, claim: Claim) {
        let deadline = Deadline::after(SLICE);
        let over = || !W::SLEEPS || self.stop.as_ref().is_some_and(StopFlag::is_raised) || deadline.passed();
        while self.participant().slots.is_returned(claim.position) && !over() {
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    #[inline]
    pub fn write_item(&mut self, slot: u64, bytes: &[u8], time: u64) {
        let fitted = self.participant().mapping().copy_in(slot, 0, bytes);
        debug_assert!(fitted, "a claim never wraps");
        self.write_header(slot, bytes.len() as u64, time);
    }

    #[inline]
    pub fn write_header(&mut self, slot: u64, len: u64, time: u64) {
        let key = ItemKey { producer: self.place.participant.serial, sequence: self.sequence };
        self.write_keyed_header(slot, len, key, time);
        self.sequence += 1;
    }

    /// Writes the headers, except the lengths, of this producer's next `count` items, in the slots from `slot` on.
    #[inline(always)]
    pub fn write_headers(&mut self, slot: u64, count: u64) {
        let first = self.sequence;
        self.sequence += count;
        let mapping = self.place.participant.mapping();
        if mapping.geometry().fixed > 0 {
            return;
        }
        let (producer, time) = (u64::from(self.place.participant.serial), self.time());
        for (header, sequence) in mapping.headers(slot, count).zip(first..) {
            // Relaxed, all three: as in `write_keyed_header`.
            header[header::PRODUCER as usize / 8].store(producer, Relaxed);
            header[header::SEQUENCE as usize / 8].store(sequence, Relaxed);
            if let Some(sent_at) = header.get(header::TIME as usize / 8) {
                sent_at.store(time, Relaxed);
            }
        }
    }

    /// Writes a header with the key of any producer's item, and no failures.
    #[inline(always)]
    fn write_keyed_header(&self, slot: u64, len: u64, key: ItemKey, time: u64) {
        let mapping = self.place.participant.mapping();
        if mapping.geometry().fixed > 0 {
            return;
        }
        // Relaxed, all four: E1 orders them, and only this producer writes them. The sequence number is the whole
        // word, so that the number of failures of an earlier item becomes 0.
        mapping.length(slot).store(len as u32, Relaxed);
        let [producer, sequence] = mapping.header(slot);
        producer.store(u64::from(key.producer), Relaxed);
        sequence.store(key.sequence, Relaxed);
        if mapping.geometry().has_timestamps() {
            mapping.item_word(slot, header::TIME).store(time, Relaxed);
        }
    }

    #[inline]
    pub fn time(&self) -> u64 {
        if self.participant().mapping().geometry().has_timestamps() { clock::realtime_ns() } else { 0 }
    }

    #[cold]
    #[inline(never)]
    fn done_in_turn(&mut self, progress: WaitProgress) {
        self.strategy.done(self.place.participant.endpoint(Role::Producer), progress);
    }

    #[inline]
    pub fn after_publish(&mut self, items: u64, slots: u64, bytes: u64) {
        match self.strategy {
            Strategy::Adaptive(_) => self.participant().memory().items().notify(items),
            _ => self.done_in_turn(WaitProgress { items, slots }),
        }
        self.participant().count_all([(Counter::Sent, items), (Counter::BytesSent, bytes)]);
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.participant().check().is_err() {
            return;
        }
        self.place.participant.leave();
        stream_end::retire_if_over(self.participant());
    }
}

/// Turns the timeout of a call that must not wait into `Full`.
pub fn full(error: Error) -> Error {
    match error {
        Error::TimedOut => Error::Full,
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handles::testing::ring;
    use crate::handles::{Producer, Ring};
    use crate::protocol::word::Word;
    use crate::sys::testing::TestName;

    /// A producer whose item was passed by consumers and is not taken by any.
    fn late() -> (TestName, Ring, Producer, Claim) {
        let (name, ring) = ring(Default::default());
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        producer.try_send(b"late").unwrap();
        drop(consumer.try_recv().unwrap());
        let claim = Claim { position: 0, word: Word(0) };
        assert!(producer.core.participant().slots.is_returned(claim.position));
        (name, ring, producer, claim)
    }

    #[test]
    fn a_late_item_does_not_delay_a_thread_that_must_stop() {
        let (_name, _ring, mut producer, claim) = late();
        let flag = StopFlag::new();
        flag.raise();
        producer.set_stop_flag(flag);
        let begin = std::time::Instant::now();
        (0..200).for_each(|_| producer.core.await_taking::<Blocking>(claim));
        // With one slice per item it would take 4 s.
        assert!(begin.elapsed().as_secs() < 2);
    }

    #[test]
    fn a_late_item_does_not_delay_a_thread_that_may_not_sleep() {
        struct Never;
        impl RoomWait for Never {
            const SLEEPS: bool = false;
            fn claim(
                &mut self,
                _: &mut Core,
                _: u64,
                _: Deadline,
                _: impl FnMut(&Place, Depth) -> Result<Option<Claim>>,
            ) -> Result<Claim> {
                Err(Error::TimedOut)
            }
        }
        let (_name, _ring, producer, claim) = late();
        let begin = std::time::Instant::now();
        (0..200).for_each(|_| producer.core.await_taking::<Never>(claim));
        // As above.
        assert!(begin.elapsed().as_secs() < 2);
    }
}
