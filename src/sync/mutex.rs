//! The mutex of the classic disciplines: a semaphore to wait on, and a word that says whose turn it is.
//!
//! A semaphore has no owner: killed between its wait and its post, a process would keep all others out for ever.
//! So the word decides, taken by compare-exchange after the semaphore's wait and given back before its post:
//!
//! - its owner is dead: the next one takes it over;
//! - it has not moved for a while: its owner is stopped, or slow, and is passed. That robs nobody: what is in
//!   the slots is owned by the slots' words alone, and whoever works on them does so by exchanges, alone or not.
//!   The mutex only keeps the usual case in the documents' order;
//! - its semaphore's token died with somebody: whoever waits looks at the word after a moment all the same.
//!
//! Orders: E12, from a turn to the next one.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use crate::Result;
use crate::sys::clock;
use crate::sys::semaphore::Semaphore;

/// How long a turn may take before it is looked at, and passed when it is the same one after as long again.
/// A turn takes microseconds.
const PATIENCE: Duration = Duration::from_millis(5);

/// Bits of the word that name the owner, one more than its number; above them, which of its turns it is.
const OWNER_BITS: u32 = 16;

/// The mutex of one ring.
#[derive(Debug, Clone, Copy)]
pub struct Mutex<'a> {
    /// 0, or whose turn it is.
    pub owner: &'a AtomicU64,
    /// What is waited on: 1 when it is nobody's turn, as in the documents.
    pub semaphore: Semaphore,
}

/// The participant that a mutex's word names.
pub fn owner_of(word: u64) -> Option<u32> {
    ((word & ((1 << OWNER_BITS) - 1)) as u32).checked_sub(1)
}

impl Mutex<'_> {
    /// Waits for the turn that `turn` names.
    fn lock(&self, turn: u64, is_dead: impl Fn(u32) -> bool) -> Result<()> {
        let (mut seen, mut since) = (0, 0);
        loop {
            self.semaphore.wait_for(PATIENCE)?;
            // E12: what was done in the turn before.
            let Err(other) = self.owner.compare_exchange(0, turn, Acquire, Relaxed) else { return Ok(()) };
            let now = clock::monotonic_ns();
            if other != seen {
                (seen, since) = (other, now);
            }
            // By the clock, since a semaphore that lies may not let anybody sleep.
            let stuck = now.saturating_sub(since) >= PATIENCE.as_nanos() as u64;
            let over = stuck || owner_of(other).is_some_and(&is_dead);
            // E12: as above.
            if over && self.owner.compare_exchange(other, turn, Acquire, Relaxed).is_ok() {
                return Ok(());
            }
        }
    }

    /// Ends a turn, unless others have passed it.
    fn unlock(&self, turn: u64) {
        // E12: to the next turn.
        if self.owner.compare_exchange(turn, 0, Release, Relaxed).is_ok() {
            self.post();
        }
    }

    /// Ends the turn of a dead participant.
    pub fn release(&self, dead: u32) {
        let word = self.owner.load(Relaxed); // Relaxed: the exchange decides.
        // E12: as above; it passes on what was there.
        if owner_of(word) == Some(dead) && self.owner.compare_exchange(word, 0, AcqRel, Relaxed).is_ok() {
            self.post();
        }
    }

    fn post(&self) {
        // One that was passed may have left its token: two would let in two. A semaphore that cannot be posted
        // is a damaged one, which the next to wait for it finds out.
        if self.semaphore.value() < 1 {
            let _ = self.semaphore.post();
        }
    }
}

/// A participant's turn, or none.
#[derive(Debug)]
pub struct Turn {
    number: u32,
    /// Turns so far: each has another word.
    turns: u64,
    held: bool,
}

impl Turn {
    /// For participant `number`.
    pub fn new(number: u32) -> Self {
        Turn { number, turns: 0, held: false }
    }

    fn word(&self) -> u64 {
        (self.turns << OWNER_BITS) | (u64::from(self.number) + 1)
    }

    /// Waits for the mutex, where there is one, and has it until [`end`](Self::end).
    pub fn begin(&mut self, mutex: Option<Mutex<'_>>, is_dead: impl Fn(u32) -> bool) -> Result<()> {
        let Some(mutex) = mutex.filter(|_| !self.held) else { return Ok(()) };
        self.turns = self.turns.wrapping_add(1);
        mutex.lock(self.word(), is_dead)?;
        self.held = true;
        Ok(())
    }

    /// Lets the next one in, if it is this one's turn.
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
    use crate::sync::testing::Stage;
    use std::cell::Cell;

    /// Turn number `turn` of participant `number`.
    fn word(turn: u64, number: u64) -> u64 {
        turn << OWNER_BITS | (number + 1)
    }

    #[test]
    fn the_dead_are_not_waited_for() {
        let stage = Stage::new();
        let mutex = stage.mutex();
        mutex.owner.store(word(7, 3), Relaxed);
        let asked = Cell::new(0);
        let is_dead = |number| {
            asked.set(asked.get() + 1);
            number == 3
        };
        mutex.lock(word(1, 0), is_dead).unwrap();
        assert_eq!((stage.turn(), asked.get()), (word(1, 0), 1), "taken over at the first look");
    }

    #[test]
    fn who_ends_its_turns_in_time_is_not_passed_however_many_there_are() {
        let stage = Stage::new();
        let mutex = stage.mutex();
        let turns = Cell::new(1);
        mutex.owner.store(word(1, 3), Relaxed);
        // By each look another turn has begun, and after the fifth none.
        let goes_on = |_| {
            turns.set(turns.get() + 1);
            mutex.owner.store(if turns.get() > 5 { 0 } else { word(turns.get(), 3) }, Relaxed);
            false
        };
        mutex.lock(word(1, 0), goes_on).unwrap();
        assert_eq!((stage.turn(), turns.get()), (word(1, 0), 6));
    }

    #[test]
    fn each_turn_has_a_word_of_its_own_and_ends_no_other() {
        let stage = Stage::new();
        let (mutex, mut turn) = (stage.mutex(), Turn::new(3));
        let words = [(); 2].map(|()| {
            turn.begin(Some(mutex), |_| false).unwrap();
            let word = stage.turn();
            turn.end(Some(mutex));
            assert_eq!((stage.turn(), mutex.semaphore.value()), (0, 1));
            word
        });
        assert_eq!(words.map(owner_of), [Some(3); 2]);
        assert_ne!(words[0], words[1]);
        turn.begin(Some(mutex), |_| false).unwrap();
        // It was taken for stuck, and passed.
        mutex.owner.store(word(9, 7), Relaxed);
        turn.end(Some(mutex));
        assert_eq!((stage.turn(), mutex.semaphore.value()), (word(9, 7), 0));
    }
}
