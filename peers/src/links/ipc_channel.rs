//! ipc-channel's byte channel, which on Linux is a unix socket.
//!
//! The receiving process publishes a one-shot server; the sending process makes the channel and gives the
//! receiving half away through that server. Both finish at their first message, so that neither waits for
//! the other while it is being made.

use std::fs;

use ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender, IpcOneShotServer, IpcSender};

use super::leftover::{Leftover, meeting_path};
use super::patience::until;
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct IpcChannel;

impl Peer for IpcChannel {
    const ABOUT: About = About {
        name: "ipc-channel bytes",
        version: "0.23.0",
        kind: Kind::Kernel,
        waits: "sleeps",
        remark: "one consumer; the socket's buffer is its depth",
    };
    type Host = Leftover;
    type Sender = Giver;
    type Receiver = Taker;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { receivers: 2.., .. } => Some("one consumer"),
            // Further senders would be clones that the first one sends to them.
            Work { senders: 2.., .. } => Some("one producer as driven here"),
            Work { in_place: true, .. } => Some("not in place"),
            Work { batch: 2.., .. } => Some("no batches"),
            _ => None,
        }
    }

    fn host(name: &str, _work: &Work) -> Leftover {
        Leftover::meeting(name)
    }

    fn sender(name: &str, _work: &Work) -> Giver {
        Giver { name: name.to_owned(), channel: None }
    }

    fn receiver(name: &str, _work: &Work) -> Taker {
        let (server, token) = IpcOneShotServer::new().expect("a socket");
        // The token appears whole or not at all.
        let draft = meeting_path(&format!("{name}.draft"));
        fs::write(&draft, token).and_then(|()| fs::rename(&draft, meeting_path(name))).expect("a file");
        Taker { server: Some(server), channel: None }
    }
}

pub struct Giver {
    name: String,
    channel: Option<IpcBytesSender>,
}

impl Sender for Giver {
    fn send(&mut self, message: &[u8]) {
        let channel = self.channel.get_or_insert_with(|| meet(&self.name));
        channel.send(message).expect("the receiver is there");
    }
}

/// Makes the channel, and gives the receiving half to the process that has published its server.
fn meet(name: &str) -> IpcBytesSender {
    let mut token = None;
    until(|| {
        token = fs::read_to_string(meeting_path(name)).ok();
        token.is_some()
    });
    let server = IpcSender::connect(token.expect("waited for it")).expect("the receiver's server");
    let (send, receive) = ipc::bytes_channel().expect("a socket");
    server.send(receive).expect("the receiver accepts");
    send
}

pub struct Taker {
    server: Option<IpcOneShotServer<IpcBytesReceiver>>,
    channel: Option<IpcBytesReceiver>,
}

impl Receiver for Taker {
    fn receive(&mut self, message: &mut [u8]) {
        let channel = self.channel.get_or_insert_with(|| {
            let server = self.server.take().expect("accepted once");
            server.accept().expect("the sender gives its channel").1
        });
        message.copy_from_slice(&channel.recv().expect("the sender is there"));
    }
}
