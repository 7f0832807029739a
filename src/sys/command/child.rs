//! Commands that run in process groups of their own, and that do not outlive the process that started them.
//!
//! If that process is killed, two mechanisms end its commands. The kernel kills the first process of a group when the
//! thread that started it ends (`PR_SET_PDEATHSIG`). A [`Guard`], a small process in a session of its own, then kills the
//! whole groups. Processes that have left their group, by `setsid` or `setpgid`, are not ended.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid, setsid};

/// The process groups that run: one number for each slot, 0 for none, in memory that the guard shares.
///
/// A new command writes its own group before it executes its program. The worker writes 0 before it reaps the first
/// process of the group; until then, no other process can get the number.
#[derive(Debug)]
struct Groups {
    place: NonNull<AtomicI32>,
    slots: usize,
}

// SAFETY: the memory is used through atomics alone, and unmapped when the last owner is gone.
unsafe impl Send for Groups {}
// SAFETY: as above.
unsafe impl Sync for Groups {}

impl Groups {
    fn new(slots: usize) -> io::Result<Self> {
        let bytes = (slots.max(1) * size_of::<AtomicI32>()).try_into().map_err(io::Error::other)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let place = unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_SHARED) }?;
        Ok(Groups { place: place.cast(), slots: slots.max(1) })
    }

    fn all(&self) -> &[AtomicI32] {
        // SAFETY: so many atomics are mapped, zeroed at first, until this is dropped.
        unsafe { std::slice::from_raw_parts(self.place.as_ptr(), self.slots) }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        // SAFETY: no reference into the mapping is left. If the system refuses, the memory stays mapped.
        let _ = unsafe { munmap(self.place.cast(), self.slots * size_of::<AtomicI32>()) };
    }
}

/// A process that kills the groups of this process's commands when this process ends without having reaped them.
#[derive(Debug)]
pub struct Guard {
    groups: Arc<Groups>,
    process: Mutex<Process>,
}

/// The process of a guard. Dropping this ends it.
#[derive(Debug)]
struct Process {
    /// `None` once it is reaped.
    pid: Option<Pid>,
    /// Its other end reports the end of this process to the guard. Commands do not inherit it.
    _alive: PipeWriter,
}

impl Guard {
    /// Starts the guard of `slots` commands at a time.
    ///
    /// Call it while the process has one thread, and before it attaches to a ring: the guard has copies of the
    /// descriptors until it has closed them.
    ///
    /// # Errors
    /// The error of the system: no process, no descriptor, no memory.
    pub fn start(slots: usize) -> io::Result<Self> {
        let groups = Arc::new(Groups::new(slots)?);
        let process = Mutex::new(Process::start(&groups)?);
        Ok(Guard { groups, process })
    }

