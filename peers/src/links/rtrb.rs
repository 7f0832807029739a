//! rtrb, between two threads: values one at a time, and slices of them.

use rtrb::{Consumer, Producer, RingBuffer};

use super::threads::{self, Words};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct Rtrb<const N: usize>;

impl<const N: usize> Peer for Rtrb<N> {
    const ABOUT: About = About {
        name: "rtrb",
        version: "0.4.1",
        kind: Kind::Threads,
        waits: "polls",
        remark: "Between two threads. Does not block: the caller spins, then yields. A batch is a slice.",
    };
    type Host = ();
    type Sender = Producer<Words<N>>;
    type Receiver = Consumer<Words<N>>;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { in_place: true, .. } => Some("passes values"),
            work if work.senders + work.receivers > 2 => Some("one producer and one consumer"),
            work => threads::refuses_size::<N>(work.size),
        }
    }

    fn host(name: &str, work: &Work) {
        let (to, from) = RingBuffer::<Words<N>>::new(work.depth);
        threads::put(name, to);
        threads::put(name, from);
    }

    fn sender(name: &str, _: &Work) -> Producer<Words<N>> {
        threads::take(name)
    }

    fn receiver(name: &str, _: &Work) -> Consumer<Words<N>> {
        threads::take(name)
    }
}

impl<const N: usize> Sender for Producer<Words<N>> {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        let mut value: Words<N> = [0; N];
        bytemuck::cast_slice_mut(&mut value).copy_from_slice(message);
        threads::poll(|| self.push(value).ok());
    }

    #[inline]
    fn send_batch(&mut self, messages: &[u8], _: usize) {
        let mut rest: &[Words<N>] = bytemuck::cast_slice(messages);
        threads::poll(|| {
            rest = self.push_partial_slice(rest).1;
            rest.is_empty().then_some(())
        });
    }
}

impl<const N: usize> Receiver for Consumer<Words<N>> {
    #[inline]
    fn receive(&mut self, message: &mut [u8]) {
        message.copy_from_slice(bytemuck::cast_slice(&threads::poll(|| self.pop().ok())));
    }

    #[inline]
    fn receive_batch(&mut self, messages: &mut [u8], _: usize) -> usize {
        let values: &mut [Words<N>] = bytemuck::cast_slice_mut(messages);
        threads::poll(|| Some(self.pop_partial_slice(values).0.len()).filter(|count| *count > 0))
    }
}
