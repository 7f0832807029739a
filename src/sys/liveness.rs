//! Tells whether a participant is alive, by a lock that the kernel releases.
//!
//! Each participant holds a write lock on one byte of the segment's file, by its number, through an open file
//! description of its own (`F_OFD_SETLK`). The kernel releases the lock when the process is gone, however it
//! ended, also across PID namespaces and after the name was removed. A free byte means *certainly dead*; a held
//! one means *may be alive*: a stopped process is alive.
//!
//! Traps, each of which has been seen:
//!
//! - A lock reads as free through the descriptor that holds it, and through a forked child's copy of that.
//!   So every lock has a freshly opened description, answers itself for its own number, and refuses to
//!   answer in a child.
//! - A lock outlives its process while a forked child keeps a copy of the descriptor, and outlives `close`
//!   while memory is mapped through it. So the descriptor is close-on-exec and never used to map.
//! - A program may close descriptors that it has not opened (`close_range(3, MAX)`, as daemons do). The number
//!   is then free, or means another file, on which nothing is locked. So before a free byte counts as a death,
//!   the descriptor must still be the description that was opened: by device, inode and its offset, which no
//!   other description has. If it is not, the answer is [`Error::Evicted`], and no participant counts as dead.
#![cfg_attr(test, allow(unsafe_code))]

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
    sys::stat::fstat,
    unistd::{Whence, lseek},
};

use super::process;
use crate::{Error, Result};

/// The locked bytes lie far beyond any segment's end, where no other program locks by accident.
const FIRST_BYTE: libc::off_t = 1 << 40;

/// Locked by the process that creates a segment under its name; see [`segment`](super::segment).
pub(super) const CREATION: libc::off_t = FIRST_BYTE - 1;
/// Locked by the process that removes a segment's name.
pub(super) const REMOVAL: libc::off_t = FIRST_BYTE - 2;

/// The first of the bytes that death watchers lock, below the participants' own.
const FIRST_SEAT: libc::off_t = FIRST_BYTE - 4096;

/// A description of the segment's file. It can tell when its descriptor's number has come to mean another file.
#[derive(Debug)]
struct Description {
    /// `None` only during `drop`.
    fd: Option<OwnedFd>,
    /// Device and inode.
    file: (u64, u64),
    /// Its file offset. Nothing reads or writes through it, so the offset never moves.
    offset: libc::off_t,
}

/// The offset of the next description: no two descriptions of a process have the same.
static NEXT_OFFSET: AtomicI64 = AtomicI64::new(FIRST_BYTE);

impl Description {
    fn new(fd: OwnedFd) -> Result<Self> {
        let failed = |errno| Error::io("marking a descriptor of the segment", errno);
        let file = file_of(fd.as_fd()).map_err(failed)?;
        // Relaxed: a number that no other description of this process has; it orders nothing.
        let offset = NEXT_OFFSET.fetch_add(1, Ordering::Relaxed);
        lseek(&fd, offset, Whence::SeekSet).map_err(failed)?;
        Ok(Description { fd: Some(fd), file, offset })
    }

    /// The descriptor, if it still refers to this description.
    fn checked(&self) -> Option<BorrowedFd<'_>> {
        let fd = self.fd.as_ref()?.as_fd();
        let same = lseek(fd, 0, Whence::SeekCur) == Ok(self.offset) && file_of(fd) == Ok(self.file);
        same.then_some(fd)
    }

    /// Whether a byte is locked through another description.
    fn is_locked(&self, byte: libc::off_t) -> Result<bool> {
        // A free byte is certain only through this same description: see the traps above.
        match self.fd.as_ref().map(|fd| is_locked(fd.as_fd(), byte)) {
            Some(Ok(true)) => Ok(true),
            Some(Ok(false)) if self.checked().is_some() => Ok(false),
            Some(Err(error)) if self.checked().is_some() => Err(error),
            _ => Err(Error::Evicted),
        }
    }
}

