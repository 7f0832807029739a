//! rtrb, between two threads: values one at a time, and slices of them.

use crossbeam_utils::Backoff;
use rtrb::{Consumer, Producer, PushError, RingBuffer};

use super::registry::{self, Words};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct Rtrb<const N: usize>;

impl<const N: usize> Peer for Rtrb<N> {
    const ABOUT: About = About {
        name: "rtrb",
        version: "0.4.1",
        kind: Kind::Threads,
        waits: "polls",
        remark: "Between two threads. Does not block: the caller spins and yields (Backoff). A batch is a slice.",
    };
    type Host = ();
    type Sender = Producer<Words<N>>;
    type Receiver = Consumer<Words<N>>;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { in_place: true, .. } => Some("passes values"),
            work if work.senders + work.receivers > 2 => Some("one producer and one consumer"),
            work => registry::refuses_size::<N>(work.size),
        }
    }

    fn host(name: &str, work: &Work) {
        let (to, from) = RingBuffer::<Words<N>>::new(work.depth);
        registry::put(name, to);
        registry::put(name, from);
    }

    fn sender(name: &str, _: &Work) -> Producer<Words<N>> {
        registry::take(name)
    }

    fn receiver(name: &str, _: &Work) -> Consumer<Words<N>> {
        registry::take(name)
    }
}

impl<const N: usize> Sender for Producer<Words<N>> {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        let mut value: Words<N> = [0; N];
        bytemuck::cast_slice_mut(&mut value).copy_from_slice(message);
        let backoff = Backoff::new();
        while let Err(PushError::Full(refused)) = self.push(value) {
            value = refused;
            backoff.snooze();
        }
    }

    #[inline]
    fn send_batch(&mut self, messages: &[u8], _: usize) {
        let mut rest: &[Words<N>] = bytemuck::cast_slice(messages);
        let backoff = Backoff::new();
        while !rest.is_empty() {
            let (pushed, left) = self.push_partial_slice(rest);
            if pushed.is_empty() {
                backoff.snooze();
            }
            rest = left;
        }
    }
}

impl<const N: usize> Receiver for Consumer<Words<N>> {
    #[inline]
    fn receive(&mut self, message: &mut [u8]) {
        let backoff = Backoff::new();
        loop {
            if let Ok(value) = self.pop() {
                return message.copy_from_slice(bytemuck::cast_slice(&value));
            }
            backoff.snooze();
        }
    }

    #[inline]
    fn receive_batch(&mut self, messages: &mut [u8], _: usize) -> usize {
        let values: &mut [Words<N>] = bytemuck::cast_slice_mut(messages);
        let backoff = Backoff::new();
        loop {
            let count = self.pop_partial_slice(values).0.len();
            if count > 0 {
                return count;
            }
            backoff.snooze();
        }
    }
}
