//! The commands, started as users start them: in processes that cannot outlive or hang the test.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{PipeReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{TestName, late, wait_until, watchdog};
use nix::sys::resource::{Resource, setrlimit};

/// A command to be run, in a process group of its own, that dies with the test.
pub struct Run {
    command: Command,
    input: Option<Vec<u8>>,
    reads_late: bool,
    paused: Option<PipeReader>,
}

pub fn producer(ring: &TestName, args: &[&str]) -> Run {
    Run::new(env!("CARGO_BIN_EXE_producer")).arg(&ring.name).args(args)
}

pub fn consumer(ring: &TestName, args: &[&str]) -> Run {
    Run::new(env!("CARGO_BIN_EXE_consumer")).arg(&ring.name).args(args)
}

/// A shell script; `$P`, `$C` and `$T` are producer, consumer and ringctl, `$R` the ring.
pub fn shell(ring: &TestName, script: &str) -> Run {
    let mut run = Run::new("bash").args(&["-c", script]);
    let program = |name| late::programs().join(name);
    run.command.env("P", program("producer")).env("C", program("consumer")).env("T", program("ringctl"));
    run.command.env("R", &ring.name);
    run
}

impl Run {
    pub fn new(program: &str) -> Self {
        Self::of(Command::new(program))
    }

    /// A command with its arguments and environment; its input is empty, and its outputs are collected.
    pub fn of(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        Run { command, input: None, reads_late: false, paused: None }.with_signals(&[])
    }

    /// Starts with these signals ignored, and the others as they are by default: see `signals`.
    pub fn with_signals(mut self, ignored: &[i32]) -> Self {
        let ignored = ignored.to_vec();
        // SAFETY: prctl and signal may be called between fork and exec.
        unsafe {
            self.command.pre_exec(move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                for signal in &ignored {
                    libc::signal(*signal, libc::SIG_IGN);
                }
                Ok(())
            });
        }
        self
    }

    /// Starts with this limit of the system, soft and hard.
    pub fn limited(mut self, resource: Resource, limit: u64) -> Self {
        // SAFETY: setrlimit is a system call and no more, and may be called between fork and exec.
        unsafe { self.command.pre_exec(move || Ok(setrlimit(resource, limit, limit)?)) };
        self
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.command.arg(arg);
        self
    }

    pub fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn without_environment(mut self) -> Self {
        self.command.env_clear();
        self
    }

    /// With this as its own name, which is its first argument for the system.
    pub fn called(mut self, name: &str) -> Self {
        self.command.arg0(name);
        self
    }

    pub fn current_dir(mut self, path: &std::path::Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// Feeds these bytes to standard input, and closes it.
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.command.stdin(Stdio::piped());
        self.input = Some(bytes.into());
        self
    }

    /// Standard input comes from there.
    pub fn stdin(mut self, from: impl Into<Stdio>) -> Self {
        self.command.stdin(from);
        self
    }

    /// Leaves standard input open: [`Running::stdin`].
    pub fn open_input(mut self) -> Self {
        self.command.stdin(Stdio::piped());
        self
    }

    /// Standard output goes there.
    pub fn stdout(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stdout(to);
        self
    }

    /// Standard output is a pipe that is read when the process has ended, not before, and has little room.
    pub fn paused_output(mut self) -> Self {
        let (reader, writer) = std::io::pipe().unwrap();
        nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).unwrap();
        self.command.stdout(writer);
        self.paused = Some(reader);
        self
    }

    /// What it writes is not collected: its output is [`Running::take_stdout`], its messages go nowhere.
    pub fn uncollected(mut self) -> Self {
        self.reads_late = true;
        self.command.stderr(Stdio::null());
        self
    }

    /// Standard error goes there.
    pub fn stderr(mut self, to: impl Into<Stdio>) -> Self {
        self.command.stderr(to);
        self
    }

    pub fn spawn(mut self) -> Running {
        late::may_start_late(&mut self.command);
        let mut child = self.command.spawn().unwrap();
        // It has copies of what its outputs go to, and no end is seen while they are open.
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut stdin = child.stdin.take();
        if let Some(bytes) = self.input {
            let mut pipe = stdin.take().unwrap();
            // A command may end without reading all of it.
            thread::spawn(move || drop(pipe.write_all(&bytes)));
        }
        let collect = |from: Option<Box<dyn Read + Send>>| {
            let seen = Arc::new(Mutex::new(Vec::new()));
            let sink = Arc::clone(&seen);
            let reader = from.map(|mut from| {
                thread::spawn(move || {
                    let mut buffer = [0; 65536];
                    while let Ok(n @ 1..) = from.read(&mut buffer) {
                        sink.lock().unwrap().extend_from_slice(&buffer[..n]);
                    }
                })
            });
            Collected { seen, reader }
        };
        let late = match self.reads_late {
            true => child.stdout.take().map(|pipe| OwnedFd::from(pipe).into()),
            false => self.paused,
        };
        let stdout = collect(child.stdout.take().map(|out| Box::new(out) as _));
        let stderr = collect(child.stderr.take().map(|err| Box::new(err) as _));
        Running { child, stdin, stdout, stderr, reaped: false, late }
    }

    pub fn run(self) -> Ended {
        self.spawn().end()
    }
}

