//! A thread that sleeps until a watched process dies.
//!
//! A descriptor of a process (`pidfd_open`) becomes readable when the last of its threads has ended, and by then
//! the kernel has released its locks. The thread only learns when to check; [`liveness`](super::liveness) decides
//! whether a participant is dead, since a process id may mean another process in another PID namespace.
//!
//! Two other ways were tried. A lock request that waits for a holder's byte (`F_OFD_SETLKW`) needs a thread for
//! each holder, and only a signal ends its wait. An inotify watch on the segment would report every process that
//! closes it, but the system takes 15 ms to close a watch, which would delay the exit of every process.
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
        stat::fstat,
    },
};

use super::process;

/// The stack that the thread needs at most: it repairs what dead participants left, and calls no user code.
const STACK: usize = 128 * 1024;

/// Signals that a thread causes by its own faults. If it blocked them, they would end the process without running
/// its handlers, including that of [`truncation`](super::truncation).
const FAULTS: [Signal; 6] =
    [Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGSEGV, Signal::SIGSYS, Signal::SIGTRAP];

/// A descriptor that stands for this process, and never for another one that gets its id. It becomes readable as soon as
/// the process is dead. Makes only a system call, so that a forked process can use it.
///
/// # Errors
/// `ESRCH` if there is no such process, `ENOSYS` if the system (before Linux 5.3) has no such descriptors.
pub fn pidfd(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: a system call without memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, libc::c_long::from(pid), 0 as libc::c_long) };
    // SAFETY: a new descriptor, close-on-exec, which no other code owns.
    Errno::result(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// A thread that runs until this is dropped; the drop waits for its end.
///
/// A child of the process that started it has no such thread, and dropping this there does nothing.
#[derive(Debug)]
pub struct Watcher {
    vigil: Arc<Vigil>,
    thread: Option<JoinHandle<()>>,
    generation: u32,
}

/// How the thread waits.
#[derive(Debug)]
pub struct Vigil {
    /// `None` only during `drop`.
    bell: Option<EventFd>,
    /// Device, inode and mode of the bell.
    kind: (u64, u64, u32),
    over: AtomicBool,
}

impl Watcher {
    /// Starts the thread. It blocks all signals except those for its own faults: the process's other threads get
    /// the signals as before.
    ///
    /// # Errors
    /// The error of the system, without enough descriptors, memory or threads.
    pub fn start(watch: impl FnOnce(&Vigil) + Send + 'static) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let bell = EventFd::from_value_and_flags(0, flags)?;
        let vigil =
            Arc::new(Vigil { kind: kind_of(bell.as_fd())?, bell: Some(bell), over: AtomicBool::new(false) });
        let own = Arc::clone(&vigil);
        let mut blocked = SigSet::all();
        FAULTS.into_iter().for_each(|fault| blocked.remove(fault));
        let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let thread =
            Builder::new().name("ringpipe-watch".into()).stack_size(STACK).spawn(move || watch(&own));
        before.thread_set_mask()?;
        Ok(Watcher { vigil, thread: Some(thread?), generation: process::fork_generation() })
    }

    /// Ends the thread's current sleep.
    pub fn wake(&self) {
        // In a child, the counter behind the descriptor is the parent's. A full counter wakes as well.
        if process::fork_generation() == self.generation
            && let Some(bell) = self.vigil.checked()
        {
            let _ = bell.write(1);
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        if process::fork_generation() != self.generation {
            // Both the thread and the counter behind the descriptor belong to the parent.
            std::mem::forget(thread);
            return;
        }
        self.vigil.over.store(true, Ordering::Release);
        self.wake();
        let _ = thread.join();
    }
}

impl Vigil {
    /// The bell, unless other code of this process has closed its descriptor and opened another file under that
    /// number, which this code must neither read nor write.
    fn checked(&self) -> Option<&EventFd> {
        self.bell.as_ref().filter(|bell| kind_of(bell.as_fd()) == Ok(self.kind))
    }

    /// Whether other code of this process has closed its descriptors: then those that were given to
    /// [`sleep`](Self::sleep) must not be closed.
    pub fn is_lost(&self) -> bool {
        self.checked().is_none()
    }

    /// Sleeps until one of the descriptors is readable, another thread calls [`wake`](Watcher::wake), or `longest`
    /// has passed. False: the thread must end, or other code of this process has closed its descriptors.
    pub fn sleep(&self, fds: &[BorrowedFd<'_>], longest: Duration) -> bool {
        let Some(bell) = self.checked() else { return false };
        let mut all: Vec<PollFd<'_>> = Vec::with_capacity(fds.len() + 1);
        all.push(PollFd::new(bell.as_fd(), PollFlags::POLLIN));
        all.extend(fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)));
        let timeout = PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX);
        let result = poll(&mut all, timeout);
        let Some(bell) = self.checked() else { return false };
        let _ = bell.read();
        // Acquire, with the flag's Release: what the owner did before comes before the end of the thread.
        let over = self.over.load(Ordering::Acquire);
        !over && matches!(result, Ok(_) | Err(Errno::EINTR))
    }
}

