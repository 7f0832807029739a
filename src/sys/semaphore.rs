//! Process-shared POSIX semaphores in shared memory. They only put processes to sleep and wake them; their value
//! decides nothing.
//!
//! Every call does one thing and returns: nothing loops here. A waiting process checks the slots again after each
//! call, because a wake-up is lost if it goes to a process that is killed or stopped at that moment.
#![allow(unsafe_code)]

#[cfg(target_env = "gnu")]
use std::sync::atomic::{AtomicU32, Ordering};
use std::{io, marker::PhantomData, ptr::NonNull, time::Duration};

use crate::{Error, Result};

/// Bytes to reserve for a semaphore in a segment, aligned to as many: a cache line of its own.
pub const SEMAPHORE_BYTES: usize = 64;

const _: () =
    assert!(size_of::<libc::sem_t>() <= SEMAPHORE_BYTES && align_of::<libc::sem_t>() <= SEMAPHORE_BYTES);

/// A semaphore somewhere in shared memory, which stays mapped for `'a`.
///
/// No copy of it outlives the mapping:
///
/// ```compile_fail,E0597
/// # use ringpipe::internal::{layout::{head, mapping::Mapping}, sys::segment::Segment};
/// let semaphore = {
///     let segment = Segment::open(&"doc-outlived".parse().unwrap(), Default::default()).unwrap();
///     let (mapping, _) = Mapping::new(segment.into()).unwrap();
///     mapping.semaphore(head::ITEMS_SEMAPHORE)
/// };
/// ```
#[derive(Debug, Clone, Copy)]
pub struct RawSemaphore<'a>(NonNull<libc::sem_t>, PhantomData<&'a ()>);

// SAFETY: a semaphore is made to be used by many threads at once, and this is only its address.
unsafe impl Send for RawSemaphore<'_> {}
// SAFETY: as above.
unsafe impl Sync for RawSemaphore<'_> {}

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wake {
    /// The caller took a token.
    Posted,
    /// The slice of time has passed.
    TimedOut,
    /// A signal handler ran, or another process took the token.
    Interrupted,
}

impl<'a> RawSemaphore<'a> {
    /// Initialises a semaphore with `value` tokens, shared between processes.
    ///
    /// # Errors
    /// [`Error::Io`] when the value is too large (2^31 - 1 is the most).
    ///
    /// # Safety
    /// [`SEMAPHORE_BYTES`] bytes at `ptr`, aligned to that number, are mapped, and no other code uses them yet.
    pub unsafe fn init(ptr: NonNull<u8>, value: u32) -> Result<()> {
        // SAFETY: the memory is large and aligned enough for a sem_t, and only the caller uses it.
        match errno_of(unsafe { libc::sem_init(ptr.as_ptr().cast(), 1, value) }) {
            // Also checks that this C library's semaphores look as `check_shared` expects.
            0 => RawSemaphore(ptr.cast(), PhantomData).check_shared(),
            errno => Err(refused("making a semaphore", errno)),
        }
    }

