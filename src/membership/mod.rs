//! Membership of a ring: participants' numbers and entries, deaths, recovery from them, and the end of the
//! stream.
#![forbid(unsafe_code)]

pub(crate) mod death_watch;
pub(crate) mod deaths;
pub(crate) mod entry;
pub(crate) mod fairness;
pub(crate) mod liveness_probe;
pub(crate) mod memory;
pub(crate) mod participant;
pub(crate) mod recovery;
mod repaired;
pub(crate) mod stream_end;
pub(crate) mod stream_state;
pub(crate) mod sweep;
pub(crate) mod table;
#[cfg(test)]
pub(crate) mod testing;

pub use crate::layout::role::Role;
pub use entry::Activity;
pub use repaired::Repaired;
