//! The consumer, which receives items on the calling thread.

use std::time::Duration;

use super::batch::Batch;
#[cfg(feature = "cli")]
use super::batch::HeldBatch;
use super::core::Core;
use super::item::Item;
use crate::handles::Totals;
use crate::layout::mapping::Mapping;
use crate::protocol::Claim;
use crate::sys::clock::Deadline;
use crate::wait::StopFlag;
use crate::{Error, Result};

/// The receiving end of a ring: one participant, for one thread at a time.
///
/// A received item belongs to this consumer until it is acknowledged. An item that is dropped unacknowledged, or
/// held by a process that dies, is delivered again. Dropping the handle leaves the ring, once its last
/// [`OwnedItem`](crate::OwnedItem) is gone.
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
/// One handle serves one thread at a time. It can move to another thread, but threads cannot share it:
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<ringpipe::Consumer>();
/// ```
///
/// An item borrows its consumer. To hold several at once, receive a [`Batch`], or turn each into an
/// [`OwnedItem`](crate::OwnedItem) with [`Item::into_owned`].
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
    pub(in crate::handles) core: Core,
    /// Handles are Send, not Sync.
    _not_sync: std::marker::PhantomData<std::cell::Cell<()>>,
}

impl Consumer {
    pub(in crate::handles) fn attach(mapping: &Mapping, watches: bool) -> Result<Self> {
        Ok(Consumer { core: Core::attach(mapping, watches)?, _not_sync: std::marker::PhantomData })
    }

    /// Lets `stop` end any wait of this handle with [`Error::Interrupted`], within 100 milliseconds.
    pub fn set_stop_flag(&mut self, stop: StopFlag) {
        self.core.stop = Some(stop);
    }

    /// Whether to keep waiting when every producer has left: then only closing or removing the ring ends the
    /// stream.
    pub fn set_follow(&mut self, follow: bool) {
        self.core.follow = follow;
    }

    /// Whether this handle can still be used. It cannot in a child of the process that attached; after the ring's
    /// memory was lost, if the program called [`survive_truncation`](crate::survive_truncation); or after other
    /// code of this process has closed its descriptors, so that others take it for dead.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Truncated`], [`Error::Evicted`].
    pub fn check(&self) -> Result<()> {
        self.core.participant().check_entry()
    }

    /// Counters of this handle: what it received, acknowledged and gave back.
    pub fn totals(&self) -> Totals {
        Totals::of(self.core.participant())
    }

    /// Receives the next item, and waits for one. Its bytes are copied out of the ring at first access.
    ///
    /// # Errors
    /// [`Error::Ended`] when the ring was closed, or no producer is left after at least one (or the expected
    /// number) attached, and all items were delivered and acknowledged; [`Error::Interrupted`] when the stop flag
    /// was raised during the wait; [`Error::Evicted`] when other code of this process has closed the handle's
    /// descriptors, and others took it for dead.
    #[inline(always)]
    pub fn recv(&mut self) -> Result<Item<'_>> {
        let claim = self.core.claim(1, Deadline::never)?;
        Item::new(&mut self.core, claim)
    }

    /// Receives the next item, and waits at most `timeout` for one.
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
        let claim = self.core.claim(1, || Deadline::after(timeout))?;
        Item::new(&mut self.core, claim)
    }

    /// Receives the next item if there is one now. An item that was dropped comes again, and is marked as
    /// redelivered.
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
    /// Before it reports that there is none, it checks whether all other participants are alive, and takes what
    /// dead ones held. It checks one after the other: with some ten participants that takes microseconds.
    ///
    /// # Errors
    /// [`Error::Empty`] if no item can be taken now: living consumers hold the items, or they are being written,
    /// or they lie behind an item that a living producer is writing. If one handle finds that producer at the same
    /// single slot for 5 milliseconds, it moves past it. [`Error::Ended`] at the end of the stream.
    pub fn try_recv(&mut self) -> Result<Item<'_>> {
        let claim = self.core.try_claim()?;
        Item::new(&mut self.core, claim)
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
        let claim = self.core.claim(most, Deadline::never)?;
        Batch::new(&mut self.core, claim)
    }

    /// As [`recv_batch`](Self::recv_batch), but waits at most `timeout` for the first. With a zero timeout it
    /// looks everywhere, as [`try_recv`](Self::try_recv) does, and does not wait.
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`Error::TimedOut`].
    pub fn recv_batch_timeout(&mut self, most: usize, timeout: Duration) -> Result<Batch<'_>> {
        let deadline = || if timeout.is_zero() { Deadline::immediate() } else { Deadline::after(timeout) };
        let claim = self.core.claim(most, deadline)?;
        Batch::new(&mut self.core, claim)
    }

    /// Continues a batch of this consumer that was set aside.
    ///
    /// # Panics
    /// If another consumer received the batch.
    #[cfg(feature = "cli")]
    #[doc(hidden)]
    pub fn resume(&mut self, held: HeldBatch) -> Batch<'_> {
        held.resume(&mut self.core)
    }

    /// The items as owned bytes, to the end of the stream. Asking for the next item acknowledges the one before;
    /// without that, it is delivered again.
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
            self.consumer.core.attachment.acknowledge_item(claim);
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
            self.consumer.core.attachment.return_item(claim);
        }
    }
}
