//! Documents 000 and 001: the semaphores `room` and `items` count, and `mutex` keeps turns.
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
//! The order of operations is the documents' own (001 writes `items` where its consumer must signal `room`).
//! Here `room` is signalled when an item is acknowledged, since only then its slots are free, and both count
//! slots: for items of one slot that is the same.
//!
//! What a death leaves: a token that was taken for a slot that was not. No step can tell, since a semaphore has
//! no owner. So the slots decide what there is, and a token is a reason to look:
//!
//! - *too few tokens*: nobody sleeps before it has looked without one, and nobody sleeps longer than a slice.
//!   What is taken then brings slots and tokens together again;
//! - *too many*: a token that brings nothing is gone. Each costs a look.
//!
//! The counts are off by a few while many are at it, since what is published is seen before its token is
//! added, and one's token may be taken by another that finds nothing yet.

use std::time::Duration;

use super::{Around, Look, Made, Side, Sleepers, Slices, WaitStrategy, Wanted};
use crate::Result;
use crate::sync::mutex::Turn;
use crate::sys::semaphore::Wake;

/// Waits for tokens.
#[derive(Debug)]
pub struct Counting {
    /// In hand.
    tokens: u64,
    turn: Turn,
    /// The last sleep brought something.
    content: bool,
}

impl Counting {
    /// For participant `number`.
    pub fn new(number: u32) -> Self {
        Counting { tokens: 0, turn: Turn::new(number), content: false }
    }

    /// Takes tokens, as long as there are some, until there are `wanted` in hand.
    fn take(&mut self, own: Sleepers<'_>, wanted: u64) -> Result<()> {
        while self.tokens < wanted && own.signal.semaphore.try_wait()? {
            self.tokens += 1;
        }
        Ok(())
    }

    /// Pays for what was taken; what is left goes to others.
    fn pay(&mut self, own: Sleepers<'_>, slots: u64) {
        // Fewer, if they died with somebody. A damaged semaphore shows at the next wait.
        let _ = self.take(own, slots);
        let left = std::mem::take(&mut self.tokens).saturating_sub(slots);
        own.add_tokens(left);
    }

    /// Looks in turn, with what is in hand.
    fn look<T>(
        &mut self,
        side: Side<'_>,
        wanted: &Wanted<'_, T>,
        depth: Look,
        look: &mut impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.turn.begin(side.mutex, |number| side.around.is_dead(number))?;
        let answer = look(depth);
        match &answer {
            Ok(Some(found)) => self.pay(side.own, (wanted.weight)(found)),
            _ => {
                // Enough in hand, and nothing found: one of them stands for nothing.
                self.tokens = self.tokens.min(wanted.slots - 1);
                self.turn.end(side.mutex);
            }
        }
        answer
    }

