//! Process-shared POSIX semaphores in shared memory: to sleep and to wake, never to count the truth.
//!
//! Every call does one thing and returns: nothing loops here. Whoever waits looks at the slots again after
//! each answer, because a wake-up given to a process that is killed or stopped at that moment is lost.
#![allow(unsafe_code)]

#[cfg(target_env = "gnu")]
use std::sync::atomic::{AtomicU32, Ordering};
use std::{io, ptr::NonNull, time::Duration};

use crate::{Error, Result};

/// Bytes to reserve for a semaphore in a segment, aligned to as many: a cache line of its own.
pub const SEMAPHORE_BYTES: usize = 64;

const _: () =
    assert!(size_of::<libc::sem_t>() <= SEMAPHORE_BYTES && align_of::<libc::sem_t>() <= SEMAPHORE_BYTES);

/// A semaphore somewhere in shared memory.
#[derive(Debug, Clone, Copy)]
pub struct Semaphore(NonNull<libc::sem_t>);

// SAFETY: a semaphore is made to be used by many threads at once, and this is only its address.
unsafe impl Send for Semaphore {}
// SAFETY: as above.
unsafe impl Sync for Semaphore {}

/// Why a wait came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wake {
    /// It took a token.
    Posted,
    /// The slice of time is over.
    TimedOut,
    /// A signal handler ran, or the token was gone.
    Interrupted,
}

impl Semaphore {
    /// Makes a semaphore with `value` tokens, to be shared between processes.
    ///
    /// # Errors
    /// [`Error::Io`] when the value is too large (2^31 - 1 is the most).
    ///
    /// # Safety
    /// [`SEMAPHORE_BYTES`] bytes at `ptr`, aligned to as many, are mapped and nobody else uses them yet.
    pub unsafe fn init(ptr: NonNull<u8>, value: u32) -> Result<()> {
        // SAFETY: the memory is large and aligned enough for a sem_t, and the caller's alone.
        match errno_of(unsafe { libc::sem_init(ptr.as_ptr().cast(), 1, value) }) {
            // Also sees that this C library's semaphores are as `check_shared` expects them.
            0 => Semaphore(ptr.cast()).check_shared(),
            errno => Err(refused("making a semaphore", errno)),
        }
    }

    /// The semaphore at an address.
    ///
    /// Whatever bytes are there, its methods give a value or an error.
    ///
    /// # Safety
    /// [`SEMAPHORE_BYTES`] bytes at `ptr`, aligned to as many, stay mapped as long as the handle or a copy
    /// is used, and are touched by semaphore calls only in this process.
    pub unsafe fn at(ptr: NonNull<u8>) -> Semaphore {
        Semaphore(ptr.cast())
    }

    /// Adds a token and wakes a sleeper if there is one. False: with 2^31 - 1 tokens there are enough, and none
    /// is added.
    ///
    /// # Errors
    /// [`Error::Damaged`] when these bytes are no shared semaphore.
    pub fn post(&self) -> Result<bool> {
        self.check_shared()?;
        // SAFETY: `at` vouches for the memory.
        match unsafe { timed::post(self.0.as_ptr()) } {
            0 => Ok(true),
            libc::EOVERFLOW => Ok(false),
            errno => Err(refused("posting a semaphore", errno)),
        }
    }

