//! crossbeam's ArrayQueue, between threads.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use super::threads::{self, Words};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct Queue<const N: usize>;

type Shared<const N: usize> = Arc<ArrayQueue<Words<N>>>;

impl<const N: usize> Peer for Queue<N> {
    const ABOUT: About = About {
        name: "ArrayQueue",
        version: "crossbeam-queue 0.3.14",
        kind: Kind::Threads,
        waits: "polls",
        remark: "Between threads. Does not block: the caller spins, then yields.",
    };
    type Host = ();
    type Sender = Shared<N>;
    type Receiver = Shared<N>;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { in_place: true, .. } => Some("passes values"),
            Work { batch: 2.., .. } => Some("no batches"),
            work => threads::refuses_size::<N>(work.size),
        }
    }

    fn host(name: &str, work: &Work) {
        threads::put(name, Shared::<N>::new(ArrayQueue::new(work.depth)));
    }

    fn sender(name: &str, _: &Work) -> Shared<N> {
        threads::share(name)
    }

    fn receiver(name: &str, _: &Work) -> Shared<N> {
        threads::share(name)
    }
}

impl<const N: usize> Sender for Shared<N> {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        let mut value: Words<N> = [0; N];
        bytemuck::cast_slice_mut(&mut value).copy_from_slice(message);
        threads::poll(|| self.push(value).map_err(|refused| value = refused).ok());
    }
}

impl<const N: usize> Receiver for Shared<N> {
    #[inline]
    fn receive(&mut self, message: &mut [u8]) {
        message.copy_from_slice(bytemuck::cast_slice(&threads::poll(|| self.pop())));
    }
}
