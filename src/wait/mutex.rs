//! The mutex of the classic disciplines: a semaphore to sleep on, and a word that says which participant's
//! turn it is.
//!
//! A semaphore has no owner. If a process were killed between its wait and its post, it would lock all others
//! out for ever. So the word decides. A participant takes it by compare-exchange after it has waited on the
//! semaphore, and gives it back before it posts:
//!
//! - If the word's owner is dead, the next participant takes the word over.
//! - If the word has not changed for a while, its owner is stopped or slow, and the next participant passes
//!   it. No item is lost: the slots' words alone own the items, and every handle changes them by exchanges,
//!   alone or not. The mutex only keeps the order of the texts (docs/CLASSICS.md) in the usual case.
//! - If a process dies with the semaphore's token, waiting participants check the word after a moment anyway.
//!
//! For the same reason a handle that may not wait continues without a turn: see [`TurnPatience`].
//!
//! Orders: E12 leads from one turn to the next.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use super::StopFlag;
use crate::Result;
use crate::layout::head::TurnWord;
use crate::sys::clock::{self, Deadline};
use crate::sys::semaphore::RawSemaphore;

/// How long a turn may last unchanged before it is passed. A turn normally takes microseconds.
const PATIENCE: Duration = Duration::from_millis(5);

/// How long a handle waits for its turn. Then it continues without one.
#[derive(Debug, Clone, Copy)]
pub enum TurnPatience<'a> {
    /// No time: for a task's poll, and for a consumer that only tries.
    None,
    /// Two sleeps, after which an unchanged turn is passed: for a producer that only tries, as it does before
    /// each wait.
    Moment,
    /// Until the deadline passes or the flag is raised.
    Until(Deadline, Option<&'a StopFlag>),
}

impl TurnPatience<'_> {
    /// How long the handle may sleep now.
    fn slice(&self) -> Duration {
        match self {
            TurnPatience::None => Duration::ZERO,
            TurnPatience::Moment => PATIENCE,
            TurnPatience::Until(deadline, _) => {
                deadline.remaining().map_or(PATIENCE, |left| left.min(PATIENCE))
            }
        }
    }

    /// Whether the patience is used up after this many sleeps.
    fn is_over(&self, sleeps: u32) -> bool {
        match self {
            TurnPatience::None => true,
            TurnPatience::Moment => sleeps >= 2,
            TurnPatience::Until(deadline, stop) => deadline.passed() || stop.is_some_and(StopFlag::is_raised),
        }
    }
}

/// The mutex of one ring.
#[derive(Debug, Clone, Copy)]
pub struct Mutex<'a> {
    /// 0, or the turn of one participant.
    pub owner: &'a AtomicU64,
    /// The semaphore to sleep on. Its value is 1 when no participant has a turn, as in the texts.
    pub semaphore: RawSemaphore<'a>,
}

/// The number of the participant that has the turn in this word.
pub fn owner_of(word: u64) -> Option<u32> {
    TurnWord::read(word).map(|turn| turn.number)
}

impl Mutex<'_> {
    /// Waits, and then takes the turn `turn`. Returns false if the patience was used up.
    fn lock(&self, turn: u64, patience: TurnPatience<'_>, is_dead: impl Fn(u32) -> bool) -> Result<bool> {
        let (mut seen, mut since, mut sleeps) = (0, 0, 0);
        loop {
            let slice = patience.slice();
            if slice.is_zero() {
                self.semaphore.try_wait()?;
            } else {
                self.semaphore.wait_for(slice)?;
            }
            // E12: see what was done in the turn before.
            let Err(other) = self.owner.compare_exchange(0, turn, Acquire, Relaxed) else { return Ok(true) };
            let now = clock::monotonic_ns();
            if other != seen {
                (seen, since) = (other, now);
            }
            // Measured by the clock, since a damaged semaphore may not let its callers sleep.
            let stuck = now.saturating_sub(since) >= PATIENCE.as_nanos() as u64;
            let over = stuck || owner_of(other).is_some_and(&is_dead);
            // E12: as above.
            if over && self.owner.compare_exchange(other, turn, Acquire, Relaxed).is_ok() {
                return Ok(true);
            }
            sleeps += 1;
            if patience.is_over(sleeps) {
                return Ok(false);
            }
        }
    }

    /// Ends a turn, unless another participant has passed it.
    fn unlock(&self, turn: u64) {
        // E12: publishes this turn's work to the next turn.
        if self.owner.compare_exchange(turn, 0, Release, Relaxed).is_ok() {
            self.post();
        }
    }

    /// Ends the turn of a dead participant.
    pub fn release(&self, dead: u32) {
        let word = self.owner.load(Relaxed); // Relaxed: the exchange decides.
        // E12: as above. Acquire: also passes on what the dead participant did.
        if owner_of(word) == Some(dead) && self.owner.compare_exchange(word, 0, AcqRel, Relaxed).is_ok() {
            self.post();
        }
    }

    fn post(&self) {
        // A participant that was passed may have posted already, and two tokens would admit two participants
        // at once. A semaphore that cannot be posted is damaged; the next participant that waits on it
        // reports this.
        if self.semaphore.value() < 1 {
            let _ = self.semaphore.post();
        }
    }
}