impl Drop for Description {
    /// Leaves the descriptor open if its number means another file now: that file's owner closes it.
    fn drop(&mut self) {
        if self.checked().is_none()
            && let Some(fd) = self.fd.take()
        {
            let _ = fd.into_raw_fd();
        }
    }
}

fn file_of(fd: BorrowedFd<'_>) -> nix::Result<(u64, u64)> {
    fstat(fd).map(|stat| (stat.st_dev, stat.st_ino))
}

/// One byte, locked through a description of its own for as long as this value lives.
#[derive(Debug)]
struct HeldByte {
    description: Description,
    byte: libc::off_t,
    generation: u32,
}

impl HeldByte {
    /// Returns the descriptor if another description has locked the byte.
    fn try_acquire(fd: OwnedFd, byte: libc::off_t) -> Result<Result<Self, OwnedFd>> {
        if try_lock(fd.as_fd(), byte)? {
            let description = Description::new(fd)?;
            Ok(Ok(HeldByte { description, byte, generation: process::fork_generation() }))
        } else {
            Ok(Err(fd))
        }
    }
}

impl HeldByte {
    /// Releases the byte at once, even while a forked child keeps a copy of the descriptor. In that child it only
    /// closes the copy: the lock belongs to the parent.
    fn release(&self) {
        if self.generation == process::fork_generation()
            && let Some(fd) = self.description.checked()
        {
            // Closing also unlocks, except while such copies exist.
            let _ = unlock(fd, self.byte);
        }
    }
}

impl Drop for HeldByte {
    fn drop(&mut self) {
        self.release();
    }
}

/// A death watcher's seat at a segment, taken for as long as this value lives.
#[derive(Debug)]
pub struct Seat(HeldByte);

impl Seat {
    /// Takes seat `index`, or returns the descriptor if another watcher has it. Indexes that are equal modulo 2048
    /// are the same seat.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses locks altogether.
    pub fn try_take(fd: OwnedFd, index: u32) -> Result<Result<Seat, OwnedFd>> {
        let byte = FIRST_SEAT + libc::off_t::from(index % 2048);
        Ok(HeldByte::try_acquire(fd, byte)?.map(Seat))
    }

    /// An observer that asks about participants through the seat's description, which holds no participant's byte.
    ///
    /// # Errors
    /// [`Error::Io`] when the process has too many descriptors; [`Error::Evicted`] when this one was closed.
    pub fn observer(&self) -> Result<Observer> {
        let Description { file, offset, .. } = self.0.description;
        let fd = self.0.description.checked().ok_or(Error::Evicted)?;
        let fd = fd.try_clone_to_owned().map_err(|error| Error::io("copying a descriptor", error))?;
        Ok(Observer(Description { fd: Some(fd), file, offset }))
    }
}

/// A participant number, taken for as long as this value lives.
#[derive(Debug)]
pub struct ParticipantLock {
    held: HeldByte,
    number: u32,
    /// Set once the descriptor was found to refer to another file.
    lost: AtomicBool,
}

impl ParticipantLock {
    /// Takes a participant number, or returns the descriptor if a living process has the number.
    ///
    /// The descriptor must come from [`Segment::reopen`](super::segment::Segment::reopen) and serve nothing
    /// else.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses locks altogether.
    pub fn try_acquire(fd: OwnedFd, number: u32) -> Result<Result<ParticipantLock, OwnedFd>> {
        Ok(HeldByte::try_acquire(fd, byte_of(number))?.map(|held| {
            let lost = AtomicBool::new(false);
            ParticipantLock { held, number, lost }
        }))
    }

