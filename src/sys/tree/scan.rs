//! Finds the processes of a tree. Makes system calls only, so that the guard can use it after a fork.

use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;
use nix::unistd::Pid;

use super::super::watch::pidfd;

/// What all processes of a tree have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits<'a> {
    /// Begins an entry of their environment.
    pub(super) marker: &'a [u8],
    /// The process groups, also the sessions, that were made for them.
    pub(super) groups: &'a [i32],
}

/// Calls `found` for each live process with these traits. Returns the number of processes that may have them:
/// they are executing a program at this moment, and have no environment yet.
pub(super) fn each(traits: Traits<'_>, mut found: impl FnMut(Pid)) -> usize {
    // SAFETY: system calls without memory.
    let this = unsafe { libc::getpid() };
    let mut unsure = 0;
    let looked =
        each_process(|pid| match if pid == this { Membership::None } else { membership(pid, traits) } {
            Membership::Member => found(Pid::from_raw(pid)),
            Membership::Unsure => unsure += 1,
            Membership::None => {}
        });
    // If /proc could not be read, any process may have them.
    if looked { unsure } else { unsure + 1 }
}

/// Kills each live process with these traits. Returns the number of these processes, and of those that may
/// have the traits.
pub(super) fn kill(traits: Traits<'_>) -> usize {
    let mut count = 0;
    let unsure = each(traits, |pid| {
        count += 1;
        match pidfd(pid.as_raw()) {
            Ok(fd) => {
                // Another process may have the id by now: the descriptor is of the process that is looked at here.
                if membership(pid.as_raw(), traits) == Membership::Member {
                    // SAFETY: a system call without memory.
                    unsafe {
                        libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), libc::SIGKILL, 0, 0)
                    };
                }
            }
            Err(Errno::ESRCH) => {}
            Err(_) => {
                // SAFETY: a system call without memory.
                unsafe { libc::kill(pid.as_raw(), libc::SIGKILL) };
            }
        }
    });
    count + unsure
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Membership {
    Member,
    Unsure,
    None,
}

fn membership(pid: i32, traits: Traits<'_>) -> Membership {
    let in_group = is_in_group(pid, traits.groups);
    let marked = if in_group { Some(true) } else { has_marker(pid, traits.marker) };
    match marked {
        Some(false) => Membership::None,
        _ => match stage(pid) {
            Stage::Ended => Membership::None,
            _ if marked == Some(true) => Membership::Member,
            Stage::Executing => Membership::Unsure,
            Stage::Running => Membership::None,
        },
    }
}

/// Whether the process has not ended.
pub(super) fn is_alive(pid: Pid) -> bool {
    !matches!(stage(pid.as_raw()), Stage::Ended)
}

fn is_in_group(pid: i32, groups: &[i32]) -> bool {
    // SAFETY: system calls without memory.
    let (group, session) = unsafe { (libc::getpgid(pid), libc::getsid(pid)) };
    groups.iter().any(|&one| one > 0 && (one == group || one == session))
}

/// A stage in the life of a process.
enum Stage {
    Running,
    /// It is executing a program, and has no environment yet.
    Executing,
    /// It is gone, or a zombie.
    Ended,
}

/// The process id of the thread that makes the threads of the kernel, which have no environment.
const KERNEL: i32 = 2;
/// The places of the parent and of the end of the environment after the name of the program in `/proc/PID/stat`.
const PARENT: usize = 1;
const ENVIRONMENT_END: usize = 48;

fn stage(pid: i32) -> Stage {
    let mut stat = [0; 1024];
    let len = read_start(pid, b"/stat", &mut stat);
    // The name may contain parentheses; the other fields follow the last one.
    let Some(name) = stat[..len].iter().rposition(|&byte| byte == b')') else { return Stage::Ended };
    let field = |number| {
        stat[name + 1..len].split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).nth(number)
    };
    let kernel = |digits: &[u8]| digits == [b'0' + KERNEL as u8];
    match (field(0), field(PARENT), field(ENVIRONMENT_END)) {
        (None | Some([b'Z' | b'X' | b'x']), ..) => Stage::Ended,
        (_, Some(parent), Some(b"0")) if pid != KERNEL && !kernel(parent) => Stage::Executing,
        _ => Stage::Running,
    }
}

