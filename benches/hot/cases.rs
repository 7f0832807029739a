//! The functions whose cost per call is guarded, and how to call them: in one thread, so that no cache line
//! travels and no thread waits.

use std::hint::black_box;

use ringpipe::{Consumer, Producer, Result, Ring, RingOptions};

/// Items of a batch.
pub const BATCH: usize = 64;
/// Bytes of a slot, but for items of 1 KiB.
const SLOT: usize = 64;
/// An item that takes three slots.
const SPANNING: usize = 3 * SLOT;
/// Most calls before the ring must be [drained](Fixture::drain).
pub const MOST_CALLS: usize = 512;

/// What is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `send`.
    Send,
    /// `reserve`, `write_at`, `commit`.
    Reserve,
    /// `send_batch` of [`BATCH`] items.
    SendBatch,
    /// `recv` and `ack`.
    Receive,
    /// `recv_batch` of [`BATCH`] items, a copy of each, and `ack`.
    ReceiveBatch,
}

/// A call on a kind of ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// One producer and one consumer have the ring to themselves.
    pub exclusive: bool,
    /// What is called.
    pub call: Call,
    /// Bytes of an item.
    pub size: usize,
}

impl Case {
    /// All of them.
    pub fn all() -> Vec<Case> {
        let single = [8, SLOT, SPANNING, 1024];
        let calls = single.map(|size| (Call::Send, size)).into_iter();
        let calls = calls.chain(single.map(|size| (Call::Receive, size)));
        let calls =
            calls.chain([Call::Reserve, Call::SendBatch, Call::ReceiveBatch].map(|call| (call, SLOT)));
        let calls: Vec<_> = calls.collect();
        let kind = |exclusive| calls.iter().map(move |&(call, size)| Case { exclusive, call, size });
        kind(true).chain(kind(false)).collect()
    }

    /// `exclusive/Send/64`.
    pub fn name(&self) -> String {
        let kind = if self.exclusive { "exclusive" } else { "many" };
        format!("{kind}/{:?}/{}", self.call, self.size)
    }

    /// Items of a call.
    pub fn items(&self) -> usize {
        if matches!(self.call, Call::SendBatch | Call::ReceiveBatch) { BATCH } else { 1 }
    }

    /// Whether items must be there before the call.
    pub fn receives(&self) -> bool {
        matches!(self.call, Call::Receive | Call::ReceiveBatch)
    }
}

/// A ring with both its ends in this thread; removed when dropped.
pub struct Fixture {
    ring: Ring,
    producer: Producer,
    consumer: Consumer,
    bytes: Vec<u8>,
    batch: Vec<Vec<u8>>,
    copy: Vec<u8>,
}

impl Fixture {
    /// A ring with room for [`MOST_CALLS`] calls.
    pub fn new(case: &Case) -> Result<Self> {
        let slot = if case.size == 1024 { case.size } else { SLOT };
        let slots = MOST_CALLS * case.items() * case.size.div_ceil(slot);
        let options =
            RingOptions::new().capacity(slots as u64).slot_size(slot as u64).exclusive(case.exclusive);
        let name = format!("bench-hot-{}", std::process::id());
        let ring = options.prefault(true).create(&name)?;
        Ok(Fixture {
            producer: ring.producer()?,
            consumer: ring.consumer()?,
            ring,
            bytes: vec![1; case.size],
            batch: vec![vec![1; case.size]; BATCH],
            copy: Vec::with_capacity(case.size),
        })
    }

    /// Calls this number of times, at most [`MOST_CALLS`] without [`fill`](Self::fill) or [`drain`](Self::drain).
    pub fn run(&mut self, call: Call, times: usize) -> Result<()> {
        let Fixture { producer, consumer, bytes, batch, copy, .. } = self;
        match call {
            Call::Send => (0..times).try_for_each(|_| producer.send(black_box(&bytes[..]))),
            Call::Reserve => (0..times).try_for_each(|_| {
                let mut reservation = producer.reserve(bytes.len() as u64)?;
                reservation.write_at(0, black_box(&bytes[..]));
                reservation.commit();
                Ok(())
            }),
            Call::SendBatch => (0..times).try_for_each(|_| {
                let sent = producer.send_batch(black_box(&batch[..]))?;
                assert_eq!(sent, BATCH);
                Ok(())
            }),
            Call::Receive => (0..times).try_for_each(|_| {
                let item = consumer.recv()?;
                black_box(&*item);
                item.ack();
                Ok(())
            }),
            Call::ReceiveBatch => (0..times).try_for_each(|_| {
                let items = consumer.recv_batch(BATCH)?;
                assert_eq!(items.len(), BATCH);
                for item in items.iter() {
                    copy.clear();
                    item.append_to(copy);
                    black_box(&copy[..]);
                }
                items.ack();
                Ok(())
            }),
        }
    }

    /// Sends the items for this number of calls of a receiving case.
    pub fn fill(&mut self, case: &Case, times: usize) -> Result<()> {
        self.run(if case.items() > 1 { Call::SendBatch } else { Call::Send }, times)
    }

    /// Receives the items of this number of calls of a sending case.
    pub fn drain(&mut self, case: &Case, times: usize) -> Result<()> {
        self.run(if case.items() > 1 { Call::ReceiveBatch } else { Call::Receive }, times)
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = self.ring.remove();
    }
}
