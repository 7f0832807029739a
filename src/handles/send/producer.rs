//! The producer, which sends items on the calling thread.

use std::time::Duration;

use super::core::{Blocking, Core, OnFull, full};
use super::drop_observer::DropObserver;
use super::reservation::Reservation;
use crate::handles::{ItemKey, Totals};
use crate::layout::head;
use crate::layout::mapping::Mapping;
use crate::membership::Role;
use crate::membership::recovery::has_living;
use crate::membership::stream_state::StreamState;
use crate::sys::clock::Deadline;
use crate::wait::StopFlag;
use crate::{Error, Result};

/// The sending end of a ring: one participant, for one thread at a time.
///
/// An item whose `send` returned `Ok` is delivered, whichever processes are killed afterwards. Dropping the handle
/// leaves the ring.
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
/// One handle serves one thread at a time. It can move to another thread, but threads cannot share it:
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<ringpipe::Producer>();
/// ```
#[derive(Debug)]
pub struct Producer {
    pub(in crate::handles) core: Core,
    /// Handles are Send, not Sync.
    _not_sync: std::marker::PhantomData<std::cell::Cell<()>>,
}

impl Producer {
    pub(in crate::handles) fn attach(mapping: &Mapping, watches: bool) -> Result<Self> {
        Ok(Producer { core: Core::attach(mapping, watches)?, _not_sync: std::marker::PhantomData })
    }

    /// Lets `stop` end any wait of this handle with [`Error::Interrupted`], within 100 milliseconds.
    pub fn set_stop_flag(&mut self, stop: StopFlag) {
        self.core.stop = Some(stop);
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
        if on_full == OnFull::DropOldest && self.core.participant().mapping().geometry().is_exclusive() {
            let text = "an exclusive ring cannot drop its oldest item: only its consumer may take it";
            return Err(Error::Unsupported(text.into()));
        }
        self.core.on_full = on_full;
        Ok(())
    }

    /// Lets `observer` know each item that this producer drops under [`OnFull::DropOldest`], before and after.
    ///
    /// ```
    /// # let name = format!("doc-dropped-{}", std::process::id());
    /// use ringpipe::{DropObserver, ItemKey, OnFull, RingOptions};
    ///
    /// #[derive(Debug)]
    /// struct Printer;
    ///
    /// impl DropObserver for Printer {
    ///     fn dropping(&mut self, _key: ItemKey, _attempt: u8) -> std::io::Result<()> {
    ///         Ok(())
    ///     }
    ///
    ///     fn dropped(&mut self, key: ItemKey, _attempt: u8) -> std::io::Result<()> {
    ///         println!("item {key} was dropped");
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let ring = RingOptions::new().capacity(2).create(&name)?;
    /// let mut producer = ring.producer()?;
    /// producer.set_on_full(OnFull::DropOldest)?;
    /// producer.set_drop_observer(Box::new(Printer));
    /// for text in ["one", "two", "three"] {
    ///     producer.send(text.as_bytes())?;
    /// }
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    pub fn set_drop_observer(&mut self, observer: Box<dyn DropObserver>) {
        self.core.drop_observer = Some(observer);
    }

    /// The number that this producer's items carry: unique in the life of the ring.
    pub fn id(&self) -> u32 {
        self.core.participant().serial
    }

    /// The sequence number of this producer's next item, except in a ring of fixed items: items sent so far, without those
    /// of [`send_as`](Self::send_as).
    pub fn sent(&self) -> u64 {
        self.core.sequence
    }

    /// Whether this handle can still be used. It cannot in a child of the process that attached; after the ring's
    /// memory was lost, if the program called [`survive_truncation`](crate::survive_truncation); or after other
    /// code of this process has closed its descriptors. Call it after [`Reservation::commit`], which returns no
    /// error.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Truncated`], [`Error::Evicted`].
    pub fn check(&self) -> Result<()> {
        self.core.participant().check_entry()
    }

