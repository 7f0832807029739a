//! shaq's queue for one producer and one consumer. The consumer spins and then sleeps; the producer can only
//! try.

use std::num::NonZeroUsize;
use std::time::Duration;

use shaq::spsc::{Consumer, Producer, ReadBatch, WriteBatch, minimum_file_size};

use super::leftover::{Leftover, new_shared, open_shared};
use super::patience::until;
use super::typed::{Message, bytes, refuses_size};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct ShaqSpsc<const WORDS: usize>;

impl<const WORDS: usize> Peer for ShaqSpsc<WORDS> {
    const ABOUT: About = About {
        name: "shaq spsc",
        version: "4.3.0",
        kind: Kind::SharedMemory,
        waits: "spins, then sleeps; spins when full",
        remark: "one producer, one consumer; message size fixed when compiled; wedges when a peer is killed",
    };
    type Host = Leftover;
    type Sender = Writer<WORDS>;
    type Receiver = Reader<WORDS>;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { receivers: 2.., .. } => Some("one consumer"),
            Work { senders: 2.., .. } => Some("one producer"),
            _ => refuses_size::<WORDS>(work.size),
        }
    }

    fn host(name: &str, work: &Work) -> Leftover {
        let (left, file) = new_shared(name);
        // SAFETY:
        // - The file is new, and no other process initialises it.
        // - This producer writes nothing, and is gone before the sender's joins.
        let made = unsafe {
            Producer::<Message<WORDS>>::create(&file, minimum_file_size::<Message<WORDS>>(work.depth))
        };
        made.map(drop).expect("shaq lays out its file");
        left
    }

    fn sender(name: &str, _work: &Work) -> Writer<WORDS> {
        // SAFETY: the run has one sender, and both ends have one type.
        Writer(unsafe { Producer::join(&open_shared(name)) }.expect("the host laid out the queue"))
    }

    fn receiver(name: &str, _work: &Work) -> Reader<WORDS> {
        // SAFETY: the run has one receiver, and both ends have one type.
        Reader(unsafe { Consumer::join(&open_shared(name)) }.expect("the host laid out the queue"))
    }
}

pub struct Writer<const WORDS: usize>(Producer<Message<WORDS>>);

impl<const WORDS: usize> Sender for Writer<WORDS> {
    fn send(&mut self, message: &[u8]) {
        self.send_in_place(WORDS * 8, |slot| slot.copy_from_slice(message));
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
fn next<'a, const WORDS: usize>(batch: &'a mut WriteBatch<'_, Message<WORDS>>) -> Option<&'a mut [u8]> {
    // SAFETY:
    // - The slot lies in a mapped file, whose bytes are all initialised.
    // - Any bytes are a valid array.
    unsafe { batch.try_as_mut().map(|slot| slot.assume_init_mut().as_flattened_mut()) }
}

pub struct Reader<const WORDS: usize>(Consumer<Message<WORDS>>);

impl<const WORDS: usize> Reader<WORDS> {
    /// Waits for at least one message, and takes at most `max`.
    fn take(&mut self, max: usize) -> ReadBatch<'_, Message<WORDS>> {
        let max = NonZeroUsize::new(max).expect("room for a message");
        self.0.reserve_read_batch_timeout(max, Duration::MAX).expect("the wait has no end")
    }
}

impl<const WORDS: usize> Receiver for Reader<WORDS> {
    fn receive(&mut self, message: &mut [u8]) {
        message.copy_from_slice(self.take(1)[0].as_flattened());
    }

    fn receive_batch(&mut self, messages: &mut [u8], size: usize) -> usize {
        let batch = self.take(messages.len() / size);
        let (first, second) = batch.as_slices();
        let (left, right) = messages.split_at_mut(first.len() * size);
        left.copy_from_slice(bytes(first));
        right[..second.len() * size].copy_from_slice(bytes(second));
        batch.len()
    }

    fn receive_then(&mut self, message: &mut [u8], look: impl FnOnce(&[u8])) {
        self.receive_in_place(message.len(), look);
    }

    fn receive_in_place(&mut self, _size: usize, look: impl FnOnce(&[u8])) {
        look(self.take(1)[0].as_flattened());
    }
}
