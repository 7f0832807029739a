//! ringfire's broadcast ring in its lossless mode, in which a registered reader holds the writer back.
//!
//! The sender makes the ring, because ringfire lets only the creator write. Both ends therefore finish
//! opening at their first message, so that neither waits for the other while it is being made.

use ringfire::{ConsumerStartMode, FlowControl, FutexWait, RingConsumer, RingProducer, RingProducerBuilder};

use super::leftover::{Leftover, shared_path};
use super::patience::until;
use super::sized::{OneSize, array, arrays, by_size};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct Ringfire;

impl Peer for Ringfire {
    const ABOUT: About = About {
        name: "ringfire lossless",
        version: "0.5.2",
        kind: Kind::SharedMemory,
        waits: "spins, then sleeps; spins, then naps when full",
        remark: "one producer; broadcast: consumers do not compete; message size fixed when compiled",
    };
    type Host = Leftover;
    type Sender = SizedSender;
    type Receiver = SizedReceiver;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { receivers: 2.., .. } => Some("broadcast only; its work queue is lossy"),
            Work { senders: 2.., .. } => Some("one producer"),
            Work { in_place: true, .. } => Some("not in place"),
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

// A message is returned by value: larger ones do not fit on a stack.
by_size!(
    Leftover, Link:
    B8 = 8, B64 = 64, B256 = 256, KiB1 = 1024, KiB4 = 4096, KiB16 = 16384, KiB64 = 65536, KiB256 = 262144,
);

struct Link<const SIZE: usize>;

impl<const SIZE: usize> OneSize for Link<SIZE> {
    type Host = Leftover;
    type Sender = Writer<SIZE>;
    type Receiver = Reader<SIZE>;

    fn host(name: &str, _work: &Work) -> Leftover {
        Leftover::shared(name)
    }

    fn sender(name: &str, work: &Work) -> Writer<SIZE> {
        let ring = RingProducerBuilder::new(work.depth.next_power_of_two() as u64)
            .flow_control(FlowControl::LosslessBackpressure)
            // The receiver may still be reading when the sender is done.
            .cleanup_mode(ringfire::CleanupMode::Persistent)
            .build(shared_path(name))
            .expect("ringfire makes its file");
        Writer { ring, read: false }
    }

    fn receiver(name: &str, _work: &Work) -> Reader<SIZE> {
        Reader { name: name.to_owned(), ring: None, wait: FutexWait::default() }
    }
}

pub struct Writer<const SIZE: usize> {
    ring: RingProducer<[u8; SIZE]>,
    /// Whether a reader has registered. Without one, nothing holds the writer back.
    read: bool,
}

impl<const SIZE: usize> Writer<SIZE> {
    fn await_reader(&mut self) {
        if !self.read {
            let registry = self.ring.registry().expect("a lossless ring registers readers");
            until(|| registry.min_cursor().is_some());
            self.read = true;
        }
    }
}

impl<const SIZE: usize> Sender for Writer<SIZE> {
    fn send(&mut self, message: &[u8]) {
        self.await_reader();
        self.ring.push(array(message));
    }

    fn send_batch(&mut self, messages: &[u8], _size: usize) {
        self.await_reader();
        self.ring.push_batch(arrays(messages));
    }
}

pub struct Reader<const SIZE: usize> {
    name: String,
    ring: Option<RingConsumer<[u8; SIZE]>>,
    wait: FutexWait,
}

impl<const SIZE: usize> Reader<SIZE> {
    /// The ring, once the sender has made it.
    fn ring(&mut self) -> (&mut RingConsumer<[u8; SIZE]>, &mut FutexWait) {
        let ring = self.ring.get_or_insert_with(|| {
            let mut ring = None;
            until(|| {
                let reader = RingConsumer::builder().start_mode(ConsumerStartMode::Oldest);
                ring = reader.attach(shared_path(&self.name)).ok();
                ring.is_some()
            });
            ring.expect("waited for it")
        });
        (ring, &mut self.wait)
    }
}

impl<const SIZE: usize> Receiver for Reader<SIZE> {
    fn receive(&mut self, message: &mut [u8]) {
        let (ring, wait) = self.ring();
        message.copy_from_slice(&ring.recv_blocking(wait));
    }

    fn receive_batch(&mut self, messages: &mut [u8], _size: usize) -> usize {
        let (ring, wait) = self.ring();
        let (messages, _) = messages.as_chunks_mut();
        match ring.recv_batch(messages) {
            0 => {
                // Only the call for one message can sleep.
                messages[0] = ring.recv_blocking(wait);
                1 + ring.recv_batch(&mut messages[1..])
            }
            count => count,
        }
    }
}
