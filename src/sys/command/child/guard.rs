//! The process that kills the groups of commands when their worker has ended.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, setsid};

use super::super::super::descriptors::{close_all_but, close_range};

/// The process groups that run: one number for each slot, 0 for none, in memory that the guard shares.
///
/// A new command writes its own group before it executes its program. The worker writes 0 before it reaps the first
/// process of the group; until then, no other process can get the number.
#[derive(Debug)]
pub(super) struct Groups {
    place: NonNull<AtomicI32>,
    slots: usize,
}

// SAFETY: the memory is used through atomics alone, and unmapped when the last owner is gone.
unsafe impl Send for Groups {}
// SAFETY: as above.
unsafe impl Sync for Groups {}

impl Groups {
    pub(super) fn new(slots: usize) -> io::Result<Self> {
        let bytes = (slots.max(1) * size_of::<AtomicI32>()).try_into().map_err(io::Error::other)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let place = unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_SHARED) }?;
        Ok(Groups { place: place.cast(), slots: slots.max(1) })
    }

    pub(super) fn all(&self) -> &[AtomicI32] {
        // SAFETY: this number of atomics is mapped, zeroed at first, until this is dropped.
        unsafe { std::slice::from_raw_parts(self.place.as_ptr(), self.slots) }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        // SAFETY: no reference into the mapping is left. If the system refuses, the memory stays mapped.
        let _ = unsafe { munmap(self.place.cast(), self.slots * size_of::<AtomicI32>()) };
    }
}

/// The process of a guard. Dropping this ends it.
#[derive(Debug)]
pub(super) struct Process {
    /// `None` once it is reaped.
    pub(super) pid: Option<Pid>,
    /// Its other end reports the end of this process to the guard. Commands do not inherit it.
    _alive: PipeWriter,
}

impl Process {
    pub(super) fn start(groups: &Groups) -> io::Result<Self> {
        let (ended, alive) = io::pipe()?;
        // The guard keeps all signals blocked: a handler of this process that ran in the guard would write to
        // this process's pipes, and a signal before the guard has its own session could end or suspend it.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        // SAFETY: the child makes system calls only, which other threads of this process cannot hold up.
        let forked = unsafe { fork() };
        let child = match forked {
            Ok(ForkResult::Child) => guard(groups, &ended),
            Ok(ForkResult::Parent { child }) => Ok(child),
            Err(error) => Err(error),
        };
        before.thread_set_mask()?;
        Ok(Process { pid: Some(child?), _alive: alive })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(pid) = self.pid else { return };
        // All commands are reaped by now, and a suspended guard would not notice the end of the pipe.
        let _ = kill(pid, Signal::SIGKILL);
        while waitpid(pid, None) == Err(Errno::EINTR) {}
    }
}

/// Runs in the guard: waits for the end of the worker, then kills its groups.
fn guard(groups: &Groups, ended: &PipeReader) -> ! {
    // In a session of its own, KILL or STOP for the worker's group does not reach the guard. All other
    // signals are blocked: when a service manager sends TERM to each process, the worker's commands may still
    // run for a while.
    let _ = setsid();
    // SAFETY: a system call; the name is a constant string.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"ringpipe-guard".as_ptr()) };
    // Otherwise readers would wait for this process, and it would keep locks and rings. With its copy of the
    // pipe's writing end open, it would not notice the end of the worker.
    close_all_but(0, &[ended.as_raw_fd()], close_range);
    let mut byte = [0];
    while matches!((&*ended).read(&mut byte), Err(error) if error.kind() == io::ErrorKind::Interrupted) {}
    for group in groups.all() {
        let group = group.load(Ordering::SeqCst);
        if group > 0 {
            // Fails only if no process of the group is left.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
    // SAFETY: ends this process, without running the parent's exit handlers.
    unsafe { libc::_exit(0) }
}
