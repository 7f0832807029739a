//! Decides which process may write to a pipe or a socket that several processes share.
//!
//! The locks are two bytes of the pipe or socket itself, through any descriptor that a process has of it: POSIX
//! record locks, which belong to the process. So they work also where two processes have inherited one open file
//! description, which flock and open file description locks treat as a single holder. The kernel releases a
//! process's locks when it ends, and also when it closes *any* descriptor of the same pipe: so the standard
//! descriptors stay open to the end.
//!
//! A process takes `NEXT`, then `WRITER`, then releases `NEXT`: so one of the processes that want to write is
//! next, and the writer sees that another process waits.

use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use super::super::liveness::one_byte;

/// The byte that the writing process locks.
const WRITER: libc::off_t = 0;
/// The byte that the next writing process locks.
const NEXT: libc::off_t = 1;

/// The state of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamLock {
    /// It does not write.
    #[default]
    Free,
    /// It writes next.
    Next,
    /// It may write.
    Held,
    /// The system refuses such locks: all may write.
    Refused,
}

impl StreamLock {
    /// Tries to get closer to `Held`. True: this process may write.
    pub fn try_acquire(&mut self, fd: impl AsFd) -> bool {
        if *self == StreamLock::Free {
            self.take(&fd, NEXT, StreamLock::Next);
        }
        if *self == StreamLock::Next {
            self.take(&fd, WRITER, StreamLock::Held);
            if *self != StreamLock::Next {
                let _ = set(&fd, libc::F_UNLCK, NEXT);
            }
        }
        matches!(self, StreamLock::Held | StreamLock::Refused)
    }

    fn take(&mut self, fd: impl AsFd, byte: libc::off_t, then: StreamLock) {
        match set(fd, libc::F_WRLCK, byte) {
            Ok(()) => *self = then,
            Err(Errno::EAGAIN | Errno::EACCES) => {}
            Err(_) => *self = StreamLock::Refused,
        }
    }

    /// Whether this process may write, and others wait for it to finish.
    pub fn is_held(self) -> bool {
        self == StreamLock::Held
    }

    /// Whether another process waits to write.
    pub fn is_wanted(self, fd: impl AsFd) -> bool {
        let mut answer = one_byte(libc::F_WRLCK, NEXT);
        fcntl(fd, FcntlArg::F_GETLK(&mut answer))
            .is_ok_and(|_| answer.l_type != libc::F_UNLCK as libc::c_short)
    }

    /// Lets others write.
    pub fn release(&mut self, fd: impl AsFd) {
        let byte = match self {
            StreamLock::Held => WRITER,
            StreamLock::Next => NEXT,
            StreamLock::Free | StreamLock::Refused => return,
        };
        let _ = set(fd, libc::F_UNLCK, byte);
        *self = StreamLock::Free;
    }
}

fn set(fd: impl AsFd, kind: libc::c_int, byte: libc::off_t) -> nix::Result<()> {
    fcntl(fd, FcntlArg::F_SETLK(&one_byte(kind, byte))).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::Child;
    use nix::sys::signal::Signal;

    /// The child has inherited the same open file description.
    #[test]
    fn one_process_with_a_shared_description_writes_and_its_death_admits_the_next() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let child = Child::keeping(Some(writer.as_fd()), || StreamLock::default().try_acquire(&writer));
        let mut own = StreamLock::default();
        assert!(!own.try_acquire(&writer) && own == StreamLock::Next);
        child.signal(Signal::SIGKILL);
        drop(child);
        assert!(own.try_acquire(&writer) && own.is_held());
    }

    #[test]
    fn a_writer_sees_the_next_process_and_a_third_one_cannot_overtake_it() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut own = StreamLock::default();
        assert!(own.try_acquire(&writer) && !own.is_wanted(&writer));
        let next = Child::keeping(Some(writer.as_fd()), || {
            let mut lock = StreamLock::default();
            !lock.try_acquire(&writer) && lock == StreamLock::Next
        });
        assert!(own.is_wanted(&writer));
        own.release(&writer);
        assert!(!own.try_acquire(&writer) && own == StreamLock::Free, "the other one is before it");
        drop(next);
        assert!(own.try_acquire(&writer));
    }

    #[test]
    fn where_the_system_refuses_locks_all_may_write() {
        // Open for reading alone.
        let file = std::fs::File::open("/proc/self/exe").unwrap();
        let mut lock = StreamLock::default();
        assert!(lock.try_acquire(&file) && !lock.is_held());
    }
}
