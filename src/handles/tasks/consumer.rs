//! Receiving in a task.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::Pause;
use crate::handles::participant::Activity;
use crate::handles::{Batch, Consumer, Item, Ring, Role};
use crate::ring::Claim;
use crate::sync::{Look, WaitStrategy};
use crate::{Error, Result};

/// The receiving end of a ring for asynchronous tasks; needs the feature `tokio`.
///
/// It promises what the [`Consumer`] does that it is made of: settings are made on that one. While there is
/// nothing to receive, a thread of the runtime's blocking pool sleeps on the ring, at most for 80 milliseconds
/// at a time, and wakes the task; no future polls in the meantime. Futures are *cancel-safe*: one that is
/// dropped before it was ready has received nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> ringpipe::Result<()> {
/// # let name = format!("doc-async-consumer-{}", std::process::id());
/// # let ring = ringpipe::RingOptions::new().create(&name)?;
/// # ring.producer()?.send(b"hello")?;
/// let mut consumer = ring.async_consumer()?;
/// let item = consumer.recv().await?;
/// assert_eq!(&*item, b"hello");
/// item.ack();
/// assert!(matches!(consumer.recv().await, Err(ringpipe::Error::Ended)));
/// # ring.remove()?;
/// # Ok(())
/// # }
/// ```
///
/// It is also a [`Stream`] of the items as owned bytes, to the end of the stream. As with [`Consumer::items`],
/// an item is acknowledged when the next is asked for, and given back if the handle is dropped before. A stage
/// that must not lose what it has taken until it has passed it on receives, sends, and acknowledges:
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> ringpipe::Result<()> {
/// # let (one, two) = (format!("doc-stage-1-{}", std::process::id()), format!("doc-stage-2-{}", std::process::id()));
/// # let from = ringpipe::RingOptions::new().create(&one)?;
/// # let to = ringpipe::RingOptions::new().create(&two)?;
/// # from.producer()?.send_batch(&["a", "b"])?;
/// # let (mut consumer, mut producer) = (from.async_consumer()?, to.async_producer()?);
/// loop {
///     let item = match consumer.recv().await {
///         Err(ringpipe::Error::Ended) => break,
///         result => result?,
///     };
///     producer.send(&item).await?;
///     item.ack();
/// }
/// # assert_eq!(to.snapshot()?.ready, 2);
/// # from.remove()?;
/// # to.remove()?;
/// # Ok(())
/// # }
/// ```
///
/// One handle serves one task at a time; it can be moved to another, not shared:
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<ringpipe::AsyncConsumer>();
/// ```
#[derive(Debug)]
pub struct AsyncConsumer {
    consumer: Consumer,
    pause: Pause,
    /// What the stream has handed out last.
    held: Option<Claim>,
}

impl Ring {
    /// Attaches a consumer for asynchronous tasks; needs the feature `tokio`.
    ///
    /// # Errors
    /// As [`consumer`](Self::consumer).
    pub fn async_consumer(&self) -> Result<AsyncConsumer> {
        self.consumer().map(AsyncConsumer::from)
    }
}

/// A stop flag that was set has no effect: drop the future.
impl From<Consumer> for AsyncConsumer {
    fn from(consumer: Consumer) -> Self {
        let pause = Pause::new(consumer.participant.view(), Role::Consumer);
        AsyncConsumer { consumer, pause, held: None }
    }
}

impl AsyncConsumer {
    /// The handle below, for its counters.
    pub fn get_ref(&self) -> &Consumer {
        &self.consumer
    }

    /// Receives the next item. Its bytes are copied out of the ring when they are asked for.
    ///
    /// Cancel-safe: a future that is dropped before it was ready has received nothing, and the item goes to
    /// whoever asks next, this handle included. What the stream handed out before is acknowledged all the same,
    /// once this is polled.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ringpipe::Result<()> {
    /// # let name = format!("doc-async-recv-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// use std::time::Duration;
    /// let mut consumer = ring.async_consumer()?;
    /// assert!(tokio::time::timeout(Duration::from_millis(5), consumer.recv()).await.is_err());
    /// ring.producer()?.send(b"later")?;
    /// consumer.recv().await?.ack();
    /// # ring.remove()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Ended`] as for [`Consumer::recv`]; [`Error::Unsupported`] when it would have to wait outside of
    /// a tokio runtime, or in one that shuts down.
    pub async fn recv(&mut self) -> Result<Item<'_>> {
        let claim = Claiming { consumer: self, most: 1 }.await?;
        Item::new(&mut self.consumer, claim)
    }

    /// Receives up to `most` items, at least one, and waits for the first.
    ///
    /// Cancel-safe, as [`recv`](Self::recv).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ringpipe::Result<()> {
    /// # let name = format!("doc-async-recv-batch-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// # let mut consumer = ring.async_consumer()?;
    /// ring.producer()?.send_batch(&["a", "b"])?;
    /// let batch = consumer.recv_batch(16).await?;
    /// assert_eq!(batch.len(), 2);
    /// batch.ack();
    /// # ring.remove()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub async fn recv_batch(&mut self, most: usize) -> Result<Batch<'_>> {
        let claim = Claiming { consumer: self, most }.await?;
        Batch::new(&mut self.consumer, claim)
    }

    fn poll_claim(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Result<Claim>> {
        if let Some(claim) = self.held.take() {
            self.consumer.acknowledge_item(claim);
        }
        let AsyncConsumer { consumer, pause, .. } = self;
        let claim = ready!(pause.poll(cx, |look, woken| {
            if woken {
                consumer.strategy.woken();
            }
            consumer.look_for_task(look, most)
        }));
        if pause.end_of_wait() {
            consumer.waited();
        }
        Poll::Ready(claim)
    }

    fn stop_waiting(&mut self) {
        // A forked child's copy of a nap ended with the parent's threads.
        if self.pause.end_of_wait() && self.consumer.participant.check().is_ok() {
            self.consumer.participant.set_activity(Activity::Busy);
            self.pause.give_up();
        }
    }
}

