//! Locks, semaphores, conditions, events and barriers by name, between threads and between real processes.

#[path = "../support/mod.rs"]
mod support;

mod actor;
mod barriers;
mod deaths;
mod ephemeral;
mod hostile;
mod objects;
mod points;
mod storm;

/// Not a test: what the actors run.
#[test]
fn actor() {
    actor::run_if_told();
}

/// Not a test: what the processes of the storms run.
#[test]
fn worker() {
    storm::run_if_told();
}
