//! The results of storms, reported by their processes to the test that started them.

use std::time::Duration;

use crate::storm::check::Counts;
use crate::storm::crowd::Deaths;
use crate::storm::log::Call;

const MARK: &str = "STORM\t";

/// The outcome of one storm or of several.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub rings: u64,
    pub kills: u64,
    pub stops: u64,
    pub deaths: Deaths,
    pub counts: Counts,
    pub busy: Duration,
}

impl Tally {
    pub fn add(&mut self, more: &Tally) {
        self.rings += more.rings;
        self.kills += more.kills;
        self.stops += more.stops;
        self.busy += more.busy;
        self.deaths.waiting += more.deaths.waiting;
        for (sum, more) in self.deaths.in_call.iter_mut().zip(more.deaths.in_call) {
            *sum += more;
        }
        self.counts.add(&more.counts);
    }

    pub fn to_line(self, shape: usize) -> String {
        let Tally { rings, kills, stops, deaths, counts, busy } = self;
        let first = [shape as u64, rings, kills, stops, busy.as_micros() as u64, deaths.waiting];
        let numbers = first.into_iter().chain(deaths.in_call).chain(counts.to_numbers());
        format!("{MARK}{}", numbers.map(|n| n.to_string()).collect::<Vec<_>>().join("\t"))
    }

    /// The number of the shape, and what came of it.
    pub fn from_line(line: &str) -> Option<(usize, Tally)> {
        let fields = line.strip_prefix(MARK)?.split('\t');
        let numbers: Vec<u64> = fields.map(|text| text.parse().ok()).collect::<Option<_>>()?;
        let [shape, rings, kills, stops, busy, waiting, rest @ ..] = &numbers[..] else { return None };
        let (in_call, counts) = rest.split_at_checked(Call::MANY)?;
        let deaths = Deaths { in_call: in_call.try_into().ok()?, waiting: *waiting };
        let (rings, kills, stops, busy) = (*rings, *kills, *stops, Duration::from_micros(*busy));
        let counts = Counts::from_numbers(counts)?;
        Some((*shape as usize, Tally { rings, kills, stops, deaths, counts, busy }))
    }

    /// Of the deaths, how many in a hundred came inside a call at all, and in one that waits.
    pub fn shares(&self) -> (f64, f64) {
        let all = self.kills.max(1) as f64;
        let inside = self.kills - self.deaths.in_call[Call::None as usize];
        (inside as f64 * 100.0 / all, self.deaths.waiting as f64 * 100.0 / all)
    }

    /// The calls in which a process died, and how often.
    pub fn calls(&self) -> String {
        let each = Call::NAMES.iter().zip(self.deaths.in_call);
        each.map(|(name, many)| format!("{many} {name}")).collect::<Vec<_>>().join(", ")
    }
}
