//! Deaths: at every instruction, at every system call, at random moments, for hours, and in races for one name.

#[path = "../support/mod.rs"]
mod support;

mod kills;
mod races;
mod registers;
#[cfg(feature = "cli")]
mod soak;
mod storm;
mod syscalls;

/// Not a test: what the remote actors run.
#[test]
fn remote_actor() {
    support::actor::run_if_told();
}
