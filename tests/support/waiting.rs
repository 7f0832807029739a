//! Waiting for what must happen, under a watchdog.

use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::env_number;

/// How many times longer than usual a test may take before it is said to hang: `RINGPIPE_TEST_SLOWER`, for machines that are
/// emulated. 1 otherwise.
pub fn times_slower() -> u32 {
    static TIMES: OnceLock<u32> = OnceLock::new();
    *TIMES.get_or_init(|| env_number("RINGPIPE_TEST_SLOWER").map_or(1, |times| times as u32))
}

/// Nothing here takes a tenth of this; what takes longer hangs.
pub fn watchdog() -> Duration {
    Duration::from_secs(60) * times_slower()
}

/// Waits for what will happen soon.
///
/// # Panics
/// If it has not after [`watchdog`].
#[track_caller]
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < watchdog(), "watchdog: not yet: {what}");
        thread::sleep(Duration::from_micros(200));
    }
}

/// Runs `work` in a thread of its own and answers with its result.
///
/// # Panics
/// If it takes longer than [`watchdog`], or panics itself.
#[track_caller]
pub fn within<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, hear) = channel();
    let worker = thread::spawn(move || {
        let _ = tell.send(work());
    });
    match hear.recv_timeout(watchdog()) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("watchdog: hangs: {what}"),
        Err(_) => std::panic::resume_unwind(worker.join().expect_err("it sent nothing")),
    }
}
