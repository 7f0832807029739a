//! This process, and what can be shown about others.
//!
//! Nothing here decides who is alive: process ids are reused, mean something else in another PID
//! namespace, and start times repeat within a clock tick. That decision is [`liveness`](super::liveness)'s.
#![allow(unsafe_code)]

use std::{
    fs, io,
    os::unix::process::CommandExt,
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

#[cfg(feature = "cli")]
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// This process' id, in its own PID namespace.
pub fn id() -> u32 {
    std::process::id()
}

/// When the process started, in clock ticks since boot; `None` if there is none to be seen.
pub fn start_time(pid: u32) -> Option<u64> {
    read_stat(pid).ok().and_then(|stat| stat_fields(&stat)).map(|(_, start)| start)
}

/// The command name of this process, as `ps` shows it: up to 15 bytes, then zeros; all zeros if unknown.
pub fn command_name() -> [u8; 16] {
    let mut name = [0; 16];
    let comm = fs::read("/proc/self/comm").unwrap_or_default();
    let comm = comm.strip_suffix(b"\n").unwrap_or(&comm);
    let len = comm.len().min(15);
    name[..len].copy_from_slice(&comm[..len]);
    name
}

/// What a process appears to be doing, for display only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProcessState {
    /// It runs, or sleeps, or could.
    Running,
    /// Stopped by a signal or a debugger.
    Stopped,
    /// Dead, and its parent has not noticed.
    Zombie,
    /// No such process in this PID namespace, or another one has its id now.
    Gone,
    /// It cannot be told.
    Unknown,
}

/// What the process that has this id, and started at this time, appears to be doing.
pub fn state(pid: u32, start_time: u64) -> ProcessState {
    let stat = match read_stat(pid) {
        Ok(stat) => stat,
        Err(error)
            if error.kind() == io::ErrorKind::NotFound && fs::exists("/proc/self").unwrap_or(false) =>
        {
            return ProcessState::Gone;
        }
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return ProcessState::Gone,
        Err(_) => return ProcessState::Unknown,
    };
    match stat_fields(&stat) {
        None => ProcessState::Unknown,
        Some((_, start)) if start != start_time => ProcessState::Gone,
        Some((b'T' | b't', _)) => ProcessState::Stopped,
        Some((b'Z' | b'X' | b'x', _)) => ProcessState::Zombie,
        Some(_) => ProcessState::Running,
    }
}

fn read_stat(pid: u32) -> io::Result<Vec<u8>> {
    fs::read(format!("/proc/{pid}/stat"))
}

/// State and start time: the fields 3 and 22. The command name in field 2 may hold spaces and parentheses,
/// so the fields count from the last closing one.
fn stat_fields(stat: &[u8]) -> Option<(u8, u64)> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

/// Has the process that `command` will start asked to end (TERM) when the thread that starts it ends, however
/// that comes.
pub fn end_with_parent(command: &mut Command) {
    let ask = || {
        // SAFETY: a system call without memory; it is allowed between fork and exec.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: `ask` only makes a system call, and reads errno.
    unsafe { command.pre_exec(ask) };
}

/// Processors that are online, whichever of them this process may run on: with more than one, a peer can
/// be running at this moment. Asked once.
pub fn processors() -> u32 {
    static ONLINE: OnceLock<u32> = OnceLock::new();
    *ONLINE.get_or_init(|| {
        // SAFETY: sysconf has no preconditions.
        let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        u32::try_from(online).unwrap_or(1).max(1)
    })
}

/// Has the calling thread, and those it starts from here on, run on processor `cpu` only.
///
/// # Errors
/// The system's answer, `InvalidInput` for a processor that there is not, or that this process may not use.
#[cfg(feature = "cli")]
pub fn run_on(cpu: u32) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu as usize)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// The processors that the calling thread may run on, in ascending order; none if the system does not tell.
#[cfg(feature = "cli")]
pub fn allowed_processors() -> Vec<u32> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).map(|cpu| cpu as u32).collect()
}

