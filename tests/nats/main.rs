//! The commands over NATS JetStream, with real servers: what is delivered, in which order, and what a kill of a worker, of
//! a producer or of the server leaves.
//!
//! The server is `RINGPIPE_NATS_SERVER`, or `nats-server` on the PATH. Without one the tests are skipped, and say so.

#[path = "../support/mod.rs"]
mod support;

mod bridge;
mod cluster;
mod deaths;
mod delivery;
mod limits;
mod machines;
mod options;
mod order;
mod proxy;
mod raw;
mod redelivery;
mod scenarios;
mod server;
mod tls;
mod verbs;
mod watching;
mod workers;

/// Not a test: what the remote actors run.
#[test]
fn remote_actor() {
    support::actor::run_if_told();
}
