//! Runs one command: starts it, feeds it, collects its output, limits its time, and reaps its process group.

use std::ffi::OsStr;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::Signal;
use nix::sys::time::TimeSpec;

use super::print::Stream;
use super::spool::Spool;
use super::verdict::Ending;
use crate::cli::common::stdout::Cut;
use crate::sys::command::child::{Guard, Running, With, set_nonblocking, signal_of};

/// The time between TERM and KILL.
pub const KILL_AFTER: Duration = Duration::from_secs(5);
/// How often a command is asked whether it has ended, where the kernel does not tell.
pub const POLL: Duration = Duration::from_millis(10);
/// After this many bytes of its output, a command's time limit and the end of the worker are checked again.
const MOST_AT_ONCE: usize = 1 << 20;
/// After the end of a command, at most this much of its output is read: more comes only from processes that have left
/// its group.
pub const MOST_AFTER_END: usize = 1 << 20;

/// Tells all running commands to end, each of them once.
#[derive(Debug)]
pub struct Terminator {
    told: PipeReader,
    /// Closing it tells them.
    keeps: Mutex<Option<PipeWriter>>,
}

impl Terminator {
    /// # Errors
    /// The error of the system.
    pub fn new() -> io::Result<Self> {
        let (told, keeps) = io::pipe()?;
        Ok(Terminator { told, keeps: Mutex::new(Some(keeps)) })
    }

    /// Makes each running command, and each later one, get TERM, and KILL after 5 seconds.
    pub fn terminate(&self) {
        *self.keeps.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A descriptor that reports its end when commands are to end.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.told.as_fd()
    }
}

/// Where the bytes of a command's output go.
pub trait Sink {
    /// Takes some bytes of one stream.
    ///
    /// # Errors
    /// The [`Cut`] that makes further output pointless.
    fn take(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), Cut>;
}

/// Keeps both streams until the command has ended.
#[derive(Debug, Default)]
pub struct Collected {
    /// Standard output.
    pub stdout: Spool,
    /// Standard error.
    pub stderr: Spool,
}

impl Sink for Collected {
    fn take(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), Cut> {
        let spool = match stream {
            Stream::Out => &mut self.stdout,
            Stream::Err => &mut self.stderr,
        };
        spool.push(bytes).map_err(Cut::Failed)
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// How its first process ended.
    pub ending: Ending,
    /// When it was started.
    pub started: SystemTime,
    /// How long it ran.
    pub took: Duration,
    /// It was told to end because the worker ends.
    pub stopped: bool,
    /// Its output could not be taken; it was killed.
    pub cut: Option<Cut>,
}

impl Ended {
    /// Of a command that was not started.
    pub fn not_run(ending: Ending) -> Self {
        Ended { ending, started: SystemTime::now(), took: Duration::ZERO, stopped: false, cut: None }
    }
}

/// What one run needs besides its command.
pub struct Surroundings<'a> {
    /// Starts commands, and ends them if this process is killed.
    pub guard: &'a Guard,
    /// Tells the command to end.
    pub terminator: &'a Terminator,
    /// The name by which the program is called.
    pub name: &'a OsStr,
    /// Its slot, from 0.
    pub slot: usize,
    /// How long it may run.
    pub limit: Option<Duration>,
}

