//! Which errors a system call may answer with, as its manual page says.

use libc::c_long;
use nix::errno::Errno::{self, *};

/// The calls by which files are looked at, opened and read differ by name and not by what can go wrong.
const LOOKS: [c_long; 8] = [
    libc::SYS_statx,
    libc::SYS_newfstatat,
    libc::SYS_fstat,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_getdents64,
];

/// The errors that are tried for a call of this number. None for calls that cannot fail or do not return;
/// nor for `brk`, which answers with an address.
pub fn of(number: c_long) -> &'static [Errno] {
    match modern(number) {
        libc::SYS_openat => &[EMFILE, ENOSPC, EACCES, ENOMEM, ENFILE, EINTR, EIO],
        libc::SYS_fallocate => &[ENOSPC, EINTR, ENOMEM, EIO],
        libc::SYS_ftruncate => &[EIO, EINTR, ENOSPC],
        libc::SYS_read | libc::SYS_pread64 | libc::SYS_readv => &[EIO, EINTR, ENOMEM],
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev => &[ENOSPC, EINTR, EIO],
        libc::SYS_close => &[EIO, EINTR],
        libc::SYS_fcntl => &[ENOLCK, EINTR, ENOMEM, EACCES],
        libc::SYS_fchmod => &[EACCES, EIO],
        libc::SYS_linkat => &[ENOSPC, EACCES, ENOMEM, EIO],
        libc::SYS_unlinkat => &[EACCES, EIO, ENOMEM],
        libc::SYS_mmap => &[ENOMEM, ENFILE, EACCES],
        libc::SYS_munmap | libc::SYS_mprotect | libc::SYS_madvise | libc::SYS_mremap => &[ENOMEM],
        libc::SYS_getrandom => &[EINTR, ENOSYS],
        libc::SYS_membarrier => &[ENOMEM, ENOSYS],
        libc::SYS_clone | libc::SYS_clone3 => &[EAGAIN, ENOMEM],
        libc::SYS_futex | libc::SYS_clock_nanosleep => &[EINTR],
        libc::SYS_ppoll => &[EINTR, ENOMEM],
        libc::SYS_prlimit64 => &[EPERM],
        libc::SYS_exit | libc::SYS_exit_group | libc::SYS_rt_sigreturn | libc::SYS_restart_syscall => &[],
        libc::SYS_brk => &[],
        // Bad arguments are all that these may say.
        libc::SYS_rt_sigaction | libc::SYS_rt_sigprocmask | libc::SYS_sched_yield => &[],
        libc::SYS_getpid | libc::SYS_gettid | libc::SYS_geteuid => &[],
        number if LOOKS.contains(&number) => &[EACCES, ENOMEM, EIO],
        _ => &[EIO, ENOMEM],
    }
}

/// What a call says when that which it takes has run out, for those where it may last.
pub fn of_starvation(number: c_long) -> Option<Errno> {
    match modern(number) {
        libc::SYS_openat => Some(EMFILE),
        libc::SYS_fallocate | libc::SYS_pwrite64 => Some(ENOSPC),
        libc::SYS_fcntl => Some(ENOLCK),
        libc::SYS_mmap => Some(ENOMEM),
        _ => None,
    }
}

/// A processor with a long history has calls that others do without.
fn modern(number: c_long) -> c_long {
    match number {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_unlink => libc::SYS_unlinkat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll => libc::SYS_ppoll,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_readlink => libc::SYS_readlinkat,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_access => libc::SYS_faccessat,
        number => number,
    }
}
