//! The strategy of texts 000 and 001 (docs/CLASSICS.md): the semaphores `room` and `items` count, and `mutex`
//! orders the turns.
//!
//! ```text
//!   producer                consumer
//!   --------                --------
//!   wait(room)              wait(items)
//!   wait(mutex)             wait(mutex)
//!   put                     take
//!   signal(mutex)           signal(mutex)
//!   signal(items)           signal(room)
//! ```
//!
//! The order of operations is that of the texts (001 writes `items` where its consumer must signal
//! `room`). Here a consumer signals `room` when it acknowledges an item, since only then are the slots free.
//! Both semaphores count slots, which is the same as items if each item has one slot.
//!
//! A process may die after it took a token and before it claimed the slot. No step can prevent this, since a
//! semaphore has no owner. So only the slots are the truth, and a token is a reason to check:
//!
//! - *Too few tokens*: no handle sleeps before it has checked without a token, and no handle sleeps longer
//!   than a slice. Taking a slot without a token makes the counts right again.
//! - *Too many tokens*: if a handle with a token finds no slot, it drops the token. Each costs one check.
//!
//! The counts are off by a few while many handles are active: a published item is visible before its token is
//! added, and another handle may take that token before it can find the item.

use std::time::Duration;

use super::strategy::{
    Depth, Endpoint, RingState, Sleepers, Slices, WaitProgress, WaitRequest, WaitStrategy,
};
use crate::Result;
use crate::sys::semaphore::Wake;
use crate::wait::mutex::Turn;

/// Waits for tokens.
#[derive(Debug)]
pub struct Counting {
    /// The tokens that this handle has taken.
    tokens: u64,
    turn: Turn,
    /// The last sleep ended with something found.
    content: bool,
}

impl Counting {
    /// The strategy of participant `number`.
    pub fn new(number: u32) -> Self {
        Counting { tokens: 0, turn: Turn::new(number), content: false }
    }

    /// Takes tokens, as long as there are some, until this handle has `needed` of them.
    fn take(&mut self, own: Sleepers<'_>, needed: u64) -> Result<()> {
        while self.tokens < needed && own.signal.semaphore.try_wait()? {
            self.tokens += 1;
        }
        Ok(())
    }

    /// Pays with a token for each slot taken, and gives the rest back.
    fn pay(&mut self, own: Sleepers<'_>, slots: u64) {
        // There may be fewer tokens if some were lost with killed processes. If the semaphore is damaged, the next wait
        // reports it.
        let _ = self.take(own, slots);
        let left = std::mem::take(&mut self.tokens).saturating_sub(slots);
        own.add_tokens(left);
    }

    /// Checks in turn, with the tokens that this handle has.
    fn look<T>(
        &mut self,
        endpoint: Endpoint<'_>,
        request: &WaitRequest<'_, T>,
        depth: Depth,
        look: &mut impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.turn.begin(endpoint.mutex, request.patience, |number| endpoint.ring.is_dead(number))?;
        let answer = look(depth);
        match &answer {
            Ok(Some(found)) => self.pay(endpoint.own, (request.weight)(found)),
            _ => {
                // There were enough tokens, but nothing was found: drop one of them.
                self.tokens = self.tokens.min(request.slots - 1);
                self.turn.end(endpoint.mutex);
            }
        }
        answer
    }

    fn wait_in_turn<T>(
        &mut self,
        endpoint: Endpoint<'_>,
        request: &WaitRequest<'_, T>,
        mut look: impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<T> {
        let (mut slept, mut slices) = (false, Slices::default());
        loop {
            self.take(endpoint.own, request.slots)?;
            let worth = self.tokens > 0 || self.content;
            let depth = if worth && !request.deadline.passed() { Depth::Quick } else { Depth::Thorough };
            let found = self.look(endpoint, request, depth, &mut look)?;
            self.content = slept && found.is_some();
            if let Some(found) = found {
                return Ok(found);
            }
            request.go_on()?;
            let wake = sleep(endpoint.own, slices.next(request.deadline))?;
            slices.slept(wake);
            slept = wake == Wake::Posted;
            self.tokens += u64::from(slept);
        }
    }
}

fn sleep(own: Sleepers<'_>, slice: Duration) -> Result<Wake> {
    own.signal.count_in();
    let wake = own.signal.semaphore.wait_for(slice);
    own.signal.count_out();
    wake
}

impl WaitStrategy for Counting {
    fn attempt<T>(
        &mut self,
        endpoint: Endpoint<'_>,
        request: &WaitRequest<'_, T>,
        depth: Depth,
        mut look: impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.take(endpoint.own, request.slots)?;
        let found = self.look(endpoint, request, depth, &mut look);
        if !matches!(found, Ok(Some(_))) {
            self.pay(endpoint.own, 0);
        }
        found
    }

