//! What the tests between real processes share: names that leave nothing behind, random numbers from a
//! seed, and children that never outlive their test.
#![allow(dead_code, reason = "each test binary uses its part")]

pub mod puppet;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{self, Signal};
use nix::unistd::{Pid, getppid};
use ringpipe::{Discipline, RingOptions, Thresholds};

/// Which discipline the rings of the tests follow: see [`options`].
pub const SYNC: &str = "RINGPIPE_TEST_SYNC";

/// Those other than the default, by the names that `RINGPIPE_TEST_SYNC` takes.
pub const DISCIPLINES: [(&str, Discipline); 3] = [
    ("semaphore", Discipline::Semaphore),
    ("polling", Discipline::Polling),
    ("monitor", Discipline::Monitor(Thresholds { wake_at: 1, resume_at: None })),
];

/// Options for a ring of the discipline that is tested: the default one unless `RINGPIPE_TEST_SYNC` says
/// another.
pub fn options() -> RingOptions {
    let Ok(wanted) = std::env::var(SYNC) else { return RingOptions::new() };
    let found = DISCIPLINES.iter().find(|(name, _)| *name == wanted);
    let (_, discipline) = found.unwrap_or_else(|| panic!("{SYNC}={wanted}: no such discipline"));
    RingOptions::new().sync(*discipline)
}

/// Runs this test binary again on rings of each of the other disciplines. Does nothing in such a run.
pub fn under_every_discipline() {
    if std::env::var_os(SYNC).is_some() {
        return;
    }
    for (name, _) in DISCIPLINES {
        let this = std::env::current_exe().expect("the test binary has a path");
        let run = Command::new(this).env(SYNC, name).output().expect("it runs");
        let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "under {name}:\n{out}\n{err}");
        let passed = out.lines().find(|line| line.starts_with("test result")).unwrap_or_default();
        report(&format!("under {name}: {passed}"));
    }
}

/// A ring name that nobody else uses. When the test ends the name must be free, or the test fails.
pub struct TestName(String);

impl TestName {
    pub fn new(what: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        TestName(format!("ringpipe-{what}-{}-{count}", std::process::id()))
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from("/dev/shm").join(&self.0)
    }

    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    /// A word of the segment.
    pub fn word(&self, offset: u64) -> u64 {
        let mut bytes = [0; 8];
        File::open(self.path()).unwrap().read_exact_at(&mut bytes, offset).unwrap();
        u64::from_le_bytes(bytes)
    }

    /// Overwrites a word of the segment.
    pub fn forge(&self, offset: u64, value: u64) {
        let file = File::options().write(true).open(self.path()).unwrap();
        file.write_all_at(&value.to_le_bytes(), offset).unwrap();
    }
}

impl std::ops::Deref for TestName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Drop for TestName {
    fn drop(&mut self) {
        let left = self.exists();
        let _ = std::fs::remove_file(self.path());
        if !std::thread::panicking() {
            assert!(!left, "{} was left in /dev/shm", self.0);
        }
    }
}

/// Random numbers that a seed repeats (splitmix64, Steele, Lea and Flood 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// From 0 to `end` - 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The seed of this run: `RINGPIPE_STORM_SEED`, or the time.
pub fn seed() -> u64 {
    let now = || std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    env_number("RINGPIPE_STORM_SEED").unwrap_or_else(now)
}

pub fn env_number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: expected a number")))
}

/// Waits for what will happen soon.
///
/// # Panics
/// If it has not after 20 seconds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(20), "20 s, and not yet: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Runs `work` in a thread of its own and answers with its result.
///
/// # Panics
/// If it takes longer than 20 seconds, or panics itself.
pub fn within_20_s<T: Send + 'static>(what: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, hear) = std::sync::mpsc::channel();
    let worker = std::thread::spawn(move || {
        let _ = tell.send(work());
    });
    match hear.recv_timeout(Duration::from_secs(20)) {
        Ok(result) => result,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("hangs: {what}"),
        Err(_) => std::panic::resume_unwind(worker.join().expect_err("it sent nothing")),
    }
}

/// Prints past the test harness, which keeps what passing tests print to itself.
pub fn report(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// This test binary again, running only its test `test`, which looks at `env` to know what to do.
pub fn again(test: &str, env: &str, value: &str) -> Command {
    use std::os::unix::process::CommandExt;
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
        signal::kill(self.pid(), which).expect("the child is not reaped yet");
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.0.id() as i32)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
