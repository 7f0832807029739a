//! Finds the processes of a tree. Makes system calls only, so that the guard can use it after a fork.

use std::ffi::{CStr, c_int};
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::unistd::Pid;

/// What all processes of a tree have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits<'a> {
    /// Begins an entry of their environment.
    pub(super) marker: &'a [u8],
    /// The process groups, also the sessions, that were made for them.
    pub(super) groups: &'a [i32],
}

/// Calls `found` for each live process with these traits.
pub(super) fn each(traits: Traits<'_>, mut found: impl FnMut(Pid)) {
    // SAFETY: system calls without memory.
    let this = unsafe { libc::getpid() };
    each_process(|pid| {
        if pid != this && (is_in_group(pid, traits.groups) || has_marker(pid, traits.marker)) && is_alive(pid)
        {
            found(Pid::from_raw(pid));
        }
    });
}

/// Kills each live process with these traits, and returns how many it found.
pub(super) fn kill(traits: Traits<'_>) -> usize {
    let mut count = 0;
    each(traits, |pid| {
        // The process that has this id now may be another one than was found, but only the one to which the descriptor
        // belongs is killed, and it is looked at again before.
        match pidfd(pid.as_raw()) {
            Ok(fd) => {
                if is_in_group(pid.as_raw(), traits.groups) || has_marker(pid.as_raw(), traits.marker) {
                    // SAFETY: a system call without memory.
                    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, 0, 0) };
                    count += 1;
                }
                // SAFETY: the descriptor was opened above, and nothing else has it.
                unsafe { libc::close(fd) };
            }
            Err(Errno::ESRCH) => {}
            Err(_) => {
                // SAFETY: a system call without memory.
                unsafe { libc::kill(pid.as_raw(), libc::SIGKILL) };
                count += 1;
            }
        }
    });
    count
}

fn pidfd(pid: i32) -> Result<RawFd, Errno> {
    // SAFETY: a system call without memory.
    Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }).map(|fd| fd as RawFd)
}

fn is_in_group(pid: i32, groups: &[i32]) -> bool {
    // SAFETY: system calls without memory.
    let (group, session) = unsafe { (libc::getpgid(pid), libc::getsid(pid)) };
    groups.iter().any(|&one| one > 0 && (one == group || one == session))
}

/// Whether the process has a program to run; not a zombie, nor gone.
fn is_alive(pid: i32) -> bool {
    let mut stat = [0; 512];
    // The name of the program may contain parentheses; the state follows the last one.
    let len = read_start(pid, b"/stat", &mut stat);
    let name = stat[..len].iter().rposition(|&byte| byte == b')');
    let state = name.and_then(|end| stat[..len].get(end + 2));
    !matches!(state, None | Some(b'Z' | b'X' | b'x'))
}

/// Whether the environment with which the process executed its program contains these bytes.
fn has_marker(pid: i32, marker: &[u8]) -> bool {
    let Some(fd) = open(pid, b"/environ") else { return false };
    let mut buffer = [0; 4096];
    let mut kept = 0;
    let found = loop {
        let read = read(fd, &mut buffer[kept..]);
        if read == 0 {
            break false;
        }
        let filled = kept + read;
        // SAFETY: both are valid for their lengths.
        let at =
            unsafe { libc::memmem(buffer.as_ptr().cast(), filled, marker.as_ptr().cast(), marker.len()) };
        if !at.is_null() {
            break true;
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

/// Calls `each` with the id of each process.
fn each_process(mut each: impl FnMut(c_int)) {
    // SAFETY: the path is a constant string.
    let fd = unsafe { libc::open(c"/proc".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC) };
    if fd < 0 {
        return;
    }
    let mut entries = MaybeUninit::<[u64; 1024]>::uninit();
    loop {
        let bytes = size_of_val(&entries);
        // SAFETY: the buffer is valid for its length, and aligned as the entries are.
        let read = unsafe { libc::syscall(libc::SYS_getdents64, fd, entries.as_mut_ptr(), bytes) };
        if read <= 0 {
            break;
        }
        // SAFETY: the kernel has written this number of bytes.
        let mut rest = unsafe { std::slice::from_raw_parts(entries.as_ptr().cast::<u8>(), read as usize) };
        while rest.len() > NAME {
            let len = u16::from_ne_bytes([rest[16], rest[17]]) as usize;
            let digits = rest[NAME..len].iter().take_while(|byte| **byte != 0);
            let number = digits.clone().all(u8::is_ascii_digit).then(|| {
                digits.fold(0, |number: c_int, digit| number.wrapping_mul(10) + c_int::from(digit - b'0'))
            });
            if let Some(pid) = number.filter(|pid| *pid > 0) {
                each(pid);
            }
            rest = &rest[len..];
        }
    }
    // SAFETY: the descriptor was opened above, and nothing else has it.
    unsafe { libc::close(fd) };
}
