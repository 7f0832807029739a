//! que's lossless channel for one producer and one consumer. Both sides can only try.
//!
//! `pop` reads the slot before it has seen that the slot was published, so that it sometimes returns what
//! lay there a lap earlier. It is measured as it is: the receiver counts what arrives wrong.

use std::sync::atomic::{AtomicU64, Ordering};

use que::lossless::{consumer::Consumer, producer::Producer};
use que::page_size::PageSize;

use super::leftover::Leftover;
use super::patience::until;
use super::sized::{OneSize, array, arrays, by_size};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct Que;

impl Peer for Que {
    const ABOUT: About = About {
        name: "que lossless",
        version: "0.4.5",
        kind: Kind::SharedMemory,
        waits: "spins",
        remark: "returns wrong content now and then; one producer, one consumer; size and depth fixed when compiled",
    };
    type Host = Leftover;
    type Sender = SizedSender;
    type Receiver = SizedReceiver;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { receivers: 2.., .. } => Some("one consumer"),
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

// The depth is a part of the type, so that it cannot follow the work's: 256 KiB, at least 64 slots and at
// most 4096.
by_size!(
    Leftover, Link:
    B8 = 8 by 4096, B64 = 64 by 4096, B256 = 256 by 1024, KiB1 = 1024 by 256, KiB4 = 4096 by 64,
    KiB16 = 16384 by 64, KiB64 = 65536 by 64,
);

struct Link<const SIZE: usize, const DEPTH: usize>;

impl<const SIZE: usize, const DEPTH: usize> OneSize for Link<SIZE, DEPTH> {
    type Host = Leftover;
    type Sender = Writer<SIZE, DEPTH>;
    type Receiver = Reader<SIZE, DEPTH>;

    fn host(name: &str, _work: &Work) -> Leftover {
        let left = Leftover::shared(name);
        drop(producer::<SIZE, DEPTH>(name));
        left
    }

    fn sender(name: &str, _work: &Work) -> Writer<SIZE, DEPTH> {
        Writer { channel: producer(name), joined: false }
    }

    fn receiver(name: &str, _work: &Work) -> Reader<SIZE, DEPTH> {
        // SAFETY: the run has one receiver, and both ends take the type from the same work.
        let channel = unsafe { Consumer::<[u8; SIZE], DEPTH>::join_shmem(&slash(name), PageSize::Standard) };
        let channel = channel.expect("the host laid out the channel");
        // SAFETY: as in `Writer::await_consumer`.
        unsafe { channel.get_padding_ptr().cast::<AtomicU64>().as_ref() }.store(1, Ordering::Release);
        Reader(channel)
    }
}

fn producer<const SIZE: usize, const DEPTH: usize>(name: &str) -> Producer<[u8; SIZE], DEPTH> {
    // SAFETY: one producer at a time: the host's is gone before the sender's joins.
    unsafe { Producer::join_or_create_shmem(&slash(name), PageSize::Standard) }
        .expect("que lays out its memory")
}

/// The name as shm_open wants it.
fn slash(name: &str) -> String {
    format!("/{name}")
}

pub struct Writer<const SIZE: usize, const DEPTH: usize> {
    channel: Producer<[u8; SIZE], DEPTH>,
    joined: bool,
}

impl<const SIZE: usize, const DEPTH: usize> Writer<SIZE, DEPTH> {
    /// A consumer starts behind what was sent before it joined. It says in the channel's metadata when it has.
    fn await_consumer(&mut self) {
        if !self.joined {
            // SAFETY: the metadata is 112 bytes, aligned to 128, and used as this word alone.
            let joined = unsafe { self.channel.get_padding_ptr().cast::<AtomicU64>().as_ref() };
            until(|| joined.load(Ordering::Acquire) == 1);
            self.joined = true;
        }
    }

    fn push(&mut self, message: &[u8; SIZE]) {
        if self.channel.push(message).is_err() {
            // The consumer must see what is there before it can make room.
            self.channel.sync();
            until(|| self.channel.push(message).is_ok());
        }
    }
}

impl<const SIZE: usize, const DEPTH: usize> Sender for Writer<SIZE, DEPTH> {
    fn send(&mut self, message: &[u8]) {
        self.await_consumer();
        self.push(array(message));
        self.channel.sync();
    }

    fn send_batch(&mut self, messages: &[u8], _size: usize) {
        self.await_consumer();
        arrays(messages).iter().for_each(|message| self.push(message));
        self.channel.sync();
    }
}

pub struct Reader<const SIZE: usize, const DEPTH: usize>(Consumer<[u8; SIZE], DEPTH>);

impl<const SIZE: usize, const DEPTH: usize> Receiver for Reader<SIZE, DEPTH> {
    fn receive(&mut self, message: &mut [u8]) {
        until(|| match self.0.pop() {
            Some(popped) => {
                message.copy_from_slice(&popped);
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
            .map_while(|message| self.0.pop().map(|popped| message.copy_from_slice(&popped)));
        1 + more.count()
    }
}
