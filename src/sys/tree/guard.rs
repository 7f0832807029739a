//! The process that kills a tree when the process that started it has ended.

use std::ffi::{CStr, CString};
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, setsid};

use super::super::descriptors::{close_all_but, close_range};
use super::super::watch::pidfd;
use super::cgroup::Cgroup;
use super::scan::{self, Traits};

/// The most process groups that a guard remembers.
const MOST: usize = 1 << 16;

/// How often the removal of a folder is tried, 20 ms apart.
const FOLDER_TRIES: usize = 500;

/// How many scans in a row must find no process.
const EMPTY_SCANS: usize = 2;
/// Processes that the kernel does not end within this many scans, 5 ms apart, are left: they wait for a device.
const MOST_SCANS: usize = 6000;

/// A guard. Dropping this ends it.
#[derive(Debug)]
pub(super) struct Guard {
    pid: Pid,
    /// A new process writes its group here before it executes its program.
    groups: PipeWriter,
}

/// What the guard needs, prepared before the fork: after it, the guard may make system calls only.
struct Prepared {
    marker: Vec<u8>,
    groups: Vec<i32>,
    cgroup: Option<(RawFd, CString)>,
    files: Vec<CString>,
    pipe: PipeReader,
    parent: Pid,
}

impl Guard {
    /// Starts a guard for the processes with this marker, which removes these files and folders after them.
    pub(super) fn start(marker: &[u8], cgroup: Option<&Cgroup>, files: &[PathBuf]) -> io::Result<Self> {
        let (pipe, groups) = io::pipe()?;
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).ok();
        let place = |cgroup: &Cgroup| Some((cgroup.killer().as_raw_fd(), text(cgroup.folder())?));
        let mut prepared = Prepared {
            marker: marker.into(),
            groups: Vec::with_capacity(MOST),
            cgroup: cgroup.and_then(place),
            files: files.iter().filter_map(|file| text(file)).collect(),
            pipe,
            parent: Pid::this(),
        };
        // The guard keeps all signals blocked: a handler of this process must not run in it, and it must not be ended or
        // suspended by a signal to its first group.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        // SAFETY: the child makes system calls only, which other threads of this process cannot hold up.
        let forked = unsafe { fork() };
        let child = match forked {
            Ok(ForkResult::Child) => watch(&mut prepared),
            Ok(ForkResult::Parent { child }) => Ok(child),
            Err(error) => Err(error),
        };
        before.thread_set_mask()?;
        Ok(Guard { pid: child?, groups })
    }

    /// Where a new process writes its group: four bytes.
    pub(super) fn groups(&self) -> BorrowedFd<'_> {
        self.groups.as_fd()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = kill(self.pid, Signal::SIGKILL);
        while waitpid(self.pid, None) == Err(Errno::EINTR) {}
    }
}

/// Runs in the guard.
fn watch(prepared: &mut Prepared) -> ! {
    // In a session of its own, signals to the groups of the parent do not reach it.
    let _ = setsid();
    // SAFETY: a system call; the name is a constant string.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"ringpipe-guard".as_ptr()) };
    let parent = pidfd(prepared.parent.as_raw()).map_or(-1, IntoRawFd::into_raw_fd);
    let pipe = prepared.pipe.as_raw_fd();
    let mut keep = [pipe, parent, prepared.cgroup.as_ref().map_or(-1, |(fd, _)| *fd)];
    keep.sort_unstable();
    // Otherwise readers would wait for this process, and it would keep locks and rings.
    close_all_but(0, &keep[keep.iter().take_while(|fd| **fd < 0).count()..], close_range);
    // The parent may have ended already.
    // SAFETY: a system call without memory.
    let orphaned = unsafe { libc::getppid() } != prepared.parent.as_raw();
    while !orphaned && take_groups(pipe, parent, &mut prepared.groups) {}
    if let Some((fd, _)) = &prepared.cgroup {
        // SAFETY: a system call that reads a constant.
        unsafe { libc::write(*fd, b"1".as_ptr().cast(), 1) };
    }
    kill_all(prepared);
    let folder = prepared.cgroup.as_ref().map(|(_, folder)| folder);
    prepared.files.iter().for_each(|file| remove(file));
    // SAFETY: a system call whose path ends with a zero.
    folder.map(|folder| unsafe { libc::rmdir(folder.as_ptr()) });
    // SAFETY: ends this process, without running the parent's exit handlers.
    unsafe { libc::_exit(0) }
}

/// Removes a file, or a folder with the files in it.
fn remove(path: &CStr) {
    // SAFETY: a system call whose path ends with a zero.
    if unsafe { libc::unlink(path.as_ptr()) } == 0 || Errno::last() != Errno::EISDIR {
        return;
    }
    for _ in 0..FOLDER_TRIES {
        // SAFETY: as above; the names are read from the folder, whose descriptor is open meanwhile.
        scan::each_name(path, |folder, name| _ = unsafe { libc::unlinkat(folder, name.as_ptr(), 0) });
        // SAFETY: as above.
        let removed = unsafe { libc::rmdir(path.as_ptr()) } == 0;
        if removed || Errno::last() != Errno::ENOTEMPTY {
            return;
        }
        // Another process of the parent, one that is not of the tree, still writes there and will end.
        // SAFETY: a system call without memory.
        unsafe { libc::poll(std::ptr::null_mut(), 0, 20) };
    }
}

fn kill_all(prepared: &Prepared) {
    let traits = Traits { marker: &prepared.marker, groups: &prepared.groups };
    let (mut scans, mut empty) = (0, 0);
    while empty < EMPTY_SCANS && scans < MOST_SCANS {
        empty = if scan::kill(traits) == 0 { empty + 1 } else { 0 };
        scans += 1;
        // SAFETY: a system call without memory.
        unsafe { libc::poll(std::ptr::null_mut(), 0, 5) };
    }
}

/// Waits for a group, and remembers it. False: the parent has ended.
fn take_groups(pipe: RawFd, parent: RawFd, groups: &mut Vec<i32>) -> bool {
    let wanted = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // `poll` ignores a negative descriptor: then only the end of the pipe shows that the parent has ended.
    let mut both = [wanted(pipe), wanted(parent)];
    // SAFETY: the array is a local.
    if unsafe { libc::poll(both.as_mut_ptr(), 2, -1) } <= 0 {
        return true;
    }
    if both[0].revents != 0 {
        let mut group = [0; 4];
        // SAFETY: the buffer is a local.
        let read = unsafe { libc::read(pipe, group.as_mut_ptr().cast(), group.len()) };
        // Writes of this size arrive whole.
        if read == group.len() as isize {
            if groups.len() < groups.capacity() {
                groups.push(i32::from_ne_bytes(group));
            }
            return true;
        }
        return false;
    }
    false
}