/// Runs `command` to its end. `input` goes to its standard input; `None`: that is /dev/null. `also` becomes its
/// descriptor with that number.
///
/// # Errors
/// The error of the system that kept the command from being started.
pub fn run(
    command: &Command,
    input: Option<&[u8]>,
    also: Option<(BorrowedFd<'_>, RawFd)>,
    around: &Surroundings<'_>,
    sink: &mut impl Sink,
) -> io::Result<Ended> {
    let (started, start) = (SystemTime::now(), Instant::now());
    let with = With { name: around.name, slot: around.slot, input: input.is_some(), also };
    let mut running = around.guard.spawn(command, &with)?;
    let mut pipes = Pipes::of(&mut running, input.unwrap_or_default())?;
    let mut ladder = Ladder { end_at: around.limit.map(|limit| start + limit), ..Ladder::default() };
    let mut cut = None;
    loop {
        let Seen { ended, told } = pipes.wait(&running, around.terminator, &ladder)?;
        if told {
            ladder.stop(&running);
        }
        ladder.climb(&running);
        if ended {
            break;
        }
        if let Err(error) = pipes.pass(sink, MOST_AT_ONCE) {
            running.signal(Signal::SIGKILL);
            cut = Some(error);
            break;
        }
    }
    let status = running.reap()?;
    let took = start.elapsed();
    if cut.is_none() {
        cut = pipes.pass(sink, MOST_AFTER_END).err();
    }
    let ending = match (ladder.timed_out, signal_of(status), status.code()) {
        (true, ..) => Ending::TimedOut,
        (_, Some(signal), _) => Ending::Signalled(signal),
        (_, None, code) => Ending::Exited(code.unwrap_or_default()),
    };
    Ok(Ended { ending, started, took, stopped: ladder.stopped, cut })
}

/// TERM, and KILL 5 seconds later.
#[derive(Debug, Default)]
pub struct Ladder {
    /// When the command has used up its time.
    pub end_at: Option<Instant>,
    kill_at: Option<Instant>,
    pub timed_out: bool,
    pub stopped: bool,
}

impl Ladder {
    /// The worker ends.
    pub fn stop(&mut self, running: &Running) {
        self.stopped = true;
        self.term(running);
    }

    /// TERM now, KILL later.
    pub fn term(&mut self, running: &Running) {
        if self.kill_at.is_none() {
            running.signal(Signal::SIGTERM);
            // A suspended process takes the signal when it continues.
            running.signal(Signal::SIGCONT);
            self.kill_at = Some(Instant::now() + KILL_AFTER);
        }
    }

    /// Takes the steps that are due.
    pub fn climb(&mut self, running: &Running) {
        let now = Instant::now();
        if self.end_at.is_some_and(|at| now >= at) {
            self.end_at = None;
            self.timed_out = true;
            self.term(running);
        }
        if self.kill_at.is_some_and(|at| now >= at) {
            running.signal(Signal::SIGKILL);
        }
    }

    /// How long until the next step.
    pub fn left(&self) -> Option<Duration> {
        let next = [self.end_at, self.kill_at].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)))
    }
}

/// What a wait for a command found.
struct Seen {
    /// Its first process has ended.
    ended: bool,
    /// The worker ends.
    told: bool,
}

/// This end of the pipes of a command.
struct Pipes<'i> {
    input: Option<(PipeWriter, &'i [u8])>,
    outputs: [Option<PipeReader>; 2],
    buffer: Vec<u8>,
}

impl<'i> Pipes<'i> {
    fn of(running: &mut Running, input: &'i [u8]) -> io::Result<Self> {
        let outputs = [running.stdout.take(), running.stderr.take()];
        outputs.iter().flatten().try_for_each(set_nonblocking)?;
        let mut pipes = Pipes { input: None, outputs, buffer: vec![0; 64 << 10] };
        if let Some(pipe) = running.stdin.take() {
            set_nonblocking(&pipe)?;
            pipes.input = Some((pipe, input));
            pipes.feed();
        }
        Ok(pipes)
    }

    /// Waits until there is something to do.
    fn wait(&self, running: &Running, terminator: &Terminator, ladder: &Ladder) -> io::Result<Seen> {
        let mut fds = Vec::with_capacity(5);
        fds.extend(running.ended_fd().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(self.outputs.iter().flatten().map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        fds.extend(self.input.iter().map(|(pipe, _)| PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)));
        let told = (!ladder.stopped).then(|| PollFd::new(terminator.fd(), PollFlags::POLLIN));
        fds.extend(told);
        let limit = ladder.left().into_iter().chain(running.ended_fd().is_none().then_some(POLL)).min();
        match ppoll(&mut fds, limit.map(TimeSpec::from_duration), None) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Seen { ended: running.has_ended(), told: false }),
            Err(error) => return Err(error.into()),
        }
        let is_ready = |fd: Option<&PollFd<'_>>| fd.is_some_and(|fd| fd.any() == Some(true));
        let ended = match running.ended_fd() {
            Some(_) => is_ready(fds.first()),
            None => running.has_ended(),
        };
        Ok(Seen { ended, told: !ladder.stopped && is_ready(fds.last()) })
    }

    /// Writes to the command what it takes, and passes on what it has written, at most `most` bytes of each stream.
    fn pass(&mut self, sink: &mut impl Sink, most: usize) -> Result<(), Cut> {
        self.feed();
        for (stream, place) in [Stream::Out, Stream::Err].into_iter().zip(&mut self.outputs) {
            let mut passed = 0;
            while let Some(pipe) = place
                && passed < most
            {
                match pipe.read(&mut self.buffer) {
                    Ok(0) => *place = None,
                    Ok(n) => {
                        passed += n;
                        sink.take(stream, &self.buffer[..n])?;
                        if n < self.buffer.len() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(Cut::Failed(error)),
                }
            }
        }
        Ok(())
    }

    fn feed(&mut self) {
        while let Some((pipe, left)) = &mut self.input {
            if left.is_empty() {
                self.input = None;
                return;
            }
            match pipe.write(left) {
                Ok(n) => *left = &left[n..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // The command does not read the rest. Its exit code says whether that is a failure.
                Err(_) => self.input = None,
            }
        }
    }
}
