//! What a carrier of messages must do to be measured.
//!
//! Every carrier is a type of its own, and what drives it is generic over it: no call through a pointer
//! stands between the loop and the queue. All messages of a run have one size. Every message is copied in
//! from the sender's own memory and copied out into the receiver's, or, where a run is in place, written
//! and read where it lies.

/// How a carrier crosses from the sender to the receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What is measured: ringpipe.
    Ours,
    /// Memory that processes share.
    SharedMemory,
    /// Through the kernel, or a daemon.
    Kernel,
    /// Between threads of one process: a reference, not a peer.
    Threads,
    /// What the machine can do at best: no queue.
    Limit,
}

/// What the report says about a carrier.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Short name, as in tables and on the command line.
    pub name: &'static str,
    /// Version that is measured.
    pub version: &'static str,
    pub kind: Kind,
    /// How it waits when it is empty or full: "spins", "spins, then sleeps", "sleeps", "polls".
    pub waits: &'static str,
    /// What it does less, or otherwise, than a blocking lossless queue of competing consumers.
    pub remark: &'static str,
}

/// What a link is asked to carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Bytes of each message, a multiple of 8.
    pub size: usize,
    /// Messages that the link may hold.
    pub depth: usize,
    /// Messages in a call; 1 is one at a time.
    pub batch: usize,
    /// Written and read where it lies.
    pub in_place: bool,
    pub senders: usize,
    pub receivers: usize,
}

/// A carrier.
pub trait Peer {
    const ABOUT: About;
    /// What must outlive both ends; dropping it removes whatever the link left in the system.
    type Host;
    type Sender: Sender;
    type Receiver: Receiver;

    /// Why it cannot do this work, if it cannot: "broadcast only", "one consumer", "no batches".
    fn refuses(work: &Work) -> Option<&'static str>;
    /// Makes the link. Called in the parent, before either end.
    fn host(name: &str, work: &Work) -> Self::Host;
    /// The sending end, in the process (or thread) that sends.
    fn sender(name: &str, work: &Work) -> Self::Sender;
    /// The receiving end, in the process (or thread) that receives.
    fn receiver(name: &str, work: &Work) -> Self::Receiver;
}

/// A sending end. Blocks while the link is full; loses nothing.
pub trait Sender {
    /// Sends one message.
    fn send(&mut self, message: &[u8]);

    /// Sends the messages of `size` bytes each that lie one after the other in `messages`.
    fn send_batch(&mut self, messages: &[u8], size: usize) {
        messages.chunks_exact(size).for_each(|message| self.send(message));
    }

    /// Lets `fill` write one message of `size` bytes where it will be read.
    fn send_in_place(&mut self, _size: usize, _fill: impl FnOnce(&mut [u8])) {
        unreachable!("refused")
    }
}

/// A receiving end. Blocks while the link is empty.
pub trait Receiver {
    /// Receives one message, and is done with it.
    fn receive(&mut self, message: &mut [u8]);

    /// Receives one message, shows it, and only then is done with it, where the carrier can.
    fn receive_then(&mut self, message: &mut [u8], look: impl FnOnce(&[u8])) {
        self.receive(message);
        look(message);
    }

    /// Receives at least one message of `size` bytes and at most as many as `messages` has room for;
    /// answers how many.
    fn receive_batch(&mut self, messages: &mut [u8], size: usize) -> usize {
        self.receive(&mut messages[..size]);
        1
    }

    /// Lets `look` read one message of `size` bytes where it lies, and is done with it.
    fn receive_in_place(&mut self, _size: usize, _look: impl FnOnce(&[u8])) {
        unreachable!("refused")
    }
}
