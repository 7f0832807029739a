//! What the examples share: a play with a process for each part.
//!
//! An example starts itself again for each part, as another process (`--as producer`), which ends when the first
//! process ends. The first process makes the shared objects, waits for the others, and removes the objects, also on
//! Ctrl-C.
#![forbid(unsafe_code)]
#![allow(dead_code, reason = "each example uses its part")]

use std::fmt::Display;
use std::io::Write;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::mman::shm_unlink;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::unistd::{Pid, getppid};

/// An error is printed in one line.
pub type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// No part of any example takes longer.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Which part this process has. The first process sets these options; users do not.
#[derive(Debug, Clone, clap::Args)]
pub struct Part {
    /// Which part; none: the first process.
    #[arg(long = "as", hide = true)]
    role: Option<String>,
    /// Names of the shared objects.
    #[arg(long = "on", hide = true)]
    name: Option<String>,
    /// Which one of several with this part, from 1 on.
    #[arg(long, hide = true, default_value_t = 0)]
    number: u64,
    /// The process id of the first process.
    #[arg(long, hide = true)]
    parent: Option<i32>,
}

impl Part {
    /// Which part; empty: the first process, which starts the others.
    pub fn role(&self) -> &str {
        self.role.as_deref().unwrap_or_default()
    }

    /// Which one of several with this part, from 1 on.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The names of the shared objects.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// The ring that is shared.
    pub fn ring(&self) -> Result<ringpipe::Ring> {
        Ok(ringpipe::Ring::open(self.name())?)
    }
}

/// Runs this process's part, and answers with its exit code.
pub fn perform(part: &Part, run: impl FnOnce(&Part) -> Result) -> ExitCode {
    let prepared = match part.parent {
        Some(parent) => end_with(parent),
        None => clean_on_signals(),
    };
    let result = prepared.and_then(|()| run(part));
    clean();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", if part.role().is_empty() { "example" } else { part.role() });
            ExitCode::FAILURE
        }
    }
}

/// Has the kernel kill this process when its parent ends.
fn end_with(parent: i32) -> Result {
    SigSet::all().thread_unblock()?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    match getppid() == Pid::from_raw(parent) {
        true => Ok(()),
        false => Err("the first process has ended".into()),
    }
}

/// Names of shared memory, and paths of files, to be removed at the end.
static NAMES: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn names() -> MutexGuard<'static, Vec<String>> {
    NAMES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn clean() {
    for name in names().drain(..) {
        // Most were already removed by the example.
        let _ = match name.starts_with('/') {
            true => std::fs::remove_file(name).is_ok(),
            false => shm_unlink(name.as_str()).is_ok(),
        };
    }
}

/// Has a signal that ends this process remove the shared objects first; the other processes end with this one.
fn clean_on_signals() -> Result {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block()?;
    thread::spawn(move || {
        if let Ok(signal) = signals.wait() {
            clean();
            let _ = signals.thread_unblock();
            let _ = raise(signal);
        }
    });
    Ok(())
}

/// Prints a line, in one piece, since several processes print.
pub fn say(line: impl Display) {
    if std::io::stdout().write_all(format!("{line}\n").as_bytes()).is_err() {
        // The output has no reader any more.
        clean();
        std::process::exit(1);
    }
}

/// The processes that were started; processes that still run are killed when this is dropped.
#[derive(Default)]
pub struct Cast {
    actors: Vec<Actor>,
}

/// A process with a part.
pub struct Actor {
    child: Child,
    title: String,
}

impl Cast {
    /// No process yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A unique name for a shared object, which is removed at the end.
    pub fn name(&self, what: &str) -> String {
        let name = format!("ringpipe-{what}-{}", std::process::id());
        names().push(name.clone());
        name
    }

    /// The path of a file that does not exist yet, and is removed at the end.
    pub fn file(&self, what: &str) -> String {
        let path = std::env::temp_dir().join(format!("ringpipe-{what}-{}", std::process::id()));
        let path = path.display().to_string();
        names().push(path.clone());
        path
    }

    /// Starts this program again, with the same arguments, in a part.
    pub fn start(&mut self, role: &str, number: u64, on: &str) -> Result {
        self.actors.push(Actor::start(role, number, on)?);
        Ok(())
    }

    /// Waits until the processes with this part have ended, each with code 0.
    pub fn wait_for(&mut self, role: &str) -> Result {
        let (those, others) = std::mem::take(&mut self.actors)
            .into_iter()
            .partition::<Vec<_>, _>(|actor| actor.title.starts_with(role));
        self.actors = others;
        those.into_iter().try_for_each(|actor| actor.end().map(drop))
    }

    /// Waits until all processes have ended, each with code 0.
    pub fn wait(&mut self) -> Result {
        self.wait_for("")
    }
}

impl Actor {
    /// Starts this program again, with the same arguments, in a part.
    pub fn start(role: &str, number: u64, on: &str) -> Result<Actor> {
        Actor::spawn(role, number, on, Stdio::inherit())
    }

    /// The same; its output is kept for [`end`](Self::end).
    pub fn quiet(role: &str, number: u64, on: &str) -> Result<Actor> {
        Actor::spawn(role, number, on, Stdio::piped())
    }

    fn spawn(role: &str, number: u64, on: &str, stdout: Stdio) -> Result<Actor> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(std::env::args_os().skip(1)).args(["--as", role, "--on", on]);
        command.args(["--number", &number.to_string(), "--parent", &std::process::id().to_string()]);
        let child = command.stdin(Stdio::null()).stdout(stdout).spawn()?;
        Ok(Actor { child, title: format!("{role} {number}") })
    }

    /// Waits until the process has ended, with code 0, and returns its output.
    pub fn end(mut self) -> Result<String> {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if start.elapsed() > WATCHDOG {
                return Err(format!("{} has not ended within {WATCHDOG:?}", self.title).into());
            }
            thread::sleep(Duration::from_millis(2));
        };
        if !status.success() {
            return Err(format!("{}: {status}", self.title).into());
        }
        let text = self.child.stdout.take().map(std::io::read_to_string).transpose()?;
        Ok(text.unwrap_or_default().trim().into())
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process, as `kill -9` does, and waits until it is gone.
    pub fn kill(mut self) -> Result {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `so` returns true; an error after `within`.
pub fn wait_until(what: &str, within: Duration, mut so: impl FnMut() -> Result<bool>) -> Result {
    let start = Instant::now();
    while !so()? {
        if start.elapsed() > within {
            return Err(format!("not within {within:?}: {what}").into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Sleeps for a random time, at most this long.
pub fn doze(most: Duration) {
    thread::sleep(most.mul_f64(fastrand::f64()));
}

/// An error if `so` is false.
pub fn ensure(so: bool, what: impl Display) -> Result {
    if so { Ok(()) } else { Err(format!("not as it should be: {what}").into()) }
}
