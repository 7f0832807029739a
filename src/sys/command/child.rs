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
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getpid, setsid};

use super::signal::keep_children;

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
        // SAFETY: this number of atomics is mapped, zeroed at first, until this is dropped.
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
    /// descriptors until it has closed them. From then on this process and its commands do not ignore SIGCHLD.
    ///
    /// # Errors
    /// The error of the system: no process, no descriptor, no memory.
    pub fn start(slots: usize) -> io::Result<Self> {
        keep_children()?;
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

/// The highest number of a signal.
const LAST_SIGNAL: c_int = 64;

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
            // A standard descriptor is copied first: it is replaced before its turn, or would stay close-on-exec.
            let above = |fd| match fd {
                0..3 => Errno::result(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3)),
                _ => Ok(fd),
            };
            let [stdin, stdout, stderr] = self.streams;
            let streams = [above(stdin)?, above(stdout)?, above(stderr)?];
            let also = match self.also {
                Some((from, to)) => Some((above(from)?, to)),
                None => None,
            };
            for (number, stream) in streams.into_iter().enumerate() {
                Errno::result(libc::dup2(stream, number as RawFd))?;
            }
            // dup2 of a descriptor to itself would leave it close-on-exec.
            match also {
                Some((from, to)) if from == to => drop(Errno::result(libc::fcntl(from, libc::F_SETFD, 0))?),
                Some((from, to)) => drop(Errno::result(libc::dup2(from, to))?),
                None => {}
            }
            // Signals that the group of its parent got when it was still in that group: the parent takes them. A stop
            // would keep the parent's thread waiting, since this process is in another group when the parent's is
            // continued.
            let mut pending: libc::sigset_t = mem::zeroed();
            Errno::result(libc::sigpending(&mut pending))?;
            // Handlers of this process must not run in it once signals are let through; Rust's runtime ignores SIGPIPE.
            for signal in 1..=LAST_SIGNAL {
                let mut action: libc::sigaction = mem::zeroed();
                if libc::sigaction(signal, ptr::null(), &mut action) < 0 {
                    continue; // One of the C library's own, whose handlers ignore signals of other processes.
                }
                let before = action.sa_sigaction;
                action = mem::zeroed();
                let is_pending = libc::sigismember(&pending, signal) == 1;
                if is_pending {
                    // Discards it.
                    action.sa_sigaction = libc::SIG_IGN;
                    Errno::result(libc::sigaction(signal, &action, ptr::null_mut()))?;
                }
                let is_handled = ![libc::SIG_DFL, libc::SIG_IGN].contains(&before);
                if is_handled || signal == libc::SIGPIPE || is_pending && before == libc::SIG_DFL {
                    action.sa_sigaction = libc::SIG_DFL;
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
        // The guard never lets signals through: a handler of this process that ran in it would write to this process's
        // pipes, and a signal that reaches it before it has its own session could end or suspend it.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        // SAFETY: the child makes system calls only, which other threads of this process cannot hold up.
        let forked = unsafe { fork() };
        let child = match forked {
            Ok(ForkResult::Child) => guard(groups, &ended),
            Ok(ForkResult::Parent { child }) => Ok(child),
            Err(error) => Err(error),
        };
        before.thread_set_mask()?;
        Ok(Process { pid: Some(child?), _alive: alive })
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
    // A session of its own: no KILL or STOP for the worker's group reaches it. All other signals are blocked: a service
    // manager sends TERM to each process, and the worker's commands may then go on for a while.
    let _ = setsid();
    // SAFETY: a system call; the name is a constant string.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"ringpipe-guard".as_ptr()) };
    // So that no reader waits for this process, and no lock or ring is held by it. Its own copy of the pipe's writing
    // end would keep it from noticing the end of the worker.
    close_all_but(0, &[ended.as_raw_fd()], close_range);
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

/// Closes all descriptors from `first` on but those in `keep`, which ascend, by `close`. Makes only system calls. No
/// object of this process may own what is closed.
pub(super) fn close_all_but(mut first: RawFd, keep: &[RawFd], close: fn(RawFd, RawFd)) {
    for fd in keep {
        if first < *fd {
            close(first, fd - 1);
        }
        first = first.max(fd + 1);
    }
    close(first, RawFd::MAX);
}

/// Closes the descriptors from `first` to `last`.
pub(super) fn close_range(first: RawFd, last: RawFd) {
    // SAFETY: a system call without memory.
    if unsafe { libc::syscall(libc::SYS_close_range, first as libc::c_uint, last as libc::c_uint, 0) } < 0 {
        // The kernel is older than Linux 5.9, or a filter refuses.
        close_each(first, last);
    }
}

/// As [`close_range`], one by one. The system gives out the lowest free number, so numbers above the bounds are hardly
/// in use: only descriptors from before the limit was lowered are.
fn close_each(first: RawFd, last: RawFd) {
    const LEAST: RawFd = 1 << 10;
    const MOST: RawFd = 1 << 16;
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: 0 };
    // SAFETY: the kernel writes to a local, and leaves it as it is if it refuses.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    let end = RawFd::try_from(limit.rlim_cur).map_or(MOST, |limit| limit.clamp(LEAST, MOST));
    for fd in first..=last.min(end - 1) {
        // SAFETY: a system call without memory.
        unsafe { libc::close(fd) };
    }
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
        // After an error there is no such child: `reap` reports that.
        self.reaped || !matches!(self.look(libc::WNOHANG), Ok(false) | Err(Errno::EINTR))
    }

    /// Sends a signal to all processes of the group.
    pub fn signal(&self, signal: Signal) {
        // While the first process is not reaped, the number is the group's; otherwise it may be another group's.
        if !self.reaped && matches!(self.look(libc::WNOHANG), Ok(_) | Err(Errno::EINTR)) {
            // Fails only if all have ended.
            let _ = killpg(self.pid, signal);
        }
    }

    /// Whether the first process has ended. Does not reap it. Not by nix, whose functions fail when a real-time signal
    /// has ended a process.
    fn look(&self, flags: c_int) -> Result<bool, Errno> {
        let flags = libc::WEXITED | libc::WNOWAIT | flags;
        // SAFETY: all zeros is a valid `siginfo_t`, which the kernel writes to; it has the number of a process, or
        // zeros.
        unsafe {
            let mut info: libc::siginfo_t = mem::zeroed();
            Errno::result(libc::waitid(libc::P_PID, self.pid.as_raw() as libc::id_t, &mut info, flags))?;
            Ok(info.si_pid() != 0)
        }
    }

    /// Waits for the end of the first process, kills what is left of the group, and reaps the first process.
    ///
    /// # Errors
    /// The error of the system. If the first process is no child of this process any more, nothing is killed.
    pub fn reap(&mut self) -> io::Result<ExitStatus> {
        while let Err(error) = self.look(0) {
            if error != Errno::EINTR {
                self.groups.all()[self.slot].store(0, Ordering::SeqCst);
                self.reaped = true;
                return Err(error.into());
            }
        }
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
/// an unusable number is noticed before the first command is started.
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::sys::testing;

    fn with(name: &str) -> With<'_> {
        With { name: OsStr::new(name), slot: 0, input: false, also: None }
    }

    fn command<'a>(program: &str, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(program);
        command.args(arguments);
        command
    }

    fn shell(script: &str) -> Command {
        command("/bin/sh", ["-c", script])
    }

    /// Its output, once it has ended, and how it ended.
    fn finish(running: &mut Running) -> (String, ExitStatus) {
        drop(running.stdin.take());
        let mut text = String::new();
        running.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        (text, running.reap().unwrap())
    }

    /// As the shell prints it.
    fn output(script: &str, with: &With<'_>) -> String {
        let guard = Guard::start(1).unwrap();
        finish(&mut guard.spawn(&shell(script), with).unwrap()).0
    }

    #[test]
    fn a_command_ends_with_its_status_and_its_slot_is_free_again() {
        let guard = Guard::start(1).unwrap();
        for (script, code) in [("exit 0", 0), ("exit 1", 1), ("exit 255", 255)] {
            let mut running = guard.spawn(&shell(script), &with("sh")).unwrap();
            assert_eq!(guard.groups.all()[0].load(Ordering::SeqCst), running.id() as i32);
            assert_eq!(finish(&mut running).1.code(), Some(code));
            assert_eq!(guard.groups.all()[0].load(Ordering::SeqCst), 0);
        }
    }

    #[test]
    fn the_error_of_the_system_is_reported_and_leaves_no_process() {
        let guard = Guard::start(1).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (plain, missing) = (dir.path().join("plain"), dir.path().join("missing"));
        fs::write(&plain, "exit 0").unwrap();
        let long = "x".repeat(1 << 20);
        for (path, argument, errno) in [
            (missing.to_str().unwrap(), "", libc::ENOENT),
            (plain.to_str().unwrap(), "", libc::EACCES),
            ("/bin/true", long.as_str(), libc::E2BIG),
        ] {
            let error = guard.spawn(&command(path, [argument]), &with("name")).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno), "{path}");
            assert_eq!(guard.groups.all()[0].load(Ordering::SeqCst), 0);
        }
        // The thread goes on with its signals as before.
        assert!(!SigSet::thread_get_mask().unwrap().contains(Signal::SIGTERM));
    }

    #[test]
    fn a_file_that_the_system_does_not_execute_is_run_by_the_shell() {
        let guard = Guard::start(1).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("script");
        fs::write(&path, "echo \"$0 $1\"").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let path = path.to_str().unwrap();
        let mut running = loop {
            match guard.spawn(&command(path, ["one"]), &with("script")) {
                // A child that another test forked has the file open for writing still.
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy => {}
                spawned => break spawned.unwrap(),
            }
        };
        assert_eq!(finish(&mut running).0, format!("{path} one\n"));
    }

    #[test]
    fn input_is_a_pipe_or_empty_and_a_further_descriptor_has_its_number() {
        let guard = Guard::start(1).unwrap();
        assert_eq!(output("cat; readlink /proc/$$/fd/0", &with("sh")), "/dev/null\n");
        let mut running = guard.spawn(&shell("cat"), &With { input: true, ..with("sh") }).unwrap();
        running.stdin.as_mut().unwrap().write_all(b"input").unwrap();
        assert_eq!(finish(&mut running).0, "input");
        let mut file = memory_file().unwrap();
        file.write_all(b"more").unwrap();
        let own = file.as_raw_fd();
        // A number of its own, and one that descriptors of the start may have.
        for to in [own, own + 1, own + 2, 9] {
            let also = Some((file.as_fd(), to));
            assert_eq!(
                output(&format!("cat /proc/self/fd/{to}"), &With { also, ..with("sh") }),
                "more",
                "{to}"
            );
        }
    }

    #[test]
    fn standard_descriptors_may_be_given_as_others() {
        let guard = Guard::start(1).unwrap();
        let (reader, mut writer) = io::pipe().unwrap();
        let script =
            shell("exit $(($(readlink /proc/$$/fd/1 | grep -Fxc \"$(readlink /proc/$PPID/fd/0)\") + 3))");
        let image = Image::new(
            script.get_program(),
            ["sh"].into_iter().map(OsStr::new).chain(script.get_args()),
            &script,
        );
        let image = image.unwrap();
        // If 0 were replaced before it is copied, 1 would be the pipe.
        let streams = [reader.as_raw_fd(), 0, 2];
        let group = &guard.groups.all()[0];
        let start =
            Start { image: &image, streams, also: None, group, parent: getpid(), failed: AtomicI32::new(0) };
        let pid = start.run().unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(waitpid(pid, None).unwrap(), WaitStatus::Exited(pid, 4));
        group.store(0, Ordering::SeqCst);
    }

    #[test]
    fn the_environment_is_inherited_changed_and_reduced() {
        let guard = Guard::start(1).unwrap();
        let mut command =
            shell("echo \"$RINGPIPE_ADDED ${HOME-none} ${PATH+path}\"; env | grep -c ^RINGPIPE_ADDED=");
        command.env("RINGPIPE_ADDED", "a=b").env_remove("HOME");
        assert_eq!(finish(&mut guard.spawn(&command, &with("sh")).unwrap()).0, "a=b none path\n1\n");
    }

    #[test]
    fn a_command_begins_without_blocked_or_caught_signals() {
        let guard = Guard::start(1).unwrap();
        let blocked = SigSet::from_iter([Signal::SIGUSR2]);
        let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK).unwrap();
        let mut running = guard.spawn(&command("/bin/cat", ["/proc/self/status"]), &with("cat")).unwrap();
        let after = SigSet::thread_get_mask().unwrap();
        before.thread_set_mask().unwrap();
        assert!(after.contains(Signal::SIGUSR2) && !after.contains(Signal::SIGUSR1));
        let set = |status: &str, name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            u64::from_str_radix(line.trim(), 16).unwrap()
        };
        let status = finish(&mut running).0;
        assert_eq!((set(&status, "SigBlk:"), set(&status, "SigCgt:")), (0, 0));
        assert_eq!(set(&status, "SigIgn:") >> (libc::SIGPIPE - 1) & 1, 0);
    }

    /// Signals of the terminal reach a new process while it is in the worker's group.
    #[test]
    fn signals_for_the_group_of_the_parent_do_not_reach_the_program() {
        let command = shell("exit 9");
        let called = ["sh"].into_iter().map(OsStr::new).chain(command.get_args());
        let image = Image::new(command.get_program(), called, &command).unwrap();
        let (groups, null) = (Groups::new(1).unwrap(), File::open("/dev/null").unwrap());
        let start = Start {
            image: &image,
            streams: [null.as_raw_fd(); 3],
            also: None,
            group: &groups.all()[0],
            parent: getpid(),
            failed: AtomicI32::new(0),
        };
        let ended = testing::ended(|| {
            // SAFETY: system calls, in a process that is about to execute a program, as if `run` had started it.
            unsafe {
                let mut all: libc::sigset_t = mem::zeroed();
                libc::sigfillset(&mut all);
                libc::sigprocmask(libc::SIG_SETMASK, &all, ptr::null_mut());
                for signal in [libc::SIGINT, libc::SIGTSTP, libc::SIGUSR1, libc::SIGRTMIN()] {
                    libc::kill(libc::getpid(), signal);
                }
                libc::alarm(60);
                begin(ptr::from_ref(&start).cast_mut().cast());
            }
        });
        assert!(matches!(ended, WaitStatus::Exited(_, 9)), "{ended:?}");
    }

    #[test]
    fn a_real_time_signal_ends_a_command_and_the_rest_of_its_group_ends_too() {
        let guard = Guard::start(1).unwrap();
        let mut running = guard.spawn(&shell("sleep 1000 & kill -40 $$"), &with("sh")).unwrap();
        assert_eq!(signal_of(running.reap().unwrap()), Some(40));
        // It ends when no process has the pipe open.
        assert_eq!(running.stdout.take().unwrap().read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_process_that_is_no_child_is_not_signalled() {
        let guard = Guard::start(1).unwrap();
        let script = shell("setsid sleep 1000 >/dev/null 2>&1 & echo $!; wait $!");
        let mut parent = guard.spawn(&script, &with("sh")).unwrap();
        let mut text = String::new();
        while !text.ends_with('\n') {
            let mut byte = [0];
            parent.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
            text.push(byte[0].into());
        }
        let pid = Pid::from_raw(text.trim().parse().unwrap());
        while fs::read(format!("/proc/{pid}/comm")).unwrap() != b"sleep\n" {
            std::thread::yield_now();
        }
        let groups = Arc::clone(&guard.groups);
        let mut running = Running {
            stdin: None,
            stdout: None,
            stderr: None,
            pid,
            groups,
            slot: 0,
            ended: None,
            reaped: false,
        };
        assert!(running.has_ended());
        running.signal(Signal::SIGKILL);
        assert_eq!(running.reap().unwrap_err().raw_os_error(), Some(libc::ECHILD));
        drop(running);
        assert_eq!(guard.groups.all()[0].load(Ordering::SeqCst), 0);
        // A signal KILL that it got would go before this one.
        kill(pid, Signal::SIGTERM).unwrap();
        assert_eq!(parent.reap().unwrap().code(), Some(128 + libc::SIGTERM));
    }

    #[test]
    fn descriptors_are_closed_one_by_one_where_the_system_cannot_close_a_range() {
        for close in [close_range, close_each] {
            let ended = testing::ended(|| {
                let is_open = |fd| {
                    // SAFETY: a system call without memory.
                    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
                };
                for fd in 100..120 {
                    // SAFETY: a system call without memory; the numbers are not in use in this process any more.
                    unsafe { libc::dup2(2, fd) };
                }
                close_all_but(3, &[0, 105, 106, 110], close);
                let kept = |fd| fd < 3 || [105, 106, 110].contains(&fd);
                if (0..1024).any(|fd| is_open(fd) && !kept(fd)) || ![105, 106, 110].into_iter().all(is_open) {
                    // SAFETY: ends this process.
                    unsafe { libc::_exit(1) }
                }
            });
            assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
        }
    }
}
