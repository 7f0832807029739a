//! All that depends on the processor: where a traced process is, and what its registers hold.

#[cfg(not(target_arch = "x86_64"))]
use nix::errno::Errno;
use nix::sys::ptrace;
use nix::unistd::Pid;

/// Where a traced process is, and what its registers hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    pub pc: u64,
    pub sp: u64,
    pub others: [u64; OTHERS],
}

/// Registers beside these two; the flags, of which the kernel uses one for single steps, are not among them.
pub const OTHERS: usize = 15;

/// An instruction of one byte that stops a traced process behind it.
pub const TRAP: u8 = 0xcc;

/// What is read at each step, if this processor's registers are known here.
#[cfg(target_arch = "x86_64")]
pub fn state(victim: Pid) -> Option<State> {
    let r = ptrace::getregs(victim).ok()?;
    // A system call leaves the flags there, and in them whether it was a single step.
    let r11 = r.r11 & !TRAP_FLAG;
    let others =
        [r.rax, r.rbx, r.rcx, r.rdx, r.rsi, r.rdi, r.rbp, r.r8, r.r9, r.r10, r11, r.r12, r.r13, r.r14, r.r15];
    Some(State { pc: r.rip, sp: r.rsp, others })
}

/// The address of the next instruction.
#[cfg(target_arch = "x86_64")]
pub fn pc(victim: Pid) -> nix::Result<u64> {
    ptrace::read_user(victim, PC as ptrace::AddressType).map(|pc| pc as u64)
}

#[cfg(target_arch = "x86_64")]
pub fn set_pc(victim: Pid, pc: u64) -> nix::Result<()> {
    ptrace::write_user(victim, PC as ptrace::AddressType, pc as libc::c_long)
}

#[cfg(target_arch = "x86_64")]
const TRAP_FLAG: u64 = 1 << 8;
#[cfg(target_arch = "x86_64")]
const PC: usize = std::mem::offset_of!(libc::user_regs_struct, rip);

/// Calls `work`, which does not return, on the stack that ends at `top`: where it is does not depend on the caller.
///
/// # Safety
/// `top` is the end of memory that is used for nothing else, and a multiple of 16; `work` may be called with `argument`.
#[cfg(target_arch = "x86_64")]
pub unsafe fn call_on_stack(
    top: *mut u8,
    work: unsafe extern "C" fn(*mut libc::c_void) -> !,
    argument: *mut libc::c_void,
) -> ! {
    // SAFETY: as the caller has promised; the old stack stays as it is, and is not returned to.
    unsafe {
        std::arch::asm!(
            "mov rsp, {top}",
            "xor ebp, ebp",
            "call {work}",
            "ud2",
            top = in(reg) top,
            work = in(reg) work,
            in("rdi") argument,
            options(noreturn),
        )
    }
}

/// Likewise, on the caller's stack.
///
/// # Safety
/// As above.
#[cfg(not(target_arch = "x86_64"))]
pub unsafe fn call_on_stack(
    _: *mut u8,
    work: unsafe extern "C" fn(*mut libc::c_void) -> !,
    argument: *mut libc::c_void,
) -> ! {
    // SAFETY: as the caller has promised.
    unsafe { work(argument) }
}

/// Nothing is known, so that no process is stopped but by single steps.
#[cfg(not(target_arch = "x86_64"))]
pub fn state(_: Pid) -> Option<State> {
    None
}

#[cfg(not(target_arch = "x86_64"))]
pub fn pc(_: Pid) -> nix::Result<u64> {
    Err(Errno::ENOTSUP)
}

#[cfg(not(target_arch = "x86_64"))]
pub fn set_pc(_: Pid, _: u64) -> nix::Result<()> {
    Err(Errno::ENOTSUP)
}
