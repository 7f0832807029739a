//! What all test binaries share: names that leave nothing behind, waiting under a watchdog, child processes that
//! never outlive their test and start with the default signals, an actor in another process, the commands. `heap` is
//! included by the models alone, each of which says what a word and a thread are.
#![allow(dead_code, unused_imports, missing_docs, reason = "each test binary uses its part")]

pub mod actor;
mod children;
#[cfg(feature = "cli")]
mod commands;
mod disciplines;
#[cfg(feature = "cli")]
pub mod late;
mod names;
#[cfg(feature = "cli")]
pub mod namespace;
mod random;
#[cfg(feature = "cli")]
mod ringctl;
pub mod scale;
pub mod signals;
#[cfg(feature = "cli")]
pub mod terminal;
#[cfg(feature = "cli")]
pub mod users;
mod waiting;

pub use children::*;
#[cfg(feature = "cli")]
pub use commands::*;
pub use disciplines::*;
pub use names::TestName;
pub use random::*;
#[cfg(feature = "cli")]
pub use ringctl::*;
pub use waiting::*;

/// Says that the test at hand shows nothing here, and why.
pub fn not_tested(why: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_string();
    report(&format!("not tested: {test}: {why}"));
}

/// Prints past the test harness, which keeps what passing tests print to itself.
pub fn report(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}
