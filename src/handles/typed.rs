//! Producers and consumers of items of one plain type.

use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use bytemuck::{AnyBitPattern, CheckedBitPattern, NoUninit};

use super::{Batch, BatchItem, Consumer, Item, Producer};
use crate::{Error, Result};

/// Sends values of a plain type; each item has exactly the bytes of its value.
///
/// ```
/// # let name = format!("doc-typed-{}", std::process::id());
/// # let ring = ringpipe::RingOptions::new().create(&name)?;
/// let mut numbers = ring.producer()?.typed::<u64>();
/// numbers.send(&42)?;
/// let mut consumer = ring.consumer()?.typed::<u64>();
/// let number = consumer.recv()?;
/// assert_eq!(*number, 42);
/// number.ack();
/// # ring.remove()?;
/// # Ok::<(), ringpipe::Error>(())
/// ```
#[derive(Debug)]
pub struct TypedProducer<T> {
    producer: Producer,
    _items: PhantomData<fn(T)>,
}

impl Producer {
    /// Sends values of type `T` from now on.
    pub fn typed<T: NoUninit>(self) -> TypedProducer<T> {
        TypedProducer { producer: self, _items: PhantomData }
    }
}

impl<T: NoUninit> TypedProducer<T> {
    /// As [`Producer::send`].
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub fn send(&mut self, value: &T) -> Result<()> {
        self.producer.send(bytemuck::bytes_of(value))
    }

    /// As [`Producer::try_send`].
    ///
    /// # Errors
    /// As [`Producer::try_send`].
    pub fn try_send(&mut self, value: &T) -> Result<()> {
        self.producer.try_send(bytemuck::bytes_of(value))
    }

    /// As [`Producer::send_timeout`].
    ///
    /// # Errors
    /// As [`Producer::send_timeout`].
    pub fn send_timeout(&mut self, value: &T, timeout: Duration) -> Result<()> {
        self.producer.send_timeout(bytemuck::bytes_of(value), timeout)
    }

