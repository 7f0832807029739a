//! The processes of a run.
use std::{
    env,
    ffi::OsString,
    io,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
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

/// One producer or consumer process; ended and reaped when dropped.
pub struct Process {
    pub role: Role,
    child: Child,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts one, with its standard input (of a producer) or output (of a consumer) as a pipe.
    pub fn start(role: Role, arguments: &[OsString]) -> Result<Self, Failure> {
        let mut command = command(role).map_err(|error| Failure::io(format!("finding a {role}"), &error))?;
        command.args(arguments);
        match role {
            Role::Producer => command.stdin(Stdio::piped()).stdout(Stdio::null()),
            Role::Consumer => command.stdin(Stdio::null()).stdout(Stdio::piped()),
        };
        // Killed, this command leaves nobody behind that waits for ever.
        process::end_with_parent(&mut command);
        let child = command.spawn().map_err(|error| Failure::io(format!("starting a {role}"), &error))?;
        Ok(Process { role, child, status: None })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn take_input(&mut self) -> Option<impl io::Write + Send + 'static> {
        self.child.stdin.take()
    }

    pub fn take_output(&mut self) -> Option<impl io::Read + Send + 'static> {
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
        Some(format!("{} {} ended by {}", self.role, self.id(), status.to_string().replace(": ", " ")))
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

/// The command beside this one; where it was not built or installed, this one in its role.
fn command(role: Role) -> io::Result<Command> {
    let this = env::current_exe()?;
    let beside: PathBuf = this.with_file_name(role.to_string());
    if beside.is_file() {
        return Ok(Command::new(beside));
    }
    let mut command = Command::new(this);
    command.arg(role.to_string());
    Ok(command)
}
