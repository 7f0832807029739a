//! Sending in a task.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;

use super::Pause;
use crate::handles::{Producer, Ring, Role};
use crate::sync::WaitStrategy;
use crate::{Error, Result};

/// The sending end of a ring for asynchronous tasks; needs the feature `tokio`.
///
/// It promises what the [`Producer`] does that it is made of; settings are made on that one, and what was set
/// for full rings applies here. While there is no room, a thread of the runtime's blocking pool sleeps on the
/// ring, at most for 80 milliseconds at a time, and wakes the task; no future polls in the meantime. Futures
/// are *cancel-safe*: one that is dropped before it was ready has sent nothing.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> ringpipe::Result<()> {
/// # let name = format!("doc-async-producer-{}", std::process::id());
/// # let ring = ringpipe::RingOptions::new().create(&name)?;
/// let mut producer = ring.async_producer()?;
/// producer.send(b"hello").await?;
/// assert_eq!(ring.snapshot()?.ready, 1);
/// # ring.remove()?;
/// # Ok(())
/// # }
/// ```
///
/// One handle serves one task at a time; it can be moved to another, not shared:
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<ringpipe::AsyncProducer>();
/// ```
#[derive(Debug)]
pub struct AsyncProducer {
    producer: Producer,
    pause: Pause,
    /// What the sink has taken and not sent.
    kept: Option<Vec<u8>>,
}

impl Ring {
    /// Attaches a producer for asynchronous tasks; needs the feature `tokio`.
    ///
    /// # Errors
    /// As [`producer`](Self::producer).
    pub fn async_producer(&self) -> Result<AsyncProducer> {
        self.producer().map(AsyncProducer::from)
    }
}

/// A stop flag that was set has no effect: drop the future.
impl From<Producer> for AsyncProducer {
    fn from(mut producer: Producer) -> Self {
        producer.by_task = Some(0);
        let pause = Pause::new(producer.participant.view(), Role::Producer);
        AsyncProducer { producer, pause, kept: None }
    }
}

impl AsyncProducer {
    /// The handle below, for its number and its counters.
    pub fn get_ref(&self) -> &Producer {
        &self.producer
    }

    /// Sends one item, and waits for room if it must (see [`Producer::set_on_full`]).
    ///
    /// Cancel-safe: a future that is dropped before it was ready has not sent the item.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ringpipe::Result<()> {
    /// # let name = format!("doc-async-send-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().capacity(2).create(&name)?;
    /// use std::time::Duration;
    /// let mut producer = ring.async_producer()?;
    /// producer.send(b"one").await?;
    /// producer.send(b"two").await?;
    /// let late = tokio::time::timeout(Duration::from_millis(5), producer.send(b"three")).await;
    /// assert!(late.is_err());
    /// assert_eq!(producer.get_ref().sent(), 2);
    /// # ring.remove()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Producer::send`]; [`Error::Unsupported`] when it would have to wait outside of a tokio runtime, or
    /// in one that shuts down.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Sending { producer: self, attempt: |producer: &mut Producer| producer.send(bytes) }.await
    }

    /// Sends as many of `items` as there is room for, waits only for the first, and answers how many were sent:
    /// from 1 to all, or 0 if there were none. In a shared ring they become visible at once.
    ///
    /// Cancel-safe: a future that is dropped before it was ready has sent none of them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> ringpipe::Result<()> {
    /// # let name = format!("doc-async-send-batch-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().create(&name)?;
    /// # let mut producer = ring.async_producer()?;
    /// let mut items: &[&str] = &["one", "two", "three"];
    /// while !items.is_empty() {
    ///     let sent = producer.send_batch(items).await?;
    ///     items = &items[sent..];
    /// }
    /// # ring.remove()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`send`](Self::send); [`Error::TooLarge`] only for the first item: a larger one behind it ends the
    /// batch.
    pub async fn send_batch<T: AsRef<[u8]>>(&mut self, items: &[T]) -> Result<usize> {
        Sending { producer: self, attempt: |producer: &mut Producer| producer.send_batch(items) }.await
    }

    /// Waits until what the sink was given was sent, as the sink's own flush does, whose type of items the
    /// compiler cannot guess.
    ///
    /// Cancel-safe: what was not sent is still kept.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn flush(&mut self) -> Result<()> {
        Sending { producer: self, attempt: |_: &mut Producer| Ok(()) }.await
    }

    /// Sends what the sink keeps.
    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(bytes) = self.kept.take() else { return Poll::Ready(Ok(())) };
        let sent = self.poll_attempt(cx, |producer| producer.send(&bytes));
        if sent.is_pending() {
            self.kept = Some(bytes);
        }
        sent
    }

    fn poll_attempt<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&mut Producer) -> Result<T>,
    ) -> Poll<Result<T>> {
        let AsyncProducer { producer, pause, .. } = self;
        // An attempt that finds no room has looked thoroughly, and says that it would wait.
        let answer = ready!(pause.poll(cx, |_, woken| {
            if woken {
                producer.strategy.woken();
            }
            match attempt(producer) {
                Err(Error::TimedOut) => Ok(None),
                result => result.map(Some),
            }
        }));
        pause.end_of_wait();
        producer.stop_waiting();
        Poll::Ready(answer)
    }

    fn stop_waiting(&mut self) {
        if self.producer.participant.check().is_err() {
            // A forked child's copy: its naps ended with the parent's threads.
            return;
        }
        self.producer.stop_waiting();
        if self.pause.end_of_wait() {
            self.pause.give_up();
        }
    }
}

/// Something that is to be sent; its handle waits no longer when this is dropped.
struct Sending<'p, F> {
    producer: &'p mut AsyncProducer,
    attempt: F,
}

impl<T, F: FnMut(&mut Producer) -> Result<T> + Unpin> Future for Sending<'_, F> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Sending { producer, attempt } = self.get_mut();
        ready!(producer.poll_kept(cx))?;
        producer.poll_attempt(cx, attempt)
    }
}

impl<F> Drop for Sending<'_, F> {
    fn drop(&mut self) {
        self.producer.stop_waiting();
    }
}

/// An item is sent as soon as the sink gets it if there is room, and kept until there is otherwise.
///
/// What is kept was not sent: it is lost with the handle, and with the process. `close` flushes, and leaves the
/// ring to the handle's drop. What was set for full rings applies to each item.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> ringpipe::Result<()> {
/// # let name = format!("doc-async-sink-{}", std::process::id());
/// # let ring = ringpipe::RingOptions::new().create(&name)?;
/// use futures_util::{SinkExt, stream};
/// let mut producer = ring.async_producer()?;
/// producer.send_all(&mut stream::iter([Ok("a"), Ok("b")])).await?;
/// assert_eq!(ring.snapshot()?.ready, 2);
/// # ring.remove()?;
/// # Ok(())
/// # }
/// ```
impl<T: AsRef<[u8]>> Sink<T> for AsyncProducer {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_kept(cx)
    }

    /// # Errors
    /// As [`send`](AsyncProducer::send), and [`Error::Full`] without a `poll_ready` that said so.
    fn start_send(mut self: Pin<&mut Self>, item: T) -> Result<()> {
        if self.kept.is_some() {
            return Err(Error::Full);
        }
        match self.producer.send(item.as_ref()) {
            Err(Error::TimedOut) => {
                self.kept = Some(item.as_ref().to_vec());
                Ok(())
            }
            result => result,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_kept(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_kept(cx)
    }
}

impl Drop for AsyncProducer {
    fn drop(&mut self) {
        self.stop_waiting();
    }
}
