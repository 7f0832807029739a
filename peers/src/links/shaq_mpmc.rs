//! shaq's queue for many producers and competing consumers. Consumers spin and then sleep; producers can
//! only try.

use std::num::NonZeroUsize;
use std::time::Duration;

use shaq::mpmc::{Consumer, Producer, minimum_file_size};

use super::leftover::{Leftover, new_shared, open_shared};
use super::patience::until;
use super::typed::{Message, bytes, messages, refuses_size};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct ShaqMpmc<const WORDS: usize>;

impl<const WORDS: usize> Peer for ShaqMpmc<WORDS> {
    const ABOUT: About = About {
        name: "shaq mpmc",
        version: "4.3.0",
        kind: Kind::SharedMemory,
        waits: "spins, then sleeps; spins when full",
        remark: "message size fixed when compiled; wedges when a peer is killed, waits when one is stopped",
    };
    type Host = Leftover;
    type Sender = Writer<WORDS>;
    type Receiver = Reader<WORDS>;

    fn refuses(work: &Work) -> Option<&'static str> {
        refuses_size::<WORDS>(work.size)
    }

    fn host(name: &str, work: &Work) -> Leftover {
        let (left, file) = new_shared(name);
        // SAFETY: the file is new, and no other process initialises it.
        let made = unsafe {
            Producer::<Message<WORDS>>::create(&file, minimum_file_size::<Message<WORDS>>(work.depth))
        };
        made.map(drop).expect("shaq lays out its file");
        left
    }

    fn sender(name: &str, work: &Work) -> Writer<WORDS> {
        // SAFETY: all ends have one type.
        let queue = unsafe { Producer::join(&open_shared(name)) }.expect("the host laid out the queue");
        Writer { queue, run: (work.depth / 2).max(1) }
    }

    fn receiver(name: &str, _work: &Work) -> Reader<WORDS> {
        // SAFETY: all ends have one type.
        Reader(unsafe { Consumer::join(&open_shared(name)) }.expect("the host laid out the queue"))
    }
}

pub struct Writer<const WORDS: usize> {
    queue: Producer<Message<WORDS>>,
    /// Slots reserved in one step, which must all be free: at most half of the queue, so that consumers
    /// empty one half while a producer fills the other.
    run: usize,
}

impl<const WORDS: usize> Sender for Writer<WORDS> {
    fn send(&mut self, message: &[u8]) {
        self.send_in_place(WORDS * 8, |slot| slot.copy_from_slice(message));
    }

    fn send_batch(&mut self, batch: &[u8], _size: usize) {
        for run in messages::<WORDS>(batch).chunks(self.run) {
            until(|| self.queue.try_write_slice(run));
        }
    }

    fn send_in_place(&mut self, _size: usize, fill: impl FnOnce(&mut [u8])) {
        let mut fill = Some(fill);
        until(|| {
            // SAFETY: whatever `fill` leaves, the slot's bytes are initialised, as below.
            let Some(mut slot) = (unsafe { self.queue.try_reserve_write() }) else { return false };
            // SAFETY: the slot lies in a mapped file, whose bytes are all initialised.
            let slot = unsafe { slot.as_mut().assume_init_mut() };
            if let Some(fill) = fill.take() {
                fill(slot.as_flattened_mut());
            }
            true
        });
    }
}

pub struct Reader<const WORDS: usize>(Consumer<Message<WORDS>>);

impl<const WORDS: usize> Receiver for Reader<WORDS> {
    fn receive(&mut self, message: &mut [u8]) {
        self.receive_in_place(WORDS * 8, |slot| message.copy_from_slice(slot));
    }

    fn receive_batch(&mut self, messages: &mut [u8], size: usize) -> usize {
        let max = NonZeroUsize::new(messages.len() / size).expect("room for a message");
        let batch = self.0.reserve_read_batch_timeout(max, Duration::MAX).expect("the wait has no end");
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
        // A batch of one, because dropping the guard for a single slot copies the message out once more.
        let one =
            self.0.reserve_read_batch_timeout(NonZeroUsize::MIN, Duration::MAX).expect("the wait has no end");
        look(one[0].as_flattened());
    }
}