struct Collected {
    seen: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Collected {
    fn so_far(&self) -> Vec<u8> {
        self.seen.lock().unwrap().clone()
    }

    fn all(&mut self) -> Vec<u8> {
        if let Some(reader) = self.reader.take() {
            wait_until("end of output", || reader.is_finished());
        }
        self.so_far()
    }
}

/// A process that runs; killed with its group when this is dropped.
pub struct Running {
    child: Child,
    pub stdin: Option<ChildStdin>,
    stdout: Collected,
    stderr: Collected,
    reaped: bool,
    /// Read at the end.
    late: Option<PipeReader>,
}

impl Running {
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    pub fn signal(&self, signal: i32) {
        late::note_signal(self.pid());
        // SAFETY: no pointers; the child is not reaped yet, so its id is its own.
        assert_eq!(unsafe { libc::kill(self.pid(), signal) }, 0);
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Sends signals that are there before it can act on the first. Several threads may take one each: then the main thread
    /// may act for a moment between two of them.
    pub fn signals_at_once(&self, signals: &[i32]) {
        self.signal(libc::SIGSTOP);
        signals.iter().for_each(|signal| self.signal(*signal));
        self.signal(libc::SIGCONT);
    }

    pub fn wait_for_stderr(&self, text: &str) {
        wait_until(&format!("{text:?} on stderr"), || {
            String::from_utf8_lossy(&self.stderr.so_far()).contains(text)
        });
    }

    pub fn wait_for_stdout(&self, bytes: &[u8]) {
        wait_until("such output", || self.stdout.so_far() == bytes);
    }

    pub fn has_printed(&self, text: &str) -> bool {
        String::from_utf8_lossy(&self.stdout.so_far()).contains(text)
    }

    /// Waits for its end alone, not for that of its output: quickly, for measurements.
    pub fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.reaped = true;
                return status;
            }
            assert!(start.elapsed() < watchdog(), "watchdog: no end of the process");
            thread::sleep(Duration::from_micros(100));
        }
    }

    /// The output of a process that is [`Run::uncollected`].
    pub fn take_stdout(&mut self) -> PipeReader {
        self.late.take().unwrap()
    }

    /// What it has written so far, or in all if it has ended.
    pub fn output(&mut self) -> Vec<u8> {
        if let Some(mut pipe) = self.late.take().filter(|_| self.reaped) {
            let mut bytes = Vec::new();
            pipe.read_to_end(&mut bytes).unwrap();
            return bytes;
        }
        if self.reaped { self.stdout.all() } else { self.stdout.so_far() }
    }

    /// The same of its standard error.
    pub fn messages(&mut self) -> String {
        let bytes = if self.reaped { self.stderr.all() } else { self.stderr.so_far() };
        String::from_utf8(bytes).unwrap()
    }

    pub fn end(mut self) -> Ended {
        let mut status = None;
        wait_until("end of the process", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        self.reaped = true;
        let (stdout, stderr) = (self.stdout.all(), self.stderr.all());
        let status = status.unwrap();
        let stderr = String::from_utf8(stderr).unwrap();
        assert_ne!(status.code(), Some(101), "it panicked: {stderr}");
        Ended { code: status.code(), signal: status.signal(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            // SAFETY: no pointers; the group is the child's own, which is not reaped yet.
            unsafe { libc::kill(-self.pid(), libc::SIGKILL) };
            let _ = self.child.wait();
        }
    }
}

/// How a process ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    /// The output of a process that ended with this code.
    #[track_caller]
    pub fn with_code(self, code: i32) -> Self {
        assert_eq!((self.code, self.signal), (Some(code), None), "stderr: {}", self.stderr);
        self
    }

    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.with_code(0)
    }

    #[track_caller]
    pub fn by_signal(self, signal: i32) -> Self {
        assert_eq!((self.code, self.signal), (None, Some(signal)), "stderr: {}", self.stderr);
        self
    }

    #[track_caller]
    pub fn quiet(self) -> Self {
        assert_eq!(self.stderr, "");
        self
    }

    #[track_caller]
    pub fn saying(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "expected {text:?} in: {}", self.stderr);
        self
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The same for keeping.
    pub fn into_text(self) -> String {
        String::from_utf8(self.stdout).unwrap()
    }

    pub fn lines(&self) -> Vec<&str> {
        self.text().lines().collect()
    }

    /// The one object on standard output of a command that succeeded.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let ended = self.succeeds();
        assert_eq!(ended.lines().len(), 1, "{ended:?}");
        serde_json::from_str(ended.text()).unwrap()
    }

    /// The objects on standard output, one a line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        self.lines().into_iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The line on standard error that says why the command failed.
    #[track_caller]
    pub fn complaint(&self) -> &str {
        self.stderr.lines().next().expect("it says why")
    }

    /// The last line of standard error as a JSON object.
    pub fn statistics(&self) -> serde_json::Value {
        serde_json::from_str(self.stderr.lines().last().unwrap()).unwrap()
    }
}

/// The numbers from 1 to `last`, a line each.
pub fn seq(last: u64) -> String {
    (1..=last).map(|n| format!("{n}\n")).collect()
}

/// Bytes that follow no pattern, the same in each run.
pub fn noise(len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(42);
    (0..len).map(|_| random.u8(..)).collect()
}

/// A file with these bytes.
pub fn file(dir: &tempfile::TempDir, name: &str, bytes: &[u8]) -> String {
    let path = dir.path().join(name);
    File::create(&path).unwrap().write_all(bytes).unwrap();
    path.to_str().unwrap().to_string()
}