    /// Takes a token if there is one.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn try_wait(&self) -> Result<bool> {
        // SAFETY: `at` vouches for the memory.
        match errno_of(unsafe { libc::sem_trywait(self.0.as_ptr()) }) {
            0 => Ok(true),
            libc::EAGAIN | libc::EINTR => Ok(false),
            errno => Err(refused("taking a semaphore", errno)),
        }
    }

    /// Sleeps until there is a token to take, the slice of time is over, or a signal came.
    ///
    /// Keep the slice short (milliseconds) and hold it against a deadline of your own: where the C library
    /// cannot wait by the monotonic clock, a clock that is set changes the length of the slice.
    ///
    /// # Errors
    /// [`Error::Damaged`] when these bytes are no shared semaphore.
    pub fn wait_for(&self, slice: Duration) -> Result<Wake> {
        self.check_shared()?;
        // SAFETY: `at` vouches for the memory.
        match unsafe { timed::wait(self.0.as_ptr(), slice) } {
            0 => Ok(Wake::Posted),
            libc::ETIMEDOUT => Ok(Wake::TimedOut),
            libc::EINTR => Ok(Wake::Interrupted),
            errno => Err(refused("waiting for a semaphore", errno)),
        }
    }

    /// The number of tokens, for display; damaged bytes may give any number.
    pub fn value(&self) -> i32 {
        let mut value = 0;
        // SAFETY: `at` vouches for the memory, and `value` is ours. The call has no way to fail.
        unsafe { libc::sem_getvalue(self.0.as_ptr(), &mut value) };
        value
    }

    /// How many sleep, as the C library counts them for itself: who was killed asleep is among them for ever. 0
    /// where that is not known.
    pub fn sleepers(&self) -> u32 {
        // SAFETY: `at` vouches for the memory.
        unsafe { timed::sleepers(self.0.as_ptr()) }
    }

    /// Has the C library forget all that it takes for sleepers. As long as there are some, each post is a
    /// system call (glibc: 0.6 us), whether or not they are alive.
    ///
    /// Who sleeps in truth may miss posts, and looks after its slice; when it wakes, the count is one too low,
    /// which again means a system call for each post, until the next call of this. The value is never
    /// touched.
    pub fn forget_sleepers(&self) {
        // SAFETY: `at` vouches for the memory.
        unsafe { timed::forget_sleepers(self.0.as_ptr()) }
    }

    /// Refuses a semaphore that would end or hang this process.
    ///
    /// glibc hands the word that tells shared from private to the kernel as part of the futex command, and
    /// aborts the process if the kernel does not know the command. We do not, but others may.
    pub(super) fn check_shared(&self) -> Result<()> {
        #[cfg(target_env = "gnu")]
        {
            // SAFETY: the word lies within the sem_t that `at` vouches for, aligned, and is only ever
            // accessed atomically after `init`.
            let word = unsafe { AtomicU32::from_ptr(self.0.as_ptr().byte_add(GNU_SHARED_AT).cast()) };
            // Relaxed: nobody writes it after `init`.
            if word.load(Ordering::Relaxed) != GNU_SHARED {
                return Err(Error::Damaged("a semaphore has been overwritten".into()));
            }
        }
        Ok(())
    }
}

/// Where the sem_t of glibc (2.21 and later, 64 bits) keeps what tells shared from private.
#[cfg(target_env = "gnu")]
const GNU_SHARED_AT: usize = 8;
/// What it is in a shared one.
#[cfg(target_env = "gnu")]
const GNU_SHARED: u32 = 128;

fn errno_of(result: libc::c_int) -> libc::c_int {
    if result == 0 { 0 } else { io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL) }
}

fn refused(what: &str, errno: libc::c_int) -> Error {
    Error::io(what, io::Error::from_raw_os_error(errno))
}