/// In the low half, how often this process and its ancestors were forked; in the high half, how often this
/// process has lost a mapping (see [`truncation`](super::truncation)).
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// A number that differs in a forked child from what it was in the parent.
///
/// The first call in a process registers the counting. A child made by a bare `clone` system call, around the C
/// library, is not counted.
pub fn fork_generation() -> u32 {
    static COUNTED: OnceLock<bool> = OnceLock::new();
    // Refused only for want of memory, in a process that has just begun: then nothing is counted.
    COUNTED.get_or_init(count_forks);
    generation_of(epoch())
}

/// The [`fork_generation`] that an epoch belongs to.
pub fn generation_of(epoch: u64) -> u32 {
    epoch as u32
}

/// A number that changes when the process is forked, in the child, and when a mapping is lost.
///
/// A handle keeps the number that it was made under and asks [`is_epoch`]: a load and a branch, where `getpid` is
/// a system call. Only when it has changed is there more to ask.
pub fn epoch() -> u64 {
    EPOCH.load(Ordering::Relaxed) // Relaxed: as in `is_epoch`.
}

/// Whether the epoch is still that one.
#[inline]
pub fn is_epoch(epoch: u64) -> bool {
    // Relaxed: forks are counted in a child that has just one thread yet; a loss, before anything is lost, and
    // who relies on that fences (see `Watched::is_lost`).
    EPOCH.load(Ordering::Relaxed) == epoch
}

/// How many mappings this process has lost.
#[cfg(feature = "cli")]
pub(super) fn losses() -> u32 {
    (epoch() >> 32) as u32
}

/// A mapping is lost. To be called in a signal handler.
pub(super) fn next_epoch() {
    EPOCH.fetch_add(1 << 32, Ordering::Release); // Release: who sees it sees which one.
}

fn count_forks() -> bool {
    unsafe extern "C" fn in_child() {
        // Relaxed: the only thread. The low half has room for more forks than there will be.
        EPOCH.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the function is never unloaded before the process ends, and does in the child only what is
    // allowed there: one atomic addition.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::Child;
    use nix::sys::signal::Signal;

    #[test]
    fn this_process_is_seen_running_with_its_name() {
        let start = start_time(id()).unwrap();
        assert_eq!(state(id(), start), ProcessState::Running);
        assert_eq!(state(id(), start + 1), ProcessState::Gone);
        assert_ne!(command_name()[0], 0);
        assert_eq!(command_name()[15], 0);
    }

    #[test]
    fn a_child_is_seen_stopped_then_dead_then_gone() {
        let child = Child::pausing(|| true);
        let start = start_time(child.id()).unwrap();
        child.signal(Signal::SIGSTOP);
        child.wait_until(|| state(child.id(), start) == ProcessState::Stopped);
        child.signal(Signal::SIGKILL);
        child.wait_until(|| state(child.id(), start) == ProcessState::Zombie);
        let pid = child.id();
        drop(child);
        assert_eq!(state(pid, start), ProcessState::Gone);
        assert_eq!(start_time(pid), None);
    }

    #[cfg(feature = "cli")]
    #[test]
    fn a_thread_runs_where_it_is_told_to() {
        std::thread::spawn(|| {
            let before = allowed_processors();
            let last = *before.last().unwrap();
            run_on(last).unwrap();
            assert_eq!(allowed_processors(), [last]);
            assert!(run_on(1023).is_err() && run_on(u32::MAX).is_err());
            assert_eq!(allowed_processors(), [last]);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn parentheses_and_spaces_in_a_command_name_do_not_confuse() {
        let mut stat = b"7 (a) R (b \xff) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20".to_vec();
        assert_eq!(stat_fields(&stat), Some((b'S', 4711)));
        stat.truncate(30);
        assert_eq!(stat_fields(&stat), None);
        assert_eq!(stat_fields(b""), None);
    }

    #[test]
    fn a_forked_child_has_another_generation() {
        let parent = fork_generation();
        assert_eq!(parent, fork_generation());
        // The child answers through whether it got ready.
        Child::pausing(move || fork_generation() != parent);
    }
}
