//! Long work that a signal gives up.

use std::io::{self, ErrorKind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::StopFlag;

/// The time between two looks at the stop flag.
const POLL: Duration = Duration::from_millis(10);

/// Does this in another thread, and waits for it, however long a step of it takes.
///
/// # Errors
/// `Interrupted`: the flag was raised first. The thread then goes on until the process ends, which it soon does. Or the
/// error of the system: it has no thread.
pub fn beside<T: Send + 'static>(
    stop: &StopFlag,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (answer, result) = mpsc::channel();
    // If nothing waits for the answer any more, it is of no use.
    let thread = thread::Builder::new().name("judge".into()).spawn(move || drop(answer.send(work())))?;
    loop {
        match result.recv_timeout(POLL) {
            Ok(done) => return Ok(done),
            Err(RecvTimeoutError::Timeout) if stop.is_raised() => return Err(ErrorKind::Interrupted.into()),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => match thread.join() {
                Err(panic) => std::panic::resume_unwind(panic),
                Ok(()) => return Err(ErrorKind::BrokenPipe.into()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_or_given_up_and_its_panic_is_passed_on() {
        let stop = StopFlag::new();
        assert_eq!(beside(&stop, || 7).unwrap(), 7);
        let caught = std::panic::catch_unwind(|| beside(&stop, || -> u8 { panic!("wrong") }));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"wrong"));
        let (_held, endless) = mpsc::channel::<()>();
        let raised = stop.clone();
        let given_up = beside(&stop, move || {
            raised.raise();
            endless.recv()
        });
        assert_eq!(given_up.unwrap_err().kind(), ErrorKind::Interrupted);
    }
}
