//! Sending.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::door::Door;
use super::end;
use super::participant::{Counter, Participant};
use super::reservation::Reservation;
use super::room::full;
use super::{Role, Totals, WriteItems};
use crate::layout::fields::{head, item};
use crate::layout::view::View;
use crate::ring::Claim;
use crate::sync::{Made, SLICE, StopFlag, Strategy, WaitStrategy};
use crate::sys::clock::{self, Deadline};
use crate::{Error, Result};

/// What `send` does when the ring is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFull {
    /// Waits for room.
    #[default]
    Block,
    /// Answers [`Error::Full`].
    Fail,
    /// Drops the item that is being sent, counts it, and answers `Ok`.
    DropNewest,
    /// Drops the oldest item that nobody holds, counts it, and sends. Not on exclusive rings, whose
    /// consumer has the reading side to itself.
    DropOldest,
}

/// The sending end of a ring: one participant, for one thread at a time.
///
/// An item whose `send` returned `Ok` is delivered whatever process is killed afterwards. Dropping the
/// handle leaves the ring.
///
/// ```
/// # let name = format!("doc-producer-{}", std::process::id());
/// use ringpipe::RingOptions;
/// let ring = RingOptions::new().create(&name)?;
/// let mut producer = ring.producer()?;
/// producer.send(b"hello")?;
/// assert_eq!(ring.snapshot()?.ready, 1);
/// # ring.remove()?;
/// # Ok::<(), ringpipe::Error>(())
/// ```
///
/// One handle serves one thread at a time; it can be moved to another, not shared:
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<ringpipe::Producer>();
/// ```
#[derive(Debug)]
pub struct Producer {
    pub(super) participant: Participant,
    pub(super) strategy: Strategy,
    pub(super) stop: Option<StopFlag>,
    pub(super) on_full: OnFull,
    pub(super) sequence: u64,
    /// A task does the waiting, and waits for so many slots: see [`super::AsyncProducer`].
    #[cfg(feature = "tokio")]
    pub(super) by_task: Option<u64>,
    /// Handles are Send, not Sync.
    _not_sync: std::marker::PhantomData<std::cell::Cell<()>>,
}

impl Producer {
    pub(super) fn attach(view: &View, watches: bool) -> Result<Self> {
        let participant = Participant::attach(view, Role::Producer, watches)?;
        Ok(Producer {
            strategy: Strategy::new(view.geometry().discipline, participant.number),
            participant,
            stop: None,
            on_full: OnFull::Block,
            sequence: 0,
            #[cfg(feature = "tokio")]
            by_task: None,
            _not_sync: std::marker::PhantomData,
        })
    }

    /// Lets `stop` end any wait of this handle with [`Error::Interrupted`], within 100 milliseconds.
    pub fn set_stop_flag(&mut self, stop: StopFlag) {
        self.stop = Some(stop);
    }

