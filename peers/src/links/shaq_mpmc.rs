//! shaq's queue for many producers and competing consumers. Consumers spin and then sleep; producers can
//! only try.

use std::num::NonZeroUsize;
use std::time::Duration;

use shaq::mpmc::{Consumer, Producer, minimum_file_size};

use super::leftover::{Leftover, new_shared, open_shared};
use super::patience::until;
use super::sized::{OneSize, arrays, by_size};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct ShaqMpmc;

impl Peer for ShaqMpmc {
    const ABOUT: About = About {
        name: "shaq mpmc",
        version: "4.3.0",
        kind: Kind::SharedMemory,
        waits: "spins, then sleeps; spins when full",
        remark: "message size fixed when compiled; wedges when a peer is killed, waits when one is stopped",
    };
    type Host = Leftover;
    type Sender = SizedSender;
    type Receiver = SizedReceiver;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
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
        // SAFETY: the file is new, and nobody else initialises it.
        let made =
            unsafe { Producer::<[u8; SIZE]>::create(&file, minimum_file_size::<[u8; SIZE]>(work.depth)) };
        made.map(drop).expect("shaq lays out its file");
        left
    }

    fn sender(name: &str, work: &Work) -> Writer<SIZE> {
        // SAFETY: all ends take SIZE from the same work.
        let queue = unsafe { Producer::join(&open_shared(name)) }.expect("the host laid out the queue");
        Writer { queue, run: (work.depth / 2).max(1) }
    }

    fn receiver(name: &str, _work: &Work) -> Reader<SIZE> {
        // SAFETY: all ends take SIZE from the same work.
        Reader(unsafe { Consumer::join(&open_shared(name)) }.expect("the host laid out the queue"))
    }
}

pub struct Writer<const SIZE: usize> {
    queue: Producer<[u8; SIZE]>,
    /// Slots reserved in one step, which must all be free: at most half of the queue, so that consumers
    /// empty one half while a producer fills the other.
    run: usize,
}

impl<const SIZE: usize> Sender for Writer<SIZE> {
    fn send(&mut self, message: &[u8]) {
        self.send_in_place(SIZE, |slot| slot.copy_from_slice(message));
    }

    fn send_batch(&mut self, messages: &[u8], _size: usize) {
        for run in arrays::<SIZE>(messages).chunks(self.run) {
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
                fill(slot);
            }
            true
        });
    }
}

pub struct Reader<const SIZE: usize>(Consumer<[u8; SIZE]>);

impl<const SIZE: usize> Receiver for Reader<SIZE> {
    fn receive(&mut self, message: &mut [u8]) {
        self.receive_in_place(SIZE, |slot| message.copy_from_slice(slot));
    }

    fn receive_batch(&mut self, messages: &mut [u8], size: usize) -> usize {
        let max = NonZeroUsize::new(messages.len() / size).expect("room for a message");
        let batch = self.0.reserve_read_batch_timeout(max, Duration::MAX).expect("the wait has no end");
        let (first, second) = batch.as_slices();
        let (left, right) = messages.split_at_mut(first.len() * size);
        left.copy_from_slice(first.as_flattened());
        right[..second.len() * size].copy_from_slice(second.as_flattened());
        batch.len()
    }

    fn receive_in_place(&mut self, _size: usize, look: impl FnOnce(&[u8])) {
        // A batch of one, because dropping the guard for a single slot copies the message out once more.
        let one =
            self.0.reserve_read_batch_timeout(NonZeroUsize::MIN, Duration::MAX).expect("the wait has no end");
        look(&one[0]);
    }
}