    /// As [`Producer::send_batch`], and in a ring of [`RingOptions::typed`](crate::RingOptions::typed) as
    /// [`Producer::send_packed`].
    ///
    /// ```
    /// # let name = format!("doc-typed-batch-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().typed::<u64>().create(&name)?;
    /// let mut numbers = ring.producer()?.typed::<u64>();
    /// assert_eq!(numbers.send_batch(&[1, 2, 3])?, 3);
    /// let mut consumer = ring.consumer()?.typed::<u64>();
    /// let batch = consumer.recv_batch(2)?;
    /// assert_eq!(batch.values()?, [1, 2]);
    /// batch.ack();
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Producer::send_batch`].
    pub fn send_batch(&mut self, values: &[T]) -> Result<usize> {
        if self.producer.fixed() == Some(size_of::<T>() as u64) {
            return self.producer.send_packed(bytemuck::cast_slice(values));
        }
        let items: Vec<&[u8]> = values.iter().map(bytemuck::bytes_of).collect();
        self.producer.send_batch(&items)
    }

    /// The untyped handle.
    pub fn into_inner(self) -> Producer {
        self.producer
    }
}

/// Receives values of a plain type; see [`TypedProducer`].
#[derive(Debug)]
pub struct TypedConsumer<T> {
    consumer: Consumer,
    _items: PhantomData<fn() -> T>,
}

impl Consumer {
    /// Receives values of type `T` from now on.
    pub fn typed<T: CheckedBitPattern>(self) -> TypedConsumer<T> {
        TypedConsumer { consumer: self, _items: PhantomData }
    }
}

impl<T: CheckedBitPattern> TypedConsumer<T> {
    /// As [`Consumer::recv`].
    ///
    /// # Errors
    /// As [`Consumer::recv`], and [`Error::Mismatch`] for an item whose bytes are not a valid `T`. That item is
    /// given back, and the next call receives it again; [`into_inner`](Self::into_inner) returns the handle that
    /// can take it.
    pub fn recv(&mut self) -> Result<TypedItem<'_, T>> {
        TypedItem::new(self.consumer.recv()?)
    }

    /// As [`Consumer::try_recv`].
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`Error::Empty`].
    pub fn try_recv(&mut self) -> Result<TypedItem<'_, T>> {
        TypedItem::new(self.consumer.try_recv()?)
    }

    /// As [`Consumer::recv_timeout`].
    ///
    /// # Errors
    /// As [`recv`](Self::recv), and [`Error::TimedOut`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<TypedItem<'_, T>> {
        TypedItem::new(self.consumer.recv_timeout(timeout)?)
    }

    /// As [`Consumer::recv_batch`].
    ///
    /// # Errors
    /// As [`Consumer::recv_batch`].
    pub fn recv_batch(&mut self, most: usize) -> Result<TypedBatch<'_, T>> {
        Ok(TypedBatch { batch: self.consumer.recv_batch(most)?, _items: PhantomData })
    }

    /// The untyped handle.
    pub fn into_inner(self) -> Consumer {
        self.consumer
    }
}

/// Received values; dropping it gives the items back.
#[derive(Debug)]
pub struct TypedBatch<'c, T> {
    batch: Batch<'c>,
    _items: PhantomData<fn() -> T>,
}

impl<T: CheckedBitPattern> TypedBatch<'_, T> {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.batch.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// The values.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for an item whose bytes are not a valid `T`; those of [`Batch::check`](crate::Batch::check).
    pub fn values(&self) -> Result<Vec<T>> {
        let size = size_of::<T>();
        let mut bytes = vec![0; size];
        let value = |item: BatchItem<'_>| {
            let len = item.copy_to(&mut bytes);
            let read = bytemuck::checked::try_pod_read_unaligned(&bytes[..len]);
            let fits = item.len() == size;
            let mismatch = Error::Mismatch { len: item.len() as u64, expected: size as u64 };
            read.ok().filter(|_| fits).ok_or(mismatch)
        };
        let values = self.batch.iter().map(value).collect::<Result<_>>();
        self.batch.check()?;
        values
    }

    /// Copies the bytes of the values to `values`, as many as there are and fit; returns their number. In a ring of
    /// [`RingOptions::typed`](crate::RingOptions::typed) they are copied at once.
    ///
    /// # Errors
    /// As [`values`](Self::values).
    pub fn copy_to(&self, values: &mut [T]) -> Result<usize>
    where
        T: AnyBitPattern + NoUninit,
    {
        if self.batch.iter().next().is_some_and(|item| item.len() == size_of::<T>()) {
            let count = self.batch.copy_packed(bytemuck::cast_slice_mut(values));
            self.batch.check()?;
            if count > 0 {
                return Ok(count);
            }
        }
        let read = self.values()?;
        let count = read.len().min(values.len());
        values[..count].copy_from_slice(&read[..count]);
        Ok(count)
    }

    /// Acknowledges all of them: see [`Batch::ack`](crate::Batch::ack).
    pub fn ack(self) {
        self.batch.ack();
    }
}

/// A received value, which it derefs to; dropping it gives the item back.
#[derive(Debug)]
pub struct TypedItem<'c, T> {
    item: Item<'c>,
    value: T,
}

impl<'c, T: CheckedBitPattern> TypedItem<'c, T> {
    fn new(item: Item<'c>) -> Result<Self> {
        let read = bytemuck::checked::try_pod_read_unaligned(&item);
        item.check()?;
        match read {
            Ok(value) => Ok(TypedItem { item, value }),
            Err(_) => {
                let (len, expected) = (item.len() as u64, size_of::<T>() as u64);
                Err(Error::Mismatch { len, expected })
            }
        }
    }

    /// Acknowledges the item.
    pub fn ack(self) {
        self.item.ack();
    }

    /// The item that contains the value.
    pub fn item(&self) -> &Item<'c> {
        &self.item
    }
}

impl<T> Deref for TypedItem<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
