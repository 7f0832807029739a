//! The measures behind `--progress`: counts over time, the fill of the ring, and the goal.

use std::collections::VecDeque;
use std::time::Duration;

/// The time over which rates and the fill are averaged.
const WINDOW: Duration = Duration::from_secs(3);
/// In percent: a ring filled below the first waits for its producers, above the second for its consumers.
const NEARLY: (u64, u64) = (25, 75);

/// When items are slow, rates cover at least this many of them, while something is at work.
const FEW: u64 = 10;

/// What has passed so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub items: u64,
    pub bytes: u64,
    /// Items that are settled in other ways, which count for the goal.
    pub others: u64,
    /// Items that were acknowledged in the ring, by all consumers, since the first look at it.
    pub acknowledged: u64,
}

impl Count {
    fn settled(&self) -> u64 {
        self.items.saturating_add(self.others)
    }
}

/// The known end of the input: whichever of these is reached first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Goal {
    /// This many items.
    pub items: Option<u64>,
    /// This many bytes of input.
    pub bytes: Option<u64>,
    /// Bytes of input besides each item: its separator, or its length.
    pub framing: u64,
    /// The last item in the ring.
    pub emptied: Emptied,
}

/// Whether an empty ring is the goal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Emptied {
    /// An empty ring is not the goal.
    #[default]
    Never,
    /// As soon as no more items come into the ring.
    WhenNoMoreCome,
    /// Even while more come.
    Always,
}

impl Goal {
    /// This goal. If the goal is an empty ring, it becomes a number of items, which includes the items in the
    /// ring.
    pub(super) fn with_ring(mut self, count: Count, fill: Option<Fill>) -> Self {
        let rest = fill.filter(|fill| match self.emptied {
            Emptied::Never => false,
            Emptied::WhenNoMoreCome => fill.no_more_come,
            Emptied::Always => true,
        });
        let all = rest.map(|fill| count.settled().saturating_add(fill.items));
        // A count of items that is further away is never reached.
        let is_first = all.is_some_and(|all| self.items.is_none_or(|items| all <= items));
        match is_first {
            true => self.items = all,
            false => self.emptied = Emptied::Never,
        }
        self
    }

    /// The part that is reached, 0 to 1, if it is known.
    pub(super) fn reached(&self, count: Count) -> Option<f64> {
        let part = |done: u64, all: Option<u64>| all.map(|all| (done as f64 / all.max(1) as f64).min(1.0));
        let bytes = part(self.input_bytes(count), self.bytes);
        let settled = count.settled();
        let done = match self.emptied {
            Emptied::Never => settled,
            // Other consumers empty the ring, too.
            _ => settled.max(count.acknowledged),
        };
        let all = self.items.map(|items| items.saturating_sub(settled).saturating_add(done));
        part(done, all).into_iter().chain(bytes).reduce(f64::max)
    }

    /// The time for the rest at this pace, if the goal is known and the pace is not zero.
    pub(super) fn left(&self, count: Count, pace: Pace) -> Option<Duration> {
        let rest = |done: u64, all: Option<u64>, per_second: f64| {
            all.map(|all| all.saturating_sub(done) as f64 / per_second).filter(|seconds| seconds.is_finite())
        };
        let input = pace.bytes + pace.items * self.framing as f64;
        let bytes = rest(self.input_bytes(count), self.bytes, input);
        let settled = match self.emptied {
            Emptied::Never => pace.settled,
            // Other consumers empty the ring, too.
            _ => pace.settled.max(pace.acknowledged),
        };
        let items = rest(count.settled(), self.items, settled);
        let seconds = items.into_iter().chain(bytes).reduce(f64::min)?;
        Duration::try_from_secs_f64(seconds.ceil()).ok()
    }

    fn input_bytes(&self, count: Count) -> u64 {
        count.bytes.saturating_add(count.items.saturating_mul(self.framing))
    }
}

/// How full a ring is, and the processes attached to it that may be alive.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fill {
    /// Slots that are not free, in percent.
    pub percent: u64,
    /// Items that wait or are held by consumers; several items that a consumer took at once count as one.
    pub items: u64,
    /// Items that were acknowledged since the ring was created.
    pub acknowledged: u64,
    /// The ring is closed, or all producers have left.
    pub no_more_come: bool,
    /// Producers.
    pub producers: usize,
    /// Consumers.
    pub consumers: usize,
}

/// Amounts per second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    pub items: f64,
    pub bytes: f64,
    pub settled: f64,
    pub acknowledged: f64,
}

