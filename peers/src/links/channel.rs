//! crossbeam's bounded channel, between threads.

use crossbeam_channel::bounded;

use super::threads::{self, Words};
use crate::peer::{self, About, Kind, Peer, Work};

pub struct Channel<const N: usize>;

type To<const N: usize> = crossbeam_channel::Sender<Words<N>>;
type From<const N: usize> = crossbeam_channel::Receiver<Words<N>>;

impl<const N: usize> Peer for Channel<N> {
    const ABOUT: About = About {
        name: "crossbeam channel",
        version: "crossbeam-channel 0.5.17",
        kind: Kind::Threads,
        waits: "spins, then sleeps",
        remark: "Between threads.",
    };
    type Host = ();
    type Sender = To<N>;
    type Receiver = From<N>;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { in_place: true, .. } => Some("passes values"),
            Work { batch: 2.., .. } => Some("no batches"),
            work => threads::refuses_size::<N>(work.size),
        }
    }

    fn host(name: &str, work: &Work) {
        let (to, from) = bounded::<Words<N>>(work.depth);
        threads::put(name, to);
        threads::put(name, from);
    }

    fn sender(name: &str, _: &Work) -> To<N> {
        threads::share(name)
    }

    fn receiver(name: &str, _: &Work) -> From<N> {
        threads::share(name)
    }
}

impl<const N: usize> peer::Sender for To<N> {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        let mut value: Words<N> = [0; N];
        bytemuck::cast_slice_mut(&mut value).copy_from_slice(message);
        To::send(self, value).expect("a receiver");
    }
}

impl<const N: usize> peer::Receiver for From<N> {
    #[inline]
    fn receive(&mut self, message: &mut [u8]) {
        let value = self.recv().expect("a sender");
        message.copy_from_slice(bytemuck::cast_slice(&value));
    }
}