    /// Counters of this handle: what it sent and dropped.
    pub fn totals(&self) -> Totals {
        Totals::of(self.core.participant())
    }

    /// The largest item in bytes that fits into this ring: half of its slots, or the length of its fixed items.
    pub fn max_item(&self) -> u64 {
        self.core.participant().mapping().geometry().max_item()
    }

    /// The length of each item, in a ring of fixed items.
    pub fn fixed(&self) -> Option<u64> {
        let fixed = self.core.participant().mapping().geometry().fixed;
        (fixed > 0).then_some(fixed)
    }

    /// Sends one item; waits for room unless [`set_on_full`](Self::set_on_full) says otherwise.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond half of the ring; [`Error::Closed`] when the ring accepts no more items;
    /// [`Error::Interrupted`] when the stop flag was raised during the wait; [`Error::Full`] with
    /// [`OnFull::Fail`]; [`Error::Mismatch`] for a length that is not that of the ring's fixed items. After an error the item
    /// was not sent.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.core.send(bytes, &mut Blocking, Deadline::never)
    }

    /// Sends one item; waits at most `timeout` for room.
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
        self.core.send(bytes, &mut Blocking, || Deadline::after(timeout))
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
    /// Before it reports that the ring is full, it checks whether all other participants are alive, and takes the
    /// room that dead ones held.
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`Error::Full`], whatever the policy for full rings.
    #[inline]
    pub fn try_send(&mut self, bytes: &[u8]) -> Result<()> {
        self.core.try_send(bytes)
    }

    /// Sends one item under the key of another one, in place of the next key of this producer: an answer under the
    /// key of its question, or an item that was taken out of a ring and goes into another. The item has no
    /// failures. This producer's own count does not advance.
    ///
    /// ```
    /// # let name = format!("doc-send-as-{}", std::process::id());
    /// # let questions = ringpipe::RingOptions::new().create(&format!("{name}-q"))?;
    /// # let answers = ringpipe::RingOptions::new().create(&format!("{name}-a"))?;
    /// questions.producer()?.send(b"7 * 6")?;
    /// let mut consumer = questions.consumer()?;
    /// let mut producer = answers.producer()?;
    /// let question = consumer.recv()?;
    /// producer.send_as(question.key(), b"42")?;
    /// let asked = question.key();
    /// question.ack();
    ///
    /// assert_eq!(answers.consumer()?.recv()?.key(), asked);
    /// assert_eq!(producer.sent(), 0);
    /// # questions.remove()?;
    /// # answers.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send), and [`Error::Options`] for a sequence number beyond
    /// [`ItemKey::MAX_SEQUENCE`], and in a ring of fixed items, which keeps no keys.
    #[doc(alias = "reply")]
    pub fn send_as(&mut self, key: ItemKey, bytes: &[u8]) -> Result<()> {
        self.core.send_as(key, bytes, &mut Blocking, Deadline::never())
    }

    /// As [`send_as`](Self::send_as), but waits at most `timeout` for room.
    ///
    /// # Errors
    /// As [`send_as`](Self::send_as), and [`Error::TimedOut`].
    pub fn send_as_timeout(&mut self, key: ItemKey, bytes: &[u8], timeout: Duration) -> Result<()> {
        self.core.send_as(key, bytes, &mut Blocking, Deadline::after(timeout))
    }

    /// Sends as many of `items` as there is room for, and waits only for the first. Returns the number sent: from
    /// 1 to all, or 0 if `items` is empty. In a shared ring they all become visible at the same moment.
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
    /// As [`send`](Self::send); [`Error::TooLarge`] and [`Error::Mismatch`] only for the first item: one behind it that does not fit
    /// ends the batch.
    pub fn send_batch<T: AsRef<[u8]>>(&mut self, items: &[T]) -> Result<usize> {
        self.core.send_batch(items, &mut Blocking, Deadline::never())
    }

    /// As [`send_batch`](Self::send_batch), but waits at most `timeout` for the first.
    ///
    /// # Errors
    /// As [`send_batch`](Self::send_batch), and [`Error::TimedOut`].
    pub fn send_batch_timeout<T: AsRef<[u8]>>(&mut self, items: &[T], timeout: Duration) -> Result<usize> {
        self.core.send_batch(items, &mut Blocking, Deadline::after(timeout))
    }

    /// Sends as many of the items in `bytes` as there is room for, into a ring of fixed items; waits only for the first. The
    /// items lie one after the other, so they are copied at once, which for short items takes a fraction of the time of
    /// [`send_batch`](Self::send_batch). Returns the number of items sent: from 1 to all, or 0 if `bytes` is empty.
    ///
    /// ```
    /// # let name = format!("doc-packed-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().fixed(2).create(&name)?;
    /// assert_eq!(ring.producer()?.send_packed(b"aabbcc")?, 3);
    /// let mut consumer = ring.consumer()?;
    /// let batch = consumer.recv_batch(2)?;
    /// let mut bytes = [0; 4];
    /// assert_eq!(batch.copy_packed(&mut bytes), 2);
    /// batch.ack();
    /// assert_eq!(&bytes, b"aabb");
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Error::Mismatch`] if the last item is not complete; [`Error::Options`] in a ring
    /// whose items have lengths of their own. After an error no item was sent.
    pub fn send_packed(&mut self, bytes: &[u8]) -> Result<usize> {
        self.core.send_packed(bytes, &mut Blocking, Deadline::never())
    }

    /// As [`send_packed`](Self::send_packed), but waits at most `timeout` for the first.
    ///
    /// # Errors
    /// As [`send_packed`](Self::send_packed), and [`Error::TimedOut`].
    pub fn send_packed_timeout(&mut self, bytes: &[u8], timeout: Duration) -> Result<usize> {
        self.core.send_packed(bytes, &mut Blocking, Deadline::after(timeout))
    }

    /// Reserves room for one item of `len` bytes, which the caller writes in place and commits; waits for room.
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
        let deadline = match self.core.on_full {
            OnFull::Fail => Deadline::immediate(),
            _ => Deadline::never(),
        };
        self.reserve_by(len, deadline)
    }

    /// As [`reserve`](Self::reserve), but waits at most `timeout`.
    ///
    /// # Errors
    /// As [`reserve`](Self::reserve), and [`Error::TimedOut`].
    pub fn reserve_timeout(&mut self, len: u64, timeout: Duration) -> Result<Reservation<'_>> {
        self.reserve_by(len, Deadline::after(timeout))
    }

    fn reserve_by(&mut self, len: u64, deadline: Deadline) -> Result<Reservation<'_>> {
        let core = &mut self.core;
        let span = core.span(len)?;
        let claim = match core.claim_now::<Blocking>(span, span, |_| span) {
            Err(Error::Full) if core.on_full == OnFull::Fail => {
                core.claim(span, span, |_| span, &mut Blocking, Deadline::immediate()).map_err(full)?
            }
            Err(Error::Full) => core.claim(span, span, |_| span, &mut Blocking, deadline)?,
            result => result?,
        };
        core.participant().check()?;
        Ok(Reservation::new(core, claim, len))
    }

    /// Whether every consumer that ever attached has left. False before the first one has attached.
    pub fn is_abandoned(&self) -> bool {
        let stream = StreamState::read(self.core.participant().mapping().head_word(head::STREAM_STATE));
        stream.consumers() > 0 && !has_living(&self.core.participant().slots, |role| role == Role::Consumer)
    }

    /// Consumers that ever attached.
    #[cfg(feature = "cli")]
    pub fn consumers_ever(&self) -> u64 {
        StreamState::read(self.core.participant().mapping().head_word(head::STREAM_STATE)).consumers()
    }
}
