//! The carriers.

pub mod boost;
#[cfg(test)]
mod check;
pub mod cloudtoid;
pub mod iceoryx;
pub mod ipc_channel;
pub mod ipmpsc;
mod leftover;
mod patience;
pub mod python_queue;
pub mod que;
pub mod ringfire;
pub mod shaq_mpmc;
pub mod shaq_spsc;
pub mod shmem_ipc;
mod typed;
#[cfg(feature = "zmq")]
pub mod zeromq;
