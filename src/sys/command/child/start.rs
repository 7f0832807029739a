//! The start of a command: what a new process does before it executes its program.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, c_char, c_int, c_void};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, Ordering};
use std::{env, io, mem, ptr};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// The arguments of `execve`.
pub(super) struct Image {
    path: CString,
    /// Own the texts to which the pointers below point.
    _texts: Vec<CString>,
    arguments: Vec<*const c_char>,
    environment: Vec<*const c_char>,
}

impl Image {
    /// For the file `path`, called with these arguments, in the environment of `command`.
    pub(super) fn new<'a>(
        path: &OsStr,
        called: impl Iterator<Item = &'a OsStr>,
        command: &Command,
    ) -> io::Result<Self> {
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

/// What a new process needs to execute its program.
pub(super) struct Start<'a> {
    pub(super) image: &'a Image,
    pub(super) streams: [RawFd; 3],
    pub(super) also: Option<(RawFd, RawFd)>,
    /// The new process writes its process group here. `None`: it stays in its parent's group.
    pub(super) group: Option<&'a AtomicI32>,
    pub(super) parent: Pid,
    /// The signals whose action may not be the default one in the new process.
    pub(super) handled: &'static [c_int],
    /// The errno if the new process could not execute its program; else 0.
    pub(super) failed: AtomicI32,
}

/// Bytes of the stack on which a new process runs before it executes its program.
const STACK: usize = 64 << 10;

/// The highest number of a signal.
const LAST_SIGNAL: c_int = 64;

/// The signals that this process handles, and SIGPIPE. Found once: asking for all of them takes longer than all other
/// system calls of a start.
pub(super) fn handled() -> &'static [c_int] {
    static HANDLED: OnceLock<Vec<c_int>> = OnceLock::new();
    let is_handled = |signal: &c_int| {
        // SAFETY: a system call that writes to a local. It refuses the C library's own signals.
        let action = unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            (libc::sigaction(*signal, ptr::null(), &mut action) == 0).then_some(action.sa_sigaction)
        };
        *signal == libc::SIGPIPE || action.is_some_and(|to| ![libc::SIG_DFL, libc::SIG_IGN].contains(&to))
    };
    HANDLED.get_or_init(|| (1..=LAST_SIGNAL).filter(is_handled).collect())
}

impl Start<'_> {
    /// Starts the process. The calling thread sleeps until the new process executes its program, as after
    /// `vfork`: copying this process's page tables would cost more than all other steps.
    pub(super) fn run(&self) -> io::Result<Pid> {
        let mut stack: Vec<u128> = Vec::with_capacity(STACK / size_of::<u128>());
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // The new process has this one's memory: no signal handler may run in it.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        // SAFETY: only the new process uses the stack. The stack and `self` live until the process has
        // executed its program or ended, since only then this call returns. `begin` only makes system calls,
        // and writes to `self` through atomics.
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
                if let Some(group) = self.group {
                    group.store(0, Ordering::SeqCst);
                }
                while waitpid(pid, None) == Err(Errno::EINTR) {}
                Err(io::Error::from_raw_os_error(errno))
            }
        }
    }

    /// Runs in the new process: executes its program. Returns only an error.
    ///
    /// # Safety
    /// The process must be one that [`run`](Self::run) has started.
    unsafe fn execute(&self) -> Result<Infallible, Errno> {
        // SAFETY: system calls whose pointers are to locals and to the texts of `image`.
        unsafe {
            if let Some(group) = self.group {
                Errno::result(libc::setpgid(0, 0))?;
                group.store(libc::getpid(), Ordering::SeqCst);
            }
            Errno::result(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            // The parent ended before the signal was set.
            if libc::getppid() != self.parent.as_raw() {
                return Err(Errno::ESRCH);
            }
            // Copy a source with a number below 3 first: a `dup2` below could replace it, or leave it
            // close-on-exec.
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
            // Pending signals were sent to the parent's group before this process left it, and the parent
            // handles them. So discard them here: a stop would block the parent's thread, since continuing
            // the parent's group no longer continues this process. A process that stays in the group handles
            // them itself.
            let mut pending: libc::sigset_t = mem::zeroed();
            if self.group.is_some() {
                Errno::result(libc::sigpending(&mut pending))?;
            }
            // The parent's handlers must not run in this process once signals are unblocked. SIGPIPE gets its
            // default action, because Rust's runtime ignores it.
            for signal in 1..=LAST_SIGNAL {
                let is_pending = libc::sigismember(&pending, signal) == 1;
                if !is_pending && !self.handled.contains(&signal) {
                    continue;
                }
                let mut action: libc::sigaction = mem::zeroed();
                if libc::sigaction(signal, ptr::null(), &mut action) < 0 {
                    continue; // The C library's own signals; its handlers ignore signals of other processes.
                }
                let before = action.sa_sigaction;
                action = mem::zeroed();
                if is_pending {
                    // Ignoring a pending signal discards it.
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

/// Runs in the new process until it executes its program.
pub(super) extern "C" fn begin(start: *mut c_void) -> c_int {
    // SAFETY: the pointer is to the `Start` of the thread that sleeps in `run` meanwhile.
    let start = unsafe { &*start.cast::<Start<'_>>() };
    // SAFETY: this process was started by `run`.
    let Err(errno) = unsafe { start.execute() };
    start.failed.store(errno as i32, Ordering::SeqCst);
    // SAFETY: ends this process, without running the parent's exit handlers.
    unsafe { libc::_exit(127) }
}
