//! Signals that ask this process to end: the first is noted, the second ends it at once.
//!
//! The first signal also wakes a sleeping thread: it makes a descriptor readable for a thread that polls, and
//! interrupts any other system call. A signal between the check of the flag and the sleep does not interrupt: that
//! sleep lasts its full time.
#![allow(unsafe_code)]

use std::{
    io, mem,
    os::fd::BorrowedFd,
    ptr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI32, Ordering, fence},
    },
};

/// The first signal that was noted; 0 for none.
static FIRST: AtomicI32 = AtomicI32::new(0);
/// What the first signal sets.
static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// The descriptor that the first signal makes readable, for good; -1 for none.
static WAKE: AtomicI32 = AtomicI32::new(-1);
/// The thread that [`interrupt`] interrupts: a `pthread_t`, which is a number or a pointer.
static SLEEPER: OnceLock<usize> = OnceLock::new();
/// The signal that interrupts it. It is ignored by default, and other programs do not send it.
const POKE: i32 = libc::SIGURG;

/// Chooses the flag that the first signal sets, and the calling thread as the one that it wakes. Only the first
/// call in a process counts.
pub fn set_flag(flag: Arc<AtomicBool>) {
    if FLAG.set(flag).is_err() {
        return;
    }
    // SAFETY: no pointers. The descriptor is never closed. If the system refuses, it is -1, and sleeps are cut
    // into slices.
    let wake = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    WAKE.store(wake, Ordering::Relaxed); // Relaxed: before the first handler is installed.
    // If the system refuses, the signal stays ignored: it interrupts nothing, and sleeps last their full time.
    if set_action(POKE, nothing as extern "C" fn(i32) as usize).is_ok() {
        // SAFETY: no arguments, and it cannot fail.
        let _ = SLEEPER.set(unsafe { libc::pthread_self() } as usize);
    }
}

/// Becomes readable with the first signal, and stays so. `None` if the system refused a descriptor.
pub fn wake_fd() -> Option<BorrowedFd<'static>> {
    let wake = WAKE.load(Ordering::Relaxed); // Relaxed: written once, before there were other threads.
    // SAFETY: it was opened by `set_flag`, and is never closed.
    (wake >= 0).then(|| unsafe { BorrowedFd::borrow_raw(wake) })
}

/// Interrupts the system call in which the thread that called [`set_flag`] sleeps, if it does.
pub fn interrupt() {
    if let Some(&thread) = SLEEPER.get() {
        // SAFETY: it is the main thread, which is there as long as the process: only it sets a flag.
        unsafe { libc::pthread_kill(thread as libc::pthread_t, POKE) };
    }
}

/// Takes note of `signal`: the first one sets the flag, a second one ends the process by that signal.
pub fn note(signal: i32) {
    // Only atomics, and system calls that may be made in a signal handler: `OnceLock::get` is one load.
    // Relaxed: the flag's Release below hands the number over.
    if FIRST.compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        end_by(signal);
    }
    if let Some(flag) = FLAG.get() {
        // Release: with the fence in `first`, a thread that sees the flag sees the number.
        flag.store(true, Ordering::Release);
    }
    let wake = WAKE.load(Ordering::Relaxed); // Relaxed: written before any handler was installed.
    if wake >= 0 {
        // SAFETY: write(2) may be called in a handler; its bytes are a local's. `errno` belongs to this thread,
        // and is restored for the code that was interrupted.
        unsafe {
            let errno = *libc::__errno_location();
            libc::write(wake, ptr::from_ref(&1u64).cast(), 8);
            *libc::__errno_location() = errno;
        }
    }
}

/// The first signal that was noted.
pub fn first() -> Option<i32> {
    fence(Ordering::Acquire);
    // Relaxed: the fence orders it.
    Some(FIRST.load(Ordering::Relaxed)).filter(|&signal| signal != 0)
}

