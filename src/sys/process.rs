//! Facts about this process, and what can be displayed about others.
//!
//! Nothing here decides whether a process is alive: process ids are reused and mean something else in another PID
//! namespace, and start times repeat within a clock tick. [`liveness`](super::liveness) decides that.
#![allow(unsafe_code)]

use std::{
    fs, io,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// This process's id, in its own PID namespace.
pub fn id() -> u32 {
    std::process::id()
}

/// When the process started, in clock ticks since boot; `None` if it cannot be read.
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
    /// It runs or sleeps.
    Running,
    /// Stopped by a signal or a debugger.
    Stopped,
    /// Dead; its parent has not collected its exit status yet.
    Zombie,
    /// No such process in this PID namespace.
    Gone,
    /// Another process has its id in this PID namespace.
    Another,
    /// Unknown: the system does not report it.
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
        Some((_, start)) if start != start_time => ProcessState::Another,
        Some((b'T' | b't', _)) => ProcessState::Stopped,
        Some((b'Z' | b'X' | b'x', _)) => ProcessState::Zombie,
        Some(_) => ProcessState::Running,
    }
}

fn read_stat(pid: u32) -> io::Result<Vec<u8>> {
    fs::read(format!("/proc/{pid}/stat"))
}

/// State and start time: the fields 3 and 22. The command name in field 2 may contain spaces and parentheses, so
/// the count of fields starts after the last closing one.
fn stat_fields(stat: &[u8]) -> Option<(u8, u64)> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let mut fields = std::str::from_utf8(&stat[name_end + 1..]).ok()?.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((state, start))
}

/// The number of processors online, even those that this process may not run on: with more than one, a peer can be
/// running at this moment. Read once.
pub fn processors() -> u32 {
    static ONLINE: OnceLock<u32> = OnceLock::new();
    *ONLINE.get_or_init(|| {
        // SAFETY: sysconf has no preconditions.
        let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        u32::try_from(online).unwrap_or(1).max(1)
    })
}

/// The low half counts the forks of this process and its ancestors; the high half counts the mappings that this
/// process has lost (see [`truncation`](super::truncation)).
static EPOCH: AtomicU64 = AtomicU64::new(0);

/// A number that differs between a forked child and its parent.
///
/// The first call in a process registers the fork handler. A child made by a bare `clone` system call, which
/// bypasses the C library, is not counted.
pub fn fork_generation() -> u32 {
    static COUNTED: OnceLock<bool> = OnceLock::new();
    // Fails only without memory, in a process that has just begun: then forks are not counted.
    COUNTED.get_or_init(count_forks);
    generation_of(epoch())
}

/// The [`fork_generation`] that an epoch belongs to.
pub fn generation_of(epoch: u64) -> u32 {
    epoch as u32
}

/// A number that changes when the process is forked, in the child, and when a mapping is lost.
///
/// A handle keeps the number that it was made under and calls [`is_epoch`]: a load and a branch, where `getpid` is
/// a system call. Only when the number has changed does it check further.
pub fn epoch() -> u64 {
    EPOCH.load(Ordering::Relaxed) // Relaxed: as in `is_epoch`.
}

/// The epoch of a handle that is no longer a participant. No process has it, so every check of it fails and looks
/// closer.
pub const NO_EPOCH: u64 = u64::MAX;

/// Whether the epoch is still this one.
#[inline]
pub fn is_epoch(epoch: u64) -> bool {
    // Relaxed: a fork is counted in the child while it has only one thread. A loss is counted before anything is
    // lost, and code that relies on that fences (see `Watched::is_lost`).
    EPOCH.load(Ordering::Relaxed) == epoch
}

/// How many mappings this process has lost.
#[cfg(feature = "cli")]
pub(super) fn losses() -> u32 {
    (epoch() >> 32) as u32
}

/// Records that a mapping is lost. Runs in a signal handler.
pub(super) fn next_epoch() {
    EPOCH.fetch_add(1 << 32, Ordering::Release); // Release: a thread that sees it sees which mapping is lost.
}

fn count_forks() -> bool {
    unsafe extern "C" fn in_child() {
        // Relaxed: there is only one thread. The low half has room for more forks than ever happen.
        EPOCH.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the function is never unloaded before the process ends. In the child it only does one atomic
    // addition, which is allowed there.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) == 0 }
}

/// Whether this process may remove other users' files from a sticky directory (CAP_FOWNER).
pub fn may_act_for_owners() -> bool {
    const CAP_FOWNER: u32 = 3;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    match effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()) {
        Some(bits) => bits >> CAP_FOWNER & 1 == 1,
        // Without /proc: assumes what holds for most processes.
        None => nix::unistd::geteuid().is_root(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::{Child, wait_until};
    use nix::sys::signal::Signal;

    #[test]
    fn this_process_is_seen_running_with_its_name() {
        let start = start_time(id()).unwrap();
        assert_eq!(state(id(), start), ProcessState::Running);
        assert_eq!(state(id(), start + 1), ProcessState::Another);
        assert_ne!(command_name()[0], 0);
        assert_eq!(command_name()[15], 0);
    }

    #[test]
    fn a_child_is_seen_stopped_then_dead_then_gone() {
        let child = Child::pausing(|| true);
        let start = start_time(child.id()).unwrap();
        child.signal(Signal::SIGSTOP);
        wait_until(|| state(child.id(), start) == ProcessState::Stopped);
        child.signal(Signal::SIGKILL);
        wait_until(|| state(child.id(), start) == ProcessState::Zombie);
        let pid = child.id();
        drop(child);
        assert_eq!(state(pid, start), ProcessState::Gone);
        assert_eq!(start_time(pid), None);
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
        // The child reports its answer by whether it became ready.
        Child::pausing(move || fork_generation() != parent);
    }
}
