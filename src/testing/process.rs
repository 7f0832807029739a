//! A process of a session.

use std::io::{self, PipeReader, Read};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::connect::Connecting;
use super::output::{Follow, Output};
use super::program::{Condition, Ready};
use crate::sys::tree::{self, Child};

pub use crate::sys::tree::Ended;

/// The time between two checks of a process.
const POLL: Duration = Duration::from_millis(1);

/// A process that a [`Session`](super::Session) has started, with the processes of its group.
///
/// It ends with its session.
#[derive(Debug)]
pub struct Process {
    pub(super) name: String,
    pub(super) child: Child,
    pub(super) started: Instant,
    pub(super) stdout: Output,
    pub(super) stderr: Output,
    pub(super) log: Option<Output>,
    pub(super) waiting: Waiting,
}

/// What a process has not done yet before it is ready.
pub(super) enum Waiting {
    Over,
    Line(Follow, Condition<str>),
    File(std::path::PathBuf),
    Tcp(Connecting),
    Descriptor(PipeReader),
    When(Condition<u32>),
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if matches!(self, Waiting::Over) { "Over" } else { "Waiting" })
    }
}

impl Waiting {
    pub(super) fn new(ready: &Ready, stdout: &Output, stderr: &Output, pipe: Option<PipeReader>) -> Self {
        match (ready, pipe) {
            (Ready::Stdout(condition), _) => Waiting::Line(stdout.follow(), condition.clone()),
            (Ready::Stderr(condition), _) => Waiting::Line(stderr.follow(), condition.clone()),
            (Ready::File(file), _) => Waiting::File(file.clone()),
            (Ready::Tcp(address), _) => Waiting::Tcp(Connecting::to(address)),
            (Ready::When(condition), _) => Waiting::When(condition.clone()),
            (Ready::Descriptor(_), Some(pipe)) => Waiting::Descriptor(pipe),
            (Ready::Started | Ready::Descriptor(_), _) => Waiting::Over,
        }
    }
}

impl Process {
    /// Its name in the session, such as `worker-1`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id. It is in use until the session ends.
    pub fn id(&self) -> u32 {
        self.child.id().as_raw() as u32
    }

    /// When it was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// What it has written to its standard output.
    pub fn stdout(&self) -> &Output {
        &self.stdout
    }

    /// What it has written to its standard error.
    pub fn stderr(&self) -> &Output {
        &self.stderr
    }

    /// What it has written to the descriptor of [`Program::log`](super::Program::log).
    pub fn log(&self) -> Option<&Output> {
        self.log.as_ref()
    }

    /// How it ended; `None` while it runs.
    ///
    /// # Errors
    /// `ECHILD`: another part of this process has reaped it.
    pub fn ended(&self) -> io::Result<Option<Ended>> {
        Ok(self.child.ended()?)
    }

    /// Waits for its end. `None`: it still runs after `timeout`.
    ///
    /// # Errors
    /// As [`ended`](Self::ended).
    pub fn wait(&self, timeout: Duration) -> io::Result<Option<Ended>> {
        let start = Instant::now();
        loop {
            let ended = self.ended()?;
            if ended.is_some() || start.elapsed() >= timeout {
                return Ok(ended);
            }
            thread::sleep(POLL);
        }
    }

    /// Whether it is ready. Once it was, it stays so. This does not wait, neither for a server nor for the end of a line.
    ///
    /// # Errors
    /// The error of the system in reading its output.
    pub fn is_ready(&mut self) -> io::Result<bool> {
        let ready = match &mut self.waiting {
            Waiting::Over => return Ok(true),
            // A process that writes without end must not keep this call: the next call continues where this
            // one ends.
            Waiting::Line(follow, condition) if self.child.ended()?.is_none() => {
                follow.next_lines()?.unwrap_or_default().iter().any(|line| condition(line))
            }
            Waiting::Line(follow, condition) => loop {
                // Read everything: after the end of the process there is no other check.
                match follow.next_lines()? {
                    Some(lines) if lines.iter().any(|line| condition(line)) => break true,
                    Some(_) => {}
                    None => break false,
                }
            },
            Waiting::File(file) => file.exists(),
            Waiting::Tcp(connecting) => connecting.has_connected(),
            Waiting::Descriptor(pipe) => wrote(pipe)?,
            Waiting::When(condition) => condition(&(self.child.id().as_raw() as u32)),
        };
        if ready {
            self.waiting = Waiting::Over;
        }
        Ok(ready)
    }

    /// Waits until it is ready. False: it has ended before that, or is not ready after `timeout`.
    ///
    /// # Errors
    /// As [`is_ready`](Self::is_ready) and [`ended`](Self::ended).
    pub fn wait_ready(&mut self, timeout: Duration) -> io::Result<bool> {
        let start = Instant::now();
        loop {
            // Check the end first: the process may become ready and end between the two checks.
            let over = self.ended()?.is_some() || start.elapsed() >= timeout;
            if self.is_ready()? || over {
                return self.is_ready();
            }
            thread::sleep(POLL);
        }
    }

    /// Kills the processes of its group by SIGKILL.
    ///
    /// # Errors
    /// The error of the system.
    pub fn kill(&self) -> io::Result<()> {
        self.send(Signal::SIGKILL)
    }

    /// Suspends the processes of its group by SIGSTOP.
    ///
    /// # Errors
    /// The error of the system.
    pub fn stop(&self) -> io::Result<()> {
        self.send(Signal::SIGSTOP)
    }

    /// Continues the processes of its group by SIGCONT.
    ///
    /// # Errors
    /// The error of the system.
    pub fn resume(&self) -> io::Result<()> {
        self.send(Signal::SIGCONT)
    }

    /// Asks the processes of its group to end by SIGTERM.
    ///
    /// # Errors
    /// The error of the system.
    pub fn terminate(&self) -> io::Result<()> {
        self.send(Signal::SIGTERM)
    }

    /// Sends the signal with this number to the processes of its group. If all have ended, this does nothing.
    ///
    /// # Errors
    /// The error of the system: `EINVAL` for a number that is not a signal's.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        self.send(Signal::try_from(number)?)
    }

    fn send(&self, signal: Signal) -> io::Result<()> {
        match self.child.signal(signal) {
            Err(Errno::ESRCH) => Ok(()),
            sent => Ok(sent?),
        }
    }

    /// How many descriptors it has open; `None` if it has ended, or the system does not say.
    pub fn descriptors(&self) -> Option<usize> {
        tree::descriptors(self.child.id())
    }

    /// Limits its address space, and that of the processes that it starts from now on, to this number of bytes.
    ///
    /// # Errors
    /// The error of the system: the process has ended.
    pub fn limit_memory(&self, bytes: u64) -> io::Result<()> {
        tree::limit_memory(self.child.id(), bytes)
    }
}

/// Whether something was written to a pipe, or all of its writers have closed it.
fn wrote(pipe: &mut PipeReader) -> io::Result<bool> {
    match pipe.read(&mut [0; 64]) {
        Ok(_) => Ok(true),
        Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
