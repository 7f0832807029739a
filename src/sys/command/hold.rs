//! A background process that holds an item for a shell script: how it starts, how it learns that the script ended, and
//! how commands reach it.
//!
//! Commands reach it through an abstract Unix socket: the kernel removes that with the process, so a killed holder leaves
//! nothing behind. Abstract names have no permissions and every user can list them, so both ends compare the user of the
//! other end, which the kernel records.
#![allow(unsafe_code)]

use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use nix::errno::Errno;
use nix::unistd::{ForkResult, Pid, fork, getppid, getsid, setsid};

use super::super::descriptors::{close_all_but, close_range};
use super::super::watch::pidfd;
use super::signal::keep_children;

/// The two processes after [`start`].
#[derive(Debug)]
pub enum Side {
    /// This is the command's own process; with the id of the holder, its child.
    Command(Pid),
    /// The holder.
    Holder,
}

/// Starts the holder: a fork in a session of its own, in the root directory, with none of the descriptors of this process
/// but standard error and `keep`. Standard input and output are /dev/null.
///
/// Call it while the process has one thread, and before it attaches to a ring: a forked copy of a ring's descriptors
/// would keep the locks of a dead process held.
///
/// # Errors
/// The error of the system: no process, or no /dev/null.
pub fn start(keep: [BorrowedFd<'_>; 2]) -> io::Result<Side> {
    keep_children()?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    // SAFETY: there is one thread, as documented, so the child may do what any process may.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(Side::Command(child)),
        ForkResult::Child => {
            // A session of its own: no signal of the terminal or of the script's group ends it. Fails only for the leader
            // of a group, which a new process is not.
            let _ = setsid();
            // If this fails, the directory stays in use.
            let _ = std::env::set_current_dir("/");
            // SAFETY: system calls; the name is a constant string, and the descriptors that are closed belong to no object
            // of this process: its caller keeps those in `keep` only.
            unsafe {
                libc::prctl(libc::PR_SET_NAME, c"ringpipe-hold".as_ptr());
                for standard in [0, 1] {
                    // Cannot fail: both are open. If it did, the command would find the holder dead.
                    if libc::dup2(null.as_raw_fd(), standard) < 0 {
                        libc::_exit(1);
                    }
                }
            }
            drop(null);
            let mut keep = keep.map(|fd| fd.as_raw_fd());
            keep.sort_unstable();
            close_all_but(3, &keep, close_range);
            Ok(Side::Holder)
        }
    }
}

/// Replaces standard error of this process by /dev/null, so that a reader of the script's messages does not wait for it.
///
/// # Errors
/// The error of the system.
pub fn release_stderr() -> io::Result<()> {
    // SAFETY: both are standard descriptors, which `start` opened or kept.
    match unsafe { libc::dup2(1, 2) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A process for whose life an item is held. Its descriptor becomes readable when the process has ended.
#[derive(Debug)]
pub struct Lifeline(OwnedFd);

impl Lifeline {
    /// The parent of this process. `None`: it cannot be told which process that was.
    ///
    /// If the parent has ended already, the parent is now init or another reaper of orphans, which may live as long as the
    /// system. Those have another session than this process. So a parent of another session is not accepted.
    ///
    /// # Errors
    /// The error of the system.
    pub fn parent() -> io::Result<Option<Self>> {
        let parent = getppid();
        // 0: the parent is in an outer PID namespace.
        if parent.as_raw() == 0 {
            return Ok(None);
        }
        let opened = match Self::of(parent.as_raw()) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            opened => opened?,
        };
        let same_session = getsid(Some(parent)).ok() == getsid(None).ok();
        // If the parent is still the same one, it lived when it was opened, so the number was not another process's.
        Ok((same_session && getppid() == parent).then_some(opened))
    }

    /// The process with this id.
    ///
    /// # Errors
    /// The error of the system: `ESRCH` if there is none.
    pub fn of(pid: i32) -> io::Result<Self> {
        Ok(Lifeline(pidfd(pid)?))
    }
}

impl AsFd for Lifeline {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Listens for commands under this name.
///
/// # Errors
/// The error of the system.
pub fn listen(name: &str) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

/// Connects to the process that listens under this name. `None`: there is none.
///
/// # Errors
/// The error of the system.
pub fn connect(name: &str) -> io::Result<Option<UnixStream>> {
    match UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
        connected => connected.map(Some),
    }
}

/// The effective user of the process at the other end, at the time when that process connected or began to
/// listen.
///
/// # Errors
/// The error of the system.
pub fn peer_user(stream: &UnixStream) -> io::Result<u32> {
    // SAFETY: all zeros is a valid `ucred`.
    let mut peer: libc::ucred = unsafe { mem::zeroed() };
    let mut size = mem::size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `size` bytes to `peer`, and the number of them to `size`; both are locals.
    let result = unsafe {
        let place = (&raw mut peer).cast();
        libc::getsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, place, &mut size)
    };
    match result {
        0 => Ok(peer.uid),
        _ => Err(Errno::last().into()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn has_ended(lifeline: &Lifeline, wait: PollTimeout) -> bool {
        poll(&mut [PollFd::new(lifeline.as_fd(), PollFlags::POLLIN)], wait).unwrap() == 1
    }

    #[test]
    fn a_lifeline_tells_the_end_of_its_process() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let lifeline = Lifeline::of(child.id() as i32).unwrap();
        assert!(!has_ended(&lifeline, PollTimeout::ZERO));
        drop(child.stdin.take());
        assert!(has_ended(&lifeline, PollTimeout::NONE));
        child.wait().unwrap();
        assert_eq!(Lifeline::of(child.id() as i32).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn the_two_ends_know_each_others_user_and_a_name_without_a_listener_is_no_error() {
        let name = format!("ringpipe-test-{}", std::process::id());
        assert!(connect(&name).unwrap().is_none());
        let listener = listen(&name).unwrap();
        let client = connect(&name).unwrap().unwrap();
        let (server, _) = listener.accept().unwrap();
        let own = nix::unistd::geteuid().as_raw();
        assert_eq!((peer_user(&client).unwrap(), peer_user(&server).unwrap()), (own, own));
        drop(listener);
        assert!(connect(&name).unwrap().is_none());
    }
}
