//! Measures for how long a shared word has kept its value, as one handle sees it.

use std::cell::Cell;

/// The last value that a handle saw in a shared word, and since when, on the clock of its own process.
///
/// A time stored by another process would say nothing here: its monotonic clock may differ (time namespaces).
/// So a word that is valid for a limited time holds a value that its writer changes, and each handle measures
/// for itself how long it has seen the same value.
#[derive(Debug, Default)]
pub struct Seen {
    value: Cell<u64>,
    since: Cell<Option<u64>>,
}

impl Seen {
    /// For how long this handle has seen this value, at `now` on its own clock. `None` if this is the first
    /// value that it ever sees.
    pub fn age(&self, value: u64, now: u64) -> Option<u64> {
        match self.since.get() {
            Some(since) if self.value.get() == value => Some(now.saturating_sub(since)),
            before => {
                self.note(value, now);
                before.map(|_| 0)
            }
        }
    }

    /// Records that the word has this value from now on.
    pub fn note(&self, value: u64, now: u64) {
        self.value.set(value);
        self.since.set(Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_value_depends_only_on_when_this_handle_saw_it() {
        let seen = Seen::default();
        assert_eq!(seen.age(u64::MAX, 100), None);
        assert_eq!(seen.age(u64::MAX, 130), Some(30));
        assert_eq!(seen.age(7, 140), Some(0));
        assert_eq!(seen.age(7, 150), Some(10));
        seen.note(8, 160);
        assert_eq!(seen.age(8, 161), Some(1));
    }
}
