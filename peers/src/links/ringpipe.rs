//! What is measured: a ring for one producer and one consumer, and a ring for many; each for items of one length, as most
//! of the others have, and for items of any length. Every item is acknowledged.

use ringpipe::{Consumer, Producer, Ring};

use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};
use crate::plan::BATCH;

/// One producer and one consumer have the ring to themselves.
pub struct Exclusive;
/// Many producers, many consumers.
pub struct ForMany;
/// One producer and one consumer, items of any length.
pub struct ExclusiveAny;
/// Many producers, many consumers, items of any length.
pub struct ForManyAny;

macro_rules! rings {
    ($($ring:ident: $name:literal, exclusive $exclusive:literal, fixed $fixed:literal, $remark:literal;)*) => {$(
        impl Peer for $ring {
            const ABOUT: About = About {
                name: $name,
                version: "this tree",
                kind: Kind::Ours,
                waits: "spins, then sleeps",
                remark: $remark,
            };
            type Host = Removed;
            type Sender = Producer;
            type Receiver = Consumer;

            fn refuses(work: &Work) -> Option<&'static str> {
                ($exclusive && work.senders + work.receivers > 2).then_some("one producer and one consumer")
            }

            fn host(name: &str, work: &Work) -> Removed {
                create(name, work, $exclusive, $fixed)
            }

            fn sender(name: &str, _: &Work) -> Producer {
                open(name).producer().expect("a place")
            }

            fn receiver(name: &str, _: &Work) -> Consumer {
                open(name).consumer().expect("a place")
            }
        }
    )*};
}

rings! {
    Exclusive: "ringpipe exclusive", exclusive true, fixed true,
        "One producer, one consumer; items of one length. Acknowledged; survives kill -9 on either side.";
    ForMany: "ringpipe for many", exclusive false, fixed true,
        "Competing consumers; items of one length. Acknowledged; survives kill -9 of any process.";
    ExclusiveAny: "ringpipe exclusive, any length", exclusive true, fixed false,
        "As ringpipe exclusive; items of any length, with key and failures.";
    ForManyAny: "ringpipe for many, any length", exclusive false, fixed false,
        "As ringpipe for many; items of any length, with key and failures.";
}

/// Removes the ring when dropped.
pub struct Removed(Ring);

impl Drop for Removed {
    fn drop(&mut self) {
        // Its workers are gone; a name that stays is seen in shared memory.
        let _ = self.0.remove();
    }
}

fn create(name: &str, work: &Work, exclusive: bool, fixed: bool) -> Removed {
    // The stream ends with the run, not when a sender is killed.
    let options = Ring::options().expected_producers(u32::MAX).capacity(work.depth as u64).exclusive(exclusive);
    let size = work.size as u64;
    let options = if fixed { options.fixed(size) } else { options.slot_size(size) };
    Removed(options.create(name).expect("a ring"))
}

fn open(name: &str) -> Ring {
    Ring::options().prefault(true).open(name).expect("the ring")
}

impl Sender for Producer {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        Producer::send(self, message).expect("an open ring");
    }

    #[inline]
    fn send_batch(&mut self, messages: &[u8], size: usize) {
        if self.fixed().is_some() {
            let mut rest = messages;
            while !rest.is_empty() {
                rest = &rest[self.send_packed(rest).expect("an open ring") * size..];
            }
            return;
        }
        let mut items = [[0u8; 0].as_slice(); BATCH];
        for (item, message) in items.iter_mut().zip(messages.chunks_exact(size)) {
            *item = message;
        }
        let mut rest = &items[..messages.len() / size];
        while !rest.is_empty() {
            rest = &rest[Producer::send_batch(self, rest).expect("an open ring")..];
        }
    }

    #[inline]
    fn send_in_place(&mut self, size: usize, fill: impl FnOnce(&mut [u8])) {
        let mut reservation = self.reserve(size as u64).expect("an open ring");
        // SAFETY: the place is `size` bytes long and this process's alone until it is committed; the slice is
        // gone by then.
        fill(unsafe { std::slice::from_raw_parts_mut(reservation.as_mut_ptr(), size) });
        reservation.commit();
    }
}

impl Receiver for Consumer {
    #[inline]
    fn receive(&mut self, message: &mut [u8]) {
        let item = self.recv().expect("an item");
        item.copy_to(message);
        item.ack();
    }

    fn receive_then(&mut self, message: &mut [u8], look: impl FnOnce(&[u8])) {
        let item = self.recv().expect("an item");
        item.copy_to(message);
        look(message);
        item.ack();
    }

    #[inline]
    fn receive_batch(&mut self, messages: &mut [u8], size: usize) -> usize {
        let batch = self.recv_batch(messages.len() / size).expect("items");
        let count = batch.len();
        if batch.copy_packed(messages) == count {
            batch.ack();
            return count;
        }
        for (item, message) in batch.iter().zip(messages.chunks_exact_mut(size)) {
            item.copy_to(message);
        }
        batch.ack();
        count
    }

    #[inline]
    fn receive_in_place(&mut self, _: usize, look: impl FnOnce(&[u8])) {
        let item = self.recv().expect("an item");
        // SAFETY: valid while the item is held, and no process of this run writes to an item that is held.
        look(unsafe { &*item.in_place() });
        item.ack();
    }
}
