//! ZeroMQ's PUSH and PULL sockets over ipc://, which block at their high-water marks.

use zmq::{Context, Socket, SocketType};

use super::leftover::{Leftover, meeting_path};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct ZeroMq;

impl Peer for ZeroMq {
    const ABOUT: About = About {
        name: "ZeroMQ ipc",
        version: "4.3.4",
        kind: Kind::Kernel,
        waits: "sleeps",
        remark: "batches by itself; deals messages out in turn instead of letting consumers compete",
    };
    type Host = Leftover;
    type Sender = End;
    type Receiver = End;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { receivers: 2.., .. } => Some("one consumer, or a proxy process between"),
            Work { in_place: true, .. } => Some("not in place"),
            Work { batch: 2.., .. } => Some("no batches"),
            _ => None,
        }
    }

    fn host(name: &str, _work: &Work) -> Leftover {
        Leftover::meeting(name)
    }

    fn sender(name: &str, work: &Work) -> End {
        let end = End::new(SocketType::PUSH, work);
        end.socket.connect(&endpoint(name)).expect("a connection, made when the receiver is there");
        end
    }

    fn receiver(name: &str, work: &Work) -> End {
        let end = End::new(SocketType::PULL, work);
        end.socket.bind(&endpoint(name)).expect("the link's name is free");
        end
    }
}

fn endpoint(name: &str) -> String {
    format!("ipc://{}", meeting_path(name).display())
}

pub struct End {
    socket: Socket,
    /// Dropped after the socket, and ends only when what was sent has left.
    _context: Context,
}

impl End {
    fn new(kind: SocketType, work: &Work) -> End {
        let context = Context::new();
        let socket = context.socket(kind).expect("a socket");
        // Both sides queue: each half of the depth.
        let half = i32::try_from((work.depth / 2).max(1)).expect("a depth that ZeroMQ can count");
        socket.set_sndhwm(half).and_then(|()| socket.set_rcvhwm(half)).expect("before the socket is used");
        End { socket, _context: context }
    }
}

impl Sender for End {
    fn send(&mut self, message: &[u8]) {
        self.socket.send(message, 0).expect("a socket that blocks when full");
    }
}

impl Receiver for End {
    fn receive(&mut self, message: &mut [u8]) {
        let bytes = self.socket.recv_into(message, 0).expect("a socket that blocks when empty");
        assert_eq!(bytes, message.len(), "a message of another size");
    }
}
