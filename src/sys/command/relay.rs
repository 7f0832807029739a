//! Signals that this process passes on to a command that it waits for.
//!
//! The handler only notes a signal and makes a descriptor readable; the main thread passes it on.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::{io, mem, ptr};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::Signal;

use super::signal::is_ignored;

/// Those to pass on, a bit each. All orders are sequentially consistent: signals are rare.
static PENDING: AtomicU64 = AtomicU64::new(0);
/// Whether any came, to be passed on or not.
static ANY: AtomicBool = AtomicBool::new(false);
/// Whether to leave out those of the terminal, which the command gets itself.
static SPARED: AtomicBool = AtomicBool::new(false);
static WAKE: AtomicI32 = AtomicI32::new(-1);

/// Signals that are passed on.
const PASSED_ON: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// The signals of this process, from now on passed on. There is one in a process, until it ends.
#[derive(Debug)]
pub struct Relay {
    wake: OwnedFd,
}

impl Relay {
    /// Catches INT, TERM, HUP and QUIT, except those that are ignored. With `in_group`, the command is in the group of
    /// this process: what the terminal sends reaches it without this process. Otherwise, TSTP is caught, too.
    ///
    /// # Errors
    /// The error of the system.
    pub fn catch(in_group: bool) -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = OwnedFd::from(EventFd::from_value_and_flags(0, flags)?);
        SPARED.store(in_group, Ordering::SeqCst);
        WAKE.store(std::os::fd::AsRawFd::as_raw_fd(&wake), Ordering::SeqCst);
        let stops = [Signal::SIGTSTP].into_iter().filter(|_| !in_group);
        for signal in PASSED_ON.into_iter().chain(stops) {
            if !is_ignored(signal as i32)? {
                set(signal, note as extern "C" fn(_, _, _) as usize)?;
            }
        }
        Ok(Relay { wake })
    }

    /// Becomes readable when a signal is to be passed on.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// The signals to pass on that came since the last call.
    pub fn take(&self) -> impl Iterator<Item = Signal> {
        let mut count = [0; 8];
        // Fails if none came.
        let _ = nix::unistd::read(&self.wake, &mut count);
        let pending = PENDING.swap(0, Ordering::SeqCst);
        PASSED_ON
            .into_iter()
            .chain([Signal::SIGTSTP])
            .filter(move |&signal| pending & bit(signal as i32) != 0)
    }

    /// Whether any such signal came, from the terminal or from a process.
    pub fn has_seen_any(&self) -> bool {
        ANY.load(Ordering::SeqCst)
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
    ANY.store(true, Ordering::SeqCst);
    // SAFETY: the kernel gives the handler a valid `siginfo_t`. Positive codes are the kernel's, here of the terminal.
    if SPARED.load(Ordering::SeqCst) && unsafe { (*info).si_code } > 0 {
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
