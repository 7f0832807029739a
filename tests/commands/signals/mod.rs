//! INT, TERM and HUP at random times, in every state of a producer and a consumer: the process leaves, holds
//! nothing, leaves nothing, and no item is lost or acknowledged twice.
//!
//! A share runs in `cargo test`. In full, on a machine that does nothing else:
//! `RINGPIPE_SIGNALS=10000 cargo test --release --test commands signals:: -- --nocapture`

mod inherited;
mod states;
mod stopped;
mod trial;