/// Whether `signal` is ignored, as `nohup` and shells set it for the programs that they start.
///
/// # Errors
/// The error of the system, if the number is not a signal.
pub fn is_ignored(signal: i32) -> io::Result<bool> {
    // SAFETY: all zeros is a valid `sigaction`; with a null pointer for the new one nothing changes, and
    // the kernel writes the old one into a local.
    let action = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        if libc::sigaction(signal, ptr::null(), &mut action) != 0 {
            return Err(io::Error::last_os_error());
        }
        action
    };
    Ok(action.sa_sigaction == libc::SIG_IGN)
}

/// Notes `signal` from now on. System calls that it interrupts are not restarted.
///
/// # Errors
/// The error of the system, if the number is not a signal or the signal cannot be caught.
pub fn catch(signal: i32) -> io::Result<()> {
    extern "C" fn handler(signal: i32) {
        note(signal);
    }
    set_action(signal, handler as extern "C" fn(i32) as usize)
}

/// Keeps `signal` from ending the process: the system call that causes it only returns an error. Programs that
/// this process starts get the signal's default action; if it were ignored, they would inherit that.
///
/// # Errors
/// The error of the system, if the number is not a signal or the signal cannot be caught.
pub fn survive(signal: i32) -> io::Result<()> {
    match is_ignored(signal)? {
        true => Ok(()),
        false => set_action(signal, nothing as extern "C" fn(i32) as usize),
    }
}

/// Lets this process reap its children. If it was started with SIGCHLD ignored, the system would reap them, and their
/// numbers could become other processes' at any time. Programs that this process starts get the default action, too, as
/// from `timeout`: few can do without.
///
/// # Errors
/// The error of the system.
pub fn keep_children() -> io::Result<()> {
    match is_ignored(libc::SIGCHLD)? {
        true => set_action(libc::SIGCHLD, libc::SIG_DFL),
        false => Ok(()),
    }
}

extern "C" fn nothing(_: i32) {}

/// Ends the process by `signal`, as if it had never been caught. Runs no destructors.
pub fn end_by(signal: i32) -> ! {
    let _ = set_action(signal, libc::SIG_DFL);
    // SAFETY: the set is a local; these calls may be made in a signal handler, also in that of `signal`
    // itself, which the kernel blocks meanwhile.
    unsafe {
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, ptr::null_mut());
        libc::raise(signal);
        // A signal whose default is not to end a process.
        libc::_exit(128 + signal)
    }
}

fn set_action(signal: i32, handler: usize) -> io::Result<()> {
    // SAFETY: all zeros is a valid `sigaction` without flags. The handler is SIG_DFL or a function of this module
    // that only does what is allowed in a handler.
    let result = unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(signal, &action, ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_not_a_signal_is_refused() {
        assert!(is_ignored(100_000).is_err());
        assert!(catch(libc::SIGKILL).is_err());
    }

    #[test]
    fn a_survived_signal_is_not_ignored_and_has_its_default_action_in_started_programs() {
        // Nothing in this process relies on it.
        survive(libc::SIGXFSZ).unwrap();
        assert!(!is_ignored(libc::SIGXFSZ).unwrap());
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::raise(libc::SIGXFSZ) }, 0);
        let mut child = std::process::Command::new("grep");
        let status = child.args(["-E", "^Sig(Ign|Cgt)", "/proc/self/status"]).output().unwrap().stdout;
        let status = String::from_utf8(status).unwrap();
        assert_eq!(status.lines().count(), 2, "{status}");
        for line in status.lines() {
            let set = u64::from_str_radix(line.split_whitespace().last().unwrap(), 16).unwrap();
            assert_eq!(set >> (libc::SIGXFSZ - 1) & 1, 0, "{line}");
        }
        set_action(libc::SIGXFSZ, libc::SIG_IGN).unwrap();
        survive(libc::SIGXFSZ).unwrap();
        assert!(is_ignored(libc::SIGXFSZ).unwrap());
        set_action(libc::SIGXFSZ, libc::SIG_DFL).unwrap();
    }

    #[test]
    fn an_ignored_signal_is_seen_as_such() {
        // Rust's runtime ignores it, and the test harness leaves SIGURG alone.
        assert!(is_ignored(libc::SIGPIPE).unwrap());
        assert!(!is_ignored(libc::SIGURG).unwrap());
    }
}
