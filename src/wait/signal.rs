//! A signal: a semaphore that is posted only while another handle sleeps on it.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

use super::backend::{Backend, Count, Shared, Tokens};
use crate::Result;
use crate::sys::process;
use crate::sys::semaphore::Wake;

/// The most sleepers that one call wakes: a wrong count must not keep a waker busy.
const MOST_POSTS: u64 = 1024;

/// Wakes one side: the side that makes items (or room) wakes the handles that wait for them.
#[derive(Debug)]
pub struct Signal<'a, P: Backend = Shared<'a>> {
    /// About how many handles sleep.
    pub waiting: &'a P::Count,
    /// The semaphore that they sleep on.
    pub semaphore: P::Tokens,
    /// Not 0: asymmetric fences cannot reach some participant.
    pub fences: &'a P::Count,
}

impl<P: Backend<Tokens: Clone>> Clone for Signal<'_, P> {
    fn clone(&self) -> Self {
        Signal { waiting: self.waiting, semaphore: self.semaphore.clone(), fences: self.fences }
    }
}

impl<P: Backend<Tokens: Copy>> Copy for Signal<'_, P> {}

impl<P: Backend> Signal<'_, P> {
    /// Wakes up to `count` sleepers, but no more than there are processors. A woken handle that finds more
    /// than its own share wakes the next one. Without a sleeper, this is a load and no system call.
    #[inline]
    pub fn notify(&self, count: u64) {
        self.notify_counted(|| count);
    }

    /// As [`notify`](Self::notify), for a count that is computed only if a handle sleeps.
    #[inline]
    pub fn notify_counted(&self, count: impl FnOnce() -> u64) {
        if self.are_waiting() {
            self.post(count().min(process::processors() as u64));
        }
    }

    #[inline]
    fn are_waiting(&self) -> bool {
        // E4: after the store of the slot's word, before the load of `waiting`.
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
            // A semaphore that cannot be posted is damaged; sleepers check again after their slice.
            let _ = self.semaphore.post();
        }
    }

    /// Wakes all sleepers.
    pub fn notify_all(&self) {
        if self.are_waiting() {
            self.post(MOST_POSTS);
        }
    }

    /// Wakes all sleepers, for a process that has freed the entry of a dead participant. `handles` is how many
    /// there are that may sleep here; it is called after the count of sleepers was read.
    ///
    /// A handle that is killed asleep leaves its announcement, or the token that was posted for it. A sleeper that
    /// takes such a token finds nothing and announces itself again, so the one turns into the other, and each
    /// death would add one. So announcements and tokens are cut to as many as there are handles.
    pub fn wake_survivors(&self, handles: impl FnOnce() -> u64) {
        // E4: after the stores of the recovery, before the load of `waiting`.
        P::light_fence(self.fences);
        // Acquire: finds the entries of all that have announced themselves.
        let Ok(announced) = self.waiting.fetch_update(Acquire, |_| Some(0)) else { return };
        if announced == 0 && self.semaphore.value() == 0 {
            return;
        }
        let handles = handles();
        // A token that is there wakes no process that sleeps already; only a post does.
        let posts = announced.min(handles).min(MOST_POSTS);
        for _ in 0..MOST_POSTS {
            let is_surplus = self.semaphore.value().saturating_add(posts) > handles;
            if !is_surplus || !matches!(self.semaphore.try_wait(), Ok(true)) {
                break;
            }
        }
        for _ in 0..posts {
            let _ = self.semaphore.post();
        }
    }

    /// Announces a sleeper. The caller must check the slots once more before it sleeps.
    pub fn announce(&self) {
        // Release: see `wake_survivors`. E4's fence orders it otherwise.
        self.waiting.fetch_add(1, Release);
        // E4: before the check of the slots.
        P::heavy_fence();
    }

    /// Withdraws the announcement. If a waker has taken it off already, takes that waker's token instead.
    /// Otherwise such tokens would pile up and wake later sleepers for nothing.
    pub fn withdraw(&self) {
        // Relaxed: the count is a hint.
        if self.waiting.fetch_update(Relaxed, |n| n.checked_sub(1)).is_err() {
            let _ = self.semaphore.try_wait();
        }
    }

    /// Counts a sleeper without a fence, for display: for semaphores that are posted in any case.
    pub(super) fn count_in(&self) {
        self.waiting.fetch_add(1, Relaxed); // Relaxed: a hint.
    }

    /// Stops counting this sleeper.
    pub fn count_out(&self) {
        // Relaxed: a hint; a waker that woke all sleepers has subtracted it already.
        let _ = self.waiting.fetch_update(Relaxed, |n| n.checked_sub(1));
    }

    /// Sleeps until posted, interrupted, or the end of the slice. A waker that posted has withdrawn the
    /// announcement.
    pub fn sleep(&self, slice: Duration) -> Result<Wake> {
        let wake = self.semaphore.wait_for(slice)?;
        if wake != Wake::Posted {
            self.withdraw();
        }
        Ok(wake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::testing::Stage;

    #[test]
    fn each_sleeper_is_posted_once_and_notify_all_posts_all() {
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
    fn survivors_are_all_woken_and_what_the_dead_left_is_forgotten() {
        let stage = Stage::new();
        let own = stage.consumer().own;
        // (announced, tokens) of three handles, and the tokens afterwards.
        for (announced, tokens, left) in
            [(0, 0, 0), (2, 0, 2), (2, 1, 3), (7, 0, 3), (7, 2, 3), (0, 2, 2), (5, 9, 3)]
        {
            own.forge(announced);
            while own.signal.semaphore.try_wait().unwrap() {}
            own.add_tokens(tokens);
            own.signal.wake_survivors(|| 3);
            assert_eq!(own.counts(), (0, left), "{announced} announced, {tokens} tokens");
        }
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn a_survivor_is_woken_though_a_process_died_with_the_wake_up_and_left_its_token() {
        let stage = Stage::new();
        let own = stage.consumer().own;
        let signal = own.signal;
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(move || {
                signal.announce();
                signal.sleep(Duration::from_secs(60)).unwrap()
            });
            while signal.semaphore.sleepers() == 0 {
                std::thread::yield_now();
            }
            stage.add_token_without_wake_up();
            own.signal.wake_survivors(|| 1);
            assert_eq!(sleeper.join().unwrap(), Wake::Posted);
        });
        assert_eq!(own.counts(), (0, 0));
    }

    #[test]
    fn withdrawing_takes_off_the_announcement_or_the_token_posted_for_it() {
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
