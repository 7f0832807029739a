//! Commands that run in process groups of their own, and that do not outlive the process that started them.
//!
//! If that process is killed, two mechanisms end its commands. The kernel kills the first process of a group when the
//! thread that started it ends (`PR_SET_PDEATHSIG`). A [`Guard`], a small process in a session of its own, then kills the
//! whole groups. Processes that have left their group, by `setsid` or `setpgid`, are not ended.
#![allow(unsafe_code)]

use std::convert::Infallible;
use std::ffi::{CString, OsStr, c_char, c_int, c_void};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, mem};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, setsid};

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

    /// Starts `command` as the first process of a group of its own, with pipes for its outputs. Of the command, its program (a
    /// path), its arguments and its environment count. A file that the system does not execute is run by the shell, as by
    /// `execvp`.
    ///
    /// # Errors
    /// The error of the system, also of executing the program.
    pub fn spawn(&self, command: &Command, with: &With<'_>) -> io::Result<Running> {
        let called = [with.name].into_iter().chain(command.get_args());
        match self.execute(&Image::new(command.get_program(), called, command)?, with) {
            Err(error) if error.raw_os_error() == Some(libc::ENOEXEC) => {
                let shell = OsStr::new(SHELL);
                let called = [shell, command.get_program()].into_iter().chain(command.get_args());
                self.execute(&Image::new(shell, called, command)?, with)
            }
            result => result,
        }
    }

    fn execute(&self, image: &Image, with: &With<'_>) -> io::Result<Running> {
        let (stdin, input) = match with.input {
            true => io::pipe().map(|(reader, writer)| (OwnedFd::from(reader), Some(writer)))?,
            false => (File::open("/dev/null")?.into(), None),
        };
        let ((output, stdout), (messages, stderr)) = (io::pipe()?, io::pipe()?);
        let start = Start {
            image,
            streams: [stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()],
            also: with.also.map(|(from, to)| (from.as_raw_fd(), to)),
            group: &self.groups.all()[with.slot],
            parent: getpid(),
            failed: AtomicI32::new(0),
        };
        let pid = start.run()?;
        Ok(Running {
            stdin: input,
            stdout: Some(output),
            stderr: Some(messages),
            pid,
            groups: Arc::clone(&self.groups),
            slot: with.slot,
            ended: pidfd(pid),
            reaped: false,
        })
    }
}

/// Runs files that the system does not execute.
const SHELL: &str = "/bin/sh";

/// What a command is started with, besides its program, arguments and environment.
#[derive(Debug, Clone, Copy)]
pub struct With<'a> {
    /// The name by which the program is called.
    pub name: &'a OsStr,
    /// Its slot.
    pub slot: usize,
    /// Whether its standard input is a pipe; otherwise it is `/dev/null`.
    pub input: bool,
    /// A descriptor, and the number that it has in the command.
    pub also: Option<(BorrowedFd<'a>, RawFd)>,
}

/// What `execve` takes.
struct Image {
    path: CString,
    /// The arguments and the environment; the pointers point to them.
    _texts: Vec<CString>,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
}

impl Image {
    /// Of the file `path`, called with these arguments, in the environment of `command`.
    fn new<'a>(path: &OsStr, called: impl Iterator<Item = &'a OsStr>, command: &Command) -> io::Result<Self> {
        let text = |bytes: Vec<u8>| CString::new(bytes).map_err(io::Error::from);
        let path = text(path.as_bytes().to_vec())?;
        let mut texts = called.map(|one| text(one.as_bytes().to_vec())).collect::<io::Result<Vec<_>>>()?;
        let count = texts.len();
        let own = |name: &OsStr| command.get_envs().any(|(other, _)| other == name);
        let inherited = env::vars_os().filter(|(name, _)| !own(name));
        let given = command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        for (name, value) in inherited.chain(given) {
            texts.push(text([name.as_bytes(), b"=", value.as_bytes()].concat())?);
        }
        let pointers = |texts: &[CString]| -> Vec<*const c_char> {
            texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
        };
        let (arguments, environment) = (pointers(&texts[..count]), pointers(&texts[count..]));
        Ok(Image { path, _texts: texts, arguments, environment })
    }
}

