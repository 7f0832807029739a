//! Requests to the kernel about traced threads, and about signals to processes that may have ended.
#![allow(unsafe_code)]

use std::{
    io, mem,
    os::fd::{AsRawFd, OwnedFd},
    ptr,
};

#[cfg(not(target_env = "gnu"))]
use libc::c_int as Request;
#[cfg(target_env = "gnu")]
use libc::c_uint as Request;
use libc::{c_int, c_long};
use nix::{errno::Errno, sys::ptrace, unistd::Pid};

use super::super::watch;

/// A system call, at its entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// -1 for a call of another architecture than this program's, such as that of a 32-bit program.
    pub number: c_long,
    /// As the kernel gets them.
    pub arguments: [u64; 6],
}

/// Whether a child of this process has ended. It stays to be collected.
///
/// Call this before `Child::try_wait` if a thread of this process traces the child: as long as the child lives,
/// `try_wait` would report, and take away, the stops that the tracer waits for.
pub fn has_ended(child: u32) -> bool {
    let mut found = blank();
    // SAFETY: `found` is a place for the answer.
    let result = unsafe {
        let flags = libc::WEXITED | libc::WNOWAIT | libc::WNOHANG | libc::__WALL;
        libc::waitid(libc::P_PID, child, &mut found, flags)
    };
    // No such child: it has been collected. Otherwise a zero signal number says that nothing has happened.
    let is_end = matches!(found.si_code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED);
    (result == 0 && found.si_signo != 0 && is_end) || Errno::result(result) == Err(Errno::ECHILD)
}

/// The state of a thread, as the kernel reports it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub thread: Pid,
    pub code: c_int,
    pub status: c_int,
}

/// A stop or the end of this thread, or of any traced one. It stays as it is. `None`: neither.
pub(super) fn peek(thread: Option<Pid>, waits: bool) -> nix::Result<Option<Found>> {
    let hang = if waits { 0 } else { libc::WNOHANG };
    wait(thread, libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT | hang)
}

pub(super) fn wait(thread: Option<Pid>, flags: c_int) -> nix::Result<Option<Found>> {
    let (kind, id) = thread.map_or((libc::P_ALL, 0), |thread| (libc::P_PID, thread.as_raw() as libc::id_t));
    let mut found = blank();
    // Threads that this thread traces; other threads have other children.
    // SAFETY: `found` is a place for the answer.
    let result = unsafe { libc::waitid(kind, id, &mut found, flags | libc::__WALL | libc::__WNOTHREAD) };
    Errno::result(result)?;
    // SAFETY: the answer to `waitid` has these fields, or is all zeros.
    let (id, status) = unsafe { (found.si_pid(), found.si_status()) };
    Ok((id != 0).then(|| Found { thread: Pid::from_raw(id), code: found.si_code, status }))
}

fn blank() -> libc::siginfo_t {
    // SAFETY: a plain structure of numbers, for which zeros are valid.
    unsafe { mem::zeroed() }
}

/// A request that takes the number of a signal. The signals for real time are among those, unlike in `nix`.
pub(super) fn request(request: Request, thread: Pid, signal: c_int) -> nix::Result<()> {
    let data = ptr::without_provenance_mut::<libc::c_void>(signal as usize);
    // SAFETY: these requests read and write no memory of this process.
    let result = unsafe { libc::ptrace(request, thread.as_raw(), ptr::null_mut::<libc::c_void>(), data) };
    Errno::result(result).map(drop)
}

/// The bit by which PTRACE_O_TRACESYSGOOD marks the stops at system calls.
pub(super) const SYSCALL_GOOD: c_int = 0x80;

const PTRACE_GET_SYSCALL_INFO: Request = 0x420e;
const ENTRY: u64 = 1;
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u64 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u64 = 0xc000_00b7;

/// `struct ptrace_syscall_info`: kind and architecture, place of the code, stack, number, arguments.
fn info(thread: Pid) -> nix::Result<[u64; 11]> {
    let mut info = [0; 11];
    // SAFETY: the kernel writes at most as many bytes as the third argument says.
    let result = unsafe {
        let data = (&raw mut info).cast::<libc::c_void>();
        libc::ptrace(PTRACE_GET_SYSCALL_INFO as _, thread.as_raw(), size_of_val(&info), data)
    };
    Errno::result(result).map(|_| info)
}

/// The call that a stopped thread is about to make. `None`: it stands elsewhere.
pub(super) fn call(thread: Pid) -> nix::Result<Option<Call>> {
    let [kind, _, _, number, arguments @ ..] = info(thread)?;
    if kind & 0xff != ENTRY {
        return Ok(None);
    }
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    let number = if kind >> 32 == ARCHITECTURE { number } else { u64::MAX };
    Ok(Some(Call { number: number as c_long, arguments: *arguments.first_chunk().ok_or(Errno::EIO)? }))
}

/// The address of the instruction at which a stopped thread stands.
pub fn place(thread: Pid) -> nix::Result<u64> {
    info(thread).map(|info| info[1])
}

/// Whether a stop for SIGTRAP is the end of a single step, and not a signal of the program.
pub(super) fn is_step(thread: Pid) -> bool {
    const TRAP_BRKPT: c_int = 1;
    const TRAP_TRACE: c_int = 2;
    ptrace::getsiginfo(thread).is_ok_and(|info| match info.si_code {
        TRAP_TRACE | libc::SIGTRAP => true,
        // How x86_64 reports a step over a system call; breakpoints have another code there.
        TRAP_BRKPT => cfg!(target_arch = "x86_64"),
        // SAFETY: a signal of this kind has the field.
        libc::SI_USER => unsafe { info.si_pid() == 0 },
        _ => false,
    })
}

/// Whether the thread of a request has not been killed meanwhile.
pub fn survived(result: nix::Result<()>) -> io::Result<bool> {
    match result {
        Err(Errno::ESRCH) => Ok(false),
        result => Ok(result.map(|()| true)?),
    }
}

/// Sends a signal to a process. It may have ended.
pub fn send(process: Pid, signal: c_int) -> io::Result<()> {
    // SAFETY: `kill` has no preconditions.
    let result = unsafe { libc::kill(process.as_raw(), signal) };
    survived(Errno::result(result).map(drop)).map(drop)
}

/// A descriptor that stands for this process, and never for another one that gets its id. `None`: it has ended.
pub fn pidfd(process: Pid) -> io::Result<Option<OwnedFd>> {
    match watch::pidfd(process.as_raw()) {
        Err(Errno::ESRCH) => Ok(None),
        result => Ok(result.map(Some)?),
    }
}

/// Sends a signal to the process of a [`pidfd`]. It may have ended.
pub fn send_to(process: &OwnedFd, signal: c_int) -> io::Result<()> {
    let no_info = ptr::null::<libc::siginfo_t>();
    // SAFETY: without information to the signal, this system call reads no memory of this process.
    let result =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, no_info, 0) };
    survived(Errno::result(result).map(drop)).map(drop)
}