/// The end of a slice that begins now, on a clock in nanoseconds.
#[cfg(not(target_env = "gnu"))]
fn after(now_ns: u64, slice: Duration) -> libc::timespec {
    let end = Duration::from_nanos(now_ns).saturating_add(slice);
    libc::timespec {
        tv_sec: libc::time_t::try_from(end.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: end.subsec_nanos() as _,
    }
}

#[cfg(target_env = "gnu")]
use super::gnu_semaphore as timed;

#[cfg(not(target_env = "gnu"))]
mod timed {
    use super::*;
    use crate::sys::clock;

    pub unsafe fn wait(semaphore: *mut libc::sem_t, slice: Duration) -> libc::c_int {
        let end = after(clock::realtime_ns(), slice);
        // SAFETY: the caller vouches for the semaphore; `end` is ours and well-formed.
        errno_of(unsafe { libc::sem_timedwait(semaphore, &end) })
    }

    pub unsafe fn post(semaphore: *mut libc::sem_t) -> libc::c_int {
        // SAFETY: the caller vouches for the semaphore.
        errno_of(unsafe { libc::sem_post(semaphore) })
    }

    /// Not known.
    pub unsafe fn sleepers(_: *mut libc::sem_t) -> u32 {
        0
    }

    pub unsafe fn forget_sleepers(_: *mut libc::sem_t) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{
        clock,
        segment::Segment,
        testing::{Child, TestName},
    };
    use nix::sys::signal::Signal;

    use std::sync::atomic::{AtomicBool, Ordering};

    const SLICE: Duration = Duration::from_millis(2);
    const AT: usize = 1024;

    fn semaphore(value: u32) -> (TestName, Segment, Semaphore) {
        let name = TestName::new();
        // SAFETY: the place lies within the new segment, aligned to 64.
        let init = |base: NonNull<u8>, _| unsafe { Semaphore::init(base.add(AT), value) }.map(|()| 1);
        let segment = Segment::create(&name.0, 4096, 0o600, init).unwrap();
        // SAFETY: as above, and every test keeps the segment until its end.
        let semaphore = unsafe { Semaphore::at(segment.base().add(AT)) };
        (name, segment, semaphore)
    }

    #[test]
    fn tokens_are_taken_one_by_one_and_then_time_runs_out() {
        let (_name, _segment, semaphore) = semaphore(2);
        semaphore.post().unwrap();
        assert_eq!(semaphore.value(), 3);
        assert!(semaphore.try_wait().unwrap());
        assert_eq!(semaphore.wait_for(Duration::ZERO).unwrap(), Wake::Posted);
        assert_eq!(semaphore.wait_for(Duration::MAX).unwrap(), Wake::Posted);
        assert!(!semaphore.try_wait().unwrap());
        let before = clock::monotonic_ns();
        assert_eq!(semaphore.wait_for(SLICE).unwrap(), Wake::TimedOut);
        assert!(clock::monotonic_ns() >= before + SLICE.as_nanos() as u64);
    }

    #[test]
    fn another_process_wakes_the_sleeper_through_its_own_mapping() {
        let (name, _segment, semaphore) = semaphore(0);
        let theirs = Segment::open(&name.0).unwrap();
        // SAFETY: the place lies within the segment, aligned, and outlives the handle.
        let theirs = unsafe { Semaphore::at(theirs.base().add(AT)) };
        let _child = Child::pausing(move || theirs.post().is_ok());
        assert_eq!(semaphore.wait_for(Duration::from_secs(30)).unwrap(), Wake::Posted);
    }

    #[test]
    fn a_signal_ends_the_wait_with_its_own_answer() {
        extern "C" fn nothing(_: libc::c_int) {}
        let (_name, _segment, semaphore) = semaphore(0);
        // SAFETY: the handler does nothing, and no other test uses this signal.
        unsafe { nix::sys::signal::signal(Signal::SIGUSR2, nix::sys::signal::SigHandler::Handler(nothing)) }
            .unwrap();
        // SAFETY: asks for this thread's own handle.
        let sleeper = unsafe { libc::pthread_self() } as usize;
        let woken = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Again and again, because the first signal may come before the wait.
                while !woken.load(Ordering::Relaxed) {
                    std::thread::sleep(SLICE);
                    // SAFETY: the test's thread exists until this scope ends.
                    unsafe { libc::pthread_kill(sleeper as libc::pthread_t, libc::SIGUSR2) };
                }
            });
            let wake = semaphore.wait_for(Duration::from_secs(30));
            woken.store(true, Ordering::Relaxed);
            assert_eq!(wake.unwrap(), Wake::Interrupted);
        });
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn a_killed_sleeper_counts_until_it_is_forgotten_and_the_value_stays() {
        let (name, _segment, semaphore) = semaphore(0);
        let theirs = Segment::open(&name.0).unwrap();
        // SAFETY: as above.
        let theirs = unsafe { Semaphore::at(theirs.base().add(AT)) };
        let sleeps = move || std::thread::spawn(move || theirs.wait_for(Duration::from_secs(30)));
        let child = Child::pausing(move || {
            sleeps();
            true
        });
        child.wait_until(|| semaphore.sleepers() == 1);
        child.signal(Signal::SIGKILL);
        drop(child);
        semaphore.post().unwrap();
        assert_eq!((semaphore.sleepers(), semaphore.value()), (1, 1));
        semaphore.forget_sleepers();
        assert_eq!((semaphore.sleepers(), semaphore.value()), (0, 1));
        assert!(semaphore.try_wait().unwrap());
        // Who sleeps while it is forgotten wakes at the end of its slice; the value is right all the same.
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| semaphore.wait_for(SLICE * 50).unwrap());
            while semaphore.sleepers() == 0 && !sleeper.is_finished() {
                std::thread::yield_now();
            }
            semaphore.forget_sleepers();
            sleeper.join().unwrap();
        });
        semaphore.post().unwrap();
        assert_eq!(semaphore.value(), 1);
        semaphore.forget_sleepers();
        assert_eq!((semaphore.sleepers(), semaphore.value()), (0, 1));
    }

    #[test]
    fn with_the_most_tokens_another_post_is_no_error() {
        let (_name, _segment, semaphore) = semaphore(i32::MAX as u32);
        semaphore.post().unwrap();
        assert_eq!(semaphore.value(), i32::MAX);
        // SAFETY: nobody else uses the semaphore while it is made anew.
        assert!(unsafe { Semaphore::init(semaphore.0.cast(), 1 << 31) }.is_err());
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error() {
        let (_name, _segment, semaphore) = semaphore(0);
        let words: NonNull<u32> = semaphore.0.cast();
        let odd = [0, 1, 3, 12, 13, 127, 128, 256, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
        for place in 0..4 {
            for value in odd {
                // SAFETY: a sem_t has at least four words, and nobody else uses this one.
                unsafe {
                    Semaphore::init(semaphore.0.cast(), 0).unwrap();
                    words.add(place).write_volatile(value);
                }
                semaphore.value();
                let _ = semaphore.try_wait();
                let _ = semaphore.wait_for(Duration::from_micros(100));
                let _ = semaphore.post();
            }
        }
    }
}
