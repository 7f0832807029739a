//! ipmpsc: many senders and one receiver over a ring in a mapped file, guarded by a shared mutex and
//! condition variable. Messages pass through bincode; the receiver borrows them from the ring.

use ipmpsc::SharedRingBuffer;
use serde_bytes::Bytes;

use super::leftover::{Leftover, shared_path};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct Ipmpsc;

impl Peer for Ipmpsc {
    const ABOUT: About = About {
        name: "ipmpsc",
        version: "0.5.1",
        kind: Kind::SharedMemory,
        waits: "sleeps",
        remark: "one consumer; serializes; a process killed in a call leaves its mutex locked",
    };
    type Host = Leftover;
    type Sender = ipmpsc::Sender;
    type Receiver = ipmpsc::Receiver;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { receivers: 2.., .. } => Some("one consumer"),
            Work { in_place: true, .. } => Some("in place only for the receiver"),
            Work { batch: 2.., .. } => Some("no batches"),
            _ if u32::try_from(bytes(work)).is_err() => Some("at most 4 GiB"),
            _ => None,
        }
    }

    fn host(name: &str, work: &Work) -> Leftover {
        let left = Leftover::shared(name);
        let bytes = u32::try_from(bytes(work)).expect("larger is refused");
        SharedRingBuffer::create(&path(name), bytes).expect("memory for the ring");
        left
    }

    fn sender(name: &str, _work: &Work) -> ipmpsc::Sender {
        ipmpsc::Sender::new(open(name))
    }

    fn receiver(name: &str, _work: &Work) -> ipmpsc::Receiver {
        ipmpsc::Receiver::new(open(name))
    }
}

/// Room for the messages, each behind the 4-byte size of its record and the 8-byte length of its bytes.
fn bytes(work: &Work) -> usize {
    work.depth * (work.size + 12)
}

fn path(name: &str) -> String {
    shared_path(name).to_str().expect("a link's name is text").to_owned()
}

fn open(name: &str) -> SharedRingBuffer {
    SharedRingBuffer::open(&path(name)).expect("the host made the ring")
}

impl Sender for ipmpsc::Sender {
    fn send(&mut self, message: &[u8]) {
        ipmpsc::Sender::send(self, &Bytes::new(message)).expect("a ring that is in order");
    }
}

impl Receiver for ipmpsc::Receiver {
    fn receive(&mut self, message: &mut [u8]) {
        let mut borrowed = self.zero_copy_context();
        let received: &Bytes = borrowed.recv().expect("a ring that is in order");
        message.copy_from_slice(received);
    }
}
