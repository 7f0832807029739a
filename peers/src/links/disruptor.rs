//! The disruptor, between two threads: events one at a time, and batches.

use disruptor::{
    BusySpin, EventPoller, Producer, SingleConsumerBarrier, SingleProducer, SingleProducerBarrier,
    build_single_producer,
};

use super::threads::{self, Words};
use crate::peer::{About, Kind, Peer, Receiver, Sender, Work};

pub struct Disruptor<const N: usize>;

/// The sending end, and the receiving one, which reads where the events lie.
pub struct To<const N: usize>(SingleProducer<Words<N>, SingleConsumerBarrier>);
pub struct From<const N: usize>(EventPoller<Words<N>, SingleProducerBarrier>);

impl<const N: usize> Peer for Disruptor<N> {
    const ABOUT: About = About {
        name: "disruptor",
        version: "4.4.0",
        kind: Kind::Threads,
        waits: "spins",
        remark: "Between threads. Every consumer sees every event, so there is one here.",
    };
    type Host = ();
    type Sender = To<N>;
    type Receiver = From<N>;

    fn refuses(work: &Work) -> Option<&'static str> {
        match work {
            Work { in_place: true, .. } => Some("passes values"),
            work if work.receivers > 1 => Some("broadcast only"),
            work => threads::refuses_size::<N>(work.size),
        }
    }

    fn host(name: &str, work: &Work) {
        let builder = build_single_producer(work.depth, || [0; N], BusySpin);
        let (from, builder) = builder.new_event_poller();
        threads::put(name, To(builder.build()));
        threads::put(name, From(from));
    }

    fn sender(name: &str, _: &Work) -> To<N> {
        threads::take(name)
    }

    fn receiver(name: &str, _: &Work) -> From<N> {
        threads::take(name)
    }
}

impl<const N: usize> Sender for To<N> {
    #[inline]
    fn send(&mut self, message: &[u8]) {
        self.0.publish(|event| bytemuck::cast_slice_mut(event).copy_from_slice(message));
    }

    #[inline]
    fn send_batch(&mut self, messages: &[u8], size: usize) {
        self.0.batch_publish(messages.len() / size, |events| {
            for (event, message) in events.zip(messages.chunks_exact(size)) {
                bytemuck::cast_slice_mut(event).copy_from_slice(message);
            }
        });
    }
}

impl<const N: usize> Receiver for From<N> {
    #[inline]
    fn receive(&mut self, message: &mut [u8]) {
        self.receive_batch(message, size_of::<Words<N>>());
    }

    #[inline]
    fn receive_batch(&mut self, messages: &mut [u8], size: usize) -> usize {
        threads::poll(|| {
            let mut events = self.0.take((messages.len() / size) as u64).ok()?;
            let mut count = 0;
            for (event, message) in (&mut events).zip(messages.chunks_exact_mut(size)) {
                message.copy_from_slice(bytemuck::cast_slice(event));
                count += 1;
            }
            Some(count)
        })
    }
}
