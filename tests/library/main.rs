//! What the handles promise, between threads and between real processes.

#[path = "../common/mod.rs"]
mod common;

mod attaching;
mod creating;
mod ending;
mod hostile;
mod receiving;
mod sending;
mod stopped;

/// Not a test: what the puppets run.
#[test]
fn puppet() {
    common::puppet::run_if_told();
}
