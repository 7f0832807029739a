//! The carriers: one module each, and one list.

mod array_queue;
mod boost;
mod channel;
#[cfg(test)]
mod check;
mod cloudtoid;
mod disruptor;
mod iceoryx;
mod ipc_channel;
mod ipmpsc;
mod leftover;
mod limits;
mod mapping;
mod mqueue;
mod patience;
mod pipe;
mod python_queue;
mod que;
mod ringfire;
mod ringpipe;
mod rtrb;
mod shaq_mpmc;
mod shaq_spsc;
mod shmem_ipc;
mod textbook;
mod threads;
mod typed;
mod unix;
#[cfg(feature = "zmq")]
mod zeromq;

use crate::carrier::{Carrier, External, Variant};

/// One whose type is as large as the message.
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
        Carrier::of::<ringpipe::ExclusiveAny>(),
        Carrier::of::<ringpipe::ForManyAny>(),
        Carrier::of::<textbook::Textbook>(),
        by_size!(shmem_ipc::ShmemIpc),
        by_size!(shaq_spsc::ShaqSpsc),
        by_size!(shaq_mpmc::ShaqMpmc),
        by_size!(ringfire::Ringfire),
        Carrier::by_size([
            // The depth is part of the type, too; the last is for the round trip.
            Variant::of::<que::Que<1, 4096>>(),
            Variant::of::<que::Que<8, 4096>>(),
            Variant::of::<que::Que<128, 256>>(),
            Variant::of::<que::Que<2048, 64>>(),
            Variant::of::<que::Que<1, 64>>(),
        ]),
        Carrier::of::<cloudtoid::Cloudtoid>(),
        Carrier::of::<boost::Boost>(),
        Carrier::of::<iceoryx::IceoryxPolling>(),
        Carrier::of::<iceoryx::IceoryxEvent>(),
        Carrier::of::<ipmpsc::Ipmpsc>(),
        Carrier::of::<pipe::Pipe>(),
        Carrier::of::<unix::Stream>(),
        Carrier::of::<unix::SeqPacket>(),
        Carrier::of::<mqueue::MessageQueue>(),
        Carrier::of::<ipc_channel::IpcChannel>(),
        #[cfg(feature = "zmq")]
        Carrier::of::<zeromq::ZeroMq>(),
        Carrier::external(
            python_queue::ABOUT,
            External { refuses: python_queue::refuses, measure: python_queue::figures },
        ),
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
