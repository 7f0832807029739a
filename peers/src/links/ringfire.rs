//! ringfire's broadcast ring in its lossless mode, in which a registered reader holds the writer back.
//!
//! The sender makes the ring, because ringfire lets only the creator write. Both ends therefore finish
//! opening at their first message, so that neither waits for the other while it is being made.

use ringfire::{ConsumerStartMode, FlowControl, FutexWait, RingConsumer, RingProducer, RingProducerBuilder};

use super::leftover::{Leftover, shared_path};
use super::patience::until;
use super::typed::{Message, message, messages, messages_mut, refuses_size};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct Ringfire<const WORDS: usize>;

impl<const WORDS: usize> Peer for Ringfire<WORDS> {
    const ABOUT: About = About {
        name: "ringfire lossless",
        version: "0.5.2",
        kind: Kind::SharedMemory,
        waits: "spins, then sleeps; spins, then naps when full",
        remark: "one producer; broadcast: consumers do not compete; message size fixed when compiled",
    };
    type Host = Leftover;
    type Sender = Writer<WORDS>;
    type Receiver = Reader<WORDS>;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { receivers: 2.., .. } => Some("broadcast only; its work queue is lossy"),
            Work { senders: 2.., .. } => Some("one producer"),
            Work { in_place: true, .. } => Some("not in place"),
            _ => refuses_size::<WORDS>(work.size),
        }
    }

    fn host(name: &str, _work: &Work) -> Leftover {
        Leftover::shared(name)
    }

    fn sender(name: &str, work: &Work) -> Writer<WORDS> {
        let ring = RingProducerBuilder::new(work.depth.next_power_of_two() as u64)
            .flow_control(FlowControl::LosslessBackpressure)
            // The receiver may still be reading when the sender is done.
            .cleanup_mode(ringfire::CleanupMode::Persistent)
            .build(shared_path(name))
            .expect("ringfire makes its file");
        Writer { ring, read: false }
    }

    fn receiver(name: &str, _work: &Work) -> Reader<WORDS> {
        Reader { name: name.to_owned(), ring: None, wait: FutexWait::default() }
    }
}

pub struct Writer<const WORDS: usize> {
    ring: RingProducer<Message<WORDS>>,
    /// Whether a reader has registered. Without one, nothing holds the writer back.
    read: bool,
}

impl<const WORDS: usize> Writer<WORDS> {
    fn await_reader(&mut self) {
        if !self.read {
            let registry = self.ring.registry().expect("a lossless ring registers readers");
            until(|| registry.min_cursor().is_some());
            self.read = true;
        }
    }
}

impl<const WORDS: usize> Sender for Writer<WORDS> {
    fn send(&mut self, sent: &[u8]) {
        self.await_reader();
        self.ring.push(message(sent));
    }

    fn send_batch(&mut self, batch: &[u8], _size: usize) {
        self.await_reader();
        self.ring.push_batch(messages(batch));
    }
}

pub struct Reader<const WORDS: usize> {
    name: String,
    ring: Option<RingConsumer<Message<WORDS>>>,
    wait: FutexWait,
}

impl<const WORDS: usize> Reader<WORDS> {
    /// The ring, once the sender has made it.
    fn ring(&mut self) -> (&mut RingConsumer<Message<WORDS>>, &mut FutexWait) {
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

impl<const WORDS: usize> Receiver for Reader<WORDS> {
    fn receive(&mut self, message: &mut [u8]) {
        let (ring, wait) = self.ring();
        message.copy_from_slice(ring.recv_blocking(wait).as_flattened());
    }

    fn receive_batch(&mut self, batch: &mut [u8], _size: usize) -> usize {
        let (ring, wait) = self.ring();
        let batch = messages_mut(batch);
        match ring.recv_batch(batch) {
            0 => {
                // Only the call for one message can sleep.
                batch[0] = ring.recv_blocking(wait);
                1 + ring.recv_batch(&mut batch[1..])
            }
            count => count,
        }
    }
}