    fn wait<T>(
        &mut self,
        endpoint: Endpoint<'_>,
        request: &WaitRequest<'_, T>,
        _: impl Fn(u64) -> bool,
        look: impl FnMut(Depth) -> Result<Option<T>>,
    ) -> Result<T> {
        let result = self.wait_in_turn(endpoint, request, look);
        if result.is_err() {
            self.pay(endpoint.own, 0);
        }
        result
    }

    fn end_turn(&mut self, endpoint: Endpoint<'_>) {
        self.turn.end(endpoint.mutex);
    }

    fn done(&mut self, endpoint: Endpoint<'_>, progress: WaitProgress) {
        // In the texts' order.
        self.end_turn(endpoint);
        self.wake(endpoint.other, endpoint.ring, progress);
    }

    fn wake(&self, sleepers: Sleepers<'_>, _: &dyn RingState, progress: WaitProgress) {
        sleepers.add_tokens(progress.slots);
    }

    fn woken(&mut self) {
        self.tokens += 1;
    }

    #[inline]
    fn takes_turns(&self) -> bool {
        true
    }

    fn took(&self, from: Sleepers<'_>, slots: u64) {
        for _ in 0..slots {
            let _ = from.signal.semaphore.try_wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::sys::clock::Deadline;
    use crate::wait::testing::{Stage, request};

    #[test]
    fn tokens_in_hand_that_are_not_needed_are_given_back() {
        let stage = Stage::new();
        let (endpoint, mut counting) = (stage.consumer(), Counting::new(0));
        endpoint.own.add_tokens(3);
        let request = request(3, Deadline::immediate());
        let found = counting.attempt(endpoint, &request, Depth::Quick, |_| Ok(Some(1)));
        assert_eq!((found.unwrap(), endpoint.own.counts()), (Some(1), (0, 2)), "it took one slot of three");
        counting.end_turn(endpoint);
        let found = counting.attempt(endpoint, &request, Depth::Quick, |_| Ok(None));
        assert_eq!((found.unwrap(), endpoint.own.counts()), (None, (0, 2)), "tried in vain");
        let found = counting.wait(endpoint, &request, |_| false, |_| Ok(None));
        assert!(matches!(found, Err(Error::TimedOut)));
        assert_eq!(endpoint.own.counts(), (0, 2), "waited in vain");
    }

    #[test]
    fn a_token_with_which_nothing_is_found_is_dropped() {
        let stage = Stage::new();
        let (endpoint, mut counting) = (stage.consumer(), Counting::new(0));
        endpoint.own.add_tokens(2);
        let request = request(1, Deadline::immediate());
        assert_eq!(counting.attempt(endpoint, &request, Depth::Quick, |_| Ok(None)).unwrap(), None);
        assert_eq!(endpoint.own.counts(), (0, 1));
    }

    #[test]
    fn a_handle_without_token_or_time_checks_thoroughly() {
        let stage = Stage::new();
        let (endpoint, mut counting) = (stage.consumer(), Counting::new(0));
        for (tokens, deadline, expected) in [
            (0, Deadline::never(), Depth::Thorough),
            (1, Deadline::never(), Depth::Quick),
            (1, Deadline::immediate(), Depth::Thorough),
        ] {
            endpoint.own.add_tokens(tokens);
            let look = |depth| {
                assert_eq!(depth, expected);
                Ok(Some(1))
            };
            counting.wait(endpoint, &request(1, deadline), |_| false, look).unwrap();
            counting.end_turn(endpoint);
        }
    }

    #[test]
    fn the_token_that_ended_a_sleep_pays_and_other_sleepers_stay_counted() {
        let stage = Stage::new();
        let (endpoint, mut counting) = (stage.consumer(), Counting::new(0));
        endpoint.own.forge(1);
        let mut looks = 0;
        let look = |_| {
            looks += 1;
            endpoint.own.add_tokens(if looks == 1 { 2 } else { 0 });
            Ok((looks == 2).then_some(1))
        };
        counting.wait(endpoint, &request(1, Deadline::never()), |_| false, look).unwrap();
        assert_eq!(endpoint.own.counts(), (1, 1));
    }

    #[test]
    fn progress_adds_a_token_for_each_slot() {
        let stage = Stage::new();
        let endpoint = stage.producer();
        Counting::new(0).done(endpoint, WaitProgress { items: 1, slots: 3 });
        assert_eq!(endpoint.other.counts(), (0, 3));
    }
}
