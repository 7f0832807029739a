//! Chooses when a process is killed, and which one.
use std::time::{Duration, Instant};

/// The mean number of received items between two kills is a share of those received so far, within bounds: a short input
/// sees kills, too, and a long one is not held up.
const SHARE: u64 = 16;
const LEAST: u64 = 50;
const MOST: u64 = 5000;
/// The longest pause before a kill, so that it does not come just after an item was read.
const PAUSE_US: u64 = 1000;

/// The plan of the kills. They are counted in items, not in time: between two kills, some item gets through, so a run
/// ends on any machine.
pub struct Kills {
    random: fastrand::Rng,
    /// The number of received items at which the next process is killed.
    next: u64,
    /// No process is killed after this time.
    until: Option<Instant>,
    /// Killed processes.
    pub count: u64,
}

impl Kills {
    pub fn new(seed: u64, until: Option<Instant>) -> Self {
        let mut kills = Kills { random: fastrand::Rng::with_seed(seed), next: 0, until, count: 0 };
        kills.plan(0);
        kills
    }

    fn plan(&mut self, received: u64) {
        let mean = (received / SHARE).clamp(LEAST, MOST);
        self.next = received + self.random.u64(1..2 * mean);
    }

    /// The pause before the next kill, if it is due after this number of received items.
    pub fn due(&mut self, received: u64) -> Option<Duration> {
        if received < self.next || !self.has_time() {
            return None;
        }
        self.plan(received);
        Some(Duration::from_micros(self.random.u64(..PAUSE_US)))
    }

    /// Whether no process was killed so far, although there is time for it.
    pub fn owes_one(&self) -> bool {
        self.count == 0 && self.has_time()
    }

    fn has_time(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }

    /// Kills one of the places' processes: a random one, or if none runs there, the next.
    pub fn strike<'s, S>(&mut self, slots: &'s [S], kill: impl Fn(&'s S) -> bool) {
        let first = self.random.usize(..slots.len());
        let (before, after) = slots.split_at(first);
        if after.iter().chain(before).any(kill) {
            self.count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn choices(seed: u64) -> Vec<(u64, u64)> {
        let mut kills = Kills::new(seed, None);
        let chosen = RefCell::new(Vec::new());
        for received in 0..100_000 {
            if kills.due(received).is_some() {
                kills.strike(&[0, 1, 2, 3], |slot| {
                    chosen.borrow_mut().push((received, *slot));
                    true
                });
            }
        }
        assert_eq!(kills.count, chosen.borrow().len() as u64);
        chosen.into_inner()
    }

    #[test]
    fn a_seed_repeats_the_choices() {
        assert_eq!(choices(7), choices(7));
        assert_ne!(choices(7), choices(8));
    }

    #[test]
    fn short_inputs_see_kills_and_all_places_are_struck() {
        for seed in 0..100 {
            let chosen = choices(seed);
            assert!(chosen[0].0 < 2 * LEAST && chosen[2].0 < 600, "{:?}", &chosen[..3]);
            assert!((0..4).all(|slot| chosen.iter().any(|(_, one)| *one == slot)), "{chosen:?}");
        }
    }

    #[test]
    fn no_process_is_killed_twice_without_an_item_in_between_nor_after_the_time() {
        let mut kills = Kills::new(1, None);
        assert!(kills.due(1000).is_some());
        assert!(kills.due(1000).is_none());
        let mut over = Kills::new(1, Some(Instant::now()));
        assert!(over.due(1000).is_none());
    }

    #[test]
    fn a_place_without_a_process_is_passed_over() {
        let mut kills = Kills::new(1, None);
        kills.strike(&[false, false, true], |runs| *runs);
        assert_eq!(kills.count, 1);
        kills.strike(&[false, false], |runs| *runs);
        assert_eq!(kills.count, 1);
    }
}