impl Drop for Vigil {
    fn drop(&mut self) {
        if self.is_lost() {
            // Its number belongs to other code, which closes it.
            std::mem::forget(self.bell.take());
        }
    }
}

fn kind_of(fd: BorrowedFd<'_>) -> nix::Result<(u64, u64, u32)> {
    fstat(fd).map(|stat| (stat.st_dev, stat.st_ino, stat.st_mode))
}

/// Whether a process descriptor reports that the process is dead.
pub fn is_over(fd: BorrowedFd<'_>) -> bool {
    let mut one = [PollFd::new(fd, PollFlags::POLLIN)];
    matches!(poll(&mut one, PollTimeout::ZERO), Ok(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::Child;
    use nix::sys::signal::Signal;
    use std::os::fd::AsRawFd;
    use std::sync::mpsc;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_file_that_replaced_the_descriptor_is_neither_read_nor_written() {
        let (from, to) = nix::unistd::pipe().unwrap();
        let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).unwrap();
        let kind = kind_of(bell.as_fd()).unwrap();
        let number = bell.as_fd().as_raw_fd();
        let vigil = Arc::new(Vigil { kind, bell: Some(bell), over: AtomicBool::new(false) });
        // SAFETY: all are open; the bell's descriptor is not used as such any more.
        let put = |fd: BorrowedFd<'_>| assert_eq!(unsafe { libc::dup2(fd.as_raw_fd(), number) }, number);
        nix::unistd::write(&to, b"12345678").unwrap();
        put(from.as_fd());
        assert!(vigil.is_lost() && !vigil.sleep(&[], LONG));
        put(to.as_fd());
        let watcher = Watcher { vigil, thread: None, generation: process::fork_generation() };
        watcher.wake();
        drop(watcher);
        let mut bytes = [0; 64];
        assert_eq!(nix::unistd::read(&from, &mut bytes).unwrap(), 8, "as it was");
        // SAFETY: asks whether the number is open.
        assert!(unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0);
    }

    #[test]
    fn a_killed_process_ends_the_sleep_and_a_stopped_one_does_not() {
        let child = Child::pausing(|| true);
        let fd = pidfd(child.id() as i32).unwrap();
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
        assert_eq!(pidfd(i32::MAX).unwrap_err(), Errno::ESRCH);
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
    fn the_thread_gets_only_the_signals_of_its_own_faults() {
        let (told, hear) = mpsc::channel();
        let _watcher =
            Watcher::start(move |_| told.send(SigSet::thread_get_mask().unwrap()).unwrap()).unwrap();
        let mask = hear.recv_timeout(LONG).unwrap();
        assert!(mask.contains(Signal::SIGTERM) && mask.contains(Signal::SIGINT));
        assert!(!FAULTS.into_iter().any(|fault| mask.contains(fault)));
        assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGTERM));
    }
}
