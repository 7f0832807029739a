//! shmem-ipc's shared ring for one sender and one receiver, which sleep on eventfds.
//!
//! Its memory and its signals have no names: the host keeps the descriptors, and hands them over a unix
//! socket to each end that asks.

use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread::{self, JoinHandle};

use nix::cmsg_space;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use shmem_ipc::sharedring;

use super::typed::{Message, bytes, bytes_mut, refuses_size};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct ShmemIpc<const WORDS: usize>;

impl<const WORDS: usize> Peer for ShmemIpc<WORDS> {
    const ABOUT: About = About {
        name: "shmem-ipc",
        version: "0.3.0",
        kind: Kind::SharedMemory,
        waits: "sleeps",
        remark: "one sender, one receiver",
    };
    type Host = Host;
    type Sender = Writer<WORDS>;
    type Receiver = Reader<WORDS>;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { receivers: 2.., .. } => Some("one consumer"),
            Work { senders: 2.., .. } => Some("one producer"),
            _ => refuses_size::<WORDS>(work.size),
        }
    }

    fn host(name: &str, work: &Work) -> Host {
        let ring = sharedring::Sender::<Message<WORDS>>::new(work.depth).expect("memory for the ring");
        Host::hand_out(
            name,
            [ring.memfd().as_file(), ring.empty_signal(), ring.full_signal()]
                .map(|file| file.try_clone().expect("a descriptor for the host")),
        )
    }

    fn sender(name: &str, work: &Work) -> Writer<WORDS> {
        let [memory, empty, full] = ask(name);
        Writer(sharedring::Sender::open(work.depth, memory, empty, full).expect("the host laid out the ring"))
    }

    fn receiver(name: &str, work: &Work) -> Reader<WORDS> {
        let [memory, empty, full] = ask(name);
        Reader(
            sharedring::Receiver::open(work.depth, memory, empty, full).expect("the host laid out the ring"),
        )
    }
}

/// Keeps the ring's memory and signals, and hands them out until it is dropped.
pub struct Host {
    address: SocketAddr,
    hands_out: Option<JoinHandle<()>>,
}

impl Host {
    fn hand_out(name: &str, files: [File; 3]) -> Host {
        let address = address(name);
        let listener = UnixListener::bind_addr(&address).expect("the link's name is free");
        let hands_out = thread::spawn(move || {
            let descriptors = files.each_ref().map(AsRawFd::as_raw_fd);
            for mut asked in listener.incoming().flatten() {
                // An end asks with one byte; the host that is dropped hangs up without.
                if asked.read_exact(&mut [0]).is_err() {
                    return;
                }
                let rights = [ControlMessage::ScmRights(&descriptors)];
                let sent = sendmsg::<()>(
                    asked.as_raw_fd(),
                    &[IoSlice::new(&[0])],
                    &rights,
                    MsgFlags::MSG_NOSIGNAL,
                    None,
                );
                sent.expect("the end waits for its descriptors");
            }
        });
        Host { address, hands_out: Some(hands_out) }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(UnixStream::connect_addr(&self.address));
        if let Some(hands_out) = self.hands_out.take() {
            // It only ends by our hanging up, or has said why it ended before.
            let _ = hands_out.join();
        }
    }
}

/// A socket without a file, so that nothing is left of it.
fn address(name: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(name).expect("a link's name fits a socket's")
}

/// Memory, empty signal and full signal, from the host.
fn ask(name: &str) -> [File; 3] {
    let mut host = UnixStream::connect_addr(&address(name)).expect("the host hands out descriptors");
    host.write_all(&[0]).expect("the host reads what is asked");
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let mut space = cmsg_space!([RawFd; 3]);
    let answer = recvmsg::<()>(host.as_raw_fd(), &mut bytes, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC);
    let answer = answer.expect("the host answers");
    let messages = answer.cmsgs().expect("three descriptors fit");
    let descriptors = messages.filter_map(|message| match message {
        ControlMessageOwned::ScmRights(descriptors) => <[RawFd; 3]>::try_from(descriptors).ok(),
        _ => None,
    });
    let three = descriptors.last().expect("the host answers with three descriptors");
    // SAFETY: the kernel made them for this process just now, and they have no other owner.
    three.map(|descriptor| unsafe { File::from_raw_fd(descriptor) })
}

pub struct Writer<const WORDS: usize>(sharedring::Sender<Message<WORDS>>);

impl<const WORDS: usize> Writer<WORDS> {
    /// Lets `fill` write into the free slots that lie in one piece, of which it answers how many it used;
    /// waits until there is one.
    fn write(&mut self, fill: impl FnOnce(&mut [Message<WORDS>]) -> usize) {
        let mut fill = Some(fill);
        while fill.is_some() {
            // SAFETY: the run has one sender and one receiver, and the ring hands a slot to one of them.
            let sent = unsafe { self.0.send_trusted(|slots| fill.take().map_or(0, |fill| fill(slots))) };
            sent.expect("a ring that is in order");
            if fill.is_some() {
                self.0.block_until_writable().expect("a ring that is in order");
            }
        }
    }
}

impl<const WORDS: usize> Sender for Writer<WORDS> {
    fn send(&mut self, message: &[u8]) {
        self.send_in_place(WORDS * 8, |slot| slot.copy_from_slice(message));
    }

    fn send_batch(&mut self, messages: &[u8], size: usize) {
        let mut rest = messages;
        while !rest.is_empty() {
            self.write(|slots| {
                let free = bytes_mut(slots);
                let (now, later) = rest.split_at(rest.len().min(free.len()));
                free[..now.len()].copy_from_slice(now);
                rest = later;
                now.len() / size
            });
        }
    }

    fn send_in_place(&mut self, _size: usize, fill: impl FnOnce(&mut [u8])) {
        self.write(|slots| {
            fill(slots[0].as_flattened_mut());
            1
        });
    }
}

pub struct Reader<const WORDS: usize>(sharedring::Receiver<Message<WORDS>>);

impl<const WORDS: usize> Reader<WORDS> {
    /// Lets `look` read the messages that lie in one piece, of which it answers how many it is done with;
    /// waits until there is one.
    fn read(&mut self, look: impl FnOnce(&[Message<WORDS>]) -> usize) {
        let mut look = Some(look);
        while look.is_some() {
            // SAFETY: the run has one sender and one receiver, and the ring hands a slot to one of them.
            let received =
                unsafe { self.0.receive_trusted(|slots| look.take().map_or(0, |look| look(slots))) };
            received.expect("a ring that is in order");
            if look.is_some() {
                self.0.block_until_readable().expect("a ring that is in order");
            }
        }
    }
}

impl<const WORDS: usize> Receiver for Reader<WORDS> {
    fn receive(&mut self, message: &mut [u8]) {
        self.receive_in_place(WORDS * 8, |slot| message.copy_from_slice(slot));
    }

    fn receive_batch(&mut self, messages: &mut [u8], size: usize) -> usize {
        let mut count = 0;
        self.read(|slots| {
            let there = bytes(slots);
            let now = there.len().min(messages.len());
            messages[..now].copy_from_slice(&there[..now]);
            count = now / size;
            count
        });
        count
    }

    fn receive_in_place(&mut self, _size: usize, look: impl FnOnce(&[u8])) {
        self.read(|slots| {
            look(slots[0].as_flattened());
            1
        });
    }
}
