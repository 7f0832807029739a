//! The report for people: a row for each scenario, and more of each run that did not pass.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::describe::{self, Description};
use super::{End, Form, Out};
use crate::cli::common::escape;
use crate::cli::common::exit::Failure;
use crate::cli::common::paint::{Paint, Tone};
use crate::cli::common::wrap::wrap;
use crate::cli::ctl::show;
use crate::cli::ctl::test::run::outcome::{Outcome, Point, Verdict};
use crate::cli::ctl::test::scenario::Scenario;
use crate::cli::ctl::test::series::{Event, Settings, Totals, What};
use crate::cli::ctl::test::shrink::Least;

/// The longest verdict, and the widest name for which all rows leave room.
const VERDICT: usize = "inconclusive".len();
const NAME: usize = 24;
/// The columns of a time, and the blanks between two columns.
const TIME: usize = 9;
const GAP: usize = 2;
/// With less room than this in a row, the facts stand below it.
const FACTS: usize = 34;
/// The most faults that a row names.
const STRIKES: usize = 4;
/// How many runs of one scenario in one round are described in full.
const DESCRIBED: u64 = 3;

/// The table.
pub struct Table<'s> {
    out: Out,
    paint: Paint,
    settings: &'s Settings,
    /// The width of the names.
    names: usize,
    /// Whether runs that passed are left out.
    only_bad: bool,
    tallies: BTreeMap<(u64, usize), Tally>,
    has_rows: bool,
}

/// The runs of one scenario in one round.
#[derive(Debug)]
struct Tally {
    began: Instant,
    /// The points of a fault with `every`.
    points: Option<u64>,
    /// Runs at points, and those among them that failed or were inconclusive.
    runs: u64,
    failed: u64,
    inconclusive: u64,
    described: u64,
    /// What the runs at points broke as the scenario says: the lines of the first that did.
    foreseen: Vec<String>,
    is_broken: bool,
    is_interrupted: bool,
}

impl<'s> Table<'s> {
    /// A table of the runs of these scenarios; with `only_bad`, of the runs that do not pass.
    pub fn new(out: Out, scenarios: &[Scenario], settings: &'s Settings, only_bad: bool) -> Self {
        let width = |scenario: &Scenario| escape::text(&scenario.name).chars().count();
        let names = scenarios.iter().map(width).max().unwrap_or(0).min(NAME);
        let (paint, tallies) = (out.paint(), BTreeMap::new());
        Table { out, paint, settings, names, only_bad, tallies, has_rows: false }
    }

    fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.has_rows = true;
        self.out.write(text)
    }

    /// A line of the table, in the width of the terminal as it is now.
    fn row(&self, verdict: (&str, Tone), name: &str, time: Option<Duration>, facts: &[String]) -> String {
        let time = time.map(|time| format!("{:.2} s", time.as_secs_f64())).unwrap_or_default();
        let painted = self.paint.text(verdict.1, verdict.0);
        let fill = " ".repeat((VERDICT + GAP).saturating_sub(verdict.0.len()));
        let head = format!("{painted}{fill}{name:<width$}  {time:>TIME$}", width = self.names);
        let facts = facts.join(", ");
        let used = VERDICT + GAP + self.names.max(name.chars().count()) + GAP + TIME + GAP;
        match self.out.columns() {
            None => format!("{head}  {facts}").trim_end().to_string() + "\n",
            Some(width) if width >= used + FACTS => {
                let lines = wrap(&facts, width - used);
                let blanks = "\n".to_string() + &" ".repeat(used);
                format!("{head}  {}", lines.join(&blanks)).trim_end().to_string() + "\n"
            }
            Some(width) => {
                let head = format!("{painted}  {name}  {time}").trim_end().to_string() + "\n";
                let facts = if facts.is_empty() { String::new() } else { self.line(4, &facts, width) };
                head + &facts
            }
        }
    }

    /// A text after blanks, broken at blanks for this width; further lines have two more blanks.
    fn line(&self, indent: usize, text: &str, width: usize) -> String {
        let lines = wrap(text, width.saturating_sub(indent + 2));
        let lines = lines.iter().enumerate().map(|(number, line)| {
            let blanks = if number == 0 { indent } else { indent + 2 };
            format!("{}{line}\n", " ".repeat(blanks))
        });
        lines.collect()
    }

    fn run(&mut self, event: &Event<'_>, outcome: &Outcome, least: Option<&Least>) -> Result<(), Failure> {
        let verdict = outcome.verdict();
        let settings = self.settings;
        let Some(tally) = self.tallies.get_mut(&(event.round, event.place)) else { return Ok(()) };
        tally.count(outcome);
        // The points of a fault are told together, at the end.
        let is_told_later = outcome.point.is_some() && settings.point.is_none();
        if verdict == Verdict::Passed && (is_told_later || self.only_bad) {
            return Ok(());
        }
        let is_described = tally.described < DESCRIBED;
        tally.described += u64::from(verdict != Verdict::Passed);
        let name = describe::run_name(event.scenario, outcome, event.round);
        let mut text = self.row(tone(verdict), &name, Some(outcome.duration), &facts(outcome));
        text += &self.foreseen(&describe::foreseen(outcome));
        if verdict != Verdict::Passed {
            let description = Description::new(event.scenario, outcome, least, settings);
            text += &self.description(&description, is_described);
        }
        self.print(&text)
    }

    /// What the scenario says that it breaks, and is broken.
    fn foreseen(&self, lines: &[String]) -> String {
        let width = self.out.columns().unwrap_or(usize::MAX);
        lines.iter().map(|line| self.line(2, &format!("as expected: {}", line.trim_start()), width)).collect()
    }

    /// What follows the row of a run that did not pass. If not `in_full`, only the reason and how to repeat it.
    fn description(&self, description: &Description, in_full: bool) -> String {
        let width = self.out.columns().unwrap_or(usize::MAX);
        let mut text = String::new();
        if !in_full {
            text += &self.line(2, description.reason(), width);
            return text + &self.fact("again", &description.again);
        }
        for line in description.complaints.iter().chain(&description.gaps) {
            let indent = line.len() - line.trim_start().len();
            text += &self.line(2 + indent, line.trim_start(), width);
        }
        if description.struck.len() > STRIKES {
            text += &format!("  {}\n", self.paint.text(Tone::Heading, "struck:"));
            description.struck.iter().for_each(|strike| text += &self.line(4, strike, width));
        }
        for (name, lines) in &description.outputs {
            text += &format!("  {}\n", self.paint.text(Tone::Heading, &format!("{name}:")));
            lines.iter().for_each(|line| text += &format!("    {line}\n"));
        }
        for (word, fact) in description.facts() {
            text += &match word {
                // Broken into lines, a path or a command could not be copied.
                "state" | "output" | "again" => self.fact(word, fact),
                _ => {
                    let line = self.line(2, &format!("{word}: {fact}"), width);
                    let (blanks, rest) = line.split_at(2);
                    let rest =
                        rest.strip_prefix(word).and_then(|rest| rest.strip_prefix(':')).unwrap_or(rest);
                    format!("{blanks}{}{rest}", self.paint.text(Tone::Heading, &format!("{word}:")))
                }
            };
        }
        text
    }

    fn fact(&self, word: &str, text: &str) -> String {
        format!("  {} {text}\n", self.paint.text(Tone::Heading, &format!("{word}:")))
    }

    /// The row of a fault that struck at many points, and that of a scenario that was interrupted.
    fn ended(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        let Some(tally) = self.tallies.remove(&(event.round, event.place)) else { return Ok(()) };
        let is_series = tally.points.is_some() && tally.runs > 0;
        if !is_series && !tally.is_interrupted {
            return Ok(());
        }
        let verdict = tally.verdict();
        if self.only_bad && verdict == tone(Verdict::Passed) {
            return Ok(());
        }
        let facts = if is_series { vec![tally.text()] } else { Vec::new() };
        let name = describe::name(event.scenario, event.round);
        let text = self.row(verdict, &name, Some(tally.began.elapsed()), &facts);
        let foreseen = self.foreseen(&tally.foreseen);
        self.print(&(text + &foreseen))
    }
}

impl Form for Table<'_> {
    fn take(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        let key = (event.round, event.place);
        match event.what {
            What::Begun => drop(self.tallies.insert(key, Tally::new())),
            What::Run(outcome, least) => return self.run(event, outcome, least),
            What::Skipped(why) if !self.only_bad => {
                let name = describe::name(event.scenario, event.round);
                let text = self.row(("skipped", Tone::Plain), &name, None, &[escape::text(why)]);
                return self.print(&text);
            }
            What::Skipped(_) => {}
            What::Broken(failure) => {
                if let Some(tally) = self.tallies.get_mut(&key) {
                    tally.is_broken = true;
                }
                let name = describe::name(event.scenario, event.round);
                let mut text = self.row(("broken", Tone::Bad), &name, None, &[escape::text(&failure.line)]);
                if let Some(hint) = &failure.hint {
                    let width = self.out.columns().unwrap_or(usize::MAX);
                    text += &self.line(2, &format!("hint: {}", escape::text(hint)), width);
                }
                return self.print(&text);
            }
            What::Interrupted => {
                if let Some(tally) = self.tallies.get_mut(&key) {
                    tally.is_interrupted = true;
                }
            }
            What::Ended => return self.ended(event),
        }
        Ok(())
    }

    fn end(&mut self, end: &End) -> Result<(), Failure> {
        if self.only_bad && !self.has_rows {
            return Ok(());
        }
        let text = totals(&end.totals, end.elapsed, self.settings.seed, self.paint);
        self.print(&text)
    }
}