    /// Chooses what [`send`](Self::send) and [`send_timeout`](Self::send_timeout) do when the ring is
    /// full.
    ///
    /// ```
    /// # let name = format!("doc-on-full-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().capacity(2).create(&name)?;
    /// # let mut producer = ring.producer()?;
    /// producer.set_on_full(ringpipe::OnFull::DropOldest)?;
    /// for text in ["one", "two", "three"] {
    ///     producer.send(text.as_bytes())?;
    /// }
    /// assert_eq!(&*ring.consumer()?.recv()?, b"two");
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Unsupported`] for [`OnFull::DropOldest`] on an exclusive ring.
    pub fn set_on_full(&mut self, on_full: OnFull) -> Result<()> {
        if on_full == OnFull::DropOldest && self.participant.view().geometry().is_exclusive() {
            let text = "an exclusive ring cannot drop its oldest item: only its consumer may take it";
            return Err(Error::Unsupported(text.into()));
        }
        self.on_full = on_full;
        Ok(())
    }

    /// The number that items carry as their producer: unique in the life of the ring.
    pub fn id(&self) -> u32 {
        self.participant.serial
    }

    /// Items sent so far: the sequence number of the next.
    pub fn sent(&self) -> u64 {
        self.sequence
    }

    /// Whether this handle can still be used: an error in a child of the process that attached, and, after
    /// [`survive_truncation`](crate::survive_truncation), when the ring's memory was lost. To be asked after
    /// [`Reservation::commit`], which cannot tell.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Truncated`].
    pub fn check(&self) -> Result<()> {
        self.participant.check()
    }

    /// Counters of this handle: what it sent and dropped.
    pub fn totals(&self) -> Totals {
        Totals::of(&self.participant)
    }

    /// Largest item in bytes that this ring takes: half of its slots.
    pub fn max_item(&self) -> u64 {
        self.participant.view().geometry().max_item()
    }

    /// Sends one item, and waits for room if it must (see [`set_on_full`](Self::set_on_full)).
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond half of the ring; [`Error::Closed`] when the ring takes no more items;
    /// [`Error::Interrupted`] when the stop flag was raised while waiting; [`Error::Full`] with
    /// [`OnFull::Fail`]. An item that was refused was not sent.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.send_by(bytes, Deadline::never)
    }

    /// Sends one item, and waits for room at most `timeout`.
    ///
    /// ```
    /// # let name = format!("doc-send-timeout-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().capacity(2).create(&name)?;
    /// # let mut producer = ring.producer()?;
    /// use std::time::Duration;
    /// producer.send_batch(&["one"])?;
    /// producer.send_batch(&["two"])?;
    /// let result = producer.send_timeout(b"three", Duration::from_millis(5));
    /// assert!(matches!(result, Err(ringpipe::Error::TimedOut)));
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`Error::TimedOut`].
    pub fn send_timeout(&mut self, bytes: &[u8], timeout: Duration) -> Result<()> {
        self.send_by(bytes, || Deadline::after(timeout))
    }

    /// Sends one item if there is room now.
    ///
    /// ```
    /// # let name = format!("doc-try-send-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().capacity(2).create(&name)?;
    /// # let mut producer = ring.producer()?;
    /// while producer.try_send(b"item").is_ok() {}
    /// assert_eq!(producer.sent(), 2);
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`Error::Full`], whatever was set for full rings.
    #[inline]
    pub fn try_send(&mut self, bytes: &[u8]) -> Result<()> {
        let span = self.span(bytes.len() as u64)?;
        let claim = match span {
            // Known when this is compiled, which makes the path of a short item a short one.
            1 => self.claim_now(1, 1, |_| 1)?,
            _ => self.claim_wide(span)?,
        };
        self.write_and_publish(claim, bytes);
        // What went into lost memory was not sent.
        self.participant.check()
    }

    #[inline(never)]
    fn claim_wide(&mut self, span: u64) -> Result<Claim> {
        self.claim_now(span, span, |_| span)
    }

    #[inline]
    fn send_by(&mut self, bytes: &[u8], deadline: impl FnOnce() -> Deadline) -> Result<()> {
        match self.try_send(bytes) {
            Err(Error::Full) => self.send_slowly(bytes, deadline()),
            result => result,
        }
    }

    #[cold]
    pub(super) fn send_slowly(&mut self, bytes: &[u8], deadline: Deadline) -> Result<()> {
        let span = self.span(bytes.len() as u64)?;
        let claim = match self.on_full {
            OnFull::Block => self.claim(span, span, |_| span, deadline)?,
            OnFull::Fail => self.claim(span, span, |_| span, Deadline::immediate()).map_err(full)?,
            OnFull::DropNewest => match self.claim(span, span, |_| span, Deadline::immediate()) {
                Err(Error::TimedOut) => {
                    self.participant.count(Counter::DroppedNewest, 1);
                    return Ok(());
                }
                result => result?,
            },
            OnFull::DropOldest => self.claim_dropping(span, deadline)?,
        };
        self.write_and_publish(claim, bytes);
        // What went into lost memory was not sent.
        self.participant.check()
    }

    /// Sends as many of `items` as there is room for, waits only for the first, and answers how many
    /// were sent: from 1 to all, or 0 if there were none. In a shared ring they become visible at once.
    ///
    /// ```
    /// # let name = format!("doc-batch-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// # let mut producer = ring.producer()?;
    /// let mut items: &[&str] = &["one", "two", "three"];
    /// while !items.is_empty() {
    ///     let sent = producer.send_batch(items)?;
    ///     items = &items[sent..];
    /// }
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Error::TooLarge`] only for the first item: a larger one behind it ends
    /// the batch.
    pub fn send_batch<T: AsRef<[u8]>>(&mut self, items: &[T]) -> Result<usize> {
        self.send_batch_by(items, Deadline::never())
    }

    /// As [`send_batch`](Self::send_batch), waiting at most `timeout` for the first.
    ///
    /// # Errors
    /// As [`send_batch`](Self::send_batch), and [`Error::TimedOut`].
    pub fn send_batch_timeout<T: AsRef<[u8]>>(&mut self, items: &[T], timeout: Duration) -> Result<usize> {
        self.send_batch_by(items, Deadline::after(timeout))
    }

    /// Reserves room for one item of `len` bytes, to be written in place and committed; waits for room.
    ///
    /// ```
    /// # let name = format!("doc-reserve-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// # let mut producer = ring.producer()?;
    /// let mut reservation = producer.reserve(8)?;
    /// reservation.write_at(0, &7u64.to_le_bytes());
    /// reservation.commit();
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send); [`OnFull::Block`] and [`OnFull::Fail`] apply.
    pub fn reserve(&mut self, len: u64) -> Result<Reservation<'_>> {
        let deadline = match self.on_full {
            OnFull::Fail => Deadline::immediate(),
            _ => Deadline::never(),
        };
        self.reserve_by(len, deadline)
    }

    /// As [`reserve`](Self::reserve), waiting at most `timeout`.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve), and [`Error::TimedOut`].
    pub fn reserve_timeout(&mut self, len: u64, timeout: Duration) -> Result<Reservation<'_>> {
        self.reserve_by(len, Deadline::after(timeout))
    }

    fn reserve_by(&mut self, len: u64, deadline: Deadline) -> Result<Reservation<'_>> {
        let span = self.span(len)?;
        let claim = match self.claim_now(span, span, |_| span) {
            Err(Error::Full) if self.on_full == OnFull::Fail => {
                self.claim(span, span, |_| span, Deadline::immediate()).map_err(full)?
            }
            Err(Error::Full) => self.claim(span, span, |_| span, deadline)?,
            result => result?,
        };
        self.participant.check()?;
        Ok(Reservation::new(self, claim, len))
    }

    /// An [`std::io::Write`] that sends each written piece as items of at most `chunk` bytes.
    ///
    /// ```
    /// # let name = format!("doc-writer-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// use std::io::{Read, Write};
    /// ring.producer()?.writer(4096).write_all(b"some bytes").unwrap();
    /// let mut text = String::new();
    /// ring.consumer()?.reader().read_to_string(&mut text).unwrap();
    /// assert_eq!(text, "some bytes");
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    pub fn writer(&mut self, chunk: usize) -> WriteItems<'_> {
        WriteItems::new(self, chunk)
    }

    /// Whether every consumer that was ever there has left. False also before the first came.
    pub fn is_abandoned(&self) -> bool {
        let door = Door::read(self.participant.view().head_word(head::DOOR));
        door.consumers() > 0 && !super::burial::any(&self.participant.slots, |role| role == Role::Consumer)
    }

    #[inline]
    pub(super) fn span(&self, len: u64) -> Result<u64> {
        let geometry = self.participant.view().geometry();
        let span = geometry.span(len);
        if span == 1 {
            return Ok(1);
        }
        if span > geometry.capacity / 2 || len > geometry.max_item() {
            return Err(Error::TooLarge { len, limit: geometry.max_item() });
        }
        Ok(span)
    }

    #[inline]
    fn write_and_publish(&mut self, claim: Claim, bytes: &[u8]) {
        let slot = self.participant.slots.codec().slot(claim.position);
        let time = self.time();
        self.write_item(slot, bytes, time);
        let run = self.participant.slots.run(claim);
        let in_time = self.participant.slots.publish(claim, std::iter::once(run));
        self.after_publish(1, run, bytes.len() as u64);
        if !in_time {
            self.await_taking(claim);
        }
    }

    /// Publishes a claim as one item of `len` bytes, which may need fewer slots than were claimed.
    pub(super) fn publish_part(&mut self, claim: Claim, len: u64) {
        let span = self.participant.view().geometry().span(len);
        let run = self.participant.slots.run(claim);
        let in_time = self.participant.slots.publish_part(claim, span);
        self.after_publish(1, span, len);
        if span < run {
            self.give_room_back(run - span);
        }
        if !in_time {
            self.await_taking(claim);
        }
    }

    /// Waits until somebody takes an item that consumers have passed and now find as a returned one, or this
    /// producer's next could be taken before it by a consumer that has just looked for such items. At most
    /// for a slice: there may be no consumer.
    #[cold]
    pub(super) fn await_taking(&self, claim: Claim) {
        let deadline = Deadline::after(SLICE);
        while self.participant.slots.is_returned(claim.position) && !deadline.passed() {
            std::thread::sleep(Duration::from_micros(50));
        }
    }

    #[inline]
    pub(super) fn write_item(&mut self, slot: u64, bytes: &[u8], time: u64) {
        let fitted = self.participant.view().copy_in(slot, 0, bytes);
        debug_assert!(fitted, "a claim never wraps");
        self.write_header(slot, bytes.len() as u64, time);
    }

    #[inline]
    pub(super) fn write_header(&mut self, slot: u64, len: u64, time: u64) {
        let view = self.participant.view();
        let both = len | (self.participant.serial as u64) << 32;
        // Relaxed, all three: E1 hands them over, and only this producer writes them.
        let [length_and_producer, sequence] = view.header(slot);
        length_and_producer.store(both, Relaxed);
        sequence.store(self.sequence, Relaxed);
        if view.geometry().has_timestamps() {
            view.item_word(slot, item::TIME).store(time, Relaxed);
        }
        self.sequence += 1;
    }

    #[inline]
    pub(super) fn time(&self) -> u64 {
        if self.participant.view().geometry().has_timestamps() { clock::realtime_ns() } else { 0 }
    }

    #[cold]
    #[inline(never)]
    fn done_in_turn(&mut self, made: Made) {
        self.strategy.done(self.participant.side(Role::Producer), made);
    }

    #[inline]
    pub(super) fn after_publish(&mut self, items: u64, slots: u64, bytes: u64) {
        match self.strategy {
            Strategy::Adaptive(_) => self.participant.memory().items().notify(items),
            _ => self.done_in_turn(Made { items, slots }),
        }
        self.participant.count_all([(Counter::Sent, items), (Counter::BytesSent, bytes)]);
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if self.participant.check().is_err() {
            return;
        }
        self.participant.leave();
        end::retire_if_over(&self.participant);
    }
}
