//! A standing command that runs: its pipes, its time, and how it ends.

use std::collections::VecDeque;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;

use super::finish::{Finisher, TAIL};
use super::print::{Partial, Stream};
use super::slots::{Bell, Job, Stands};
use super::stop::Stop;
use super::supervise::{Ladder, MOST_AFTER_END, POLL, Terminator};
use super::verdict::{Ending, Verdict};
use crate::cli::common::exit::Failure;
use crate::cli::common::stdout::Cut;
use crate::cli::transport::{Owned, Sender};
use crate::sys::command::child::{Running, set_nonblocking, signal_of};

/// Bytes that are ready to be written before more items are framed.
pub const BLOCK: usize = 64 << 10;
/// How long a command may go on that has closed its standard input or output: most of these are about to exit.
const EXITS_WITHIN: Duration = Duration::from_secs(1);

/// An item that was sent.
pub struct Sent<O> {
    pub job: Job<O>,
    pub at: Instant,
    pub started: SystemTime,
}

/// A standing command that runs.
pub struct Standing<'a, O: Owned> {
    pub running: Running,
    stdin: Option<PipeWriter>,
    pub stdout: Option<PipeReader>,
    stderr: Option<PipeReader>,
    /// Framed items that were not written.
    pub out: Vec<u8>,
    /// The items that it has not answered.
    pub sent: VecDeque<Sent<O>>,
    /// The beginning of its next answer.
    pub begun: Vec<u8>,
    pub answered: bool,
    pub ladder: Ladder,
    /// Why it was killed although it ran.
    why: Option<Ending>,
    /// It closed its standard input or output.
    has_closed: bool,
    /// It is to end: the time limit is no longer that of an item.
    is_leaving: bool,
    /// The last of its standard error since an item failed, and the beginning of its next line.
    pub tail: Vec<u8>,
    partial: Partial,
    pub buffer: Vec<u8>,
    /// The last field: it is dropped when the process has ended.
    _stands: Stands<'a, O, Stop>,
}

/// What a wait for a command found.
pub struct Seen {
    pub ended: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub told: bool,
    pub bell: bool,
}

impl<'a, O: Owned> Standing<'a, O> {
    pub fn new(mut running: Running, stands: Stands<'a, O, Stop>) -> io::Result<Self> {
        let (stdin, stdout, stderr) = (running.stdin.take(), running.stdout.take(), running.stderr.take());
        stdin.iter().try_for_each(set_nonblocking)?;
        stdout.iter().try_for_each(set_nonblocking)?;
        stderr.iter().try_for_each(set_nonblocking)?;
        Ok(Standing {
            running,
            stdin,
            stdout,
            stderr,
            out: Vec::new(),
            sent: VecDeque::new(),
            begun: Vec::new(),
            answered: false,
            ladder: Ladder::default(),
            why: None,
            has_closed: false,
            is_leaving: false,
            tail: Vec::new(),
            partial: Partial::default(),
            buffer: vec![0; BLOCK],
            _stands: stands,
        })
    }

    /// Whether it may get another item: it is not about to end.
    pub fn takes_items(&self) -> bool {
        self.stdin.is_some() && self.is_trusted() && !self.has_closed
    }

    /// Whether its answers count.
    pub fn is_trusted(&self) -> bool {
        self.why.is_none() && !self.ladder.timed_out
    }

    /// The item that is now the first without an answer has its full time.
    pub fn limit_first(&mut self, now: Instant, limit: Option<Duration>) {
        if !self.is_leaving && !self.ladder.timed_out {
            self.ladder.end_at = limit.filter(|_| !self.sent.is_empty()).map(|limit| now + limit);
        }
    }

    /// Closes its standard input, so that it ends.
    pub fn leave(&mut self, grace: Duration) {
        if !self.is_leaving {
            self.is_leaving = true;
            self.ladder.end_at = Some(Instant::now() + grace);
        }
        self.stdin = None;
    }

    /// It has closed its standard input or output, so that it can work no longer.
    pub fn expect_end(&mut self) {
        if !self.is_leaving && !self.ladder.timed_out {
            (self.is_leaving, self.has_closed) = (true, true);
            self.ladder.end_at = Some(Instant::now() + EXITS_WITHIN);
        }
    }