/// Whether the environment with which the process executed its program contains these bytes; `None`: there is none.
fn has_marker(pid: i32, marker: &[u8]) -> Option<bool> {
    // Another user's process, or one that is gone.
    let Some(fd) = open(pid, b"/environ") else { return Some(false) };
    let mut buffer = [0; 4096];
    let (mut kept, mut empty) = (0, true);
    let found = loop {
        let read = read(fd, &mut buffer[kept..]);
        if read == 0 {
            break (!empty).then_some(false);
        }
        empty = false;
        let filled = kept + read;
        // SAFETY: both are valid for their lengths.
        let at =
            unsafe { libc::memmem(buffer.as_ptr().cast(), filled, marker.as_ptr().cast(), marker.len()) };
        if !at.is_null() {
            break Some(true);
        }
        // The marker may span two reads.
        kept = filled.min(marker.len() - 1);
        buffer.copy_within(filled - kept..filled, 0);
    };
    // SAFETY: the descriptor was opened above, and nothing else has it.
    unsafe { libc::close(fd) };
    found
}

/// Reads the beginning of a file of a process; 0 bytes if it cannot be read.
fn read_start(pid: i32, file: &[u8], buffer: &mut [u8]) -> usize {
    let Some(fd) = open(pid, file) else { return 0 };
    let len = read(fd, buffer);
    // SAFETY: the descriptor was opened above, and nothing else has it.
    unsafe { libc::close(fd) };
    len
}

fn open(pid: i32, file: &[u8]) -> Option<RawFd> {
    let mut path = [0; 64];
    let mut len = 0;
    let mut add = |bytes: &[u8]| {
        path[len..len + bytes.len()].copy_from_slice(bytes);
        len += bytes.len();
    };
    add(b"/proc/");
    let (mut digits, mut rest, mut first) = ([0; 10], pid, 10);
    while rest > 0 || first == 10 {
        first -= 1;
        digits[first] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    add(&digits[first..]);
    add(file);
    let path = CStr::from_bytes_until_nul(&path).ok()?;
    // SAFETY: the path ends with a zero.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    (fd >= 0).then_some(fd)
}

/// How many bytes were read; 0 at the end, and after an error.
fn read(fd: RawFd, buffer: &mut [u8]) -> usize {
    loop {
        // SAFETY: the buffer is valid for its length.
        let read = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
        if read >= 0 || Errno::last() != Errno::EINTR {
            return read.max(0) as usize;
        }
    }
}

/// The header of an entry of `getdents64`: inode, offset, length, type; then the name.
const NAME: usize = 19;

/// Calls `each` with the id of each process. False: the system refused.
fn each_process(mut each: impl FnMut(c_int)) -> bool {
    each_name(c"/proc", |_, name| {
        let digits = name.to_bytes();
        let number = digits.iter().all(u8::is_ascii_digit).then(|| {
            digits.iter().fold(0, |number: c_int, digit| {
                number.wrapping_mul(10).wrapping_add(c_int::from(digit - b'0'))
            })
        });
        if let Some(pid) = number.filter(|pid| *pid > 0) {
            each(pid);
        }
    })
}

/// Calls `each` with the descriptor of a folder and each name in it. False: the system refused.
pub(super) fn each_name(folder: &CStr, mut each: impl FnMut(RawFd, &CStr)) -> bool {
    // SAFETY: the path ends with a zero.
    let fd = unsafe { libc::open(folder.as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC) };
    if fd < 0 {
        return false;
    }
    let mut entries = MaybeUninit::<[u64; 1024]>::uninit();
    let whole = loop {
        let bytes = size_of_val(&entries);
        // SAFETY: the buffer is valid for its length, and aligned as the entries are.
        let read = unsafe { libc::syscall(libc::SYS_getdents64, fd, entries.as_mut_ptr(), bytes) };
        if read <= 0 {
            break read == 0;
        }
        // SAFETY: the kernel has written this number of bytes.
        let mut rest = unsafe { std::slice::from_raw_parts(entries.as_ptr().cast::<u8>(), read as usize) };
        while rest.len() > NAME {
            let len = u16::from_ne_bytes([rest[16], rest[17]]) as usize;
            if let Ok(name) = CStr::from_bytes_until_nul(&rest[NAME..len]) {
                each(fd, name);
            }
            rest = &rest[len..];
        }
    };
    // SAFETY: the descriptor was opened above, and nothing else has it.
    unsafe { libc::close(fd) };
    whole
}