    fn wait_in_turn<T>(
        &mut self,
        side: Side<'_>,
        wanted: &Wanted<'_, T>,
        mut look: impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<T> {
        let (mut slept, mut slices) = (false, Slices::default());
        loop {
            self.take(side.own, wanted.slots)?;
            let worth = self.tokens > 0 || self.content;
            let depth = if worth && !wanted.deadline.passed() { Look::Quick } else { Look::Thorough };
            let found = self.look(side, wanted, depth, &mut look)?;
            self.content = slept && found.is_some();
            if let Some(found) = found {
                return Ok(found);
            }
            wanted.go_on()?;
            slept = sleep(side.own, slices.next(wanted.deadline))? == Wake::Posted;
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
        side: Side<'_>,
        wanted: &Wanted<'_, T>,
        depth: Look,
        mut look: impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.take(side.own, wanted.slots)?;
        let found = self.look(side, wanted, depth, &mut look);
        if !matches!(found, Ok(Some(_))) {
            self.pay(side.own, 0);
        }
        found
    }

    fn wait<T>(
        &mut self,
        side: Side<'_>,
        wanted: &Wanted<'_, T>,
        _: impl Fn(u64) -> bool,
        look: impl FnMut(Look) -> Result<Option<T>>,
    ) -> Result<T> {
        let result = self.wait_in_turn(side, wanted, look);
        if result.is_err() {
            self.pay(side.own, 0);
        }
        result
    }

    fn end_turn(&mut self, side: Side<'_>) {
        self.turn.end(side.mutex);
    }

    fn done(&mut self, side: Side<'_>, made: Made) {
        // In the documents' order.
        self.end_turn(side);
        self.wake(side.other, side.around, made);
    }

    fn wake(&self, sleepers: Sleepers<'_>, _: &dyn Around, made: Made) {
        sleepers.add_tokens(made.slots);
    }

    fn woken(&mut self) {
        self.tokens += 1;
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
    use crate::sync::testing::{Stage, wanted};
    use crate::sys::clock::Deadline;

    #[test]
    fn tokens_in_hand_that_are_not_needed_go_to_others() {
        let stage = Stage::new();
        let (side, mut counting) = (stage.consumer(), Counting::new(0));
        side.own.add_tokens(3);
        let wanted = wanted(3, Deadline::immediate());
        let found = counting.attempt(side, &wanted, Look::Quick, |_| Ok(Some(1)));
        assert_eq!((found.unwrap(), side.own.counts()), (Some(1), (0, 2)), "it took one slot of three");
        counting.end_turn(side);
        let found = counting.attempt(side, &wanted, Look::Quick, |_| Ok(None));
        assert_eq!((found.unwrap(), side.own.counts()), (None, (0, 2)), "tried in vain");
        let found = counting.wait(side, &wanted, |_| false, |_| Ok(None));
        assert!(matches!(found, Err(Error::TimedOut)));
        assert_eq!(side.own.counts(), (0, 2), "waited in vain");
    }

    #[test]
    fn a_token_with_which_nothing_is_found_is_gone() {
        let stage = Stage::new();
        let (side, mut counting) = (stage.consumer(), Counting::new(0));
        side.own.add_tokens(2);
        let wanted = wanted(1, Deadline::immediate());
        assert_eq!(counting.attempt(side, &wanted, Look::Quick, |_| Ok(None)).unwrap(), None);
        assert_eq!(side.own.counts(), (0, 1));
    }

    #[test]
    fn who_has_no_token_or_no_time_looks_thoroughly() {
        let stage = Stage::new();
        let (side, mut counting) = (stage.consumer(), Counting::new(0));
        for (tokens, deadline, expected) in [
            (0, Deadline::never(), Look::Thorough),
            (1, Deadline::never(), Look::Quick),
            (1, Deadline::immediate(), Look::Thorough),
        ] {
            side.own.add_tokens(tokens);
            let look = |depth| {
                assert_eq!(depth, expected);
                Ok(Some(1))
            };
            counting.wait(side, &wanted(1, deadline), |_| false, look).unwrap();
            counting.end_turn(side);
        }
    }

    #[test]
    fn the_token_that_ended_a_sleep_pays_and_nobody_elses_and_others_that_sleep_stay_counted() {
        let stage = Stage::new();
        let (side, mut counting) = (stage.consumer(), Counting::new(0));
        side.own.forge(1);
        let mut looks = 0;
        let look = |_| {
            looks += 1;
            side.own.add_tokens(if looks == 1 { 2 } else { 0 });
            Ok((looks == 2).then_some(1))
        };
        counting.wait(side, &wanted(1, Deadline::never()), |_| false, look).unwrap();
        assert_eq!(side.own.counts(), (1, 1));
    }

    #[test]
    fn what_was_made_counts_by_its_slots() {
        let stage = Stage::new();
        let side = stage.producer();
        Counting::new(0).done(side, Made { items: 1, slots: 3 });
        assert_eq!(side.other.counts(), (0, 3));
    }
}
