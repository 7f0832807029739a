//! Shared by the tests of this module: names that leave nothing behind, and forked children.
#![allow(unsafe_code)]

use std::{
    io::Read,
    os::fd::{AsRawFd, BorrowedFd},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use nix::{
    sys::{signal, wait},
    unistd::{ForkResult, Pid, fork},
};

use super::{clock::Deadline, name::RingName};

/// Acts before `main`, as in the other test binaries.
#[path = "../../tests/support/signals.rs"]
mod signals;

/// A name that no other test uses; its object is removed when the test ends.
pub struct TestName(pub RingName);

impl TestName {
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        TestName(RingName::parse(&format!("ringpipe-test-{}-{count}", std::process::id())).unwrap())
    }

    pub fn path(&self) -> PathBuf {
        PathBuf::from("/dev/shm").join(self.0.as_str())
    }
}

impl Drop for TestName {
    fn drop(&mut self) {
        let path = self.path();
        let _ = if path.is_dir() { std::fs::remove_dir(path) } else { std::fs::remove_file(path) };
    }
}

/// A forked child that pauses until it is killed, at the latest when this value is dropped.
pub struct Child(Pid);

impl Child {
    /// Forks. The child runs `first`, which must be async-signal-safe, and then pauses; then this returns.
    ///
    /// # Panics
    /// If `first` answers false.
    pub fn pausing(first: impl FnOnce() -> bool) -> Child {
        Self::keeping(None, first)
    }

    /// Like [`pausing`](Self::pausing), but the child keeps one descriptor. It closes all others, because tests
    /// that run at the same time have locks on theirs.
    pub fn keeping(kept: Option<BorrowedFd<'_>>, first: impl FnOnce() -> bool) -> Child {
        let (mut ready, tell) = std::io::pipe().unwrap();
        // In the child, this mutex would stay locked for ever if another thread had it now.
        let removal = super::segment::one_removal();
        // SAFETY: the child only runs `first`, close, alarm, write and pause, which are async-signal-safe.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => {
                let child = Child(child);
                drop((removal, tell));
                let mut byte = [0];
                ready.read_exact(&mut byte).expect("the child ended early");
                assert_eq!(byte, [1], "the child could not do its first part");
                child
            }
            ForkResult::Child => {
                drop(removal);
                for fd in 3..1024 {
                    if fd != tell.as_raw_fd() && kept.is_none_or(|kept| fd != kept.as_raw_fd()) {
                        // SAFETY: no code in this process uses the descriptors any more.
                        unsafe { libc::close(fd) };
                    }
                }
                let byte = [u8::from(first())];
                // SAFETY: as above; `byte` is one readable byte. The alarm ends a child whose parent died.
                unsafe {
                    libc::alarm(60);
                    libc::write(tell.as_raw_fd(), byte.as_ptr().cast(), 1);
                    loop {
                        libc::pause();
                    }
                }
            }
        }
    }

    pub fn id(&self) -> u32 {
        self.0.as_raw() as u32
    }

    pub fn signal(&self, signal: signal::Signal) {
        signal::kill(self.0, signal).unwrap();
    }
}

/// Waits for a condition that the kernel will make true soon.
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let watchdog = Deadline::after(Duration::from_secs(30));
    while !condition() {
        assert!(!watchdog.passed(), "it did not come about in 30 s");
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Runs `work`, which must be async-signal-safe, in a forked child, and returns how the child ended.
pub fn ended(work: impl FnOnce()) -> wait::WaitStatus {
    // SAFETY: the child only runs `work`, setrlimit and _exit, which are async-signal-safe.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => wait::waitpid(child, None).unwrap(),
        // SAFETY: as above; the limit is a local. A child that dies on purpose must not leave a core file.
        ForkResult::Child => unsafe {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            work();
            libc::_exit(0)
        },
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = signal::kill(self.0, signal::Signal::SIGKILL);
        let _ = wait::waitpid(self.0, None);
    }
}
