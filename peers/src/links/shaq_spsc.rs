//! shaq's queue for one producer and one consumer. The consumer spins and then sleeps; the producer can only
//! try.

use std::num::NonZeroUsize;
use std::time::Duration;

use shaq::spsc::{Consumer, Producer, ReadBatch, WriteBatch, minimum_file_size};

use super::leftover::{Leftover, new_shared, open_shared};
use super::patience::until;
use super::sized::{OneSize, by_size};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct ShaqSpsc;

impl Peer for ShaqSpsc {
    const ABOUT: About = About {
        name: "shaq spsc",
        version: "4.3.0",
        kind: Kind::SharedMemory,
        waits: "spins, then sleeps; spins when full",
        remark: "one producer, one consumer; message size fixed when compiled; wedges when a peer is killed",
    };
    type Host = Leftover;
    type Sender = SizedSender;
    type Receiver = SizedReceiver;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { receivers: 2.., .. } => Some("one consumer"),
            Work { senders: 2.., .. } => Some("one producer"),
            Work { size, .. } if !carries(*size) => Some("message size not compiled in"),
            _ => None,
        }
    }

    fn host(name: &str, work: &Work) -> Leftover {
        host(name, work)
    }

    fn sender(name: &str, work: &Work) -> SizedSender {
        SizedSender::open(name, work)
    }

    fn receiver(name: &str, work: &Work) -> SizedReceiver {
        SizedReceiver::open(name, work)
    }
}

by_size!(
    Leftover, Link:
    B8 = 8, B64 = 64, B256 = 256, KiB1 = 1024, KiB4 = 4096, KiB16 = 16384,
    KiB64 = 65536, KiB256 = 262144, MiB1 = 1048576, MiB8 = 8388608,
);

struct Link<const SIZE: usize>;

impl<const SIZE: usize> OneSize for Link<SIZE> {
    type Host = Leftover;
    type Sender = Writer<SIZE>;
    type Receiver = Reader<SIZE>;

    fn host(name: &str, work: &Work) -> Leftover {
        let (left, file) = new_shared(name);
        // SAFETY:
        // - The file is new, and nobody else initialises it.
        // - This producer writes nothing, and is gone before the sender's joins.
        let made =
            unsafe { Producer::<[u8; SIZE]>::create(&file, minimum_file_size::<[u8; SIZE]>(work.depth)) };
        made.map(drop).expect("shaq lays out its file");
        left
    }

    fn sender(name: &str, _work: &Work) -> Writer<SIZE> {
        // SAFETY: the run has one sender, and both ends take SIZE from the same work.
        Writer(unsafe { Producer::join(&open_shared(name)) }.expect("the host laid out the queue"))
    }

    fn receiver(name: &str, _work: &Work) -> Reader<SIZE> {
        // SAFETY: the run has one receiver, and both ends take SIZE from the same work.
        Reader(unsafe { Consumer::join(&open_shared(name)) }.expect("the host laid out the queue"))
    }
}

pub struct Writer<const SIZE: usize>(Producer<[u8; SIZE]>);

impl<const SIZE: usize> Sender for Writer<SIZE> {
    fn send(&mut self, message: &[u8]) {
        self.send_in_place(SIZE, |slot| slot.copy_from_slice(message));
    }

    fn send_batch(&mut self, messages: &[u8], size: usize) {
        let mut rest = messages;
        until(|| {
            let mut batch = self.0.write_batch();
            while let Some((message, others)) = rest.split_at_checked(size)
                && let Some(slot) = next(&mut batch)
            {
                slot.copy_from_slice(message);
                rest = others;
            }
            rest.is_empty()
        });
    }

    fn send_in_place(&mut self, _size: usize, fill: impl FnOnce(&mut [u8])) {
        let mut fill = Some(fill);
        until(|| match next(&mut self.0.write_batch()) {
            Some(slot) => {
                if let Some(fill) = fill.take() {
                    fill(slot);
                }
                true
            }
            None => false,
        });
    }
}

/// The next slot of a batch, unless the queue is full.
fn next<'a, const SIZE: usize>(batch: &'a mut WriteBatch<'_, [u8; SIZE]>) -> Option<&'a mut [u8; SIZE]> {
    // SAFETY:
    // - The slot lies in a mapped file, whose bytes are all initialised.
    // - Any bytes are a valid array.
    unsafe { batch.try_as_mut().map(|slot| slot.assume_init_mut()) }
}

pub struct Reader<const SIZE: usize>(Consumer<[u8; SIZE]>);

impl<const SIZE: usize> Reader<SIZE> {
    /// Waits for at least one message, and takes at most `max`.
    fn take(&mut self, max: usize) -> ReadBatch<'_, [u8; SIZE]> {
        let max = NonZeroUsize::new(max).expect("room for a message");
        self.0.reserve_read_batch_timeout(max, Duration::MAX).expect("the wait has no end")
    }
}

impl<const SIZE: usize> Receiver for Reader<SIZE> {
    fn receive(&mut self, message: &mut [u8]) {
        message.copy_from_slice(&self.take(1)[0]);
    }

    fn receive_batch(&mut self, messages: &mut [u8], size: usize) -> usize {
        let batch = self.take(messages.len() / size);
        let (first, second) = batch.as_slices();
        let (left, right) = messages.split_at_mut(first.len() * size);
        left.copy_from_slice(first.as_flattened());
        right[..second.len() * size].copy_from_slice(second.as_flattened());
        batch.len()
    }

    fn receive_in_place(&mut self, _size: usize, look: impl FnOnce(&[u8])) {
        look(&self.take(1)[0]);
    }
}
