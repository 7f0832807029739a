//! The measures behind `--progress`: counts over time, the fill of the ring, and the goal.

use std::collections::VecDeque;
use std::time::Duration;

/// The time over which rates and the fill are averaged.
const WINDOW: Duration = Duration::from_secs(3);
/// In percent: a ring filled below the first waits for its producers, above the second for its consumers.
const NEARLY: (u64, u64) = (25, 75);

/// Items and bytes that have passed so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub items: u64,
    pub bytes: u64,
}

/// The known end of the input: whichever of the two is reached first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Goal {
    /// This many items.
    pub items: Option<u64>,
    /// This many bytes of input.
    pub bytes: Option<u64>,
    /// Bytes of input besides each item: its separator, or its length.
    pub framing: u64,
}

impl Goal {
    /// The part that is reached, 0 to 1, if it is known.
    pub(super) fn reached(&self, count: Count) -> Option<f64> {
        let part = |done: u64, all: Option<u64>| all.map(|all| (done as f64 / all.max(1) as f64).min(1.0));
        let bytes = part(self.input_bytes(count), self.bytes);
        part(count.items, self.items).into_iter().chain(bytes).reduce(f64::max)
    }

    /// The time for the rest at this pace, if the goal is known and the pace is not zero.
    pub(super) fn left(&self, count: Count, pace: Pace) -> Option<Duration> {
        let rest = |done: u64, all: Option<u64>, per_second: f64| {
            all.map(|all| all.saturating_sub(done) as f64 / per_second).filter(|seconds| seconds.is_finite())
        };
        let input = pace.bytes + pace.items * self.framing as f64;
        let bytes = rest(self.input_bytes(count), self.bytes, input);
        let seconds = rest(count.items, self.items, pace.items).into_iter().chain(bytes).reduce(f64::min)?;
        Duration::try_from_secs_f64(seconds.ceil()).ok()
    }

    fn input_bytes(&self, count: Count) -> u64 {
        count.bytes.saturating_add(count.items.saturating_mul(self.framing))
    }
}

/// How full a ring is, and the processes attached to it that may be alive.
#[derive(Debug, Clone, Copy)]
pub struct Fill {
    /// Slots that are not free, in percent.
    pub percent: u64,
    /// Producers.
    pub producers: usize,
    /// Consumers.
    pub consumers: usize,
}

/// Items and bytes per second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    pub items: f64,
    pub bytes: f64,
}

/// The observations of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// Times since the start, with the counts at that time. The first may be older, since it begins the span.
    counts: VecDeque<(Duration, Count)>,
    /// Times since the start, with the fill of the ring in percent.
    fills: VecDeque<(Duration, u64)>,
    /// Live producers and consumers.
    attached: (usize, usize),
}

impl Gauge {
    pub(super) fn count(&mut self, now: Duration, count: Count) {
        if self.counts.is_empty() {
            self.counts.push_back((Duration::ZERO, Count::default()));
        }
        self.counts.push_back((now, count));
        while self.counts.get(1).is_some_and(|(time, _)| *time + WINDOW <= now) {
            self.counts.pop_front();
        }
    }

    pub(super) fn fill(&mut self, now: Duration, fill: Fill) {
        self.fills.push_back((now, fill.percent));
        self.attached = (fill.producers, fill.consumers);
        while self.fills.front().is_some_and(|(time, _)| *time + WINDOW < now) {
            self.fills.pop_front();
        }
    }

    pub(super) fn pace(&self) -> Pace {
        let (Some((from, before)), Some((to, after))) = (self.counts.front(), self.counts.back()) else {
            return Pace::default();
        };
        let seconds = to.saturating_sub(*from).as_secs_f64();
        if seconds == 0.0 {
            return Pace::default();
        }
        let rate = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        Pace { items: rate(before.items, after.items), bytes: rate(before.bytes, after.bytes) }
    }

    /// `ring 98%, consumers slow`.
    pub(super) fn ring(&self) -> Option<String> {
        let sum: u64 = self.fills.iter().map(|(_, percent)| percent).sum();
        let percent = sum.checked_div(self.fills.len() as u64)?;
        let why = match self.attached {
            (_, 0) => ", no consumer",
            (0, _) => ", no producer",
            _ if percent <= NEARLY.0 => ", producers slow",
            _ if percent >= NEARLY.1 => ", consumers slow",
            _ => "",
        };
        Some(format!("ring {percent}%{why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn count(items: u64) -> Count {
        Count { items, bytes: items * 9 }
    }

    #[test]
    fn a_rate_covers_the_last_seconds_and_falls_to_zero() {
        let mut gauge = Gauge::default();
        let paces: Vec<f64> = [0, 100, 200, 300, 300, 300, 300, 300]
            .into_iter()
            .zip(0..)
            .map(|(items, second)| {
                gauge.count(SECOND * second, count(items));
                gauge.pace().items.round()
            })
            .collect();
        assert_eq!(paces, [0.0, 100.0, 100.0, 100.0, 67.0, 33.0, 0.0, 0.0]);
    }

    #[test]
    fn the_end_comes_with_the_first_goal_and_items_have_their_separators() {
        let goal = Goal { items: Some(100), bytes: Some(500), framing: 1 };
        // 10 items need 100 bytes of input.
        assert_eq!(goal.reached(count(10)), Some(0.2));
        let pace = Pace { items: 10.0, bytes: 90.0 };
        assert_eq!(goal.left(count(10), pace), Some(4 * SECOND));
        assert_eq!(goal.left(count(10), Pace::default()), None, "who stands still never arrives");
        assert_eq!(goal.reached(count(1000)), Some(1.0));
        let items = Goal { bytes: None, ..goal };
        assert_eq!((items.reached(count(10)), items.left(count(10), pace)), (Some(0.1), Some(9 * SECOND)));
        assert_eq!(Goal::default().reached(count(10)), None);
    }

    #[test]
    fn the_ring_waits_for_the_slow_side() {
        let ring = |fills: &[u64], (producers, consumers)| {
            let mut gauge = Gauge::default();
            fills.iter().for_each(|&percent| gauge.fill(SECOND, Fill { percent, producers, consumers }));
            gauge.ring().unwrap()
        };
        assert_eq!(ring(&[100, 90], (1, 2)), "ring 95%, consumers slow");
        assert_eq!(ring(&[0, 10], (1, 2)), "ring 5%, producers slow");
        assert_eq!(ring(&[0, 100], (1, 1)), "ring 50%");
        assert_eq!(ring(&[100], (1, 0)), "ring 100%, no consumer");
        assert_eq!(ring(&[0], (0, 1)), "ring 0%, no producer");
        assert_eq!(Gauge::default().ring(), None);
    }
}