/// The observations of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// Times since the start, with the counts at that time. The first may be older, since it begins the span.
    counts: VecDeque<(Duration, Count)>,
    /// Times since the start, with the fill of the ring in percent.
    fills: VecDeque<(Duration, u64)>,
    /// What was seen of the ring last, and the acknowledged items when it was first seen.
    ring: Option<(Fill, u64)>,
}

impl Gauge {
    /// Records the counts. `is_at_work`: the span of the rates includes at least a few items, if that takes longer.
    pub(super) fn count(&mut self, now: Duration, count: Count, is_at_work: bool) {
        if self.counts.is_empty() {
            self.counts.push_back((Duration::ZERO, Count::default()));
        }
        let count = Count { acknowledged: self.acknowledged(), ..count };
        // While nothing changes, two entries record when that began and that it continues.
        let last = self.counts.len() - 1;
        let stands_still = last > 0 && self.counts.range(last - 1..).all(|(_, earlier)| *earlier == count);
        match self.counts.back_mut() {
            Some((time, _)) if stands_still => *time = now,
            _ => self.counts.push_back((now, count)),
        }
        let is_enough = |(time, earlier): &(Duration, Count)| {
            *time + WINDOW <= now && (!is_at_work || count.settled().saturating_sub(earlier.settled()) >= FEW)
        };
        while self.counts.get(1).is_some_and(is_enough) {
            self.counts.pop_front();
        }
        // The span begins where nothing changed.
        if is_enough(&self.counts[0]) && self.counts.get(1).is_some_and(|(_, next)| *next == self.counts[0].1)
        {
            self.counts[0].0 = now - WINDOW;
        }
    }

    pub(super) fn fill(&mut self, now: Duration, fill: Fill) {
        self.fills.push_back((now, fill.percent));
        let first = self.ring.map_or(fill.acknowledged, |(_, first)| first);
        self.ring = Some((fill, first));
        while self.fills.front().is_some_and(|(time, _)| *time + WINDOW < now) {
            self.fills.pop_front();
        }
    }

    /// Items that were acknowledged in the ring, by all consumers, since the first look at it.
    pub(super) fn acknowledged(&self) -> u64 {
        self.ring.map_or(0, |(fill, first)| fill.acknowledged.saturating_sub(first))
    }

    /// What was seen of the ring last.
    pub(super) fn last_fill(&self) -> Option<Fill> {
        self.ring.map(|(fill, _)| fill)
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
        Pace {
            items: rate(before.items, after.items),
            bytes: rate(before.bytes, after.bytes),
            settled: rate(before.settled(), after.settled()),
            acknowledged: rate(before.acknowledged, after.acknowledged),
        }
    }

