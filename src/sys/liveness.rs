//! Who is alive, as the kernel knows it.
//!
//! Each participant holds a write lock on one byte of the segment's file, by its number, through an open
//! file description of its own (`F_OFD_SETLK`). The kernel lets go of it when the process is gone, however
//! it went, also across PID namespaces and after the name was removed. A free byte means *certainly dead*;
//! a held one means *may be alive*: a stopped process is alive.
//!
//! Traps, each of which has been seen:
//!
//! - One's own lock reads as free through one's own descriptor, and a parent's through a forked child's
//!   copy. So every lock has a freshly opened description, asks about itself first, and refuses to answer
//!   in a child.
//! - A lock outlives its process while a forked child keeps a copy of the descriptor, and outlives `close`
//!   while memory is mapped through it. So the descriptor is close-on-exec and never used to map.
#![cfg_attr(test, allow(unsafe_code))]

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
};

use super::process;
use crate::{Error, Result};

/// The locked bytes lie far beyond any segment's end, where nobody locks by accident.
const FIRST_BYTE: libc::off_t = 1 << 40;

/// Held by the one who is making a segment under its name; see [`segment`](super::segment).
pub(super) const CREATION: libc::off_t = FIRST_BYTE - 1;
/// Held by the one who is removing a segment's name.
pub(super) const REMOVAL: libc::off_t = FIRST_BYTE - 2;

/// The first of the bytes that are held by those who watch for deaths, below the participants' own.
const FIRST_SEAT: libc::off_t = FIRST_BYTE - 4096;

/// One byte, locked through a description of its own for as long as this value lives.
#[derive(Debug)]
struct HeldByte {
    fd: OwnedFd,
    byte: libc::off_t,
    generation: u32,
}

impl HeldByte {
    /// Gives the descriptor back if somebody else has the byte.
    fn try_acquire(fd: OwnedFd, byte: libc::off_t) -> Result<Result<Self, OwnedFd>> {
        if try_lock(fd.as_fd(), byte)? {
            Ok(Ok(HeldByte { fd, byte, generation: process::fork_generation() }))
        } else {
            Ok(Err(fd))
        }
    }
}

impl Drop for HeldByte {
    /// Gives the byte back at once, also while a forked child keeps a copy of the descriptor. In that child
    /// only the copy goes: the lock is the parent's.
    fn drop(&mut self) {
        if self.generation == process::fork_generation() {
            // Closing does the same, but for such copies.
            let _ = unlock(self.fd.as_fd(), self.byte);
        }
    }
}

/// A place among those who watch a segment's participants for deaths, taken for as long as this value lives.
#[derive(Debug)]
pub struct Seat(HeldByte);

impl Seat {
    /// Takes seat `index`, or gives the descriptor back if somebody has it. Seats are told apart by their index
    /// modulo 2048.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses locks altogether.
    pub fn try_take(fd: OwnedFd, index: u32) -> Result<Result<Seat, OwnedFd>> {
        let byte = FIRST_SEAT + libc::off_t::from(index % 2048);
        Ok(HeldByte::try_acquire(fd, byte)?.map(Seat))
    }

    /// The description that holds it, through which one may ask about participants: it is none of theirs.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

/// A participant number, taken for as long as this value lives.
#[derive(Debug)]
pub struct ParticipantLock {
    held: HeldByte,
    number: u32,
}

impl ParticipantLock {
    /// Takes a participant number, or gives the descriptor back if a living process has it.
    ///
    /// The descriptor must come from [`Segment::reopen`](super::segment::Segment::reopen) and serve nothing
    /// else.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses locks altogether.
    pub fn try_acquire(fd: OwnedFd, number: u32) -> Result<Result<ParticipantLock, OwnedFd>> {
        Ok(HeldByte::try_acquire(fd, byte_of(number))?.map(|held| ParticipantLock { held, number }))
    }

