//! Commands that run in process groups of their own, and that do not outlive the process that started them.
//!
//! If that process is killed, two mechanisms end its commands. The kernel kills the first process of a group when the
//! thread that started it ends (`PR_SET_PDEATHSIG`). A [`Guard`], a small process in a session of its own, then kills the
//! whole groups. Processes that have left their group, by `setsid` or `setpgid`, are not ended.
#![allow(unsafe_code)]

mod guard;
mod running;
mod start;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::process::Command;
use std::sync::atomic::AtomicI32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::getpid;

use self::guard::{Groups, Process};
pub use self::running::{Running, signal_of};
use self::start::{Image, Start, handled};
pub use super::super::descriptors::{copy_above, memory_file, reserve, set_nonblocking};
use super::super::watch::pidfd;
use super::signal::keep_children;

/// A process that kills the groups of this process's commands when this process ends without having reaped them.
#[derive(Debug)]
pub struct Guard {
    groups: Arc<Groups>,
    process: Mutex<Process>,
    /// `/dev/null`, for the commands, from the first that needs it on.
    null: OnceLock<File>,
}

impl Guard {
    /// Starts the guard of `slots` commands at a time.
    ///
    /// Call it while the process has one thread, and before it attaches to a ring: the guard has copies of the
    /// descriptors until it has closed them. From then on this process and its commands do not ignore SIGCHLD.
    ///
    /// # Errors
    /// The error of the system: no process, no descriptor, no memory.
    pub fn start(slots: usize) -> io::Result<Self> {
        keep_children()?;
        let groups = Arc::new(Groups::new(slots)?);
        let process = Mutex::new(Process::start(&groups)?);
        Ok(Guard { groups, process, null: OnceLock::new() })
    }

    /// Starts the guard again if it was killed. Commands that run meanwhile are guarded again from then on.
    ///
    /// # Errors
    /// The error of the system; another call tries again.
    pub fn restore(&self) -> io::Result<()> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let flags = Some(WaitPidFlag::WNOHANG);
        if process.pid.is_some_and(|pid| waitpid(pid, flags) != Ok(WaitStatus::StillAlive)) {
            process.pid = None;
        }
        if process.pid.is_none() {
            *process = Process::start(&self.groups)?;
        }
        Ok(())
    }

    /// Starts `command` as the first process of a group of its own, with pipes for its outputs. Uses only the
    /// program (a path), the arguments and the environment of `command`. The shell runs a file that the
    /// system does not execute, as with `execvp`.
    ///
    /// Call it after this process has installed its signal handlers: a handler that it installs after the
    /// first command could run in a later command, before that command executes its program.
    ///
    /// # Errors
    /// The error of the system, also of executing the program.
    pub fn spawn(&self, command: &Command, with: &With<'_>) -> io::Result<Running> {
        start(command, with.name, |image| self.execute(image, with))
    }

    /// Starts `command`, called `name`, with the standard streams of this process, as the first process of a group of its
    /// own. It also inherits `also`, under the same number. The program counts as in [`spawn`](Self::spawn). It takes the
    /// first slot.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn).
    pub fn attach(&self, command: &Command, name: &OsStr, also: BorrowedFd<'_>) -> io::Result<Running> {
        start(command, name, |image| inherit(image, also, Some(&self.groups)))
    }

    fn execute(&self, image: &Image, with: &With<'_>) -> io::Result<Running> {
        let input = with.input.then(io::pipe).transpose()?;
        let stdin = match &input {
            Some((reader, _)) => reader.as_raw_fd(),
            None => self.null()?.as_raw_fd(),
        };
        let ((output, stdout), (messages, stderr)) = (io::pipe()?, io::pipe()?);
        let start = Start {
            image,
            streams: [stdin, stdout.as_raw_fd(), stderr.as_raw_fd()],
            also: with.also.map(|(from, to)| (from.as_raw_fd(), to)),
            group: Some(&self.groups.all()[with.slot]),
            parent: getpid(),
            handled: handled(),
            failed: AtomicI32::new(0),
        };
        let pid = start.run()?;
        Ok(Running {
            stdin: input.map(|(_, writer)| writer),
            stdout: Some(output),
            stderr: Some(messages),
            pid,
            group: Some((Arc::clone(&self.groups), with.slot)),
            ended: pidfd(pid.as_raw()).ok(),
            reaped: false,
        })
    }

    fn null(&self) -> io::Result<&File> {
        if let Some(null) = self.null.get() {
            return Ok(null);
        }
        let null = File::open("/dev/null")?;
        Ok(self.null.get_or_init(|| null))
    }
}

/// As [`Guard::attach`], but the command stays in the group of this process, so that a terminal's keys and
/// signals reach it. If this process is killed, the kernel kills the command, but not the processes that the
/// command has started.
///
/// # Errors
/// As [`Guard::spawn`].
pub fn attach_in_group(command: &Command, name: &OsStr, also: BorrowedFd<'_>) -> io::Result<Running> {
    keep_children()?;
    start(command, name, |image| inherit(image, also, None))
}

fn inherit(image: &Image, also: BorrowedFd<'_>, groups: Option<&Arc<Groups>>) -> io::Result<Running> {
    let start = Start {
        image,
        streams: [0, 1, 2],
        also: Some((also.as_raw_fd(), also.as_raw_fd())),
        group: groups.map(|groups| &groups.all()[0]),
        parent: getpid(),
        handled: handled(),
        failed: AtomicI32::new(0),
    };
    let pid = start.run()?;
    Ok(Running {
        stdin: None,
        stdout: None,
        stderr: None,
        pid,
        group: groups.map(|groups| (Arc::clone(groups), 0)),
        ended: pidfd(pid.as_raw()).ok(),
        reaped: false,
    })
}

/// Executes `command`, or has the shell run it if the system does not execute its file.
fn start(
    command: &Command,
    name: &OsStr,
    execute: impl Fn(&Image) -> io::Result<Running>,
) -> io::Result<Running> {
    let called = [name].into_iter().chain(command.get_args());
    match execute(&Image::new(command.get_program(), called, command)?) {
        Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => {
            let shell = OsStr::new(SHELL);
            let called = [shell, command.get_program()].into_iter().chain(command.get_args());
            execute(&Image::new(shell, called, command)?)
        }
        result => result,
    }
}

/// Runs files that the system does not execute.
const SHELL: &str = "/bin/sh";

/// The settings of a command besides its program, arguments and environment.
#[derive(Debug, Clone, Copy)]
pub struct With<'a> {
    /// The name by which the program is called.
    pub name: &'a OsStr,
    /// The slot of the worker in which it runs.
    pub slot: usize,
    /// Whether its standard input is a pipe; otherwise it is `/dev/null`.
    pub input: bool,
    /// A descriptor, and the number that it has in the command.
    pub also: Option<(BorrowedFd<'a>, RawFd)>,
}