    /// The fill of the ring in percent, and which side of it is slow or missing.
    pub(super) fn ring(&self) -> Option<(u64, Option<&'static str>)> {
        let sum: u64 = self.fills.iter().map(|(_, percent)| percent).sum();
        let percent = sum.checked_div(self.fills.len() as u64)?;
        let Fill { producers, consumers, .. } = self.last_fill()?;
        let why = match (producers, consumers) {
            (_, 0) => Some("no consumer"),
            (0, _) => Some("no producer"),
            _ if percent <= NEARLY.0 => Some("producers slow"),
            _ if percent >= NEARLY.1 => Some("consumers slow"),
            _ => None,
        };
        Some((percent, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn count(items: u64) -> Count {
        Count { items, bytes: items * 9, ..Count::default() }
    }

    /// The rates after each second, with these numbers of items.
    fn rates<const N: usize>(items: [u64; N], is_at_work: bool) -> [f64; N] {
        let (mut gauge, mut second) = (Gauge::default(), Duration::ZERO);
        items.map(|items| {
            gauge.count(second, count(items), is_at_work);
            second += SECOND;
            (gauge.pace().items * 10.0).round() / 10.0
        })
    }

    #[test]
    fn a_rate_covers_the_last_seconds_and_falls_to_zero() {
        let rates = rates([0, 100, 200, 300, 300, 300, 300, 300], false);
        assert_eq!(rates, [0.0, 100.0, 100.0, 100.0, 66.7, 33.3, 0.0, 0.0]);
    }

    #[test]
    fn the_rate_of_slow_work_covers_a_few_items_for_as_long_as_it_goes_on() {
        let slow = [0, 0, 0, 0, 1, 1, 1, 1, 2, 2];
        assert_eq!(rates(slow, true)[4..], [0.3, 0.2, 0.2, 0.1, 0.3, 0.2]);
        assert_eq!(rates(slow, false)[4..], [0.3, 0.3, 0.3, 0.0, 0.3, 0.3]);
        // Enough items in three seconds, and then none.
        assert_eq!(rates([0, 100, 200, 300, 300, 300, 300], true)[3..], [100.0, 66.7, 33.3, 25.0]);
    }

    #[test]
    fn a_rate_after_a_pause_covers_the_last_seconds() {
        assert_eq!(rates([100, 100, 100, 100, 100, 100, 100, 160], false)[6..], [0.0, 20.0]);
    }

    #[test]
    fn a_gauge_that_stands_still_stays_small() {
        let mut gauge = Gauge::default();
        (0..1000).for_each(|second| gauge.count(SECOND * second, count(3), true));
        assert!(gauge.counts.len() < 10, "{}", gauge.counts.len());
        assert_eq!((gauge.pace().items * 999.0).round(), 3.0);
    }

    #[test]
    fn the_end_comes_with_the_first_goal_and_items_have_their_separators() {
        let goal = Goal { items: Some(100), bytes: Some(500), framing: 1, ..Goal::default() };
        // 10 items need 100 bytes of input.
        assert_eq!(goal.reached(count(10)), Some(0.2));
        let pace = Pace { items: 10.0, bytes: 90.0, settled: 10.0, ..Pace::default() };
        assert_eq!(goal.left(count(10), pace), Some(4 * SECOND));
        assert_eq!(goal.left(count(10), Pace::default()), None, "without a pace there is no end");
        assert_eq!(goal.reached(count(1000)), Some(1.0));
        let items = Goal { bytes: None, ..goal };
        assert_eq!((items.reached(count(10)), items.left(count(10), pace)), (Some(0.1), Some(9 * SECOND)));
        assert_eq!(Goal::default().reached(count(10)), None);
    }

    #[test]
    fn items_that_are_settled_in_other_ways_count_for_the_goal() {
        let goal = Goal { items: Some(100), ..Goal::default() };
        let count = Count { others: 40, ..count(10) };
        let pace = Pace { items: 1.0, settled: 5.0, acknowledged: 50.0, ..Pace::default() };
        assert_eq!((goal.reached(count), goal.left(count, pace)), (Some(0.5), Some(10 * SECOND)));
    }

    #[test]
    fn an_empty_ring_is_the_goal_when_no_more_items_come() {
        let goal = |emptied, items, no_more_come| {
            let fill = Fill { items: 30, no_more_come, ..Fill::default() };
            let goal = Goal { emptied, items, ..Goal::default() }.with_ring(count(10), Some(fill));
            // All consumers together take 10 a second, this one 5.
            let pace = Pace { settled: 5.0, acknowledged: 10.0, ..Pace::default() };
            (goal.items, goal.left(count(10), pace))
        };
        use Emptied::{Always, Never, WhenNoMoreCome};
        assert_eq!(goal(Never, None, true), (None, None));
        assert_eq!(goal(WhenNoMoreCome, None, false), (None, None));
        assert_eq!(goal(WhenNoMoreCome, None, true), (Some(40), Some(3 * SECOND)));
        assert_eq!(goal(Always, None, false), (Some(40), Some(3 * SECOND)));
        assert_eq!(goal(Always, Some(50), false), (Some(40), Some(3 * SECOND)));
        assert_eq!(goal(Always, Some(20), false), (Some(20), Some(2 * SECOND)));
        let unseen = Goal { emptied: Always, ..Goal::default() }.with_ring(count(10), None);
        assert_eq!(unseen.items, None);
    }

    #[test]
    fn what_others_acknowledge_counts_from_the_first_look() {
        let mut gauge = Gauge::default();
        for (second, acknowledged) in [1000, 1020, 1040].into_iter().enumerate() {
            gauge.fill(SECOND * second as u32, Fill { acknowledged, ..Fill::default() });
            gauge.count(SECOND * second as u32, count(0), false);
        }
        assert_eq!(gauge.pace().acknowledged, 20.0);
    }

    #[test]
    fn the_ring_waits_for_the_slow_side() {
        let ring = |fills: &[u64], (producers, consumers)| {
            let mut gauge = Gauge::default();
            let fill = |&percent: &u64| Fill { percent, producers, consumers, ..Fill::default() };
            fills.iter().map(fill).for_each(|fill| gauge.fill(SECOND, fill));
            gauge.ring().unwrap()
        };
        assert_eq!(ring(&[100, 90], (1, 2)), (95, Some("consumers slow")));
        assert_eq!(ring(&[0, 10], (1, 2)), (5, Some("producers slow")));
        assert_eq!(ring(&[0, 100], (1, 1)), (50, None));
        assert_eq!(ring(&[100], (1, 0)), (100, Some("no consumer")));
        assert_eq!(ring(&[0], (0, 1)), (0, Some("no producer")));
        assert_eq!(Gauge::default().ring(), None);
    }
}
