//! INT, TERM and HUP: the first signal stops the command in an orderly way, the second ends it at once.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{SIGHUP, SIGINT, SIGTERM};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::time::TimeSpec;

use super::exit::Failure;
use super::start::End;
use crate::StopFlag;
use crate::sys::command::fence;
use crate::sys::command::signal;

/// The longest sleep without a check of the stop flag, where no descriptor becomes readable by a signal: the
/// signal may be delivered to another thread, or just before the sleep.
const SLICE: Duration = Duration::from_millis(50);
/// The longest sleep where there is such a descriptor.
const LONG: Duration = Duration::from_secs(3600);
/// How often a sleeping main thread is interrupted, and the time in between.
const POKES: u32 = 5;
const POKE_AGAIN: Duration = Duration::from_millis(2);

/// Makes the signals raise the returned flag. A signal that was ignored when the command was started stays
/// ignored: `nohup` relies on that, and so does a shell that starts a command in the background.
///
/// # Errors
/// A [`Failure`] when the system refuses.
pub fn catch() -> Result<StopFlag, Failure> {
    // Done while there is only one thread: with the thread that waits for an interrupt, the system takes 20 ms for
    // it. If this fails, the code that needs the registration repeats it.
    let _ = fence::register();
    let flag = Arc::new(AtomicBool::new(false));
    signal::set_flag(Arc::clone(&flag));
    let refused = |error: &io::Error| Failure::io("cannot catch signals", error);
    for number in [SIGTERM, SIGHUP] {
        if !signal::is_ignored(number).map_err(|e| refused(&e))? {
            signal::catch(number).map_err(|e| refused(&e))?;
        }
    }
    if !signal::is_ignored(SIGINT).map_err(|e| refused(&e))? {
        // Hold SIGINT back until the final handler is installed. If `ctrlc` cannot start its thread, its handler,
        // which only writes to the pipe of that thread, is installed for a moment, and would lose an interrupt.
        let interrupt = SigSet::from_iter([Signal::SIGINT]);
        let before = interrupt.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(|e| refused(&e.into()))?;
        // This needs a pipe and a thread. If the system gives none (ulimit -n, ulimit -u), the signal handler does
        // the work.
        let caught = ctrlc::set_handler(|| note_beside(SIGINT)).or_else(|_| signal::catch(SIGINT));
        before.thread_set_mask().map_err(|e| refused(&e.into()))?;
        caught.map_err(|e| refused(&e))?;
    }
    Ok(StopFlag::from(flag))
}

/// Notes a signal in another thread than the main one, after the main thread has returned to its sleep, and wakes the
/// main thread from that. It does so several times, since the main thread may be just about to sleep. A second
/// interrupt is noted only after that.
pub fn note_beside(number: i32) {
    signal::note(number);
    for _ in 0..POKES {
        signal::interrupt();
        std::thread::sleep(POKE_AGAIN);
    }
}

/// The result of a command whose stop flag was raised.
pub fn end() -> End {
    signal::first().map_or(End::Done, End::Signal)
}

/// Sleeps for `time`. False: the flag was raised first.
pub fn sleep(time: Duration, stop: &StopFlag) -> bool {
    let start = Instant::now();
    loop {
        if stop.is_raised() {
            return false;
        }
        let left = time.saturating_sub(start.elapsed());
        if left.is_zero() {
            return true;
        }
        let mut fds = Vec::from_iter(signal::wake_fd().map(|wake| PollFd::new(wake, PollFlags::POLLIN)));
        // After an interruption, check the flag; after an error, check again a while later.
        match ppoll(&mut fds, Some(TimeSpec::from_duration(left.min(slice()))), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => std::thread::sleep(left.min(SLICE)),
        }
    }
}

/// The longest sleep: unlimited in practice where a signal makes a descriptor readable.
fn slice() -> Duration {
    if signal::wake_fd().is_some() { LONG } else { SLICE }
}

/// Waits until `fd` is ready for one of `events`, or reports an error or its end. False: it is not ready, and the
/// flag is raised.
///
/// # Errors
/// The error of the system.
pub fn ready(fd: BorrowedFd<'_>, events: PollFlags, stop: &StopFlag) -> io::Result<bool> {
    loop {
        let raised = stop.is_raised();
        if ready_within(LONG, fd, events, stop)? {
            return Ok(true);
        }
        if raised {
            return Ok(false);
        }
    }
}

/// As [`ready`], for at most `limit`. False: it is not ready yet, or the flag is raised.
///
/// # Errors
/// The error of the system.
pub fn ready_within(
    limit: Duration,
    fd: BorrowedFd<'_>,
    events: PollFlags,
    stop: &StopFlag,
) -> io::Result<bool> {
    let raised = stop.is_raised();
    let timeout = if raised { Duration::ZERO } else { limit.min(slice()) };
    // After the flag was raised, the wake descriptor stays readable and tells nothing new.
    let wake = signal::wake_fd().filter(|_| !raised);
    let mut fds = [PollFd::new(fd, events), PollFd::new(wake.unwrap_or(fd), PollFlags::POLLIN)];
    let watched = 1 + usize::from(wake.is_some());
    match ppoll(&mut fds[..watched], Some(TimeSpec::from_duration(timeout)), None) {
        Ok(_) => Ok(fds[0].any() == Some(true)),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The result of a wait for a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// It is ready, or reports an error or its end.
    Yes,
    /// It is not ready, and the stop flag is raised.
    Stopped,
    /// It is not ready, and the time is over.
    NotYet,
}

/// As [`ready`], until `limit` has passed.
///
/// # Errors
/// The error of the system.
pub fn ready_in_time(
    limit: Duration,
    fd: BorrowedFd<'_>,
    events: PollFlags,
    stop: &StopFlag,
) -> io::Result<Ready> {
    let start = Instant::now();
    loop {
        let (raised, left) = (stop.is_raised(), limit.saturating_sub(start.elapsed()));
        if ready_within(left, fd, events, stop)? {
            return Ok(Ready::Yes);
        }
        if raised {
            return Ok(Ready::Stopped);
        }
        if start.elapsed() >= limit {
            return Ok(Ready::NotYet);
        }
    }
}
