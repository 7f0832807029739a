//! Adapts how many items a consumer holds that its reader has not taken, and how long it sleeps between checks.

use std::time::{Duration, Instant};

/// If a reader takes half of the window sooner than this, it might wait for more: the window grows.
const SOON: Duration = Duration::from_millis(2);
/// If a reader takes longer than this, it has enough to read: the window shrinks.
const LATE: Duration = Duration::from_millis(10);

/// The number of items that may be written and unread: about what the reader takes in a few milliseconds. So the
/// reader always finds one, and other consumers can take the remaining ones.
#[derive(Debug)]
pub(super) struct Window {
    items: usize,
    most: usize,
}

impl Window {
    /// One item at first, and never more than `most`.
    pub fn new(most: usize) -> Self {
        Window { items: 1, most: most.max(1) }
    }

    pub fn items(&self) -> usize {
        self.items
    }

    /// A full window is refilled when only this many items are left: refilling after each item would cost a write
    /// per item.
    pub fn refill_at(&self) -> usize {
        self.items / 2
    }

    /// Records that the reader has taken half of a full window in this time.
    pub fn note(&mut self, took: Duration) {
        if took < SOON {
            self.items = (self.items * 2).min(self.most);
        } else if took > LATE {
            self.items = (self.items / 2).max(1);
        }
    }
}

/// In the beginning, the wait yields the processor instead of sleeping.
const YIELDS: Duration = Duration::from_micros(50);
/// The shortest and longest sleep; in between, an eighth of the time waited so far.
const SLEEPS: (Duration, Duration) = (Duration::from_micros(50), Duration::from_millis(25));
const SLEEP_SHARE: u32 = 8;
/// The shortest wait for an event.
const BESIDE: Duration = Duration::from_micros(500);

/// The sleeps of a wait that no event ends: for a reader to take bytes out of a pipe.
#[derive(Debug)]
pub(super) struct Sleeps(Instant);

impl Sleeps {
    pub fn new() -> Self {
        Sleeps(Instant::now())
    }

    /// The time waited so far.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// How long to sleep now; zero in the beginning.
    pub fn next(&self) -> Duration {
        let waited = self.elapsed();
        if waited < YIELDS {
            std::thread::yield_now();
            return Duration::ZERO;
        }
        (waited / SLEEP_SHARE).clamp(SLEEPS.0, SLEEPS.1)
    }

    /// How long to wait for an event now, until the next check of the reader.
    pub fn beside_event(&self) -> Duration {
        (self.elapsed() / SLEEP_SHARE).clamp(BESIDE, SLEEPS.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_reader_gets_many_items_at_a_time_and_a_slow_one_single_items() {
        let mut window = Window::new(1000);
        assert_eq!((window.items(), window.refill_at()), (1, 0));
        (0..20).for_each(|_| window.note(Duration::from_micros(30)));
        assert_eq!((window.items(), window.refill_at()), (1000, 500));
        window.note(Duration::from_millis(5));
        assert_eq!(window.items(), 1000);
        (0..20).for_each(|_| window.note(Duration::from_secs(1)));
        assert_eq!(window.items(), 1);
        assert_eq!(Window::new(0).items(), 1);
    }
}