/// What a new process does before it executes its program.
struct Start<'a> {
    image: &'a Image,
    streams: [RawFd; 3],
    also: Option<(RawFd, RawFd)>,
    /// Where it writes its process group.
    group: &'a AtomicI32,
    parent: Pid,
    /// The number of the error that kept it from its program.
    failed: AtomicI32,
}

/// Bytes of the stack on which a new process runs before it executes its program.
const STACK: usize = 64 << 10;

impl Start<'_> {
    /// Starts the process. The calling thread sleeps until it executes its program, as after `vfork`: a copy of this
    /// process's page tables would cost more than all else.
    fn run(&self) -> io::Result<Pid> {
        let mut stack: Vec<u128> = Vec::with_capacity(STACK / size_of::<u128>());
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // The new process has this one's memory: no signal handler may run in it.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        // SAFETY: the stack is used by the new process alone; it and `self` stay until that has executed its program or
        // ended, since only then this call returns. `begin` makes system calls, and writes to `self` through atomics.
        let pid = unsafe {
            let top = stack.as_mut_ptr().add(stack.capacity());
            libc::clone(begin, top.cast(), flags, ptr::from_ref(self).cast_mut().cast())
        };
        let error = io::Error::last_os_error();
        before.thread_set_mask()?;
        if pid < 0 {
            return Err(error);
        }
        let pid = Pid::from_raw(pid);
        match self.failed.load(Ordering::SeqCst) {
            0 => Ok(pid),
            errno => {
                self.group.store(0, Ordering::SeqCst);
                while waitpid(pid, None) == Err(Errno::EINTR) {}
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }

    /// In the new process. Returns the number of an error, or not at all.
    ///
    /// # Safety
    /// The process must be one that [`run`](Self::run) has started.
    unsafe fn execute(&self) -> Result<Infallible, Errno> {
        // SAFETY: system calls whose pointers are to locals and to the texts of `image`.
        unsafe {
            Errno::result(libc::setpgid(0, 0))?;
            self.group.store(libc::getpid(), Ordering::SeqCst);
            Errno::result(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            // The parent ended before the signal was set.
            if libc::getppid() != self.parent.as_raw() {
                return Err(Errno::ESRCH);
            }
            for (number, stream) in self.streams.iter().enumerate() {
                Errno::result(libc::dup2(*stream, number as RawFd))?;
            }
            // dup2 of a descriptor to itself would leave it close-on-exec.
            match self.also {
                Some((from, to)) if from == to => drop(Errno::result(libc::fcntl(from, libc::F_SETFD, 0))?),
                Some((from, to)) => drop(Errno::result(libc::dup2(from, to))?),
                None => {}
            }
            // Handlers of this process must not run in it once signals are let through; Rust's runtime ignores SIGPIPE.
            let mut action: libc::sigaction = mem::zeroed();
            for signal in (1..32).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)) {
                Errno::result(libc::sigaction(signal, ptr::null(), &mut action))?;
                let handled = ![libc::SIG_DFL, libc::SIG_IGN].contains(&action.sa_sigaction);
                if handled || signal == libc::SIGPIPE {
                    action = mem::zeroed();
                    Errno::result(libc::sigaction(signal, &action, ptr::null_mut()))?;
                }
            }
            let mut none: libc::sigset_t = mem::zeroed();
            libc::sigemptyset(&mut none);
            Errno::result(libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut()))?;
            let Image { path, arguments, environment, .. } = self.image;
            libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr());
        }
        Err(Errno::last())
    }
}

/// The life of a new process until it executes its program.
extern "C" fn begin(start: *mut c_void) -> c_int {
    // SAFETY: the pointer is to the `Start` of the thread that waits for this process.
    let start = unsafe { &*start.cast::<Start<'_>>() };
    // SAFETY: this is that process.
    let Err(errno) = unsafe { start.execute() };
    start.failed.store(errno as i32, Ordering::SeqCst);
    // SAFETY: ends this process, and runs nothing of its parent's.
    unsafe { libc::_exit(127) }
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
    /// The other ends of its pipes.
    pub stdin: Option<PipeWriter>,
    /// Of its standard output.
    pub stdout: Option<PipeReader>,
    /// Of its standard error.
    pub stderr: Option<PipeReader>,
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
        let mut status = 0;
        // SAFETY: the pointer is to a local.
        while unsafe { libc::waitpid(self.pid.as_raw(), &mut status, 0) } < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        Ok(ExitStatus::from_raw(status))
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
