//! Asymmetric memory fences across processes: the rare side pays, the frequent side does not.
//!
//! Two sides that each store one word and then load the other's need a full fence on both, or each may
//! miss the other's store. With membarrier(2), one side pays nothing: the rare side calls [`heavy`], which runs a
//! full fence on every processor that is just now running a *registered* process. The frequent side needs
//! only [`light`], which keeps the compiler from moving its accesses.
//!
//! The side that relies on `light` must be registered. The side that calls `heavy` need not be. The registration
//! belongs to the process, is inherited by `fork` and ends with `exec`.
//!
//! Which fences order each other, as in the manual page:
//!
//! | frequent side | rare side: fence only | rare side: membarrier |
//! |---|---|---|
//! | `light` of a registered process | **no** | yes |
//! | `light` of a process whose registration was refused (a full fence) | yes | yes |
//!
//! So one case has no order: the system refuses membarrier to the rare side (an old kernel, a seccomp filter), and
//! the frequent side is registered. Then `heavy` returns `false`, and its caller must check again after a bounded
//! time.
#![allow(unsafe_code)]

use std::sync::{
    OnceLock,
    atomic::{Ordering, compiler_fence, fence},
};

static REGISTERED: OnceLock<bool> = OnceLock::new();

/// Registers this process to be fenced by the [`heavy`] of other processes; true on success.
///
/// Asks the system once per process. False where the kernel is older than 4.16 or a filter refuses.
pub fn register() -> bool {
    *REGISTERED.get_or_init(|| membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED))
}

/// The rare side's full fence, which also fences every running thread of every registered process.
///
/// Takes 0.4 us and more, by the number of processors that it has to interrupt. False if it fenced only this
/// thread: then a registered process's [`light`] is not ordered with it.
pub fn heavy() -> bool {
    #[cfg(test)]
    if REFUSED.get() {
        fence(Ordering::SeqCst);
        return false;
    }
    let all = register() && membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED);
    if !all {
        fence(Ordering::SeqCst);
    }
    all
}

#[cfg(test)]
thread_local! {
    static REFUSED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// From now on the system refuses this thread `heavy`, as a seccomp filter installed after `register` would.
#[cfg(test)]
pub fn refuse(refused: bool) {
    REFUSED.set(refused);
}

/// The frequent side's half of [`heavy`].
///
/// Costs nothing in a registered process; in one that is not, it is a full fence.
#[inline]
pub fn light() {
    if REGISTERED.get() == Some(&true) {
        compiler_fence(Ordering::SeqCst);
    } else {
        fence(Ordering::SeqCst);
    }
}

fn membarrier(command: libc::c_int) -> bool {
    // SAFETY: membarrier takes three numbers and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, libc::c_long::from(command), 0, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, AtomicU64};

    /// The store/load pair (Dekker) that plain acquire and release would lose: with the two fences, at
    /// least one side sees the other, every time.
    #[test]
    fn at_least_one_side_sees_the_other() {
        const ROUNDS: u64 = 20_000;
        // Yields sometimes, in case all processors of the machine are busy.
        let until = |word: &AtomicU64, round| {
            let mut spins = 0;
            while word.load(Ordering::Acquire) < round {
                spins += 1;
                if spins % 1000 == 0 {
                    std::thread::yield_now();
                }
            }
        };
        assert!(!register() || heavy());
        let (start, x, y) = (AtomicU64::new(0), AtomicU32::new(0), AtomicU32::new(0));
        let (saw_y, done) = (AtomicU32::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    until(&start, round);
                    x.store(1, Ordering::Relaxed);
                    light();
                    saw_y.store(y.load(Ordering::Relaxed), Ordering::Relaxed);
                    done.store(round, Ordering::Release);
                }
            });
            for round in 1..=ROUNDS {
                x.store(0, Ordering::Relaxed);
                y.store(0, Ordering::Relaxed);
                start.store(round, Ordering::Release);
                y.store(1, Ordering::Relaxed);
                heavy();
                let saw_x = x.load(Ordering::Relaxed);
                until(&done, round);
                assert!(
                    saw_x == 1 || saw_y.load(Ordering::Relaxed) == 1,
                    "round {round}: neither saw the other"
                );
            }
        });
    }
}