    /// Starts the guard again if it was killed. Commands that run meanwhile are guarded again from then on.
    ///
    /// # Errors
    /// The error of the system; another call tries again.
    pub fn restore(&self) -> io::Result<()> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        let flags = Some(WaitPidFlag::WNOHANG);
        if process.pid.is_some_and(|pid| waitpid(pid, flags) != Ok(WaitStatus::StillAlive)) {
            process.pid = None;
        }
        if process.pid.is_none() {
            *process = Process::start(&self.groups)?;
        }
        Ok(())
    }

    /// Starts `command` as the first process of a group of its own, in `slot`. `also` becomes its descriptor with that
    /// number.
    ///
    /// # Errors
    /// The error of the system, also of executing the program.
    pub fn spawn(
        &self,
        command: &mut Command,
        slot: usize,
        also: Option<(BorrowedFd<'_>, RawFd)>,
    ) -> io::Result<Running> {
        let (groups, parent) = (Arc::clone(&self.groups), getpid());
        let also = also.map(|(from, to)| (from.as_raw_fd(), to));
        command.process_group(0);
        let prepare = move || {
            groups.all()[slot].store(getpid().as_raw(), Ordering::SeqCst);
            // SAFETY: system calls without memory; they are allowed between fork and exec.
            unsafe {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // The parent ended before the signal was set.
                if getppid() != parent {
                    return Err(Errno::ESRCH.into());
                }
                // dup2 of a descriptor to itself would leave it close-on-exec.
                let given = match also {
                    Some((from, to)) if from == to => libc::fcntl(from, libc::F_SETFD, 0),
                    Some((from, to)) => libc::dup2(from, to),
                    None => 0,
                };
                if given < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        };
        // SAFETY: `prepare` makes system calls and stores to mapped memory; it allocates and locks nothing.
        unsafe { command.pre_exec(prepare) };
        let started = command.spawn();
        let group = &self.groups.all()[slot];
        let child = started.inspect_err(|_| group.store(0, Ordering::SeqCst))?;
        let pid = Pid::from_raw(child.id() as i32);
        Ok(Running { child, pid, groups: Arc::clone(&self.groups), slot, ended: pidfd(pid), reaped: false })
    }
}

impl Process {
    fn start(groups: &Groups) -> io::Result<Self> {
        let (ended, alive) = io::pipe()?;
        // SAFETY: the child makes system calls only, which other threads of this process cannot hold up.
        match unsafe { fork() }? {
            ForkResult::Child => guard(groups, &ended),
            ForkResult::Parent { child } => Ok(Process { pid: Some(child), _alive: alive }),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(pid) = self.pid else { return };
        // All commands are reaped by now, and a suspended guard would not notice the end of the pipe.
        let _ = kill(pid, Signal::SIGKILL);
        while waitpid(pid, None) == Err(Errno::EINTR) {}
    }
}

/// The life of the guard.
fn guard(groups: &Groups, ended: &PipeReader) -> ! {
    // A session of its own: no signal of the terminal or of the worker's group ends it. A service manager sends its
    // signal to each process, and the worker's commands may then go on for a while.
    let _ = setsid();
    // SAFETY: system calls; the name is a constant string. Everything but the pipe is closed, so that no reader waits for
    // this process, and no lock or ring is held by it.
    unsafe {
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
            libc::signal(signal, libc::SIG_IGN);
        }
        libc::prctl(libc::PR_SET_NAME, c"ringpipe-guard".as_ptr());
        let pipe = ended.as_raw_fd() as libc::c_uint;
        if pipe > 0 {
            libc::syscall(libc::SYS_close_range, 0, pipe - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, pipe + 1, libc::c_uint::MAX, 0);
    }
    let mut byte = [0];
    while matches!((&*ended).read(&mut byte), Err(error) if error.kind() == io::ErrorKind::Interrupted) {}
    for group in groups.all() {
        let group = group.load(Ordering::SeqCst);
        if group > 0 {
            // Fails only if no process of it is left.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
    // SAFETY: ends this process, and runs nothing of its parent's.
    unsafe { libc::_exit(0) }
}

/// A command that was started. Dropping it kills its group and reaps it.
#[derive(Debug)]
pub struct Running {
    /// Its pipes.
    pub child: Child,
    pid: Pid,
    groups: Arc<Groups>,
    slot: usize,
    ended: Option<OwnedFd>,
    reaped: bool,
}

impl Running {
    /// A descriptor that becomes readable when the first process of the group has ended. `None`: this kernel has none,
    /// so ask [`has_ended`](Self::has_ended) now and then.
    pub fn ended_fd(&self) -> Option<BorrowedFd<'_>> {
        self.ended.as_ref().map(AsFd::as_fd)
    }

    /// The process id of the first process, which is also the number of the group.
    pub fn id(&self) -> u32 {
        self.pid.as_raw() as u32
    }

    /// Whether the first process of the group has ended.
    pub fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        self.reaped
            || !matches!(waitid(Id::Pid(self.pid), flags), Ok(WaitStatus::StillAlive) | Err(Errno::EINTR))
    }

    /// Sends a signal to all processes of the group.
    pub fn signal(&self, signal: Signal) {
        if !self.reaped {
            // The first process is not reaped, so the number is the group's. Fails only if all have ended.
            let _ = killpg(self.pid, signal);
        }
    }

    /// Waits for the end of the first process, kills what is left of the group, and reaps the first process.
    ///
    /// # Errors
    /// The error of the system.
    pub fn reap(&mut self) -> io::Result<ExitStatus> {
        while waitid(Id::Pid(self.pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
        self.signal(Signal::SIGKILL);
        self.groups.all()[self.slot].store(0, Ordering::SeqCst);
        self.reaped = true;
        self.child.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            self.signal(Signal::SIGKILL);
            let _ = self.reap();
        }
    }
}

/// The number of the signal that ended a process.
pub fn signal_of(status: ExitStatus) -> Option<i32> {
    status.signal()
}

fn pidfd(pid: Pid) -> Option<OwnedFd> {
    // SAFETY: a system call without memory.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    // SAFETY: a new descriptor of this process.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Makes reads from, or writes to, `fd` return at once.
///
/// # Errors
/// The error of the system.
pub fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    let flags = OFlag::from_bits_truncate(fcntl(fd.as_fd(), FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Keeps the number `fd` from any descriptor that this process opens later, so that a command can be given that number:
/// otherwise it could be the one by which the system's error of starting the command is reported.
///
/// # Errors
/// The error of the system, such as a number above `ulimit -n`.
pub fn reserve(fd: RawFd) -> io::Result<()> {
    // SAFETY: system calls without memory. A number in use is left as it is.
    unsafe {
        if libc::fcntl(fd, libc::F_GETFD) >= 0 {
            return Ok(());
        }
        let null = File::open("/dev/null")?;
        match null.as_raw_fd() == fd {
            true => std::mem::forget(null),
            false if libc::dup3(null.as_raw_fd(), fd, libc::O_CLOEXEC) < 0 => {
                return Err(io::Error::last_os_error());
            }
            false => {}
        }
    }
    Ok(())
}

/// A file in memory without a name, close-on-exec.
///
/// # Errors
/// The error of the system.
pub fn memory_file() -> io::Result<File> {
    // SAFETY: the name is a constant string.
    let fd = unsafe { libc::memfd_create(c"ringpipe".as_ptr(), libc::MFD_CLOEXEC) };
    match fd {
        // SAFETY: a new descriptor of this process.
        0.. => Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) })),
        _ => Err(io::Error::last_os_error()),
    }
}
