//! What the handles promise, between threads and between real processes, under every discipline.
//!
//! `RINGPIPE_TEST_SYNC=monitor cargo test --test library` runs it under one of them.

#[path = "../processes/mod.rs"]
mod processes;

mod attaching;
mod creating;
mod ending;
mod hostile;
mod receiving;
mod sending;
mod stopped;
mod watch;

/// Not a test: what the puppets run.
#[test]
fn puppet() {
    processes::puppet::run_if_told();
}

#[test]
fn the_same_holds_under_every_discipline() {
    processes::under_every_discipline();
}
