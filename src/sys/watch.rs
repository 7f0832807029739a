//! To be told of deaths: a thread of its own that sleeps until a process is gone.
//!
//! A descriptor of a process (`pidfd_open`) becomes readable when the last of its threads has ended, and by
//! then the kernel has let go of its locks. What is told here is only when to look: who is dead is
//! [`liveness`](super::liveness)'s to say, for a process id may mean another process in another PID
//! namespace.
//!
//! Two other ways were tried. A lock request that waits for a holder's byte (`F_OFD_SETLKW`) needs a thread for
//! each holder, and nothing but a signal ends its wait. An inotify watch on the segment would tell of all
//! who close it, but the system takes 15 ms to close one, which every process that ends would have to wait for.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{Builder, JoinHandle},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        eventfd::{EfdFlags, EventFd},
        signal::{SigSet, SigmaskHow, Signal},
    },
};

use super::process;

/// What the thread needs at most: it buries, and calls nothing of its user's.
const STACK: usize = 128 * 1024;

/// What a thread brings upon itself. Blocked, these would end the process without its handlers, that of
/// [`truncation`](super::truncation) among them.
const FAULTS: [Signal; 6] =
    [Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGSEGV, Signal::SIGSYS, Signal::SIGTRAP];

/// A descriptor that is readable as soon as the process is dead; `None` if there is none, or the system
/// (before Linux 5.3) cannot tell.
pub fn descriptor_of(pid: u32) -> Option<OwnedFd> {
    // SAFETY: a system call without memory; what it answers is a new descriptor, close-on-exec, which is
    // nobody else's.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid as i32), 0 as libc::c_long);
        (fd >= 0).then(|| OwnedFd::from_raw_fd(fd as i32))
    }
}

/// A thread that runs until this is dropped, which waits for its end.
///
/// In a child of the process that started it there is no such thread, and dropping this does nothing.
#[derive(Debug)]
pub struct Watcher {
    vigil: Arc<Vigil>,
    thread: Option<JoinHandle<()>>,
    generation: u32,
}

/// How the thread waits.
#[derive(Debug)]
pub struct Vigil {
    bell: EventFd,
    over: AtomicBool,
}

impl Watcher {
    /// Starts the thread. No signal is delivered to it but for its own faults: its process' own threads get them as
    /// before.
    ///
    /// # Errors
    /// The system's answer, for want of descriptors, memory or threads.
    pub fn start(watch: impl FnOnce(&Vigil) + Send + 'static) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let bell = EventFd::from_value_and_flags(0, flags)?;
        let vigil = Arc::new(Vigil { bell, over: AtomicBool::new(false) });
        let own = Arc::clone(&vigil);
        let mut blocked = SigSet::all();
        FAULTS.into_iter().for_each(|fault| blocked.remove(fault));
        let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let thread =
            Builder::new().name("ringpipe-watch".into()).stack_size(STACK).spawn(move || watch(&own));
        before.thread_set_mask()?;
        Ok(Watcher { vigil, thread: Some(thread?), generation: process::fork_generation() })
    }

    /// Ends the thread's present sleep.
    pub fn wake(&self) {
        // In a child the counter behind the descriptor is the parent's. A full one wakes as well.
        if process::fork_generation() == self.generation {
            let _ = self.vigil.bell.write(1);
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if process::fork_generation() != self.generation {
            // The thread is the parent's, and so is the counter behind the descriptor.
            std::mem::forget(thread);
            return;
        }
        self.vigil.over.store(true, Ordering::Release);
        self.wake();
        let _ = thread.join();
    }
}

impl Vigil {
    /// Sleeps until one of the descriptors is readable, somebody calls [`wake`](Watcher::wake), or for at most
    /// `longest`. False: it is time to end.
    pub fn sleep(&self, fds: &[BorrowedFd<'_>], longest: Duration) -> bool {
        let mut all: Vec<PollFd<'_>> = Vec::with_capacity(fds.len() + 1);
        all.push(PollFd::new(self.bell.as_fd(), PollFlags::POLLIN));
        all.extend(fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)));
        let timeout = PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX);
        let result = poll(&mut all, timeout);
        let _ = self.bell.read();
        // Acquire, as the flag's Release: what its user did before comes before the end.
        let over = self.over.load(Ordering::Acquire);
        !over && matches!(result, Ok(_) | Err(Errno::EINTR))
    }
}

/// Whether a descriptor of a process says that it is dead.
pub fn is_over(fd: BorrowedFd<'_>) -> bool {
    let mut one = [PollFd::new(fd, PollFlags::POLLIN)];
    matches!(poll(&mut one, PollTimeout::ZERO), Ok(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::Child;
    use nix::sys::signal::Signal;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_killed_process_ends_the_sleep_and_a_stopped_one_does_not() {
        let child = Child::pausing(|| true);
        let fd = descriptor_of(child.id()).unwrap();
        child.signal(Signal::SIGSTOP);
        let (told, hear) = mpsc::channel();
        let watcher = Watcher::start(move |vigil| {
            let fd = fd;
            assert!(vigil.sleep(&[fd.as_fd()], Duration::from_millis(50)) && !is_over(fd.as_fd()));
            told.send(()).unwrap();
            while !is_over(fd.as_fd()) {
                assert!(vigil.sleep(&[fd.as_fd()], LONG));
            }
            told.send(()).unwrap();
        })
        .unwrap();
        hear.recv_timeout(LONG).unwrap();
        child.signal(Signal::SIGKILL);
        hear.recv_timeout(LONG).unwrap();
        drop(watcher);
        assert!(descriptor_of(u32::MAX).is_none());
    }

    #[test]
    fn dropping_it_ends_the_longest_sleep_and_a_forked_child_leaves_it_alone() {
        let (told, hear) = mpsc::channel();
        let watcher = Watcher::start(move |vigil| {
            while vigil.sleep(&[], LONG) {
                told.send(()).unwrap();
            }
            told.send(()).unwrap();
        })
        .unwrap();
        watcher.wake();
        hear.recv_timeout(LONG).unwrap();
        let mut watcher = Some(watcher);
        drop(Child::pausing(|| {
            drop(watcher.take());
            true
        }));
        assert!(hear.try_recv().is_err());
        drop(watcher);
        hear.try_recv().unwrap();
    }

    #[test]
    fn no_signal_is_delivered_to_the_thread_but_for_its_own_faults() {
        let (told, hear) = mpsc::channel();
        let _watcher =
            Watcher::start(move |_| told.send(SigSet::thread_get_mask().unwrap()).unwrap()).unwrap();
        let mask = hear.recv_timeout(LONG).unwrap();
        assert!(mask.contains(Signal::SIGTERM) && mask.contains(Signal::SIGINT));
        assert!(!FAULTS.into_iter().any(|fault| mask.contains(fault)));
        assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGTERM));
    }
}
