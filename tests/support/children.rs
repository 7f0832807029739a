//! Child processes that never outlive their test.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use nix::sys::prctl;
use nix::sys::signal::{self, Signal};
use nix::unistd::{Pid, getppid};

use super::{env_number, wait_until};

/// Copies a program.
///
/// Another process does it: a child that another test forks at that moment has copies of this process's descriptors
/// until its `exec`, and a file that a process has open for writing cannot be run (ETXTBSY).
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) {
    let copied = Command::new("cp").args([from.as_ref(), to.as_ref()]).status().expect("cp runs");
    assert!(copied.success(), "copying {}: {copied}", to.as_ref().display());
    fs::set_permissions(to, Permissions::from_mode(0o755)).unwrap();
}

/// Writes a script that can be run, by another process as [`copy_program`] does.
pub fn write_script(path: impl AsRef<Path>, script: &str) {
    let mut shell = Command::new("sh");
    shell.args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"]).arg(path.as_ref()).stdin(Stdio::piped());
    let mut shell = shell.spawn().expect("sh runs");
    shell.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success(), "writing {}", path.as_ref().display());
}

/// This test binary again, running only its test `test`, which looks at `env` to know what to do.
pub fn again(test: &str, env: &str, value: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test binary has a path"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(env, value).env("RINGPIPE_TEST_PARENT", std::process::id().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    command
}

/// To be called first in a process made by [`again`]: it is killed when its parent goes.
pub fn die_with_parent() {
    prctl::set_pdeathsig(Signal::SIGKILL).expect("PR_SET_PDEATHSIG");
    let parent = env_number("RINGPIPE_TEST_PARENT").expect("set by the parent");
    if getppid().as_raw() as u64 != parent {
        std::process::exit(1);
    }
}

/// A child process that is killed when this is dropped.
pub struct Kept(pub Child);

impl Kept {
    pub fn signal(&self, which: Signal) {
        #[cfg(feature = "cli")]
        super::late::note_signal(self.0.id() as i32);
        signal::kill(self.pid(), which).expect("the child is not reaped yet");
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }

    /// Kills it and waits until it is gone.
    pub fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Its exit code when it has ended; `None` if a signal ended it.
    #[track_caller]
    pub fn wait(&mut self) -> Option<i32> {
        self.ended().code()
    }

    /// How it ended, within the watchdog's time: `Child::wait` would hang with it.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        wait_until("end of the process", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Process ids of the processes whose parent is `pid`.
pub fn children_of(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|id| id.parse().unwrap()).collect()
}

pub fn is_running(pid: u32) -> bool {
    // A zombie has ended: the process that adopted it may take its time.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim_start().starts_with('Z') && !rest.is_empty())
}