/// A participant's turn, or none.
#[derive(Debug)]
pub struct Turn {
    number: u32,
    /// The number of turns so far: each turn has a different word.
    turns: u64,
    held: bool,
}

impl Turn {
    /// For participant `number`.
    pub fn new(number: u32) -> Self {
        Turn { number, turns: 0, held: false }
    }

    fn word(&self) -> u64 {
        TurnWord { number: self.number, turn: self.turns }.write()
    }

    /// Waits for the mutex, where there is one, and holds it until [`end`](Self::end). Goes on without it
    /// when the patience is used up.
    pub fn begin(
        &mut self,
        mutex: Option<Mutex<'_>>,
        patience: TurnPatience<'_>,
        is_dead: impl Fn(u32) -> bool,
    ) -> Result<()> {
        let Some(mutex) = mutex.filter(|_| !self.held) else { return Ok(()) };
        self.turns = self.turns.wrapping_add(1);
        self.held = mutex.lock(self.word(), patience, is_dead)?;
        Ok(())
    }

    /// Ends the turn, if there is one, so that the next participant gets its turn.
    pub fn end(&mut self, mutex: Option<Mutex<'_>>) {
        if std::mem::take(&mut self.held)
            && let Some(mutex) = mutex
        {
            mutex.unlock(self.word());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::testing::Stage;
    use std::cell::Cell;

    const FOR_EVER: TurnPatience<'static> = TurnPatience::Until(Deadline::never(), None);

    #[test]
    fn a_handle_without_time_goes_on_without_a_turn_even_if_other_turns_change() {
        let stage = Stage::new();
        let (mutex, mut turn, flag) = (stage.mutex(), Turn::new(0), StopFlag::new());
        assert!(mutex.semaphore.try_wait().unwrap());
        flag.raise();
        let short = TurnPatience::Until(Deadline::after(Duration::from_millis(1)), None);
        let stopped = TurnPatience::Until(Deadline::never(), Some(&flag));
        let slept = TurnPatience::Until(Deadline::immediate(), None);
        for patience in [TurnPatience::None, TurnPatience::Moment, slept, short, stopped] {
            let asked = Cell::new(0);
            let goes_on = |_| {
                asked.set(asked.get() + 1);
                assert!(asked.get() < 100, "it waits on: {patience:?}");
                mutex.owner.store(word(asked.get(), 3), Relaxed);
                false
            };
            mutex.owner.store(word(200, 3), Relaxed);
            turn.begin(Some(mutex), patience, goes_on).unwrap();
            assert_eq!((owner_of(stage.turn()), turn.held), (Some(3), false));
            let others = stage.turn();
            turn.end(Some(mutex));
            assert_eq!((stage.turn(), mutex.semaphore.value()), (others, 0), "it ends no other turn");
        }
        mutex.owner.store(0, Relaxed);
        turn.begin(Some(mutex), TurnPatience::None, |_| false).unwrap();
        assert!(turn.held, "it gets a free turn at once");
    }

    /// The word for turn number `turn` of participant `number`.
    fn word(turn: u64, number: u32) -> u64 {
        TurnWord { number, turn }.write()
    }

    #[test]
    fn a_dead_owner_is_not_waited_for() {
        let stage = Stage::new();
        let mutex = stage.mutex();
        mutex.owner.store(word(7, 3), Relaxed);
        let asked = Cell::new(0);
        let is_dead = |number| {
            asked.set(asked.get() + 1);
            number == 3
        };
        assert!(mutex.lock(word(1, 0), FOR_EVER, is_dead).unwrap());
        assert_eq!((stage.turn(), asked.get()), (word(1, 0), 1), "taken over at the first look");
    }

    #[test]
    fn a_participant_that_ends_its_turns_in_time_is_not_passed() {
        let stage = Stage::new();
        let mutex = stage.mutex();
        let turns = Cell::new(1);
        mutex.owner.store(word(1, 3), Relaxed);
        // Each check finds that another turn has begun, and after the fifth that none has.
        let goes_on = |_| {
            turns.set(turns.get() + 1);
            mutex.owner.store(if turns.get() > 5 { 0 } else { word(turns.get(), 3) }, Relaxed);
            false
        };
        assert!(mutex.lock(word(1, 0), FOR_EVER, goes_on).unwrap());
        assert_eq!((stage.turn(), turns.get()), (word(1, 0), 6));
    }

    #[test]
    fn each_turn_has_a_word_of_its_own_and_ends_no_other() {
        let stage = Stage::new();
        let (mutex, mut turn) = (stage.mutex(), Turn::new(3));
        let words = [(); 2].map(|()| {
            turn.begin(Some(mutex), FOR_EVER, |_| false).unwrap();
            let word = stage.turn();
            turn.end(Some(mutex));
            assert_eq!((stage.turn(), mutex.semaphore.value()), (0, 1));
            word
        });
        assert_eq!(words.map(owner_of), [Some(3); 2]);
        assert_ne!(words[0], words[1]);
        turn.begin(Some(mutex), FOR_EVER, |_| false).unwrap();
        // Another participant found this turn stuck, and passed it.
        mutex.owner.store(word(9, 7), Relaxed);
        turn.end(Some(mutex));
        assert_eq!((stage.turn(), mutex.semaphore.value()), (word(9, 7), 0));
    }
}
