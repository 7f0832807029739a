//! Waiting for what must happen, under a watchdog.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
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

/// The result of a thread that ends soon; a panic of its own goes on here.
#[track_caller]
pub fn join_soon<T>(thread: JoinHandle<T>) -> T {
    wait_until("end of a thread", || thread.is_finished());
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Closes the reading end of a pipe, and waits until no process has it any more: a process that another test is starting
/// has a copy of each descriptor until it has become its program.
pub fn close_reader(reader: std::io::PipeReader) {
    let pipe =
        std::fs::read_link(format!("/proc/self/fd/{}", reader.as_raw_fd())).expect("an open descriptor");
    drop(reader);
    wait_until("that no process can read from the pipe", || !can_be_read(&pipe));
}

/// Whether any process has a descriptor of this pipe that reads.
fn can_be_read(pipe: &Path) -> bool {
    let entries = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let reads = |fd: &Path| {
        let process = fd.parent().and_then(Path::parent)?;
        let info = std::fs::read_to_string(process.join("fdinfo").join(fd.file_name()?)).ok()?;
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
        // The lowest two bits: 0 reads, 1 writes, 2 does both.
        i32::from_str_radix(flags.trim(), 8).ok().map(|flags| flags & 3 != 1)
    };
    let mut fds = entries("/proc".into()).flat_map(|process| entries(process.path().join("fd")));
    fds.any(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == pipe) && reads(&fd.path()) == Some(true))
}