impl Tally {
    fn new() -> Self {
        Tally {
            began: Instant::now(),
            points: None,
            runs: 0,
            failed: 0,
            inconclusive: 0,
            described: 0,
            foreseen: Vec::new(),
            is_broken: false,
            is_interrupted: false,
        }
    }

    fn count(&mut self, outcome: &Outcome) {
        match outcome.point {
            Some(Point::Count) => self.points = outcome.points,
            Some(Point::At(_)) => {
                self.runs += 1;
                if self.foreseen.is_empty() {
                    self.foreseen = describe::foreseen(outcome);
                }
                self.failed += u64::from(outcome.verdict() == Verdict::Failed);
                self.inconclusive += u64::from(outcome.verdict() == Verdict::Inconclusive);
            }
            None => {}
        }
    }

    fn verdict(&self) -> (&'static str, Tone) {
        match self {
            Tally { failed: 1.., .. } => tone(Verdict::Failed),
            Tally { is_broken: true, .. } => ("broken", Tone::Bad),
            Tally { is_interrupted: true, .. } => ("interrupted", Tone::Notable),
            Tally { inconclusive: 1.., .. } => tone(Verdict::Inconclusive),
            _ => tone(Verdict::Passed),
        }
    }

    /// `points 97 of 206, all passed`.
    fn text(&self) -> String {
        let points =
            format!("points {} of {}", show::count(self.runs), show::count(self.points.unwrap_or(0)));
        let passed = self.runs - self.failed - self.inconclusive;
        if passed == self.runs {
            return points + ", all passed";
        }
        let parts = [(passed, "passed"), (self.failed, "failed"), (self.inconclusive, "inconclusive")];
        let parts = parts.into_iter().filter(|(count, _)| *count > 0);
        let parts: Vec<String> =
            parts.map(|(count, word)| format!("{} {word}", show::count(count))).collect();
        format!("{points}: {}", parts.join(", "))
    }
}

fn tone(verdict: Verdict) -> (&'static str, Tone) {
    let tone = match verdict {
        Verdict::Passed => Tone::Good,
        Verdict::Inconclusive => Tone::Notable,
        Verdict::Failed => Tone::Bad,
    };
    (verdict.word(), tone)
}

/// The items and the first faults that struck.
fn facts(outcome: &Outcome) -> Vec<String> {
    let strikes = outcome.strikes.iter().take(STRIKES).map(describe::strike);
    let more = describe::more(outcome.strikes.len(), STRIKES);
    describe::items(outcome).into_iter().chain(strikes).chain(more).collect()
}

/// The last line.
fn totals(totals: &Totals, elapsed: Duration, seed: u64, paint: Paint) -> String {
    let runs = totals.passed + totals.failed + totals.inconclusive;
    let parts = [
        (totals.passed, "passed", Tone::Good),
        (totals.failed, "failed", Tone::Bad),
        (totals.inconclusive, "inconclusive", Tone::Notable),
        (totals.broken, "broken", Tone::Bad),
        (totals.interrupted, "interrupted", Tone::Notable),
        (totals.skipped, "skipped", Tone::Plain),
    ];
    let parts = parts.into_iter().filter(|(count, ..)| *count > 0);
    let parts: Vec<String> = parts
        .map(|(count, word, tone)| paint.text(tone, &format!("{} {word}", show::count(count))))
        .collect();
    let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
    format!("{} in {:.2} s{parts}; seed {seed}\n", show::counted(runs, "run"), elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_counted_by_their_verdicts() {
        let mut tally = Tally { points: Some(2060), runs: 97, ..Tally::new() };
        assert_eq!((tally.text().as_str(), tally.verdict().0), ("points 97 of 2,060, all passed", "passed"));
        tally.inconclusive = 1;
        assert_eq!(tally.text(), "points 97 of 2,060: 96 passed, 1 inconclusive");
        tally.is_interrupted = true;
        assert_eq!(tally.verdict().0, "interrupted");
        tally.failed = 96;
        let text = "points 97 of 2,060: 96 failed, 1 inconclusive";
        assert_eq!((tally.text().as_str(), tally.verdict().0), (text, "failed"));
    }

    #[test]
    fn the_totals_name_what_there_is() {
        let line = |all| totals(&all, Duration::from_millis(1500), 7, Paint::new(false));
        assert_eq!(line(Totals::default()), "0 runs in 1.50 s; seed 7\n");
        let some = Totals { passed: 1, skipped: 2, ..Totals::default() };
        assert_eq!(line(some), "1 run in 1.50 s: 1 passed, 2 skipped; seed 7\n");
    }
}
