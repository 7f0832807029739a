//! What the handles promise, between threads and between real processes, under every discipline.
//!
//! `RINGPIPE_TEST_SYNC=monitor cargo test --test library` runs it under one of them.

#[path = "../support/mod.rs"]
mod support;

mod attaching;
mod bounds;
mod creating;
mod descriptors;
#[cfg(feature = "cli")]
mod disciplines;
mod ending;
mod failures;
mod fixed;
mod golden;
mod hostile;
mod keys;
mod liveness;
mod owned;
mod receiving;
mod repairs;
mod sending;
mod stopped;
#[cfg(feature = "tokio")]
mod tasks;
mod waits;
mod watch;

/// Not a test: what the remote actors run.
#[test]
fn remote_actor() {
    support::actor::run_if_told();
}

/// These choose their disciplines themselves, or need none; `tasks` is run again by a test of its own.
const CHOOSE_THEMSELVES: [&str; 7] =
    ["bounds", "repairs", "disciplines", "golden", "liveness", "tasks", "waits"];

#[test]
fn the_tests_pass_under_every_discipline() {
    let modules = CHOOSE_THEMSELVES.map(|module| format!("{module}::"));
    support::under_every_discipline(&modules.each_ref().map(|module| ["--skip", module]).concat());
}
