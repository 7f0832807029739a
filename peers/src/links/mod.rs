//! The carriers: one module each, and one list.

mod array_queue;
mod channel;
mod disruptor;
mod limits;
mod mapping;
mod mqueue;
mod pipe;
mod ringpipe;
mod rtrb;
mod textbook;
mod threads;
mod unix;

use crate::carrier::{Carrier, Variant};

/// One that passes values between threads, whose type is as large as the message.
macro_rules! by_size {
    ($carrier:path) => {{
        use $carrier as Link;
        Carrier::by_size([
            Variant::of::<Link<1>>(),
            Variant::of::<Link<8>>(),
            Variant::of::<Link<128>>(),
            Variant::of::<Link<2048>>(),
        ])
    }};
}

/// All carriers, in the order of a round and of the tables.
pub fn carriers() -> Vec<Carrier> {
    vec![
        Carrier::of::<ringpipe::Exclusive>(),
        Carrier::of::<ringpipe::ForMany>(),
        Carrier::of::<textbook::Textbook>(),
        Carrier::of::<pipe::Pipe>(),
        Carrier::of::<unix::Stream>(),
        Carrier::of::<unix::SeqPacket>(),
        Carrier::of::<mqueue::MessageQueue>(),
        by_size!(rtrb::Rtrb),
        by_size!(disruptor::Disruptor),
        by_size!(array_queue::Queue),
        by_size!(channel::Channel),
        Carrier::of::<limits::Line>(),
        Carrier::of::<limits::Semaphores>(),
        Carrier::of::<limits::Futexes>(),
        Carrier::of::<limits::Slots>(),
    ]
}

/// The carrier of this name.
pub fn find(name: &str) -> Option<Carrier> {
    carriers().into_iter().find(|carrier| carrier.about.name == name)
}
