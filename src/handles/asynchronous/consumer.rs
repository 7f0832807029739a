//! The consumer for asynchronous tasks.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::task_wait::TaskWait;
use crate::handles::{Batch, Consumer, Item, Ring, Role};
use crate::membership::Activity;
use crate::protocol::Claim;
use crate::{Error, Result};

/// The receiving end of a ring for asynchronous tasks; needs the feature `tokio`.
///
/// It gives the same guarantees as the [`Consumer`] that it is made of; change settings on that one. While there
/// is nothing to receive, a thread of the runtime's blocking pool sleeps on the ring, at most for 80 milliseconds
/// at a time, and wakes the task; no future polls in the meantime. Futures are *cancel-safe*: one that is dropped
/// before it was ready has received nothing.
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
/// asking for the next item acknowledges the one before, and dropping the handle gives it back. A pipeline stage
/// that must not lose an item before it has sent it on receives, sends, and then acknowledges:
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
/// One handle serves one task at a time. It can move to another task, but tasks cannot share it:
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<ringpipe::AsyncConsumer>();
/// ```
#[derive(Debug)]
pub struct AsyncConsumer {
    consumer: Consumer,
    wait: TaskWait,
    /// The item that the stream handed out last.
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

/// A stop flag set on the consumer has no effect: drop the future instead.
impl From<Consumer> for AsyncConsumer {
    fn from(consumer: Consumer) -> Self {
        let wait = TaskWait::new(consumer.core.participant().mapping(), Role::Consumer);
        AsyncConsumer { consumer, wait, held: None }
    }
}

impl AsyncConsumer {
    /// The handle inside, for its counters.
    pub fn get_ref(&self) -> &Consumer {
        &self.consumer
    }

    /// Receives the next item. Its bytes are copied out of the ring at first access.
    ///
    /// Cancel-safe: a future that is dropped before it was ready has received nothing, and the item goes to the
    /// next call, of this handle or another. But an item that the stream handed out before is acknowledged as soon
    /// as this is polled.
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
    /// [`Error::Ended`] as for [`Consumer::recv`]; [`Error::Unsupported`] when it would have to wait outside of a
    /// tokio runtime, or in one that is shutting down.
    pub async fn recv(&mut self) -> Result<Item<'_>> {
        let claim = Claiming { consumer: self, most: 1 }.await?;
        Item::new(&mut self.consumer.core, claim)
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
        Batch::new(&mut self.consumer.core, claim)
    }

    fn poll_claim(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<Result<Claim>> {
        if let Some(claim) = self.held.take() {
            self.consumer.core.attachment.acknowledge_item(claim);
        }
        let AsyncConsumer { consumer: Consumer { core, .. }, wait, .. } = self;
        let claim = ready!(wait.poll(cx, |depth, woken| {
            if woken {
                core.woken();
            }
            core.poll_claim(depth, most)
        }));
        if wait.end_of_wait() {
            core.waited();
        }
        Poll::Ready(claim)
    }

    fn stop_waiting(&mut self) {
        let participant = self.consumer.core.participant();
        // In a forked child's copy, the sleep ended with the parent's threads.
        if self.wait.end_of_wait() && participant.check().is_ok() {
            participant.set_activity(Activity::Busy);
            self.wait.give_up();
        }
    }
}

/// A future that claims; dropping it ends its handle's wait.
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
/// Asking for the next item acknowledges the one before, even if the caller does not wait for the next one. An
/// item that is still unacknowledged when the handle is dropped is delivered again.
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
                let item = Item::new(&mut self.consumer.core, claim)?;
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
            self.consumer.core.attachment.return_item(claim);
        }
    }
}
