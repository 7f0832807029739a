//! Producers and consumers in asynchronous tasks, with real processes on the other side.

mod dropped;
mod streams;
mod waiting;

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::support::watchdog;

#[test]
fn the_tests_pass_under_every_discipline() {
    crate::support::under_every_discipline(&["tasks::"]);
}

/// A runtime of one thread, and one of two.
fn runtimes() -> [Runtime; 2] {
    let threads = |count| Builder::new_multi_thread().worker_threads(count).enable_time().build().unwrap();
    [Builder::new_current_thread().enable_time().build().unwrap(), threads(2)]
}

/// Runs a test's future, which is a short one, with a watchdog.
fn run<F: Future>(runtime: &Runtime, what: &str, test: F) -> F::Output {
    let watched = async { tokio::time::timeout(2 * watchdog(), test).await };
    runtime.block_on(watched).unwrap_or_else(|_| panic!("watchdog: {what}"))
}

/// Gives the other tasks, and the sleepers, a chance.
async fn moment() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}
