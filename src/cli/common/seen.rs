//! Remembers keys of items, for `--dedup`: as runs of consecutive sequences, since a process mostly gets those.

use std::collections::BTreeMap;

use crate::ItemKey;

/// The most runs that are remembered: some ten megabytes. A consumer that shares a ring with others gets sequences with
/// gaps, and so a run for each of its items.
const MOST_RUNS: usize = 1 << 20;

/// A set of keys.
#[derive(Debug)]
pub struct Seen {
    /// The first key of each run, and its last sequence. Runs of one producer do not touch.
    runs: BTreeMap<ItemKey, u64>,
    most: usize,
}

impl Default for Seen {
    fn default() -> Self {
        Seen { runs: BTreeMap::new(), most: MOST_RUNS }
    }
}

impl Seen {
    /// Whether the set has this key.
    pub fn contains(&self, key: ItemKey) -> bool {
        self.run_before(key).is_some_and(|(_, last)| key.sequence <= last)
    }

    /// Adds a key. False: the set had it already.
    ///
    /// If there are too many runs, forgets the one of the lowest producer and sequence: an item that was sent again
    /// under such a key then counts as a new one.
    pub fn insert(&mut self, key: ItemKey) -> bool {
        let before = self.run_before(key);
        if before.is_some_and(|(_, last)| key.sequence <= last) {
            return false;
        }
        let next = key.sequence.checked_add(1).map(|sequence| ItemKey { sequence, ..key });
        let last = next.and_then(|next| self.runs.remove(&next)).unwrap_or(key.sequence);
        let first = match before {
            Some((first, last)) if last.checked_add(1) == Some(key.sequence) => first,
            _ => key,
        };
        self.runs.insert(first, last);
        if self.runs.len() > self.most {
            self.runs.pop_first();
        }
        true
    }

    /// The run of this producer that begins at this key or before it.
    fn run_before(&self, key: ItemKey) -> Option<(ItemKey, u64)> {
        let start = ItemKey { sequence: 0, ..key };
        self.runs.range(start..=key).next_back().map(|(first, last)| (*first, *last))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn key(producer: u32, sequence: u64) -> ItemKey {
        ItemKey { producer, sequence }
    }

    #[test]
    fn consecutive_sequences_are_one_run_in_any_order() {
        let mut seen = Seen::default();
        for sequence in [0, 1, 2, 5, 4, 9, 3, 7, 8, 6] {
            assert!(!seen.contains(key(3, sequence)));
            assert!(seen.insert(key(3, sequence)));
            assert!(seen.contains(key(3, sequence)) && !seen.insert(key(3, sequence)));
        }
        assert_eq!(seen.runs, BTreeMap::from([(key(3, 0), 9)]));
        assert!(!seen.contains(key(2, 4)) && !seen.contains(key(4, 4)) && !seen.contains(key(3, 10)));
    }

    #[test]
    fn the_runs_of_two_producers_stay_apart() {
        let mut seen = Seen::default();
        for key in [key(1, u64::MAX), key(2, 0), key(1, u64::MAX - 1), key(u32::MAX, u64::MAX)] {
            assert!(seen.insert(key) && !seen.insert(key));
        }
        assert_eq!(seen.runs.len(), 3);
    }

    #[test]
    fn of_too_many_runs_the_lowest_are_forgotten() {
        let mut seen = Seen { most: 3, ..Seen::default() };
        (0..10).for_each(|n| assert!(seen.insert(key(1, 2 * n))));
        assert_eq!(seen.runs.keys().map(|key| key.sequence).collect::<Vec<_>>(), [14, 16, 18]);
        assert!(!seen.contains(key(1, 12)) && seen.contains(key(1, 14)));
    }

    proptest! {
        #[test]
        fn it_has_what_was_added_and_nothing_else(keys in prop::collection::vec((0_u32..3, 0_u64..40), 0..300)) {
            let (mut seen, mut model) = (Seen::default(), BTreeSet::new());
            for (producer, sequence) in keys {
                prop_assert_eq!(seen.insert(key(producer, sequence)), model.insert((producer, sequence)));
            }
            for producer in 0..4 {
                for sequence in 0..41 {
                    let expected = model.contains(&(producer, sequence));
                    prop_assert_eq!(seen.contains(key(producer, sequence)), expected);
                }
            }
            // As few runs as possible.
            let starts = model.iter().filter(|(p, s)| *s == 0 || !model.contains(&(*p, s - 1))).count();
            prop_assert_eq!(seen.runs.len(), starts);
        }
    }
}
