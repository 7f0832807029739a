//! Hostile bytes and hostile processes: the fuzz targets with a stable compiler, a process that writes anywhere while
//! others work, files that are cut.

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "cli")]
mod corruption;
#[cfg(feature = "cli")]
mod fuzz_corpus;
mod truncation;

/// Not a test: what the remote actors run. They do not ask to survive a truncation.
#[test]
fn remote_actor() {
    support::actor::run_if_told();
}
