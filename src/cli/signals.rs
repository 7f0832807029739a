//! INT, TERM and HUP: the first stops the command in good order, the second ends it at once.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{SIGHUP, SIGINT, SIGTERM};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::exit::{Failure, code};
use super::start::End;
use crate::StopFlag;
use crate::sys::{fence, signal};

/// Longest sleep without a look at the stop flag where there is no descriptor that a signal makes readable: it may be
/// delivered to another thread, or just before the sleep.
const SLICE: Duration = Duration::from_millis(50);
/// And where there is one.
const LONG: Duration = Duration::from_secs(3600);
/// How often, and after which time again, a main thread that sleeps is interrupted.
const POKES: u32 = 5;
const POKE_AGAIN: Duration = Duration::from_millis(2);

/// Has the signals raise the flag that is returned. One that was ignored when the command was started stays
/// ignored: `nohup` means it, and so does a shell that starts a command in the background.
///
/// # Errors
/// A [`Failure`] when the system refuses.
pub fn catch() -> Result<StopFlag, Failure> {
    // While there is one thread: with the one that waits for an interrupt, the system takes 20 ms for it.
    // Refused, it is asked for again by whoever needs it.
    let _ = fence::register();
    let stop = StopFlag::new();
    signal::set_flag(stop.word());
    let refused = |error: &io::Error| Failure::io("cannot catch signals", error);
    for number in [SIGTERM, SIGHUP] {
        if !signal::is_ignored(number).map_err(|e| refused(&e))? {
            signal::catch(number).map_err(|e| refused(&e))?;
        }
    }
    if !signal::is_ignored(SIGINT).map_err(|e| refused(&e))? {
        ctrlc::set_handler(interrupted)
            .map_err(|error| Failure::new(code::RUNTIME, format!("cannot catch signals: {error}")))?;
    }
    Ok(stop)
}

/// An interrupt is noted on a thread of its own, after the main thread has gone back to its sleep: it is woken from
/// that. More than once, since it may just be about to sleep; a second interrupt waits for that so long.
fn interrupted() {
    signal::note(SIGINT);
    for _ in 0..POKES {
        signal::interrupt();
        std::thread::sleep(POKE_AGAIN);
    }
}

/// The end of a command whose stop flag was raised.
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
        // An interruption is a reason to look at the flag, and an error one to look again after a while.
        match ppoll(&mut fds, Some(TimeSpec::from_duration(left.min(slice()))), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => std::thread::sleep(left.min(SLICE)),
        }
    }
}

/// How long to sleep at most: where a signal makes a descriptor readable, as long as one likes.
fn slice() -> Duration {
    if signal::wake_fd().is_some() { LONG } else { SLICE }
}

/// Waits until `fd` is ready for one of `events`, or has an error or an end to report. False: it is not,
/// and the flag is raised.
///
/// # Errors
/// The system's answer.
pub fn ready(fd: BorrowedFd<'_>, events: PollFlags, stop: &StopFlag) -> io::Result<bool> {
    loop {
        let raised = stop.is_raised();
        let timeout = if raised { Duration::ZERO } else { slice() };
        // Once it is raised, the descriptor that wakes is readable for good, and says nothing more.
        let wake = signal::wake_fd().filter(|_| !raised);
        let mut fds = [PollFd::new(fd, events), PollFd::new(wake.unwrap_or(fd), PollFlags::POLLIN)];
        let watched = 1 + usize::from(wake.is_some());
        match ppoll(&mut fds[..watched], Some(TimeSpec::from_duration(timeout)), None) {
            Ok(_) if fds[0].any() == Some(true) => return Ok(true),
            Ok(_) if raised => return Ok(false),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