    /// The participant number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Whether the holder of a number may be alive; false only if there certainly is none.
    ///
    /// Takes under a microsecond; the own number is answered at once.
    ///
    /// # Errors
    /// [`Error::Forked`] in a child of the process that made this; [`Error::Io`] when the system refuses.
    pub fn is_alive(&self, other: u32) -> Result<bool> {
        if self.held.generation != process::fork_generation() {
            return Err(Error::Forked);
        }
        Ok(other == self.number || is_held(self.held.fd.as_fd(), other)?)
    }
}

/// Whether any process holds a number, for observers: asked through a descriptor that holds none itself.
///
/// # Errors
/// [`Error::Io`] when the system refuses.
pub fn is_held(fd: BorrowedFd<'_>, number: u32) -> Result<bool> {
    is_locked(fd, byte_of(number))
}

fn byte_of(number: u32) -> libc::off_t {
    FIRST_BYTE + libc::off_t::from(number)
}

/// Locks one byte unless somebody else has it.
pub(super) fn try_lock(fd: BorrowedFd<'_>, byte: libc::off_t) -> Result<bool> {
    match fcntl(fd, FcntlArg::F_OFD_SETLK(&one_byte(libc::F_WRLCK, byte))) {
        Ok(_) => Ok(true),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(errno) => Err(Error::io("locking a byte of the segment", errno)),
    }
}

/// Unlocks one byte.
pub(super) fn unlock(fd: BorrowedFd<'_>, byte: libc::off_t) -> Result<()> {
    match fcntl(fd, FcntlArg::F_OFD_SETLK(&one_byte(libc::F_UNLCK, byte))) {
        Ok(_) => Ok(()),
        Err(errno) => Err(Error::io("unlocking a byte of the segment", errno)),
    }
}

/// Whether a byte is locked through another open file description.
pub(super) fn is_locked(fd: BorrowedFd<'_>, byte: libc::off_t) -> Result<bool> {
    let mut answer = one_byte(libc::F_WRLCK, byte);
    match fcntl(fd, FcntlArg::F_OFD_GETLK(&mut answer)) {
        Ok(_) => Ok(answer.l_type != libc::F_UNLCK as libc::c_short),
        Err(errno) => Err(Error::io("asking for a lock of the segment", errno)),
    }
}

fn one_byte(kind: libc::c_int, byte: libc::off_t) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
        l_len: 1,
        // Open-file-description locks require it to be zero.
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{
        segment::Segment,
        testing::{Child, TestName},
    };
    use nix::sys::signal::Signal;
    use std::os::fd::AsRawFd;

    fn segment() -> (TestName, Segment) {
        let name = TestName::new();
        let segment = Segment::create(&name.0, 4096, 0o600, |_, _| Ok(1)).unwrap();
        (name, segment)
    }

    fn acquire(segment: &Segment, number: u32) -> ParticipantLock {
        ParticipantLock::try_acquire(segment.reopen().unwrap(), number).unwrap().unwrap()
    }

    #[test]
    fn own_number_is_alive_and_a_free_one_is_not() {
        let (_name, segment) = segment();
        let lock = acquire(&segment, 3);
        assert_eq!(lock.number(), 3);
        assert!(lock.is_alive(3).unwrap());
        assert!(!lock.is_alive(2).unwrap());
        assert!(!lock.is_alive(u32::MAX).unwrap());
    }

    #[test]
    fn two_descriptors_in_one_process_see_each_other() {
        let (_name, segment) = segment();
        let (first, second) = (acquire(&segment, 0), acquire(&segment, 1));
        assert!(first.is_alive(1).unwrap() && second.is_alive(0).unwrap());
        drop(first);
        assert!(!second.is_alive(0).unwrap());
    }

    #[test]
    fn a_taken_number_gives_the_descriptor_back_for_the_next_one() {
        let (_name, segment) = segment();
        let _first = acquire(&segment, 0);
        let fd = ParticipantLock::try_acquire(segment.reopen().unwrap(), 0).unwrap().unwrap_err();
        assert_eq!(ParticipantLock::try_acquire(fd, 1).unwrap().unwrap().number(), 1);
    }

    #[test]
    fn a_stopped_process_is_alive_and_a_killed_one_is_not() {
        let (name, segment) = segment();
        let (own, observer) = (acquire(&segment, 0), segment.reopen().unwrap());
        let theirs = segment.reopen().unwrap();
        let child = {
            // Made before the fork, so that the child does nothing but lock.
            let theirs = theirs.as_fd();
            Child::keeping(Some(theirs), || try_lock(theirs, byte_of(7)).unwrap_or(false))
        };
        // The description is the child's alone from here on.
        drop(theirs);
        child.signal(Signal::SIGSTOP);
        std::fs::remove_file(name.path()).unwrap();
        assert!(own.is_alive(7).unwrap());
        assert!(is_held(observer.as_fd(), 7).unwrap() && is_held(observer.as_fd(), 0).unwrap());
        child.signal(Signal::SIGKILL);
        child.wait_until(|| !own.is_alive(7).unwrap());
        assert!(!is_held(observer.as_fd(), 7).unwrap());
    }

    #[test]
    fn in_a_forked_child_the_lock_refuses_to_answer() {
        let (_name, segment) = segment();
        let lock = acquire(&segment, 0);
        Child::pausing(|| matches!(lock.is_alive(1), Err(Error::Forked)));
        assert!(!lock.is_alive(1).unwrap());
    }

    #[test]
    fn a_forked_child_neither_gives_the_parents_number_back_nor_keeps_it_taken() {
        let (_name, segment) = segment();
        let (lock, observer) = (acquire(&segment, 5), segment.reopen().unwrap());
        let descriptor = lock.held.fd.as_raw_fd();
        // SAFETY: used only while `lock` lives, and in the child, which keeps this descriptor open.
        let kept = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let mut lock = Some(lock);
        let first = Child::keeping(Some(kept), || {
            drop(lock.take());
            true
        });
        assert!(is_held(observer.as_fd(), 5).unwrap());
        drop(first);
        let _second = Child::keeping(Some(kept), || true);
        drop(lock);
        assert!(!is_held(observer.as_fd(), 5).unwrap());
    }
}
