//! cloudtoid-interprocess: byte queues with many publishers and competing subscribers. Publishers can only
//! try; subscribers sleep on a semaphore.

use std::fs;

use cloudtoid_interprocess::{Options, Publisher, Subscriber};

use super::leftover::{Leftover, shared_path};
use super::patience::until;
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct Cloudtoid;

impl Peer for Cloudtoid {
    const ABOUT: About = About {
        name: "cloudtoid-interprocess",
        version: "3.0.2",
        kind: Kind::SharedMemory,
        waits: "spins, then sleeps; spins when full",
        remark: "receives one at a time; loses what a killed subscriber held",
    };
    type Host = Host;
    type Sender = End<Publisher>;
    type Receiver = End<Subscriber>;

    fn refuses(work: &Work) -> Option<&'static str> {
        work.in_place.then_some("not in place")
    }

    fn host(name: &str, work: &Work) -> Host {
        let left = Leftover::shared(name);
        fs::create_dir(shared_path(name)).expect("the link's name is free");
        Host { _kept: Publisher::open(&options(name, work)).expect("a new queue"), _left: left }
    }

    fn sender(name: &str, work: &Work) -> End<Publisher> {
        End(Publisher::open(&options(name, work)).expect("the host made the queue"))
    }

    fn receiver(name: &str, work: &Work) -> End<Subscriber> {
        End(Subscriber::open(&options(name, work)).expect("the host made the queue"))
    }
}

/// A queue in a folder of its own, with room for the messages and their 8-byte headers.
fn options(name: &str, work: &Work) -> Options {
    Options::new(name, work.depth * (work.size + 8)).with_path(shared_path(name))
}

/// A queue vanishes with its last end: this one keeps it until the run is over.
pub struct Host {
    _kept: Publisher,
    _left: Leftover,
}

pub struct End<Queue>(Queue);

impl Sender for End<Publisher> {
    fn send(&mut self, message: &[u8]) {
        until(|| match self.0.try_send(message) {
            Ok(()) => true,
            Err(error) if error.is_full() => false,
            Err(error) => panic!("cannot send: {error}"),
        });
    }

    fn send_batch(&mut self, messages: &[u8], size: usize) {
        let messages: Vec<&[u8]> = messages.chunks_exact(size).collect();
        let mut sent = 0;
        until(|| {
            sent += self.0.try_send_batch(&messages[sent..]).expect("a queue that is in order");
            sent == messages.len()
        });
    }
}

/// Tries before the call that can sleep, which allocates a vector for each message.
const TRIES: usize = 1000;

impl Receiver for End<Subscriber> {
    fn receive(&mut self, message: &mut [u8]) {
        for _ in 0..TRIES {
            if self.take(message) {
                return;
            }
            std::hint::spin_loop();
        }
        message.copy_from_slice(&self.0.recv().expect("a queue that is in order"));
    }

    fn receive_batch(&mut self, messages: &mut [u8], size: usize) -> usize {
        let (first, rest) = messages.split_at_mut(size);
        self.receive(first);
        1 + rest.chunks_exact_mut(size).map_while(|message| self.take(message).then_some(())).count()
    }
}

impl End<Subscriber> {
    fn take(&self, message: &mut [u8]) -> bool {
        self.0.try_recv_into(message).expect("a queue that is in order").is_some()
    }
}
