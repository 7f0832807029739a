//! Victims: forked processes that do one thing, instruction by instruction, until they are killed.
//!
//! A victim says how far it is in a page that it shares with its tracer: here no registers are read, and nothing
//! depends on the processor. (On aarch64 a single step breaks a pair of exclusive load and store, so atomic
//! operations must be those of LSE, which is what Rust's standard library picks where the processor has them.)
//! Where registers are known, `trail.rs` brings a victim to most instructions with fewer stops than these.

use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, compiler_fence};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use nix::sys::prctl;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, fork};

use crate::registers;
use crate::support::times_slower;

/// What a victim shares with its tracer; the system maps whole pages.
const BYTES: usize = size_of::<AtomicU64>();
/// As much as a thread has.
const STACK_BYTES: usize = 2 << 20;
/// Steps that no operation takes.
const MOST_STEPS: u64 = 5_000_000;
/// Steps between the mark and the operation.
const MOST_STEPS_TO_BEGIN: u64 = 10_000;
/// After this time, a victim that does not return from one instruction waits for another process.
const BLOCKED: Duration = Duration::from_millis(3);
/// Between two calls of `help` for a process that continues, and may wait.
const HELP: Duration = Duration::from_millis(30);
const WATCHDOG: Duration = Duration::from_secs(30);

const WAITING: u64 = 0;
const BEGUN: u64 = 1;
/// From here on: done, with a result.
const DONE: u64 = 2;
/// From here on: not begun, because tracing was refused, with the error's number.
const REFUSED: u64 = 1 << 32;

/// What a victim and its tracer both see.
pub struct Stage(NonNull<AtomicU64>);

impl Stage {
    pub fn new() -> Stage {
        let length = BYTES.try_into().expect("not zero");
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let page = unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_SHARED) };
        Stage(page.expect("a page").cast())
    }

    fn phase(&self) -> &AtomicU64 {
        // SAFETY: the page is mapped until this is dropped, zeroed at first, and used through this alone.
        unsafe { self.0.as_ref() }
    }

    /// In a victim: the one thing that it is there for, which answers with a number for the tracer.
    pub fn act<T>(&self, operation: impl FnOnce() -> (u64, T)) -> T {
        raise(Signal::SIGSTOP).expect("a stop");
        self.phase().store(BEGUN, Ordering::SeqCst);
        compiler_fence(Ordering::SeqCst);
        let (result, kept) = operation();
        compiler_fence(Ordering::SeqCst);
        self.phase().store(DONE + result, Ordering::SeqCst);
        kept
    }

    /// The operation's answer, if it has returned.
    pub fn result(&self) -> Option<u64> {
        self.phase().load(Ordering::SeqCst).checked_sub(DONE)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // SAFETY: no reference to the page is left.
        unsafe { munmap(self.0.cast(), BYTES) }.expect("it was mapped");
    }
}

/// A process that is traced, then killed when this is dropped.
pub struct Victim<'s> {
    stage: &'s Stage,
    pid: Pid,
    gone: bool,
}

impl<'s> Victim<'s> {
    /// Starts a victim with this life, and lets it run to the mark before its operation.
    ///
    /// # Errors
    /// What the system answers where processes may not be traced.
    pub fn start(stage: &'s Stage, life: impl FnOnce(&Stage)) -> Result<Victim<'s>, Errno> {
        stage.phase().store(WAITING, Ordering::SeqCst);
        // Mapped before the first fork, at the same place for all.
        stack_top();
        // SAFETY: this process has no other thread that holds a lock which the child needs: those of its
        // test harness wait, and its sleepers sleep. The C library sees to its own.
        match unsafe { fork() }.expect("a child") {
            ForkResult::Child => live(stage, life),
            ForkResult::Parent { child } => {
                let mut victim = Victim { stage, pid: child, gone: false };
                victim.await_mark()?;
                Ok(victim)
            }
        }
    }

    fn await_mark(&mut self) -> Result<(), Errno> {
        match waitpid(self.pid, None)? {
            WaitStatus::Stopped(_, Signal::SIGSTOP) => {}
            status => {
                self.gone = true;
                let phase = self.stage.phase().load(Ordering::SeqCst);
                let refused = phase.checked_sub(REFUSED).map(|errno| Errno::from_raw(errno as i32));
                return Err(refused.unwrap_or_else(|| panic!("the victim ended before its mark: {status:?}")));
            }
        }
        ptrace::setoptions(self.pid, ptrace::Options::PTRACE_O_EXITKILL)
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// The operation's beginning: no instruction of it has run.
    pub fn begin(&mut self) {
        for _ in 0..MOST_STEPS_TO_BEGIN {
            if self.stage.phase().load(Ordering::SeqCst) != WAITING {
                return;
            }
            self.step(None);
        }
        panic!("the operation does not begin");
    }

    /// One instruction; a system call is one. A process that waits in one for long is helped by `blocked`, if given.
    pub fn step(&mut self, blocked: Option<&mut dyn FnMut()>) {
        ptrace::step(self.pid, None).expect("a step");
        if let Some(help) = blocked {
            self.help_if_blocked(help);
        }
        let status = waitpid(self.pid, None).expect("the victim is ours");
        match status {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            status => panic!("the victim was to make one step: {status:?}"),
        }
    }

    fn help_if_blocked(&self, help: &mut dyn FnMut()) {
        let begin = Instant::now();
        let flags = WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT | WaitPidFlag::WSTOPPED;
        while begin.elapsed() < BLOCKED {
            match waitid(Id::Pid(self.pid), flags) {
                Ok(WaitStatus::StillAlive) => std::thread::yield_now(),
                _ => return,
            }
        }
        help();
    }

    /// Runs `steps` instructions of the operation, or fewer if it returns before. Answers how many.
    pub fn run(
        &mut self,
        steps: u64,
        mut blocked: Option<&mut dyn FnMut()>,
        mut seen: impl FnMut(u64),
    ) -> u64 {
        self.begin();
        let mut taken = 0;
        while taken < steps && self.stage.result().is_none() {
            assert!(taken < MOST_STEPS, "the operation does not end");
            match blocked.as_mut() {
                Some(help) => self.step(Some(&mut **help)),
                None => self.step(None),
            }
            taken += 1;
            seen(taken);
        }
        taken
    }

    /// Kills it, and waits until the kernel has released everything of it.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.gone, true) {
            kill(self.pid, Signal::SIGKILL).expect("not reaped yet");
            while !matches!(
                waitpid(self.pid, None),
                Ok(WaitStatus::Signaled(..) | WaitStatus::Exited(..)) | Err(_)
            ) {}
        }
    }