    /// The participant number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The descriptor, if it is still the one that holds the number. While any process has a copy of it open, the
    /// number stays taken, until [`release`](Self::release).
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.held.description.checked()
    }

    /// Releases the number before this value is dropped: its holder has freed its entry and asks no more about
    /// itself.
    pub fn release(&self) {
        self.held.release();
    }

    /// Whether the holder of a number may be alive; false only if there certainly is none.
    ///
    /// Takes under a microsecond; for its own number the answer is immediate.
    ///
    /// # Errors
    /// [`Error::Forked`] in a child of the process that made this; [`Error::Io`] when the system refuses;
    /// [`Error::Evicted`] when the descriptor that holds the number was closed by the rest of the program.
    pub fn is_alive(&self, other: u32) -> Result<bool> {
        if self.held.generation != process::fork_generation() {
            return Err(Error::Forked);
        }
        Ok(other == self.number || self.is_locked(byte_of(other))?)
    }

    fn is_locked(&self, byte: libc::off_t) -> Result<bool> {
        let answer = self.held.description.is_locked(byte);
        if matches!(answer, Err(Error::Evicted)) {
            self.lost.store(true, Ordering::Relaxed); // Relaxed: read by its own handle.
        }
        answer
    }

    /// Whether the descriptor that holds the number is still open.
    pub fn is_held(&self) -> bool {
        self.held.description.checked().is_some()
    }

    /// Whether an answer of [`is_alive`](Self::is_alive) has shown that the number is no longer held: other code
    /// of the program closed the descriptor.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed) // Relaxed: as above.
    }
}

/// Asks whether participants are alive, through a description that holds no number itself.
#[derive(Debug)]
pub struct Observer(Description);

impl Observer {
    /// Asks through `fd`, a descriptor of the segment's file that serves nothing else.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn new(fd: OwnedFd) -> Result<Self> {
        Description::new(fd).map(Observer)
    }

    /// An observer whose descriptor refers to another file by now.
    #[cfg(test)]
    pub fn lost(fd: OwnedFd) -> Self {
        Observer(Description { fd: Some(fd), file: (0, 0), offset: 0 })
    }

    /// Whether any process holds a number.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses; [`Error::Evicted`] when the descriptor was closed by the rest of the
    /// program.
    pub fn is_held(&self, number: u32) -> Result<bool> {
        self.0.is_locked(byte_of(number))
    }
}

fn byte_of(number: u32) -> libc::off_t {
    FIRST_BYTE + libc::off_t::from(number)
}

/// Locks one byte unless another description has locked it.
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

/// Whether a participant's number is locked through another open file description.
pub(super) fn is_taken(fd: BorrowedFd<'_>, number: u32) -> Result<bool> {
    is_locked(fd, byte_of(number))
}

/// Whether a byte is locked through another open file description.
pub(super) fn is_locked(fd: BorrowedFd<'_>, byte: libc::off_t) -> Result<bool> {
    let mut answer = one_byte(libc::F_WRLCK, byte);
    match fcntl(fd, FcntlArg::F_OFD_GETLK(&mut answer)) {
        Ok(_) => Ok(answer.l_type != libc::F_UNLCK as libc::c_short),
        Err(errno) => Err(Error::io("asking for a lock of the segment", errno)),
    }
}

