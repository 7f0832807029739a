//! Unix sockets: a stream, and whole packets.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, recv, send, setsockopt, socketpair, sockopt,
};

use crate::inherit::{self, Offer};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

/// What the kernel takes in one piece.
const WHOLE: usize = 32 * 1024;
/// Above this the kernel finds no memory for a packet.
const LARGEST_PACKET: usize = 256 * 1024;

pub struct Stream;

impl Peer for Stream {
    const ABOUT: About = About {
        name: "unix stream",
        version: "kernel",
        kind: Kind::Kernel,
        waits: "sleeps",
        remark: "Bytes, not messages: receivers must know the size. What one took is gone when it dies. A batch is one write.",
    };
    type Host = Vec<Offer>;
    type Sender = UnixStream;
    type Receiver = UnixStream;

    fn refuses(work: &Work) -> Option<&'static str> {
        let others = work.senders + work.receivers > 2;
        match work {
            Work { in_place: true, .. } => Some("copies through the kernel"),
            work if others && work.size * work.batch > WHOLE => Some("more than 32 KiB is not written whole"),
            _ => None,
        }
    }

    fn host(name: &str, work: &Work) -> Vec<Offer> {
        pair(name, work, SockType::Stream)
    }

    fn sender(name: &str, _: &Work) -> UnixStream {
        inherit::take(&format!("{name}-in")).into()
    }

    fn receiver(name: &str, _: &Work) -> UnixStream {
        inherit::take(&format!("{name}-out")).into()
    }
}

/// Both ends of a pair, with a buffer of the link's depth.
fn pair(name: &str, work: &Work, kind: SockType) -> Vec<Offer> {
    let (to, from) = socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).expect("a pair");
    // A refusal leaves the kernel's default.
    let _ = setsockopt(&to, sockopt::SndBuf, &(work.size * work.depth));
    vec![Offer::new(format!("{name}-in"), to), Offer::new(format!("{name}-out"), from)]
}

impl Sender for UnixStream {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        self.write_all(message).expect("a reader");
    }

    #[inline]
    fn send_batch(&mut self, messages: &[u8], _: usize) {
        self.write_all(messages).expect("a reader");
    }
}

impl Receiver for UnixStream {
    #[inline]
    fn receive(&mut self, message: &mut [u8]) {
        self.read_exact(message).expect("a writer");
    }

    #[inline]
    fn receive_batch(&mut self, messages: &mut [u8], size: usize) -> usize {
        let mut have = self.read(messages).expect("a writer");
        let broken = have % size;
        if broken > 0 {
            self.read_exact(&mut messages[have..have - broken + size]).expect("a writer");
            have += size - broken;
        }
        have / size
    }
}

pub struct SeqPacket;

impl Peer for SeqPacket {
    const ABOUT: About = About {
        name: "unix seqpacket",
        version: "kernel",
        kind: Kind::Kernel,
        waits: "sleeps",
        remark: "Whole packets, about 10 of them in flight (net.unix.max_dgram_qlen). What a reader took is gone when it dies.",
    };
    type Host = Vec<Offer>;
    type Sender = Packets;
    type Receiver = Packets;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { in_place: true, .. } => Some("copies through the kernel"),
            Work { batch: 2.., .. } => Some("a packet is a message"),
            work if work.size > LARGEST_PACKET => Some("no packets of this size"),
            _ => None,
        }
    }

    fn host(name: &str, work: &Work) -> Vec<Offer> {
        pair(name, work, SockType::SeqPacket)
    }

    fn sender(name: &str, _: &Work) -> Packets {
        Packets(inherit::take(&format!("{name}-in")))
    }

    fn receiver(name: &str, _: &Work) -> Packets {
        Packets(inherit::take(&format!("{name}-out")))
    }
}

pub struct Packets(OwnedFd);

impl Sender for Packets {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        send(self.0.as_raw_fd(), message, MsgFlags::empty()).expect("a reader");
    }
}

impl Receiver for Packets {
    #[inline]
    fn receive(&mut self, message: &mut [u8]) {
        recv(self.0.as_raw_fd(), message, MsgFlags::empty()).expect("a writer");
    }
}