    /// The semaphore at an address.
    ///
    /// Its methods return a value or an error for any bytes at that address.
    ///
    /// # Safety
    /// [`SEMAPHORE_BYTES`] bytes at `ptr`, aligned to that number, stay mapped for `'a`, and this process accesses
    /// them only by semaphore calls.
    pub unsafe fn at(ptr: NonNull<u8>) -> RawSemaphore<'a> {
        RawSemaphore(ptr.cast(), PhantomData)
    }

    /// Adds a token and wakes a sleeper if there is one. False: the semaphore has the maximum of 2^31 - 1 tokens,
    /// and none is added.
    ///
    /// # Errors
    /// [`Error::Damaged`] when these bytes are not a shared semaphore.
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

    /// Sleeps until it can take a token, the slice of time has passed, or a signal came.
    ///
    /// Keep the slice short (milliseconds) and check a deadline of your own: where the C library cannot wait by
    /// the monotonic clock, setting the clock changes the length of the slice.
    ///
    /// # Errors
    /// [`Error::Damaged`] when these bytes are not a shared semaphore.
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

    /// The number of sleepers, as the C library counts them. Processes that were killed asleep count for ever. 0
    /// where the number is unknown.
    pub fn sleepers(&self) -> u32 {
        // SAFETY: `at` vouches for the memory.
        unsafe { timed::sleepers(self.0.as_ptr()) }
    }

    /// Sets the C library's count of sleepers to zero. While that count is not zero, each post is a system call
    /// (glibc: 0.6 us), even if all the counted processes are dead.
    ///
    /// A process that is really asleep may then miss posts, and checks after its slice. When it wakes, the count
    /// is one too low, which again makes each post a system call until the next call of this. The number of tokens
    /// never changes.
    pub fn forget_sleepers(&self) {
        // SAFETY: `at` vouches for the memory.
        unsafe { timed::forget_sleepers(self.0.as_ptr()) }
    }

    /// Refuses a semaphore that would end or hang this process.
    ///
    /// glibc hands the word that tells shared from private to the kernel as part of the futex command, and aborts
    /// the process if the kernel does not know the command. This library's own calls do not, but other programs'
    /// may.
    pub(super) fn check_shared(&self) -> Result<()> {
        #[cfg(target_env = "gnu")]
        {
            // SAFETY: the word lies within the sem_t that `at` vouches for, aligned, and is only ever
            // accessed atomically after `init`.
            let word = unsafe { AtomicU32::from_ptr(self.0.as_ptr().byte_add(GNU_SHARED_AT).cast()) };
            // Relaxed: no process writes it after `init`.
            if word.load(Ordering::Relaxed) != GNU_SHARED {
                return Err(Error::Damaged("a semaphore has been overwritten".into()));
            }
        }
        Ok(())
    }
}

/// Where glibc's sem_t (2.21 and later, 64 bits) keeps the word that tells shared from private.
#[cfg(target_env = "gnu")]
const GNU_SHARED_AT: usize = 8;
/// Its value in a shared semaphore.
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

    /// Unknown with this C library.
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
        testing::{Child, TestName, wait_until},
    };
    use nix::sys::signal::Signal;

    use std::sync::atomic::{AtomicBool, Ordering};

    const SLICE: Duration = Duration::from_millis(2);
    const AT: usize = 1024;

    fn semaphore(value: u32) -> (TestName, Segment, RawSemaphore<'static>) {
        let name = TestName::new();
        // SAFETY: the place lies within the new segment, aligned to 64.
        let init = |base: NonNull<u8>, _| unsafe { RawSemaphore::init(base.add(AT), value) }.map(|()| 1);
        let segment = Segment::create(&name.0, 4096, 0o600, init).unwrap();
        // SAFETY: as above, and every test keeps the segment until its end.
        let semaphore = unsafe { RawSemaphore::at(segment.base().add(AT)) };
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
        let theirs = Segment::open(&name.0, Default::default()).unwrap();
        // SAFETY: the place lies within the segment, aligned, and outlives the handle.
        let theirs = unsafe { RawSemaphore::at(theirs.base().add(AT)) };
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
                // Repeated, because the first signal may come before the wait.
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
        let theirs = Segment::open(&name.0, Default::default()).unwrap();
        // SAFETY: as above.
        let theirs = unsafe { RawSemaphore::at(theirs.base().add(AT)) };
        let sleeps = move || std::thread::spawn(move || theirs.wait_for(Duration::from_secs(30)));
        let child = Child::pausing(move || {
            sleeps();
            true
        });
        wait_until(|| semaphore.sleepers() == 1);
        child.signal(Signal::SIGKILL);
        drop(child);
        semaphore.post().unwrap();
        assert_eq!((semaphore.sleepers(), semaphore.value()), (1, 1));
        semaphore.forget_sleepers();
        assert_eq!((semaphore.sleepers(), semaphore.value()), (0, 1));
        assert!(semaphore.try_wait().unwrap());
        // A process that sleeps during the reset wakes at the end of its slice, and the number of tokens stays
        // right.
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
        // SAFETY: no other code uses the semaphore while it is initialised again.
        assert!(unsafe { RawSemaphore::init(semaphore.0.cast(), 1 << 31) }.is_err());
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error() {
        let (_name, _segment, semaphore) = semaphore(0);
        let words: NonNull<u32> = semaphore.0.cast();
        let odd = [0, 1, 3, 12, 13, 127, 128, 256, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
        for place in 0..4 {
            for value in odd {
                // SAFETY: a sem_t has at least four words, and no other code uses this one.
                unsafe {
                    RawSemaphore::init(semaphore.0.cast(), 0).unwrap();
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
