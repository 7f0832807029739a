//! When a handle checks for dead participants, and the death watch thread that it may start for this.

use std::cell::{Cell, OnceCell};

use super::death_watch::DeathWatch;
use super::participant::Participant;
use super::recovery::{forget_dead_sleepers, reap_all};
use super::table::{Turns, numbers};
use crate::layout::head;
use crate::sys::clock;
use crate::wait::SLICE;

/// A participant that never wins the turn to check for deaths tries to start a death watch after this time.
const TRY_ANYWAY_NS: u64 = 500_000_000;

/// What one handle remembers about the turns to check for deaths.
#[derive(Debug)]
pub(crate) struct Sweep {
    turns: Turns,
    /// The time, on the coarse clock, from which this handle tries to start a death watch. `None`: it never
    /// starts one.
    watches_from: Option<Cell<u64>>,
    watch: OnceCell<DeathWatch>,
}

impl Sweep {
    /// For a handle that attaches now. If it `watches`, it starts a death watch once it has been attached for
    /// longer than a slice. A handle that leaves earlier does not need the thread.
    pub fn new(watches: bool) -> Self {
        let watches_from = watches.then(|| Cell::new(clock::coarse_ns() + SLICE.as_nanos() as u64));
        Sweep { turns: Turns::default(), watches_from, watch: OnceCell::new() }
    }

    /// Checks for deaths and recovers from them, unless this handle saw another one take that turn in the
    /// last slice, or half a second for 1,000 participants. Returns true if a recovery changed something.
    pub fn in_turn(&self, participant: &Participant) -> bool {
        let now = clock::coarse_ns();
        let asked = numbers(participant.mapping()).len() as u64;
        let wins = self.turns.take(participant.mapping().head_word(head::SWEPT_AT), now, asked * asked);
        // If several participants check at the same times, one of them may win every turn.
        let overdue = self.watches_from.as_ref().is_some_and(|from| now >= from.get() + TRY_ANYWAY_NS);
        if wins || overdue {
            self.keep_watch(participant, now);
        }
        if !wins {
            return false;
        }
        forget_dead_sleepers(participant.memory());
        reap_all(&participant.slots).any()
    }

    fn keep_watch(&self, participant: &Participant, now: u64) {
        let mapping = participant.mapping();
        match (self.watch.get(), &self.watches_from) {
            (Some(watch), _) => watch.look(mapping),
            (None, Some(from)) if now >= from.get() => {
                from.set(now);
                // If all seats are taken now, try again after the next slice.
                let holds = || participant.memory().liveness.holds_number();
                if let Some(watch) = DeathWatch::start(mapping, holds) {
                    let _ = self.watch.set(watch);
                }
            }
            (None, _) => {}
        }
    }
}

#[cfg(test)]
impl Sweep {
    /// Makes it look as if another handle has just taken the turn.
    pub fn not_due(&self, participant: &Participant) {
        participant.mapping().head_word(head::SWEPT_AT).store(7, std::sync::atomic::Ordering::Relaxed);
        // This handle saw a different value before.
        self.turns.has_seen(6);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::membership::Role;
    use crate::membership::testing::{attached, dies, ring};
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Duration;

    #[test]
    fn one_handle_per_slice_checks_for_deaths_and_wakes_the_watch() {
        let (_name, ring) = ring(Default::default());
        let (one, sweep) = (attached(&ring, Role::Consumer), Sweep::new(false));
        let (watch, hear) = DeathWatch::heard(ring.mapping());
        sweep.watch.set(watch).unwrap();
        let swept_at = ring.mapping().head_word(head::SWEPT_AT);
        // In turn: the first check ever; another handle's turn that was seen long ago; and a word that no
        // handle has set.
        let last = |value| sweep.turns.has_seen(value);
        for (value, seen) in [(u64::MAX, None), (u64::MAX, Some(u64::MAX)), (7, Some(7)), (0, Some(9))] {
            dies(attached(&ring, Role::Producer));
            swept_at.store(value, Relaxed);
            seen.into_iter().for_each(last);
            assert!(sweep.in_turn(&one), "{value}");
            assert!(![0, value].contains(&swept_at.load(Relaxed)), "the turn is taken");
            hear.recv_timeout(Duration::from_secs(20)).unwrap();
        }
        // If another handle has taken the turn, this one does not check, whatever value the word has.
        for value in [5, clock::coarse_ns(), u64::MAX] {
            dies(attached(&ring, Role::Producer));
            swept_at.store(value, Relaxed);
            assert!(!sweep.in_turn(&one), "{value}");
        }
    }

    #[test]
    fn a_participant_that_never_wins_a_turn_watches_for_deaths_all_the_same() {
        let (_name, ring) = ring(Default::default());
        let (one, sweep) = (attached(&ring, Role::Consumer), Sweep::new(true));
        let from = sweep.watches_from.as_ref().unwrap();
        let looks_in_vain = |since: Duration| {
            from.set(clock::coarse_ns() - since.as_nanos() as u64);
            sweep.not_due(&one);
            assert!(!sweep.in_turn(&one));
            sweep.watch.get().is_some()
        };
        assert!(!looks_in_vain(Duration::from_millis(300)));
        // Another test may hold the list of watches at this moment.
        assert!((0..100).any(|_| looks_in_vain(Duration::from_millis(500))));
    }
}
