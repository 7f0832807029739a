//! Rings as byte streams.

use std::io;

use super::{Consumer, Producer};
use crate::ring::Claim;
use crate::{Error, ErrorKind};

/// Sends what is written as items; see [`Producer::writer`].
#[derive(Debug)]
pub struct WriteItems<'p> {
    producer: &'p mut Producer,
    chunk: usize,
}

impl<'p> WriteItems<'p> {
    pub(super) fn new(producer: &'p mut Producer, chunk: usize) -> Self {
        let most = usize::try_from(producer.max_item()).unwrap_or(usize::MAX);
        WriteItems { producer, chunk: chunk.clamp(1, most) }
    }
}

/// Each call sends one item: what it was given, up to the chunk.
impl io::Write for WriteItems<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let take = bytes.len().min(self.chunk);
        if take > 0 {
            self.producer.send(&bytes[..take]).map_err(as_io)?;
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
    /// The bytes of the item that is held, and how many of them were read.
    bytes: Vec<u8>,
    read: usize,
}

impl<'c> ReadItems<'c> {
    pub(super) fn new(consumer: &'c mut Consumer) -> Self {
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
                self.consumer.acknowledge_item(claim);
            }
            match self.consumer.recv() {
                Ok(item) => {
                    self.bytes.resize(item.len(), 0);
                    item.copy_to(&mut self.bytes);
                    item.check().map_err(as_io)?;
                    (self.held, self.read) = (Some(item.into_claim()), 0);
                }
                Err(Error::Ended) => return Ok(0),
                Err(error) => return Err(as_io(error)),
            }
        }
        let rest = &self.bytes[self.read..];
        let take = rest.len().min(out.len());
        out[..take].copy_from_slice(&rest[..take]);
        self.read += take;
        if self.read == self.bytes.len()
            && let Some(claim) = self.held.take()
        {
            self.consumer.acknowledge_item(claim);
        }
        Ok(take)
    }
}

impl Drop for ReadItems<'_> {
    fn drop(&mut self) {
        if let Some(claim) = self.held.take() {
            self.consumer.return_item(claim);
        }
    }
}

/// A raised stop flag is no `Interrupted`: the standard library would try again, for ever.
pub(super) fn as_io(error: Error) -> io::Error {
    let kind = match error.kind() {
        ErrorKind::Closed => io::ErrorKind::BrokenPipe,
        ErrorKind::Full | ErrorKind::Empty => io::ErrorKind::WouldBlock,
        ErrorKind::TimedOut => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}
