//! Records that a process waits for a ring that does not exist yet.
//!
//! The waiting process holds a read lock on one byte of the directory of all segments, chosen by a hash of the
//! name, through an open file description of its own. It takes the lock before it first looks for the ring, and
//! keeps it until it attaches to the ring or gives up. The last process to leave a ring checks for such locks
//! before it removes the name: so a process that waited before then finds the ring, or its end. The kernel
//! releases the lock when the process ends, and [`Awaited`] releases it when dropped, even while a forked child
//! keeps a copy of the descriptor.
//!
//! The lock leaves no file behind. It works for all users that may read the directory, in all PID namespaces that
//! share it. Where the directory cannot be read, processes wait for names, and remove them, without it.

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::liveness::{is_locked, one_byte, unlock};
use super::name::RingName;
use super::process::fork_generation;
use super::segment::DIRECTORY;
use crate::{Error, Result};

/// Shows that this process waits for a name, for as long as this value lives.
#[derive(Debug)]
pub struct Awaited {
    directory: File,
    byte: libc::off_t,
    /// The [`fork_generation`] of the process that took the lock.
    generation: u32,
}

impl Awaited {
    /// Waits for `name` from now on.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be read, or the system refuses locks.
    pub fn new(name: &RingName) -> Result<Self> {
        let (directory, byte) = (open()?, byte_of(name));
        match fcntl(directory.as_fd(), FcntlArg::F_OFD_SETLK(&one_byte(libc::F_RDLCK, byte))) {
            Ok(_) => Ok(Awaited { directory, byte, generation: fork_generation() }),
            Err(errno) => Err(Error::io(format!("locking a byte of {DIRECTORY}"), errno)),
        }
    }
}

impl Drop for Awaited {
    /// Does nothing in a forked child: the lock belongs to its parent.
    fn drop(&mut self) {
        if self.generation == fork_generation() {
            // If this fails, the lock ends with the last copy of the descriptor.
            let _ = unlock(self.directory.as_fd(), self.byte);
        }
    }
}

/// Whether any process, including this one, waits for `name`.
///
/// # Errors
/// As [`Awaited::new`].
pub fn is_awaited(name: &RingName) -> Result<bool> {
    is_locked(open()?.as_fd(), byte_of(name))
}

fn open() -> Result<File> {
    let flags = (OFlag::O_DIRECTORY | OFlag::O_CLOEXEC).bits();
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(DIRECTORY);
    opened.map_err(|error| Error::io(format!("opening {DIRECTORY}"), error))
}

/// The byte for a name: FNV-1a, cut to 62 bits. Two names with the same byte only delay a removal.
fn byte_of(name: &RingName) -> libc::off_t {
    let hash = name.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 2) as libc::off_t
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use std::os::fd::{AsRawFd, BorrowedFd};

    use super::*;
    use crate::sys::testing::{Child, TestName};

    #[test]
    fn a_name_is_awaited_while_at_least_one_waiter_lives() {
        let (one, other) = (TestName::new(), TestName::new());
        assert!(!is_awaited(&one.0).unwrap());
        let (first, second) = (Awaited::new(&one.0).unwrap(), Awaited::new(&one.0).unwrap());
        drop(first);
        assert!(is_awaited(&one.0).unwrap() && !is_awaited(&other.0).unwrap());
        drop(second);
        assert!(!is_awaited(&one.0).unwrap());
    }
    #[test]
    fn a_forked_child_neither_ends_its_parents_wait_nor_prolongs_it() {
        let name = TestName::new();
        let mut awaited = Some(Awaited::new(&name.0).unwrap());
        let number = awaited.as_ref().unwrap().directory.as_raw_fd();
        // SAFETY: used only while `awaited` lives, and in the children, which keep this descriptor open.
        let kept = unsafe { BorrowedFd::borrow_raw(number) };
        let first = Child::keeping(Some(kept), || {
            drop(awaited.take());
            true
        });
        assert!(is_awaited(&name.0).unwrap());
        drop(first);
        let _second = Child::keeping(Some(kept), || true);
        drop(awaited);
        assert!(!is_awaited(&name.0).unwrap());
    }
}
