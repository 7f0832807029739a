//! All that depends on the processor: skipping a system call, and the value that it returns.
#![allow(unsafe_code)]

use libc::c_long;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use nix::sys::ptrace;
#[cfg(target_arch = "aarch64")]
use nix::sys::ptrace::regset::NT_PRSTATUS;
use nix::unistd::Pid;

/// A number that no system call has.
const NONE: u64 = u64::MAX;

/// To be called where the thread enters a system call: the kernel skips it.
#[cfg(target_arch = "x86_64")]
pub fn skip_call(thread: Pid) -> nix::Result<()> {
    let mut registers = ptrace::getregs(thread)?;
    registers.orig_rax = NONE;
    ptrace::setregs(thread, registers)
}

/// To be called where the thread leaves a skipped system call: it has failed with `errno`.
#[cfg(target_arch = "x86_64")]
pub fn answer(thread: Pid, errno: i32) -> nix::Result<()> {
    let mut registers = ptrace::getregs(thread)?;
    registers.rax = i64::from(errno).wrapping_neg() as u64;
    ptrace::setregs(thread, registers)
}

/// To be called where the thread leaves a skipped system call: it makes the call again, after the signals that
/// are on their way to it. The instruction has two bytes.
#[cfg(target_arch = "x86_64")]
pub fn repeat_call(thread: Pid, number: c_long, _first_argument: u64) -> nix::Result<()> {
    let mut registers = ptrace::getregs(thread)?;
    registers.rax = number as u64;
    registers.rip -= 2;
    ptrace::setregs(thread, registers)
}

/// As above. On this processor, the number of the call is not in a register, but in a register set of its
/// own.
#[cfg(target_arch = "aarch64")]
pub fn skip_call(thread: Pid) -> nix::Result<()> {
    const NT_ARM_SYSTEM_CALL: libc::c_int = 0x404;
    let mut number = NONE as i32;
    let mut part = libc::iovec { iov_base: (&raw mut number).cast(), iov_len: size_of::<i32>() };
    // SAFETY: the kernel reads `part`, and the four bytes that it describes; both live until it returns.
    let result =
        unsafe { libc::ptrace(libc::PTRACE_SETREGSET, thread.as_raw(), NT_ARM_SYSTEM_CALL, &raw mut part) };
    nix::errno::Errno::result(result).map(drop)
}

/// As above.
#[cfg(target_arch = "aarch64")]
pub fn answer(thread: Pid, errno: i32) -> nix::Result<()> {
    let mut registers = ptrace::getregset::<NT_PRSTATUS>(thread)?;
    registers.regs[0] = i64::from(errno).wrapping_neg() as u64;
    ptrace::setregset::<NT_PRSTATUS>(thread, registers)
}

/// As above. The return value is in the register of the first argument; the instruction has four bytes.
#[cfg(target_arch = "aarch64")]
pub fn repeat_call(thread: Pid, number: c_long, first_argument: u64) -> nix::Result<()> {
    let mut registers = ptrace::getregset::<NT_PRSTATUS>(thread)?;
    registers.regs[0] = first_argument;
    registers.regs[8] = number as u64;
    registers.pc -= 4;
    ptrace::setregset::<NT_PRSTATUS>(thread, registers)
}

/// The registers of this processor are not known here, so that no call can be skipped.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod unknown {
    use super::*;
    use nix::errno::Errno;

    pub fn skip_call(_: Pid) -> nix::Result<()> {
        Err(Errno::ENOTSUP)
    }

    pub fn answer(_: Pid, _: i32) -> nix::Result<()> {
        Err(Errno::ENOTSUP)
    }

    pub fn repeat_call(_: Pid, _: c_long, _: u64) -> nix::Result<()> {
        Err(Errno::ENOTSUP)
    }
}
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub use unknown::*;
