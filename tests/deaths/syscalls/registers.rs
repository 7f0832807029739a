//! The one thing that depends on the processor: a system call that does not happen, and what it answers.

use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// A number that no system call has.
const NONE: u64 = u64::MAX;

/// To be called where `victim` enters a system call: the kernel skips it.
#[cfg(target_arch = "x86_64")]
pub fn skip_call(victim: Pid) -> nix::Result<()> {
    let mut registers = ptrace::getregs(victim)?;
    registers.orig_rax = NONE;
    ptrace::setregs(victim, registers)
}

/// To be called where `victim` leaves a skipped system call: it has failed with `errno`.
#[cfg(target_arch = "x86_64")]
pub fn answer(victim: Pid, errno: Errno) -> nix::Result<()> {
    let mut registers = ptrace::getregs(victim)?;
    registers.rax = (errno as i64).wrapping_neg() as u64;
    ptrace::setregs(victim, registers)
}

/// As above. Here the number is no register, but a set of its own.
#[cfg(target_arch = "aarch64")]
pub fn skip_call(victim: Pid) -> nix::Result<()> {
    const NT_ARM_SYSTEM_CALL: libc::c_int = 0x404;
    let mut number = NONE as i32;
    let mut part = libc::iovec { iov_base: (&raw mut number).cast(), iov_len: size_of::<i32>() };
    // SAFETY: the kernel reads `part`, and the four bytes that it describes; both live until it returns.
    let result =
        unsafe { libc::ptrace(libc::PTRACE_SETREGSET, victim.as_raw(), NT_ARM_SYSTEM_CALL, &raw mut part) };
    Errno::result(result).map(drop)
}

/// As above.
#[cfg(target_arch = "aarch64")]
pub fn answer(victim: Pid, errno: Errno) -> nix::Result<()> {
    let mut registers = ptrace::getregset::<ptrace::regset::NT_PRSTATUS>(victim)?;
    registers.regs[0] = (errno as i64).wrapping_neg() as u64;
    ptrace::setregset::<ptrace::regset::NT_PRSTATUS>(victim, registers)
}
