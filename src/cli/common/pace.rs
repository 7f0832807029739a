//! Computes when the next item is due.
use super::args::{DelayArg, RateArg};
use std::time::{Duration, Instant};

/// Lateness up to this is made up for (or up to one interval, if that is longer). It exceeds the jitter of
/// sleeping and of a busy machine, and is too little for a noticeable burst.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Spaces items by a rate, by a delay, or by both: then by whichever is longer for an item.
///
/// The first item is due at once. A rate is a schedule: a late item does not shift the ones after it, so over a
/// long time the rate is met. Lateness above 100 ms (or above one interval, if that is longer) is not made up for:
/// after a stall, at most 100 ms' worth of items, and at least one, follows at once. A delay counts from the call,
/// after the item before was handled, as the work on an item would.
///
/// ```
/// use ringpipe::internal::cli::common::pace::Pace;
/// use std::time::{Duration, Instant};
/// let start = Instant::now();
/// let mut pace = Pace::new("10/s".parse().ok(), None, fastrand::Rng::new());
/// assert_eq!(pace.wait(start), Duration::ZERO);
/// assert_eq!(pace.wait(start + Duration::from_millis(30)), Duration::from_millis(70));
/// ```
#[derive(Debug)]
pub struct Pace {
    rate: Option<RateArg>,
    delay: Option<DelayArg>,
    random: fastrand::Rng,
    /// Item number `sent` is due `sent` intervals after this; `None` before the first item.
    origin: Option<Instant>,
    sent: u64,
}

impl Pace {
    /// A pace that starts with its first call of [`Pace::wait`]; `random` draws the delays of a range.
    pub fn new(rate: Option<RateArg>, delay: Option<DelayArg>, random: fastrand::Rng) -> Self {
        Pace { rate, delay, random, origin: None, sent: 0 }
    }

    /// Whether no item ever waits, so that the caller may handle items in batches without asking.
    pub fn is_unlimited(&self) -> bool {
        self.rate.is_none() && self.delay.is_none()
    }

    /// How long the next item must wait from `now`; zero when it is due. Call this once per item, with times that
    /// do not go back.
    pub fn wait(&mut self, now: Instant) -> Duration {
        let Some(origin) = self.origin else {
            (self.origin, self.sent) = (Some(now), 1);
            return Duration::ZERO;
        };
        let by_rate = self.rate.map_or(Duration::ZERO, |rate| self.until_due(rate, origin, now));
        by_rate.max(self.draw_delay())
    }

    fn until_due(&mut self, rate: RateArg, origin: Instant, now: Instant) -> Duration {
        // Computed from the count, because adding intervals would add up rounding errors.
        let due = origin + Duration::from_secs_f64(self.sent as f64 / rate.per_second());
        self.sent += 1;
        let slack = CATCH_UP.max(Duration::from_secs_f64(1.0 / rate.per_second()));
        if let Some(lost) = now.saturating_duration_since(due).checked_sub(slack) {
            self.origin = Some(origin + lost);
        }
        due.saturating_duration_since(now)
    }

    fn draw_delay(&mut self) -> Duration {
        let Some(DelayArg { min, max }) = self.delay else { return Duration::ZERO };
        let span = u64::try_from((max - min).as_nanos()).unwrap_or(u64::MAX);
        min + Duration::from_nanos(self.random.u64(0..=span))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn pace(rate: Option<&str>, delay: Option<&str>) -> Pace {
        let (rate, delay) = (rate.map(|r| r.parse().unwrap()), delay.map(|d| d.parse().unwrap()));
        Pace::new(rate, delay, fastrand::Rng::with_seed(7))
    }

    /// Sends `items`, while each sleep overshoots by `late`; returns how long that took.
    fn run(pace: &mut Pace, start: Instant, items: u32, late: Duration) -> Duration {
        let mut now = start;
        for _ in 0..items {
            let wait = pace.wait(now);
            if wait > Duration::ZERO {
                now += wait + late;
            }
        }
        now - start
    }

    #[test]
    fn without_rate_and_delay_nothing_waits() {
        let mut pace = pace(None, None);
        assert!(pace.is_unlimited());
        assert_eq!(run(&mut pace, Instant::now(), 1000, MS), Duration::ZERO);
    }

    #[test]
    fn a_rate_is_met_in_the_long_run_though_every_sleep_is_late() {
        for (rate, items, expected) in
            [("1000/s", 100_001, 100), ("7/s", 7_001, 1000), ("100000", 1_000_001, 10)]
        {
            let took = run(&mut pace(Some(rate), None), Instant::now(), items, 3 * MS).as_secs_f64();
            assert!((took - f64::from(expected)).abs() < 0.004, "{rate}: {took} s");
        }
    }

    #[test]
    fn after_a_stall_at_most_100_ms_worth_of_items_is_made_up_for() {
        let start = Instant::now();
        let mut pace = pace(Some("1000/s"), None);
        run(&mut pace, start, 10, Duration::ZERO);
        let later = start + Duration::from_secs(3600);
        let burst = (0..1000).take_while(|_| pace.wait(later) == Duration::ZERO).count();
        assert!((100..=102).contains(&burst), "{burst}");
    }

    #[test]
    fn after_a_stall_of_a_slow_rate_one_item_is_made_up_for() {
        let start = Instant::now();
        let mut pace = pace(Some("1/m"), None);
        assert_eq!(pace.wait(start), Duration::ZERO);
        let later = start + Duration::from_secs(3600);
        let waits = [0; 3].map(|_| pace.wait(later).as_secs());
        assert_eq!(waits, [0, 0, 60]);
    }

    #[test]
    fn a_random_delay_stays_in_its_range_and_varies() {
        let mut pace = pace(None, Some("10ms..30ms"));
        let now = Instant::now();
        assert_eq!(pace.wait(now), Duration::ZERO);
        let waits: Vec<_> = (0..1000).map(|_| pace.wait(now)).collect();
        assert!(waits.iter().all(|w| (10 * MS..=30 * MS).contains(w)));
        assert!(waits.iter().any(|w| *w < 12 * MS) && waits.iter().any(|w| *w > 28 * MS));
    }

    #[test]
    fn the_longer_of_rate_and_delay_applies() {
        let now = Instant::now();
        let mut slow_rate = pace(Some("10/s"), Some("20ms"));
        let mut slow_delay = pace(Some("100/s"), Some("20ms"));
        assert_eq!([slow_rate.wait(now), slow_rate.wait(now)], [Duration::ZERO, 100 * MS]);
        assert_eq!([slow_delay.wait(now), slow_delay.wait(now)], [Duration::ZERO, 20 * MS]);
    }

    #[test]
    fn the_longest_and_shortest_intervals_do_not_overflow() {
        let now = Instant::now();
        for rate in ["0.0000417/h", &"9".repeat(300)] {
            let mut pace = pace(Some(rate), Some("0..9999d"));
            for _ in 0..100 {
                pace.wait(now);
            }
        }
    }
}
