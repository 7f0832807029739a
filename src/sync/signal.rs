//! A semaphore that is posted only while somebody sleeps on it.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{compiler_fence, fence as full_fence};
use std::time::Duration;

use super::parts::{Count, Parts, Shared, Tokens};
use crate::Result;
use crate::sys::process;
use crate::sys::semaphore::Wake;

/// Most sleepers that are woken at once when everybody is: a lying count must not keep a waker busy.
const MOST_POSTS: u64 = 1024;

/// One direction of waking: from those who make items (or room) to those who wait for them.
#[derive(Debug)]
pub struct Signal<'a, P: Parts = Shared> {
    /// About how many sleep.
    pub waiting: &'a P::Count,
    /// What they sleep on.
    pub semaphore: P::Tokens,
    /// Not 0: somebody cannot be reached by asymmetric fences.
    pub fences: &'a P::Count,
}

impl<P: Parts<Tokens: Clone>> Clone for Signal<'_, P> {
    fn clone(&self) -> Self {
        Signal { waiting: self.waiting, semaphore: self.semaphore.clone(), fences: self.fences }
    }
}

impl<P: Parts<Tokens: Copy>> Copy for Signal<'_, P> {}

/// The frequent side of E4. `fences` is not 0 if some participant, perhaps this one, cannot be reached by
/// asymmetric fences: it said so when it attached, and everybody fences fully.
#[inline]
pub fn light_fence(fences: &AtomicU64) {
    // Relaxed: set once, by a participant that attaches; an old value costs a slice.
    if fences.load(Relaxed) != 0 {
        full_fence(SeqCst);
    } else {
        compiler_fence(SeqCst);
    }
}

impl<P: Parts> Signal<'_, P> {
    /// Wakes up to `count` sleepers, but no more than there are processors for them: who is woken and finds
    /// more than its own share wakes the next. Without a sleeper, a load and no system call.
    #[inline]
    pub fn notify(&self, count: u64) {
        if self.are_waiting() {
            self.post(count.min(process::processors() as u64));
        }
    }

    #[inline]
    fn are_waiting(&self) -> bool {
        // E4: after the store of the slot's word, before the look at `waiting`.
        P::light_fence(self.fences);
        // Relaxed: E4's fence orders it.
        self.waiting.load(Relaxed) != 0
    }

    #[cold]
    fn post(&self, count: u64) {
        // Relaxed: the count is a hint.
        let Ok(before) = self.waiting.fetch_update(Relaxed, |n| Some(n.saturating_sub(count))) else {
            return;
        };
        for _ in 0..before.min(count) {
            // A semaphore that cannot be posted is a damaged one: sleepers look again after a slice.
            let _ = self.semaphore.post();
        }
    }

    /// Wakes everybody.
    pub fn notify_all(&self) {
        if self.are_waiting() {
            self.post(MOST_POSTS);
        }
    }

    /// Announces a sleeper. The caller looks at the slots once more before it sleeps.
    pub fn announce(&self) {
        // Relaxed: E4's fence orders it.
        self.waiting.fetch_add(1, Relaxed);
        // E4: before the look at the slots.
        P::heavy_fence();
    }

    /// Takes the announcement back. If a waker has taken it before, its token is taken instead, or tokens
    /// would pile up that wake the next sleepers for nothing.
    pub fn withdraw(&self) {
        // Relaxed: the count is a hint.
        if self.waiting.fetch_update(Relaxed, |n| n.checked_sub(1)).is_err() {
            let _ = self.semaphore.try_wait();
        }
    }

    /// Announces a sleeper to whoever looks, without a fence: for semaphores that are posted all the same.
    pub(super) fn count_in(&self) {
        self.waiting.fetch_add(1, Relaxed); // Relaxed: a hint.
    }

    /// It sleeps no more.
    pub fn count_out(&self) {
        // Relaxed: a hint; whoever woke everybody has taken it off.
        let _ = self.waiting.fetch_update(Relaxed, |n| n.checked_sub(1));
    }

    /// Sleeps until posted, interrupted, or the end of the slice; whoever posted has already
    /// withdrawn the announcement. Answers whether somebody did.
    pub fn sleep(&self, slice: Duration) -> Result<bool> {
        let posted = self.semaphore.wait_for(slice)? == Wake::Posted;
        if !posted {
            self.withdraw();
        }
        Ok(posted)
    }
}

#[cfg(test)]
mod tests {
    use crate::sync::testing::Stage;

    #[test]
    fn each_that_sleeps_is_posted_once_and_all_of_them_when_all_are_woken() {
        let stage = Stage::new();
        let own = stage.consumer().own;
        own.forge(1);
        own.signal.notify(2);
        assert_eq!(own.counts(), (0, 1));
        own.forge(3);
        own.signal.notify_all();
        assert_eq!(own.counts(), (0, 4));
        own.signal.notify_all();
        assert_eq!(own.counts(), (0, 4));
    }

    #[test]
    fn who_withdraws_takes_its_announcement_off_or_else_the_token_that_came_for_it() {
        let stage = Stage::new();
        let own = stage.consumer().own;
        own.signal.announce();
        own.signal.announce();
        own.signal.withdraw();
        assert_eq!(own.counts(), (1, 0));
        own.signal.notify_all();
        assert_eq!(own.counts(), (0, 1));
        own.signal.withdraw();
        assert_eq!(own.counts(), (0, 0));
    }
}
