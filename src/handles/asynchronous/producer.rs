//! The producer for asynchronous tasks.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_sink::Sink;

use super::task_wait::TaskWait;
use crate::handles::send::{Core, Place, RoomWait};
use crate::handles::{Producer, Ring, Role};
use crate::membership::Activity;
use crate::protocol::Claim;
use crate::sys::clock::Deadline;
use crate::wait::{Depth, WaitStrategy};
use crate::{Error, Result};

/// The sending end of a ring for asynchronous tasks; needs the feature `tokio`.
///
/// It gives the same guarantees as the [`Producer`] that it is made of. Change settings on that one; its policy
/// for full rings applies here. While there is no room, a thread of the runtime's blocking pool sleeps on the
/// ring, at most for 80 milliseconds at a time, and wakes the task; no future polls in the meantime. Futures are
/// *cancel-safe*: one that is dropped before it was ready has sent nothing.
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
/// One handle serves one task at a time. It can move to another task, but tasks cannot share it:
///
/// ```compile_fail
/// fn shared<T: Sync>() {}
/// shared::<ringpipe::AsyncProducer>();
/// ```
#[derive(Debug)]
pub struct AsyncProducer {
    producer: Producer,
    room: TaskRoom,
    wait: TaskWait,
    /// The item that the sink has accepted and not sent yet.
    kept: Option<Vec<u8>>,
}

/// The number of slots that a task waits for; 0 if it does not wait.
#[derive(Debug, Default)]
struct TaskRoom(u64);

impl TaskRoom {
    /// Ends the task's wait.
    fn stop_waiting(&mut self, core: &Core) {
        if let first @ 1.. = std::mem::take(&mut self.0) {
            core.waited(first);
        }
    }
}

impl RoomWait for TaskRoom {
    const SLEEPS: bool = false;

    /// One thorough look. `TimedOut` with a deadline that has not passed means that the task waits now, until
    /// [`stop_waiting`](TaskRoom::stop_waiting).
    fn claim(
        &mut self,
        core: &mut Core,
        first: u64,
        deadline: Deadline,
        look: impl FnMut(&Place, Depth) -> Result<Option<Claim>>,
    ) -> Result<Claim> {
        core.participant().set_activity(Activity::WaitingForRoom);
        self.0 = first;
        let found = core.look_once::<Self>(first, Depth::Thorough, true, look);
        if matches!(found, Ok(None)) && !deadline.passed() {
            return Err(Error::TimedOut);
        }
        self.stop_waiting(core);
        core.refuse_if_closed(found?.ok_or(Error::TimedOut)?)
    }
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

/// A stop flag set on the producer has no effect: drop the future instead.
impl From<Producer> for AsyncProducer {
    fn from(producer: Producer) -> Self {
        let wait = TaskWait::new(producer.core.participant().mapping(), Role::Producer);
        AsyncProducer { producer, room: TaskRoom::default(), wait, kept: None }
    }
}

impl AsyncProducer {
    /// The handle inside, for its number and its counters.
    pub fn get_ref(&self) -> &Producer {
        &self.producer
    }

    /// Sends one item; waits for room unless [`Producer::set_on_full`] says otherwise.
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
    /// As [`Producer::send`]; [`Error::Unsupported`] when it would have to wait outside of a tokio runtime, or in
    /// one that is shutting down.
    pub async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let attempt = |core: &mut Core, room: &mut TaskRoom| core.send(bytes, room, Deadline::never);
        Sending { producer: self, attempt }.await
    }

    /// Sends as many of `items` as there is room for, and waits only for the first. Returns the number sent: from
    /// 1 to all, or 0 if `items` is empty. In a shared ring they all become visible at the same moment.
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
    /// As [`send`](Self::send); [`Error::TooLarge`] and [`Error::Mismatch`] only for the first item: such an item
    /// behind it ends the batch.
    pub async fn send_batch<T: AsRef<[u8]>>(&mut self, items: &[T]) -> Result<usize> {
        let attempt = |core: &mut Core, room: &mut TaskRoom| core.send_batch(items, room, Deadline::never());
        Sending { producer: self, attempt }.await
    }

    /// Waits until the item that the sink keeps was sent. The sink's own `flush` does the same, but the compiler
    /// cannot infer its item type.
    ///
    /// Cancel-safe: an item that was not sent is still kept.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn flush(&mut self) -> Result<()> {
        Sending { producer: self, attempt: |_: &mut Core, _: &mut TaskRoom| Ok(()) }.await
    }

    /// Sends the item that the sink keeps.
    fn poll_kept(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(bytes) = self.kept.take() else { return Poll::Ready(Ok(())) };
        let sent = self.poll_attempt(cx, |core, room| core.send(&bytes, room, Deadline::never));
        if sent.is_pending() {
            self.kept = Some(bytes);
        }
        sent
    }

    fn poll_attempt<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut attempt: impl FnMut(&mut Core, &mut TaskRoom) -> Result<T>,
    ) -> Poll<Result<T>> {
        let AsyncProducer { producer: Producer { core, .. }, room, wait, .. } = self;
        // An attempt that finds no room has looked thoroughly, and reports that it would wait.
        let answer = ready!(wait.poll(cx, |_, woken| {
            if woken {
                core.strategy.woken();
            }
            match attempt(core, room) {
                Err(Error::TimedOut) => Ok(None),
                result => result.map(Some),
            }
        }));
        wait.end_of_wait();
        room.stop_waiting(core);
        Poll::Ready(answer)
    }

    fn stop_waiting(&mut self) {
        if self.producer.core.participant().check().is_err() {
            // In a forked child's copy, the sleeps ended with the parent's threads.
            return;
        }
        self.room.stop_waiting(&self.producer.core);
        if self.wait.end_of_wait() {
            self.wait.give_up();
        }
    }
}

/// A future that sends; dropping it ends its handle's wait.
struct Sending<'p, F> {
    producer: &'p mut AsyncProducer,
    attempt: F,
}

impl<T, F: FnMut(&mut Core, &mut TaskRoom) -> Result<T> + Unpin> Future for Sending<'_, F> {
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

/// The sink sends an item at once if there is room, and otherwise keeps it until there is.
///
/// A kept item was not sent: it is lost if the handle is dropped or the process dies. `close` flushes, and
/// dropping the handle leaves the ring. The policy for full rings applies to each item.
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
    /// As [`send`](AsyncProducer::send), and [`Error::Full`] if no `poll_ready` has returned ready before.
    fn start_send(mut self: Pin<&mut Self>, item: T) -> Result<()> {
        if self.kept.is_some() {
            return Err(Error::Full);
        }
        let AsyncProducer { producer, room, .. } = &mut *self;
        match producer.core.send(item.as_ref(), room, Deadline::never) {
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