pub(super) fn one_byte(kind: libc::c_int, byte: libc::off_t) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: byte,
        l_len: 1,
        // The system requires zero for open-file-description locks.
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{
        segment::Segment,
        testing::{Child, TestName, wait_until},
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
    fn a_released_number_is_free_before_its_value_is_dropped() {
        let (_name, segment) = segment();
        let first = acquire(&segment, 0);
        first.release();
        let second = acquire(&segment, 0);
        drop(first);
        assert!(acquire(&segment, 1).is_alive(0).unwrap(), "releasing one number releases no other");
        drop(second);
    }

    #[test]
    fn a_taken_number_returns_the_descriptor_for_the_next_attempt() {
        let (_name, segment) = segment();
        let _first = acquire(&segment, 0);
        let fd = ParticipantLock::try_acquire(segment.reopen().unwrap(), 0).unwrap().unwrap_err();
        assert_eq!(ParticipantLock::try_acquire(fd, 1).unwrap().unwrap().number(), 1);
    }

    #[test]
    fn a_stopped_process_is_alive_and_a_killed_one_is_not() {
        let (name, segment) = segment();
        let (own, observer) = (acquire(&segment, 0), Observer::new(segment.reopen().unwrap()).unwrap());
        let theirs = segment.reopen().unwrap();
        let child = {
            // Opened before the fork, so that the child only locks.
            let theirs = theirs.as_fd();
            Child::keeping(Some(theirs), || try_lock(theirs, byte_of(7)).unwrap_or(false))
        };
        // From here on only the child has the description.
        drop(theirs);
        child.signal(Signal::SIGSTOP);
        std::fs::remove_file(name.path()).unwrap();
        assert!(own.is_alive(7).unwrap());
        assert!(observer.is_held(7).unwrap() && observer.is_held(0).unwrap());
        child.signal(Signal::SIGKILL);
        wait_until(|| !own.is_alive(7).unwrap());
        assert!(!observer.is_held(7).unwrap());
    }

    /// Makes a descriptor refer to another file, as a program does that closes it and opens something.
    fn replace(fd: &OwnedFd, by: BorrowedFd<'_>) {
        // SAFETY: both are open; the first is not used as what it was any more.
        assert_eq!(unsafe { libc::dup3(by.as_raw_fd(), fd.as_raw_fd(), libc::O_CLOEXEC) }, fd.as_raw_fd());
    }

    #[test]
    fn a_descriptor_that_refers_to_another_file_reports_no_death() {
        let (_name, segment) = segment();
        let same = segment.reopen().unwrap();
        let other = std::fs::File::open("/dev/null").unwrap();
        for by in [other.as_fd(), same.as_fd()] {
            let (lock, observer) = (acquire(&segment, 3), Observer::new(segment.reopen().unwrap()).unwrap());
            assert!(!lock.is_alive(4).unwrap() && !observer.is_held(4).unwrap());
            replace(lock.held.description.fd.as_ref().unwrap(), by);
            replace(observer.0.fd.as_ref().unwrap(), by);
            assert!(matches!(lock.is_alive(4), Err(Error::Evicted)));
            assert!(matches!(observer.is_held(4), Err(Error::Evicted)));
        }
    }

    #[test]
    fn dropping_a_lock_with_a_closed_descriptor_closes_and_unlocks_no_other_file() {
        let (_name, segment) = segment();
        let lock = acquire(&segment, 3);
        let number = lock.held.description.fd.as_ref().unwrap().as_raw_fd();
        let next = segment.reopen().unwrap();
        replace(lock.held.description.fd.as_ref().unwrap(), next.as_fd());
        assert!(try_lock(next.as_fd(), byte_of(3)).unwrap(), "its lock went with its descriptor");
        drop(lock);
        assert!(Observer::new(segment.reopen().unwrap()).unwrap().is_held(3).unwrap());
        // SAFETY: asks whether the number is open.
        assert!(unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0);
    }

    #[test]
    fn in_a_forked_child_the_lock_refuses_to_answer() {
        let (_name, segment) = segment();
        let lock = acquire(&segment, 0);
        Child::pausing(|| matches!(lock.is_alive(1), Err(Error::Forked)));
        assert!(!lock.is_alive(1).unwrap());
    }

    #[test]
    fn a_forked_child_neither_releases_the_parents_number_nor_keeps_it() {
        let (_name, segment) = segment();
        let (lock, observer) = (acquire(&segment, 5), Observer::new(segment.reopen().unwrap()).unwrap());
        let descriptor = lock.held.description.checked().unwrap().as_raw_fd();
        // SAFETY: used only while `lock` lives, and in the child, which keeps this descriptor open.
        let kept = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let mut lock = Some(lock);
        let first = Child::keeping(Some(kept), || {
            drop(lock.take());
            true
        });
        assert!(observer.is_held(5).unwrap());
        drop(first);
        let _second = Child::keeping(Some(kept), || true);
        drop(lock);
        assert!(!observer.is_held(5).unwrap());
    }
}
