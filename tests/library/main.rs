//! What the handles promise, between threads and between real processes.

#[path = "../processes/mod.rs"]
mod processes;

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
    processes::puppet::run_if_told();
}
