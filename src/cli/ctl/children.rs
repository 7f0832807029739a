//! Processes that a command starts, and that end before it.
use std::{
    env, io,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use nix::{
    libc,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::Role;
use crate::cli::common::exit::Failure;
use crate::sys::command::process;

/// How long processes may take to end when asked.
const GRACE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(2);

/// One process; dropping this ends and reaps it.
pub struct Process {
    /// What it is, for the message on how it ended.
    what: &'static str,
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts one.
    pub fn start(what: &'static str, mut command: Command) -> Result<Self, Failure> {
        // If this command is killed, the process must not wait for ever.
        process::end_with_parent(&mut command);
        let child = command.spawn().map_err(|error| not_started(what, &error))?;
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

    /// How the process ended; `None` while it runs.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Why it ended, unless it succeeded.
    pub fn complaint(&mut self) -> Option<String> {
        let status = self.status().filter(|status| !status.success())?;
        Some(format!("{} {} ended by {}", self.what, self.id(), status.to_string().replace(": ", " ")))
    }

    /// Kills the process, whatever its state.
    pub fn kill(&mut self) {
        // Fails only if the process has ended.
        let _ = self.child.kill();
    }

    fn signal(&mut self, signal: Signal) {
        // The process has not been reaped, so the id still belongs to it.
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

/// The failure when the system refuses more processes or threads.
pub fn not_started(what: &str, error: &io::Error) -> Failure {
    let failure = Failure::io(format!("starting a {what}"), error);
    match error.raw_os_error() {
        Some(libc::EAGAIN) => {
            failure.hint("ulimit -u limits the processes and threads of this user, ulimit -v their memory")
        }
        _ => failure,
    }
}

/// Asks all processes to end, and waits a moment for them. A process that stays is killed when dropped.
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

/// The command of this role next to this program; if it was not built or installed, this program in that role.
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
