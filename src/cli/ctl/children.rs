//! Processes that a command starts, and that do not outlive it.
use std::{
    env,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{Role, cli::exit::Failure, sys::process};

/// How long processes may take to end when asked.
const GRACE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(2);

/// One process; ended and reaped when dropped.
pub struct Process {
    /// What it is, for those who are told how it ended.
    what: &'static str,
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts one.
    pub fn start(what: &'static str, mut command: Command) -> Result<Self, Failure> {
        // Killed, this command leaves nobody behind that waits for ever.
        process::end_with_parent(&mut command);
        let child = command.spawn().map_err(|error| Failure::io(format!("starting a {what}"), &error))?;
        Ok(Process { what, child, status: None })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn take_input(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    pub fn take_output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// How it ended; `None` while it runs.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Why it ended, unless well.
    pub fn complaint(&mut self) -> Option<String> {
        let status = self.status().filter(|status| !status.success())?;
        Some(format!("{} {} ended by {}", self.what, self.id(), status.to_string().replace(": ", " ")))
    }

    /// Kills it, without a look at how it is.
    pub fn kill(&mut self) {
        // Refused only where it has ended.
        let _ = self.child.kill();
    }

    fn signal(&mut self, signal: Signal) {
        // Not reaped yet, so the id is still its own.
        if self.status().is_none() {
            let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// Asks all to end, and waits a moment for it. Who does not is killed when dropped.
pub fn end_all(processes: &mut [Process]) {
    processes.iter_mut().for_each(|process| {
        process.signal(Signal::SIGTERM);
        process.signal(Signal::SIGCONT);
    });
    let start = Instant::now();
    while processes.iter_mut().any(|process| process.status().is_none()) && start.elapsed() < GRACE {
        thread::sleep(POLL);
    }
}

/// The command of this role beside this one; where it was not built or installed, this one in that role.
pub fn command(role: Role) -> Result<Command, Failure> {
    let this = this_program()?;
    let beside = this.with_file_name(role.to_string());
    if beside.is_file() {
        return Ok(Command::new(beside));
    }
    let mut command = Command::new(this);
    command.arg(role.to_string());
    Ok(command)
}

/// The path of this program.
pub fn this_program() -> Result<PathBuf, Failure> {
    env::current_exe().map_err(|error| Failure::io("finding this program", &error))
}
