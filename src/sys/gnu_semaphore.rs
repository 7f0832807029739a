//! Sleeps on glibc's semaphores, and posts them, as glibc does but without its functions.
//!
//! `sem_clockwait` and `sem_post` read from the semaphore itself, at each turn of their loops, whether it is
//! shared. They hand that to the kernel as part of the futex command, and abort the process when the kernel does
//! not know the command, or when the page has gone. A peer that overwrites that word, or truncates the segment,
//! during a sleep would thus end the sleeper by SIGABRT. The functions here do what glibc does
//! (nptl/sem_waitcommon.c and sem_post.c, since 2.21, 64 bits) on the same words, so any program may post and wait
//! at the other end; but they return an error instead.
//!
//! The first eight bytes are one atomic word: its low half counts the tokens, and sleepers sleep on it; its high
//! half counts the sleepers.
#![allow(unsafe_code)]

use std::{
    io, ptr,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use super::clock;

const SLEEPER: u64 = 1 << 32;
const TOKENS: u64 = SLEEPER - 1;
const MOST_TOKENS: u64 = i32::MAX as u64;

/// Takes a token; without one, sleeps at most for the slice. Returns 0 or an errno: ETIMEDOUT; EINTR for a signal,
/// and for a wake-up whose token another process took.
///
/// # Safety
/// A sem_t at `semaphore` is mapped, aligned to 8 bytes, and all processes access it atomically.
pub unsafe fn wait(semaphore: *mut libc::sem_t, slice: Duration) -> libc::c_int {
    // SAFETY: as the caller promises.
    let word = unsafe { AtomicU64::from_ptr(semaphore.cast()) };
    if take(word, 0) {
        return 0;
    }
    // Relaxed: as in glibc; a process that posts reads it together with the tokens.
    word.fetch_add(SLEEPER, Ordering::Relaxed);
    // SAFETY: as above.
    let slept = unsafe { sleep(semaphore, slice) };
    if take(word, SLEEPER) {
        return 0;
    }
    // Relaxed: as above.
    word.fetch_sub(SLEEPER, Ordering::Relaxed);
    match slept {
        0 | libc::EAGAIN => libc::EINTR,
        errno => errno,
    }
}

/// Takes a token if there is one, and subtracts `more` from the word in the same step.
fn take(word: &AtomicU64, more: u64) -> bool {
    let less = |seen: u64| (seen & TOKENS != 0).then(|| seen.wrapping_sub(1 + more));
    // Acquire: pairs with the release in `post`, ours or glibc's. Relaxed: a failed exchange reads the word again.
    word.fetch_update(Ordering::Acquire, Ordering::Relaxed, less).is_ok()
}

/// Sleeps while there are no tokens, at most for the slice.
///
/// # Safety
/// As [`wait`].
unsafe fn sleep(semaphore: *mut libc::sem_t, slice: Duration) -> libc::c_int {
    let end = Duration::from_nanos(clock::monotonic_ns()).saturating_add(slice);
    let end = libc::timespec {
        tv_sec: libc::time_t::try_from(end.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: end.subsec_nanos() as _,
    };
    let (command, no_tokens) = (libc::FUTEX_WAIT_BITSET, 0u32);
    let any = libc::FUTEX_BITSET_MATCH_ANY;
    // SAFETY: the kernel checks the address; `end` is a well-formed local, by the monotonic clock.
    let result = unsafe {
        libc::syscall(libc::SYS_futex, tokens(semaphore), command, no_tokens, &end, ptr::null::<u32>(), any)
    };
    errno_of(result)
}

/// Adds a token and wakes a sleeper. Returns 0 or an errno: EOVERFLOW at the maximum number of tokens.
///
/// # Safety
/// As [`wait`].
pub unsafe fn post(semaphore: *mut libc::sem_t) -> libc::c_int {
    // SAFETY: as the caller promises.
    let word = unsafe { AtomicU64::from_ptr(semaphore.cast()) };
    let more = |seen: u64| (seen & TOKENS < MOST_TOKENS).then(|| seen.wrapping_add(1));
    // Release: hands over what this thread did before. Relaxed: a failed exchange reads the word again.
    let Ok(before) = word.fetch_update(Ordering::Release, Ordering::Relaxed, more) else {
        return libc::EOVERFLOW;
    };
    if before < SLEEPER {
        return 0;
    }
    // SAFETY: the kernel checks the address.
    errno_of(unsafe { libc::syscall(libc::SYS_futex, tokens(semaphore), libc::FUTEX_WAKE, 1) })
}

/// The number of sleepers. Processes that were killed asleep still count.
///
/// # Safety
/// As [`wait`].
pub unsafe fn sleepers(semaphore: *mut libc::sem_t) -> u32 {
    // SAFETY: as the caller promises.
    let word = unsafe { AtomicU64::from_ptr(semaphore.cast()) };
    (word.load(Ordering::Relaxed) / SLEEPER) as u32 // Relaxed: a hint.
}

/// Sets the number of sleepers to 0. A live sleeper subtracts itself when it wakes, which wraps the number to the
/// largest one. The tokens do not change.
///
/// # Safety
/// As [`wait`].
pub unsafe fn forget_sleepers(semaphore: *mut libc::sem_t) {
    // SAFETY: as the caller promises.
    let word = unsafe { AtomicU64::from_ptr(semaphore.cast()) };
    // Relaxed: neither the tokens nor the data they stand for change.
    word.fetch_and(TOKENS, Ordering::Relaxed);
}

/// The half of the word that counts the tokens.
fn tokens(semaphore: *mut libc::sem_t) -> *mut AtomicU32 {
    semaphore.cast::<AtomicU32>().wrapping_add(cfg!(target_endian = "big") as usize)
}

fn errno_of(result: libc::c_long) -> libc::c_int {
    if result >= 0 { 0 } else { io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    struct Made(Box<libc::sem_t>);
    // SAFETY: a semaphore is made to be used by many threads.
    unsafe impl Sync for Made {}
    // SAFETY: as above.
    unsafe impl Send for Made {}

    impl Made {
        fn new(value: u32) -> Made {
            // SAFETY: all zeros is a valid sem_t to initialise, and no other thread has this one yet.
            let mut made = Made(Box::new(unsafe { std::mem::zeroed() }));
            // SAFETY: as above.
            assert_eq!(unsafe { libc::sem_init(&raw mut *made.0, 1, value) }, 0);
            made
        }

        fn at(&self) -> *mut libc::sem_t {
            (&raw const *self.0).cast_mut()
        }
    }

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn the_c_library_wakes_our_sleepers_and_we_wake_its() {
        for _ in 0..50 {
            let (a, b) = (Arc::new(Made::new(0)), Arc::new(Made::new(0)));
            let (theirs, back) = (Arc::clone(&a), Arc::clone(&b));
            let other = std::thread::spawn(move || {
                for _ in 0..200 {
                    // SAFETY: semaphores that live as long as this thread.
                    unsafe { assert!(libc::sem_wait(theirs.at()) == 0 && libc::sem_post(back.at()) == 0) };
                }
            });
            for _ in 0..200 {
                // SAFETY: as above.
                unsafe {
                    assert_eq!(post(a.at()), 0);
                    while wait(b.at(), LONG) != 0 {}
                }
            }
            other.join().unwrap();
            // SAFETY: as above. No tokens, and no sleepers.
            assert_eq!(unsafe { *a.at().cast::<u64>() | *b.at().cast::<u64>() }, 0);
        }
    }

    #[test]
    fn a_word_overwritten_during_the_sleep_does_not_abort_the_sleeper() {
        let made = Arc::new(Made::new(0));
        let same = Arc::clone(&made);
        let sleeper = std::thread::spawn(move || {
            // SAFETY: as above.
            unsafe { wait(same.at(), Duration::from_millis(200)) }
        });
        std::thread::sleep(Duration::from_millis(20));
        // SAFETY: within the semaphore: the word that tells shared from private in glibc; then a wake-up without a
        // token.
        unsafe {
            made.at().cast::<AtomicU32>().add(2).as_ref().unwrap().store(0x7777, Ordering::Relaxed);
            libc::syscall(libc::SYS_futex, tokens(made.at()), libc::FUTEX_WAKE, 1);
        }
        assert!(matches!(sleeper.join().unwrap(), libc::EINTR | libc::ETIMEDOUT));
    }
}