    /// Kills it: it broke the rules.
    pub fn fail(&mut self, why: String) {
        self.why = Some(Ending::Told(Verdict::Retry, why));
        self.running.signal(Signal::SIGKILL);
    }

    /// The worker ends.
    pub fn stop(&mut self) {
        self.stdin = None;
        self.ladder.stop(&self.running);
    }

    /// How it ended, for the first item without an answer.
    pub fn ending(&mut self, status: ExitStatus) -> Ending {
        match (self.why.take(), signal_of(status)) {
            (Some(why), _) => why,
            (None, _) if self.ladder.timed_out && self.has_closed => {
                Ending::Told(Verdict::Retry, "standard input or output closed without an answer".into())
            }
            (None, _) if self.ladder.timed_out => Ending::TimedOut,
            (None, Some(signal)) => Ending::Signalled(signal),
            (None, None) => Ending::Left(status.code().unwrap_or_default()),
        }
    }

    /// Writes framed items. True: all were written.
    pub fn write(&mut self) -> bool {
        let Some(stdin) = &mut self.stdin else { return false };
        let mut written = 0;
        let is_open = loop {
            if written == self.out.len() {
                break true;
            }
            match stdin.write(&self.out[written..]) {
                Ok(n) => written += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                Err(_) => break false,
            }
        };
        self.out.drain(..written);
        if !is_open {
            self.stdin = None;
            self.expect_end();
        }
        self.out.is_empty()
    }

    /// Waits until there is something to do.
    pub fn wait(&self, bell: &Bell, terminator: &Terminator) -> Result<Seen, Failure> {
        let bell = bell.fd();
        // In place of a descriptor that is closed: the bell's, without events.
        let nothing = || PollFd::new(bell, PollFlags::empty());
        let read = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let writing = self.stdin.as_ref().filter(|_| !self.out.is_empty());
        let mut fds = [
            self.running.ended_fd().map_or_else(nothing, read),
            self.stdout.as_ref().map_or_else(nothing, |pipe| read(pipe.as_fd())),
            self.stderr.as_ref().map_or_else(nothing, |pipe| read(pipe.as_fd())),
            writing.map_or_else(nothing, |pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)),
            if self.ladder.stopped { nothing() } else { read(terminator.fd()) },
            read(bell),
        ];
        let asks = self.running.ended_fd().is_none();
        poll(&mut fds, self.ladder.left().into_iter().chain(asks.then_some(POLL)).min())?;
        let [ended, stdout, stderr, _, told, bell] = fds.map(|fd| fd.any().unwrap_or(true));
        let ended = if asks { self.running.has_ended() } else { ended };
        Ok(Seen { ended, stdout, stderr, told, bell })
    }

    /// Passes on what it has written to standard error.
    pub fn pass_stderr<S: Sender>(&mut self, finisher: &Finisher<'_, S>) -> Result<(), Cut> {
        let mut bytes = [0; 4096];
        let mut passed = 0;
        while let Some(stderr) = &mut self.stderr
            && passed < MOST_AFTER_END
        {
            match stderr.read(&mut bytes) {
                Ok(0) => self.stderr = None,
                Ok(n) => {
                    passed += n;
                    self.tail.extend_from_slice(&bytes[..n]);
                    self.tail.drain(..self.tail.len().saturating_sub(TAIL));
                    let mut printer = finisher.printer.lock().unwrap_or_else(PoisonError::into_inner);
                    printer.lines("", Stream::Err, &mut self.partial, &bytes[..n])?;
                    if n < bytes.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(Cut::Failed(error)),
            }
        }
        Ok(())
    }

    pub fn flush_stderr<S: Sender>(&mut self, finisher: &Finisher<'_, S>) -> Result<(), Cut> {
        let mut printer = finisher.printer.lock().unwrap_or_else(PoisonError::into_inner);
        printer.flush_partial("", Stream::Err, &mut self.partial)
    }
}

/// Waits for one of the descriptors, at most `limit`.
///
/// # Errors
/// A [`Failure`] from the system.
pub fn poll(fds: &mut [PollFd<'_>], limit: Option<Duration>) -> Result<(), Failure> {
    match ppoll(fds, limit.map(TimeSpec::from_duration), None) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(Failure::io("waiting for the command", &error.into())),
    }
}
