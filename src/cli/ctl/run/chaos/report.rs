//! The summary of a run with kills.
use serde::Serialize;

use super::super::verify::Digest;
use super::judge::Verdict;
use super::stage::Life;
use crate::cli::common::paint::{Paint, Tone};
use crate::cli::ctl::check::CheckReport;
use crate::cli::ctl::show;
use crate::testing::history::{Fault, Report};

/// The result of a run with kills.
#[derive(Serialize)]
pub struct ChaosReport {
    schema: &'static str,
    pub verified: bool,
    seed: u64,
    seconds: f64,
    /// What was read from the inputs.
    items: u64,
    bytes: u64,
    /// Killed processes.
    pub killed: u64,
    killed_producers: u64,
    killed_consumers: u64,
    /// Items that were not written by any consumer.
    lost: u64,
    /// Items that were written again after their consumer was killed, counting each time.
    delivered_again: u64,
    /// Faults: items delivered again without a death, written without having been received, or with other bytes.
    unexplained: u64,
    unexpected: u64,
    altered: u64,
    /// Processes that were started.
    producers: u64,
    consumers: u64,
    rounds: u64,
    history: History,
    /// What was written, each item once.
    #[serde(skip)]
    distinct: Digest,
    #[serde(skip)]
    given: Digest,
    /// The check of the first round whose logs have a fault.
    #[serde(skip)]
    unclean: Option<CheckReport>,
}

/// The sums of the checks of the logs.
#[derive(Debug, Default, Serialize)]
struct History {
    clean: bool,
    events: u64,
    /// Items that were delivered although their producer was killed while it sent them.
    recovered: u64,
    redelivered: u64,
    /// Items whose consumer was killed while it acknowledged them.
    unsure: u64,
    /// Not a fault: see the limits in docs/RELIABILITY.md.
    out_of_order: u64,
}

impl ChaosReport {
    pub fn new(seed: u64) -> Self {
        ChaosReport {
            schema: "ringpipe.chaos/1",
            verified: false,
            seed,
            seconds: 0.0,
            items: 0,
            bytes: 0,
            killed: 0,
            killed_producers: 0,
            killed_consumers: 0,
            lost: 0,
            delivered_again: 0,
            unexplained: 0,
            unexpected: 0,
            altered: 0,
            producers: 0,
            consumers: 0,
            rounds: 0,
            history: History { clean: true, ..History::default() },
            distinct: Digest::default(),
            given: Digest::default(),
            unclean: None,
        }
    }

    /// Adds a round.
    pub fn add(&mut self, producers: &[Life], consumers: &[Life], verdict: Verdict) {
        let killed = |lives: &[Life]| lives.iter().filter(|life| life.was_killed).count() as u64;
        self.rounds += 1;
        self.producers += producers.len() as u64;
        self.consumers += consumers.len() as u64;
        self.killed_producers += killed(producers);
        self.killed_consumers += killed(consumers);
        self.killed = self.killed_producers + self.killed_consumers;
        self.distinct = self.distinct.and(verdict.distinct);
        self.delivered_again += verdict.again;
        self.lost += verdict.lost;
        self.unexplained += verdict.unexplained;
        self.unexpected += verdict.unexpected;
        self.altered += verdict.altered;
        self.history.add(&verdict.history);
        if self.unclean.is_none() && has_fault(&verdict.history) {
            self.unclean = Some(CheckReport::new(verdict.history));
        }
    }

    /// Whether a round had a fault.
    pub fn has_fault(&self) -> bool {
        self.lost + self.unexplained + self.unexpected + self.altered > 0 || !self.history.clean
    }

    /// Judges the whole run, for which this was read from the inputs.
    pub fn finish(&mut self, given: Digest, seconds: f64) {
        (self.given, self.items, self.bytes, self.seconds) = (given, given.items, given.bytes, seconds);
        if !self.has_fault() {
            // The rounds missed what no log has.
            self.lost = given.items.saturating_sub(self.distinct.items);
        }
        self.verified = !self.has_fault() && self.distinct == given && self.killed > 0;
    }

    /// Whether nothing was sent.
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// Whether the run is free of faults, but killed no process.
    pub fn is_without_kills(&self) -> bool {
        self.killed == 0 && !self.has_fault() && self.distinct == self.given
    }

    /// What is wrong, in one line.
    pub fn complaint(&self) -> String {
        let counted = |number| show::counted(number, "item");
        let wrong = match () {
            _ if self.is_empty() => return "nothing was verified: the input had no items".into(),
            _ if self.is_without_kills() => {
                return format!(
                    "nothing was verified: no process was killed while {} passed; expected a longer time",
                    counted(self.items)
                );
            }
            _ if self.lost > 0 => format!("{} lost", counted(self.lost)),
            _ if self.unexpected > 0 => format!("{} more than were received", counted(self.unexpected)),
            _ if self.altered > 0 => format!("{} with other bytes than were received", counted(self.altered)),
            _ if self.unexplained > 0 => {
                format!("{} delivered again although the consumer was not killed", counted(self.unexplained))
            }
            _ => match self.unclean.as_ref().and_then(CheckReport::complaint) {
                Some(complaint) => complaint,
                None => "other items were received than sent".into(),
            },
        };
        format!("not verified: {wrong}")
    }

    pub fn text(&self, paint: Paint) -> String {
        let n = show::count;
        let rate = if self.seconds > 0.0 { self.items as f64 / self.seconds } else { 0.0 };
        let mut text = format!(
            "processes {} producers, {} of them killed; {} consumers, {} of them killed\n",
            n(self.producers),
            n(self.killed_producers),
            n(self.consumers),
            n(self.killed_consumers),
        );
        text += &format!(
            "took      {:.3} s: {} items/s, with logs and checks; the same choices: --seed {}\n",
            self.seconds,
            n(rate as u64),
            self.seed,
        );
        if let Some(report) = &self.unclean {
            text += &format!("history   {}", report.text(paint));
        }
        let (tone, verdict) = match self.verified {
            true => (Tone::Good, "verified"),
            false if self.is_empty() || self.is_without_kills() => (Tone::Notable, "nothing verified"),
            false => (Tone::Bad, "not verified"),
        };
        let killed = match self.killed {
            1 => "1 process".into(),
            many => format!("{} processes", n(many)),
        };
        text + &format!(
            "{}: {}, {killed} killed, {} lost, {} delivered again\n",
            paint.text(tone, verdict),
            show::counted(self.items, "item"),
            n(self.lost),
            n(self.delivered_again),
        )
    }
}

impl History {
    fn add(&mut self, report: &Report) {
        let counts = &report.counts;
        self.clean &= !has_fault(report);
        self.events += counts.events;
        self.recovered += counts.recovered;
        self.redelivered += counts.redelivered;
        self.unsure += counts.unsure;
        self.out_of_order += report.count(Fault::OutOfOrder);
    }
}

/// Whether there is a fault other than the order: where processes are held up while they send, it can change.
fn has_fault(report: &Report) -> bool {
    Fault::ALL.into_iter().any(|fault| fault != Fault::OutOfOrder && report.count(fault) > 0)
}
