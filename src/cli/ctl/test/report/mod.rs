//! Reports on the runs of scenarios.

use super::run::outcome::{Outcome, Point, Verdict};
use super::series::{Event, Totals};
use crate::cli::common::exit::Failure;
use crate::cli::common::ui::Ui;

/// The report for a person: a line for each run, and more for one that did not pass.
#[derive(Debug)]
pub struct Terminal {
    ui: Ui,
    width: usize,
}

impl Terminal {
    /// For this number of scenarios.
    pub fn new(ui: &Ui, _scenarios: usize) -> Self {
        Terminal { ui: *ui, width: 24 }
    }

    /// Takes the next event.
    pub fn take(&mut self, event: &Event<'_>) {
        let text = match event {
            Event::Run(scenario, outcome, least) => {
                let mut text = self.line(outcome);
                for (_, line) in &outcome.foreseen {
                    text += &format!("  as expected: {}\n", line.trim_start());
                }
                for line in outcome.complaints.iter().chain(&outcome.gaps) {
                    text += &format!("  {line}\n");
                }
                if outcome.verdict() != Verdict::Passed {
                    text += &format!("  output: {}\n", outcome.folder.display());
                    text +=
                        &format!("  again: ringctl test {} --seed {}", scenario.path.display(), outcome.seed);
                    if let Some(Point::At(point)) = outcome.point {
                        text += &format!(" --point {point}");
                    }
                    text.push('\n');
                    if let Some(least) = least {
                        text += &format!("  least: {:?} of {} runs\n", least.faults, least.runs);
                    }
                }
                text
            }
            Event::Skipped(scenario, why) => format!("skipped       {} ({why})\n", scenario.name),
            Event::Broken(scenario, failure) => {
                format!("broken        {}: {}\n", scenario.name, failure.line)
            }
            Event::Begun(_) | Event::Ended(_) => return,
        };
        let _ = self.ui.emit(text.as_bytes());
    }

    fn line(&self, outcome: &Outcome) -> String {
        let point = match outcome.point {
            None => String::new(),
            Some(Point::Count) => format!(" ({} points)", outcome.points.unwrap_or(0)),
            Some(Point::At(point)) => format!(" (point {point})"),
        };
        let strikes: Vec<String> = outcome
            .strikes
            .iter()
            .map(|strike| {
                let place = strike.place.as_ref().map(|place| format!(" {place}")).unwrap_or_default();
                format!("{} {} at {:.0?}{place}", strike.action, strike.instance, strike.at)
            })
            .collect();
        format!(
            "{:<13} {:<width$} {:>7.2} s  {}\n",
            outcome.verdict().word(),
            format!("{}{point}", outcome.scenario),
            outcome.duration.as_secs_f64(),
            strikes.join(", "),
            width = self.width
        )
    }

    /// The last line.
    pub fn end(&self, totals: Totals, seed: u64) -> Result<(), Failure> {
        self.ui.emit(format!("{totals:?} seed {seed}\n").as_bytes())
    }
}
