//! Signals that this process passes on to a command that it waits for.
//!
//! The handler only notes a signal and makes a descriptor readable; the main thread passes it on.
#![allow(unsafe_code)]

use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::{io, mem, ptr};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::Signal;

use super::signal::is_ignored;

/// The signals to pass on, a bit each. All orders are sequentially consistent: signals are rare.
static PENDING: AtomicU64 = AtomicU64::new(0);
/// The signals that came, also those not passed on, a bit each.
static SEEN: AtomicU64 = AtomicU64::new(0);
/// The command, once it runs in the group of this process; else 0. It gets the terminal's signals itself.
static IN_GROUP: AtomicI32 = AtomicI32::new(0);
/// The descriptor that a signal makes readable. It is never closed: a handler may run until the process ends, and its
/// number must not come to mean another file.
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// Signals that are passed on.
const PASSED_ON: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// Passes on the signals of this process. There is at most one in a process, and it lasts until the process
/// ends.
#[derive(Debug)]
pub struct Relay {
    wake: BorrowedFd<'static>,
}

impl Relay {
    /// Catches INT, TERM, HUP and QUIT, except those that are ignored. If the command will not be in the group of this
    /// process (`in_group`), TSTP is caught, too.
    ///
    /// # Errors
    /// The error of the system.
    pub fn catch(in_group: bool) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = OwnedFd::from(EventFd::from_value_and_flags(0, flags)?).into_raw_fd();
        WAKE.store(wake, Ordering::SeqCst);
        let stops = [Signal::SIGTSTP].into_iter().filter(|_| !in_group);
        for signal in PASSED_ON.into_iter().chain(stops) {
            if !is_ignored(signal as i32)? {
                set(signal, note as extern "C" fn(_, _, _) as usize)?;
            }
        }
        // SAFETY: it was opened above, and is never closed.
        Ok(Relay { wake: unsafe { BorrowedFd::borrow_raw(wake) } })
    }

    /// Says that the command `id` now runs in the group of this process. The command then gets the terminal's
    /// signals itself, and the signals that it sends to its own group, so these are not passed on. A signal
    /// that comes while the command is started may reach it twice.
    pub fn has_command(&self, id: u32) {
        IN_GROUP.store(id as i32, Ordering::SeqCst);
    }

    /// Passes on a signal that was caught before this value was made.
    pub fn add(&self, signal: i32) {
        SEEN.fetch_or(bit(signal), Ordering::SeqCst);
        PENDING.fetch_or(bit(signal), Ordering::SeqCst);
    }

    /// Becomes readable when a signal is to be passed on.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake
    }

    /// The signals to pass on that came since the last call.
    pub fn take(&self) -> impl Iterator<Item = Signal> {
        let mut count = [0; 8];
        // Fails if none came.
        let _ = nix::unistd::read(self.wake, &mut count);
        let pending = PENDING.swap(0, Ordering::SeqCst);
        PASSED_ON
            .into_iter()
            .chain([Signal::SIGTSTP])
            .filter(move |&signal| pending & bit(signal as i32) != 0)
    }

    /// Whether this signal came, from the terminal or from a process. Known only for the signals that are
    /// passed on.
    pub fn has_seen(&self, signal: i32) -> bool {
        SEEN.load(Ordering::SeqCst) & bit(signal) != 0
    }

    /// Stops this process, as TSTP does by default. Returns when it is continued.
    ///
    /// # Errors
    /// The error of the system.
    pub fn stop(&self) -> io::Result<()> {
        set(Signal::SIGTSTP, libc::SIG_DFL)?;
        nix::sys::signal::raise(Signal::SIGTSTP)?;
        set(Signal::SIGTSTP, note as extern "C" fn(_, _, _) as usize)
    }
}

fn bit(signal: i32) -> u64 {
    1 << (signal & 63)
}

extern "C" fn note(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    SEEN.fetch_or(bit(signal), Ordering::SeqCst);
    let command = IN_GROUP.load(Ordering::SeqCst);
    // SAFETY: the kernel gives the handler a valid `siginfo_t`. Positive codes are the kernel's, here of the terminal.
    if command != 0 && unsafe { (*info).si_code > 0 || (*info).si_pid() == command } {
        return;
    }
    PENDING.fetch_or(bit(signal), Ordering::SeqCst);
    let wake: RawFd = WAKE.load(Ordering::SeqCst);
    // SAFETY: write(2) may be called in a handler; its bytes are a local's. `errno` is restored for the code that was
    // interrupted.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(wake, ptr::from_ref(&1u64).cast(), 8);
        *libc::__errno_location() = errno;
    }
}

fn set(signal: Signal, handler: usize) -> io::Result<()> {
    // SAFETY: all zeros is a valid `sigaction`; the handler is SIG_DFL, or `note`, which only does what a handler may.
    let result = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(signal as i32, &action, ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
