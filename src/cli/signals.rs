//! INT, TERM and HUP: the first stops the command in good order, the second ends it at once.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{SIGHUP, SIGINT, SIGTERM};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::exit::{Failure, code};
use super::start::End;
use crate::StopFlag;
use crate::sys::{fence, signal};

/// Longest sleep without a look at the stop flag: a signal may be delivered to another thread, or just
/// before the sleep.
const SLICE: Duration = Duration::from_millis(100);

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
        ctrlc::set_handler(|| signal::note(SIGINT))
            .map_err(|error| Failure::new(code::RUNTIME, format!("cannot catch signals: {error}")))?;
    }
    Ok(stop)
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
        match time.checked_sub(start.elapsed()) {
            None | Some(Duration::ZERO) => return true,
            Some(left) => std::thread::sleep(left.min(SLICE)),
        }
    }
}

/// Waits until `fd` is ready for one of `events`, or has an error or an end to report. False: it is not,
/// and the flag is raised.
///
/// # Errors
/// The system's answer.
pub fn ready(fd: BorrowedFd<'_>, events: PollFlags, stop: &StopFlag) -> io::Result<bool> {
    loop {
        let raised = stop.is_raised();
        let timeout = if raised { PollTimeout::ZERO } else { PollTimeout::from(SLICE.as_millis() as u8) };
        match poll(&mut [PollFd::new(fd, events)], timeout) {
            Ok(0) if raised => return Ok(false),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}