impl Consumer {
    /// One look, before and after which the handle is free to do something else.
    fn look_for_task(&mut self, look: Look, most: usize) -> Result<Option<Claim>> {
        // E10: said before the claim. Nobody can tell whether the task still waits.
        self.participant.set_activity(Activity::Busy);
        if let Some(claim) = self.claim_fast(most)? {
            return Ok(Some(claim));
        }
        let found = self.look_once(look, true, most);
        if matches!(found, Ok(None)) {
            self.participant.set_activity(Activity::WaitingForItems);
        }
        found
    }
}

/// A claim to come; its handle waits no longer when this is dropped.
struct Claiming<'c> {
    consumer: &'c mut AsyncConsumer,
    most: usize,
}

impl Future for Claiming<'_> {
    type Output = Result<Claim>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let most = self.most;
        self.consumer.poll_claim(cx, most)
    }
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        self.consumer.stop_waiting();
    }
}

/// The items as owned bytes, to the end of the stream.
///
/// An item is acknowledged when the next is asked for, even if whoever asked does not wait for it. What is
/// still unacknowledged when the handle is dropped is delivered again.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> ringpipe::Result<()> {
/// # let name = format!("doc-async-stream-{}", std::process::id());
/// # let ring = ringpipe::RingOptions::new().create(&name)?;
/// # ring.producer()?.send_batch(&["a", "b"])?;
/// use futures_util::TryStreamExt;
/// let items: Vec<Vec<u8>> = ring.async_consumer()?.try_collect().await?;
/// assert_eq!(items, [b"a", b"b"]);
/// # ring.remove()?;
/// # Ok(())
/// # }
/// ```
impl Stream for AsyncConsumer {
    type Item = Result<Vec<u8>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(match ready!(self.poll_claim(cx, 1)) {
            Ok(claim) => {
                let item = Item::new(&mut self.consumer, claim)?;
                let mut bytes = vec![0; item.len()];
                item.copy_to(&mut bytes);
                item.check()?;
                self.held = Some(item.into_claim());
                Some(Ok(bytes))
            }
            Err(Error::Ended) => None,
            Err(error) => Some(Err(error)),
        })
    }
}

impl Drop for AsyncConsumer {
    fn drop(&mut self) {
        self.stop_waiting();
        if let Some(claim) = self.held.take() {
            self.consumer.return_item(claim);
        }
    }
}
