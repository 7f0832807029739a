//! que's lossless channel for one producer and one consumer. Both sides can only try.
//!
//! `pop` reads the slot before it has seen that the slot was published, so that it sometimes returns what
//! lay there a lap earlier. It is measured as it is: the receiver counts what arrives wrong.

use std::sync::atomic::{AtomicU64, Ordering};

use que::lossless::{consumer::Consumer, producer::Producer};
use que::page_size::PageSize;

use super::leftover::Leftover;
use super::patience::until;
use super::typed::{Message, message, messages, refuses_size};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct Que<const WORDS: usize, const DEPTH: usize>;

impl<const WORDS: usize, const DEPTH: usize> Peer for Que<WORDS, DEPTH> {
    const ABOUT: About = About {
        name: "que lossless",
        version: "0.4.5",
        kind: Kind::SharedMemory,
        waits: "spins",
        remark: "returns wrong content now and then; one producer, one consumer; size and depth fixed when compiled",
    };
    type Host = Leftover;
    type Sender = Writer<WORDS, DEPTH>;
    type Receiver = Reader<WORDS, DEPTH>;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { receivers: 2.., .. } => Some("one consumer"),
            Work { senders: 2.., .. } => Some("one producer"),
            Work { in_place: true, .. } => Some("not in place"),
            Work { depth, .. } if *depth != DEPTH => Some("depth not compiled in"),
            _ => refuses_size::<WORDS>(work.size),
        }
    }

    fn host(name: &str, _work: &Work) -> Leftover {
        let left = Leftover::shared(name);
        // Lays out the channel; que has nothing to drop, and unmaps nothing.
        let _ = producer::<WORDS, DEPTH>(name);
        left
    }

    fn sender(name: &str, _work: &Work) -> Writer<WORDS, DEPTH> {
        Writer { channel: producer(name), joined: false }
    }

    fn receiver(name: &str, _work: &Work) -> Reader<WORDS, DEPTH> {
        // SAFETY: the run has one receiver, and both ends take the type from the same work.
        let channel =
            unsafe { Consumer::<Message<WORDS>, DEPTH>::join_shmem(&slash(name), PageSize::Standard) };
        let channel = channel.expect("the host laid out the channel");
        // SAFETY: as in `Writer::await_consumer`.
        unsafe { channel.get_padding_ptr().cast::<AtomicU64>().as_ref() }.store(1, Ordering::Release);
        Reader(channel)
    }
}

fn producer<const WORDS: usize, const DEPTH: usize>(name: &str) -> Producer<Message<WORDS>, DEPTH> {
    // SAFETY: one producer at a time: the host's is gone before the sender's joins.
    unsafe { Producer::join_or_create_shmem(&slash(name), PageSize::Standard) }
        .expect("que lays out its memory")
}

/// The name as shm_open wants it.
fn slash(name: &str) -> String {
    format!("/{name}")
}

pub struct Writer<const WORDS: usize, const DEPTH: usize> {
    channel: Producer<Message<WORDS>, DEPTH>,
    joined: bool,
}

impl<const WORDS: usize, const DEPTH: usize> Writer<WORDS, DEPTH> {
    /// A consumer starts behind what was sent before it joined. It says in the channel's metadata when it has.
    fn await_consumer(&mut self) {
        if !self.joined {
            // SAFETY: the metadata is 112 bytes, aligned to 128, and used as this word alone.
            let joined = unsafe { self.channel.get_padding_ptr().cast::<AtomicU64>().as_ref() };
            until(|| joined.load(Ordering::Acquire) == 1);
            self.joined = true;
        }
    }

    fn push(&mut self, message: &Message<WORDS>) {
        if self.channel.push(message).is_err() {
            // The consumer must see what is there before it can make room.
            self.channel.sync();
            until(|| self.channel.push(message).is_ok());
        }
    }
}

impl<const WORDS: usize, const DEPTH: usize> Sender for Writer<WORDS, DEPTH> {
    fn send(&mut self, sent: &[u8]) {
        self.await_consumer();
        self.push(message(sent));
        self.channel.sync();
    }

    fn send_batch(&mut self, batch: &[u8], _size: usize) {
        self.await_consumer();
        messages(batch).iter().for_each(|message| self.push(message));
        self.channel.sync();
    }
}

pub struct Reader<const WORDS: usize, const DEPTH: usize>(Consumer<Message<WORDS>, DEPTH>);

impl<const WORDS: usize, const DEPTH: usize> Receiver for Reader<WORDS, DEPTH> {
    fn receive(&mut self, message: &mut [u8]) {
        until(|| match self.0.pop() {
            Some(popped) => {
                message.copy_from_slice(popped.as_flattened());
                true
            }
            None => false,
        });
    }

    fn receive_batch(&mut self, messages: &mut [u8], size: usize) -> usize {
        let (first, rest) = messages.split_at_mut(size);
        self.receive(first);
        let more = rest
            .chunks_exact_mut(size)
            .map_while(|message| self.0.pop().map(|popped| message.copy_from_slice(popped.as_flattened())));
        1 + more.count()
    }
}