    /// Stops it as SIGSTOP stops a process, and traces it no longer.
    pub fn stop(&self) {
        ptrace::detach(self.pid, Some(Signal::SIGSTOP)).expect("it is traced");
        let status = waitpid(self.pid, Some(WaitPidFlag::WUNTRACED)).expect("the victim is ours");
        assert!(matches!(status, WaitStatus::Stopped(_, Signal::SIGSTOP)), "{status:?}");
    }

    /// Lets it go on after [`stop`](Self::stop), to the end of its life. False: it does not come to it.
    pub fn go_on(self) -> bool {
        self.go_on_with(&mut || {})
    }

    /// Likewise; `help` is called now and then, since it may wait for another process.
    pub fn go_on_with(mut self, help: &mut dyn FnMut()) -> bool {
        let mut helped = Instant::now();
        kill(self.pid, Signal::SIGCONT).expect("not reaped yet");
        let begin = Instant::now();
        while begin.elapsed() < WATCHDOG * times_slower() {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).expect("the victim is ours") {
                WaitStatus::Exited(_, code) => {
                    self.gone = true;
                    assert_eq!(code, 0, "the victim panicked");
                    return true;
                }
                WaitStatus::StillAlive => {
                    std::thread::sleep(Duration::from_micros(200));
                    if helped.elapsed() > HELP {
                        help();
                        helped = Instant::now();
                    }
                }
                status => panic!("the victim was to go on: {status:?}"),
            }
        }
        false
    }
}

impl Drop for Victim<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ends the process after this life. All victims of a process live at the same place of the same stack, so that their
/// stack pointers can be compared.
fn live<L: FnOnce(&Stage)>(stage: &Stage, life: L) -> ! {
    unsafe extern "C" fn enter<L: FnOnce(&Stage)>(argument: *mut libc::c_void) -> ! {
        // SAFETY: what `live` has put there, on a stack that stays.
        let (stage, life) = unsafe { &mut *argument.cast::<(&Stage, Option<L>)>() };
        let life = life.take().expect("one life");
        let _ = prctl::set_pdeathsig(Signal::SIGKILL);
        let code = match ptrace::traceme() {
            Err(errno) => {
                stage.phase().store(REFUSED + errno as u64, Ordering::SeqCst);
                1
            }
            Ok(()) => {
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| life(stage))).map_or(101, |()| 0)
            }
        };
        // SAFETY: ends this process, and runs nothing of its parent's.
        unsafe { libc::_exit(code) }
    }
    let mut argument = (stage, Some(life));
    // SAFETY: the stack is this process' own copy, which the parent does not use, and ends at a page's end.
    unsafe { registers::call_on_stack(stack_top(), enter::<L>, (&raw mut argument).cast()) }
}

/// The end of the victims' stack: mapped once, and used by victims alone.
fn stack_top() -> *mut u8 {
    static STACK: OnceLock<usize> = OnceLock::new();
    let start = STACK.get_or_init(|| {
        let length = STACK_BYTES.try_into().expect("not zero");
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let pages = unsafe { mmap_anonymous(None, length, protection, flags) };
        pages.expect("a stack").as_ptr().expose_provenance()
    });
    std::ptr::with_exposed_provenance_mut::<u8>(*start).wrapping_add(STACK_BYTES)
}
