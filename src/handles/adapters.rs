//! Reads and writes a ring as a byte stream.

use std::io;

use super::{Consumer, Producer};
use crate::Error;
use crate::protocol::Claim;

impl Producer {
    /// An [`std::io::Write`] that sends each written piece as items of at most `chunk` bytes; in a ring of fixed items, of
    /// their length. There, a write whose last item would be shorter fails before that item.
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
}

impl Consumer {
    /// An [`std::io::Read`] over the bytes of the items, one after the other. Reading the last byte of an item
    /// acknowledges it.
    pub fn reader(&mut self) -> ReadItems<'_> {
        ReadItems::new(self)
    }
}

/// Sends what is written as items; see [`Producer::writer`].
#[derive(Debug)]
pub struct WriteItems<'p> {
    producer: &'p mut Producer,
    chunk: usize,
}

impl<'p> WriteItems<'p> {
    fn new(producer: &'p mut Producer, chunk: usize) -> Self {
        let most = usize::try_from(producer.max_item()).unwrap_or(usize::MAX);
        let is_fixed = producer.core.participant().mapping().geometry().fixed > 0;
        let chunk = if is_fixed { most } else { chunk.clamp(1, most) };
        WriteItems { producer, chunk }
    }
}

/// Each call sends one item: the given bytes, up to the chunk's length.
impl io::Write for WriteItems<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let take = bytes.len().min(self.chunk);
        if take > 0 {
            self.producer.send(&bytes[..take]).map_err(Error::into_io)?;
        }
        Ok(take)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads the items' bytes one after the other; see [`Consumer::reader`].
#[derive(Debug)]
pub struct ReadItems<'c> {
    consumer: &'c mut Consumer,
    held: Option<Claim>,
    /// The bytes of the held item, and how many of them were read.
    bytes: Vec<u8>,
    read: usize,
}

impl<'c> ReadItems<'c> {
    fn new(consumer: &'c mut Consumer) -> Self {
        ReadItems { consumer, held: None, bytes: Vec::new(), read: 0 }
    }
}

/// Returns `Ok(0)` at the end of the stream.
impl io::Read for ReadItems<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        while self.read >= self.bytes.len() || self.held.is_none() {
            if let Some(claim) = self.held.take() {
                self.consumer.core.attachment.acknowledge_item(claim);
            }
            match self.consumer.recv() {
                Ok(item) => {
                    self.bytes.resize(item.len(), 0);
                    item.copy_to(&mut self.bytes);
                    item.check().map_err(Error::into_io)?;
                    (self.held, self.read) = (Some(item.into_claim()), 0);
                }
                Err(Error::Ended) => return Ok(0),
                Err(error) => return Err(error.into_io()),
            }
        }
        let rest = &self.bytes[self.read..];
        let take = rest.len().min(out.len());
        out[..take].copy_from_slice(&rest[..take]);
        self.read += take;
        if self.read == self.bytes.len()
            && let Some(claim) = self.held.take()
        {
            self.consumer.core.attachment.acknowledge_item(claim);
        }
        Ok(take)
    }
}

impl Drop for ReadItems<'_> {
    fn drop(&mut self) {
        if let Some(claim) = self.held.take() {
            self.consumer.core.attachment.return_item(claim);
        }
    }
}
