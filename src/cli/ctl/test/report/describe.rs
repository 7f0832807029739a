//! What reports say about a run in words.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::cli::common::escape;
use crate::cli::ctl::show;
use crate::cli::ctl::test::run::instance::ended_word;
use crate::cli::ctl::test::run::outcome::{Outcome, Point, Strike, Verdict};
use crate::cli::ctl::test::scenario::Scenario;
use crate::cli::ctl::test::series::Settings;
use crate::cli::ctl::test::shrink::Least;
use crate::testing::Output;

/// The most strikes that a list has.
const STRIKES: usize = 20;
/// The most instances that a list has for each way to end.
const NAMES: usize = 8;
/// Of how many instances the last output is shown, and how many lines of each stream.
const INSTANCES: usize = 4;
const LINES: usize = 5;
/// The most characters of such a line.
const CHARACTERS: usize = 300;

/// What a run that did not pass is described with. All texts are on one line.
#[derive(Debug)]
pub struct Description {
    /// What was expected and is false.
    pub complaints: Vec<String>,
    /// Faults that did not strike, and what could not be judged.
    pub gaps: Vec<String>,
    /// The faults that struck.
    pub struck: Vec<String>,
    /// How the instances ended.
    pub ends: String,
    /// The last output of instances that ended badly: `stderr of worker-2`, and its lines.
    pub outputs: Vec<(String, Vec<String>)>,
    /// The least set of faults with which the run fails.
    pub least: Option<String>,
    /// The file that says what everything was doing when the run stalled.
    pub state: Option<String>,
    /// The folder of the outputs.
    pub folder: String,
    /// The command that repeats the run.
    pub again: String,
}

impl Description {
    /// Describes a run.
    pub fn new(scenario: &Scenario, outcome: &Outcome, least: Option<&Least>, settings: &Settings) -> Self {
        let lines = |lines: &[String]| lines.iter().map(|line| escape::text(line)).collect();
        Description {
            complaints: lines(&outcome.complaints),
            gaps: lines(&outcome.gaps),
            struck: struck(scenario, outcome),
            ends: ends(outcome),
            outputs: outputs(outcome),
            least: least.map(|least| least_text(scenario, least)),
            state: outcome.state.as_deref().map(path),
            folder: path(&outcome.folder),
            again: again(scenario, outcome, settings),
        }
    }

    /// What was expected and is false; if there is nothing of it, why the run is inconclusive.
    pub fn reason(&self) -> &str {
        self.complaints.first().or(self.gaps.first()).map_or("", |line| line.trim())
    }

    /// All but the reasons and the last outputs, with a word for each: `again: ringctl test ...`.
    pub fn facts(&self) -> Vec<(&'static str, &str)> {
        let mut facts = Vec::new();
        facts.extend((!self.ends.is_empty()).then_some(("ends", self.ends.as_str())));
        facts.extend(self.state.as_deref().map(|state| ("state", state)));
        facts.extend(self.least.as_deref().map(|least| ("least", least)));
        facts.push(("output", self.folder.as_str()));
        facts.push(("again", self.again.as_str()));
        facts
    }
}

/// What the scenario says that it breaks, and the run has broken. All texts are on one line.
pub fn foreseen(outcome: &Outcome) -> Vec<String> {
    outcome.foreseen.iter().map(|(_, line)| escape::text(line)).collect()
}

/// The name of a run: that of its scenario, and what makes it differ from the scenario's other runs.
pub fn run_name(scenario: &Scenario, outcome: &Outcome, round: u64) -> String {
    let point = match outcome.point {
        None => String::new(),
        Some(Point::Count) => ", without the fault".into(),
        Some(Point::At(point)) => format!(", point {point}"),
    };
    name(scenario, round) + &point
}

/// The name of a scenario in a round.
pub fn name(scenario: &Scenario, round: u64) -> String {
    let name = escape::text(&scenario.name);
    if round == 0 { name } else { format!("{name}, round {}", round + 1) }
}

/// Whether the folder of a run stays.
pub fn is_kept(outcome: &Outcome, settings: &Settings) -> bool {
    settings.keep || outcome.verdict() != Verdict::Passed
}

/// The items of the history: `1,000 items, 0 lost, 2 again`.
pub fn items(outcome: &Outcome) -> Option<String> {
    let items = outcome.history.filter(|items| items.counts.events > 0)?;
    let sent = show::counted(items.counts.sent + items.counts.recovered, "item");
    let (lost, again) = (show::count(items.lost), show::count(items.counts.redelivered));
    Some(format!("{sent}, {lost} lost, {again} again"))
}

/// A fault that struck: `kill worker-2 at 210.4ms before system call 17 (write)`.
pub fn strike(strike: &Strike) -> String {
    let place = strike.place.as_ref().map(|place| format!(" {place}")).unwrap_or_default();
    let at = show::duration(show::nanoseconds(strike.at));
    escape::text(&format!("{} {} at {at}{place}", strike.action, strike.instance))
}

/// A path on one line.
pub fn path(path: &Path) -> String {
    escape::bytes(path.as_os_str().as_bytes(), true)
}

fn struck(scenario: &Scenario, outcome: &Outcome) -> Vec<String> {
    let line = |one: &Strike| match scenario.faults.get(one.fault) {
        Some(fault) => format!("{} (line {})", strike(one), fault.line),
        None => strike(one),
    };
    let mut lines: Vec<String> = outcome.strikes.iter().take(STRIKES).map(line).collect();
    lines.extend(more(outcome.strikes.len(), STRIKES));
    lines
}

/// `and 3 more`, if there are more than are shown.
pub fn more(all: usize, shown: usize) -> Option<String> {
    (all > shown).then(|| format!("and {} more", all - shown))
}

/// The instances by the way in which they ended: `code 0: p-1, c-2; KILL after a fault: c-1; still running: x-1`.
fn ends(outcome: &Outcome) -> String {
    let mut ways: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for instance in &outcome.instances {
        let way = instance.ended.map_or("still running".into(), ended_word);
        let after = if instance.struck { " after a fault" } else { "" };
        ways.entry(way + after).or_default().push(escape::text(&instance.name));
    }
    let one = |(way, names): (String, Vec<String>)| {
        let shown = names.iter().take(NAMES).cloned().chain(more(names.len(), NAMES));
        format!("{way}: {}", shown.collect::<Vec<_>>().join(", "))
    };
    ways.into_iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The last lines of the instances that ended badly.
fn outputs(outcome: &Outcome) -> Vec<(String, Vec<String>)> {
    let mut outputs = Vec::new();
    for instance in outcome.ended_badly().take(INSTANCES) {
        for (stream, output) in ["stdout", "stderr"].into_iter().zip(&instance.outputs) {
            let lines = last_lines(output);
            if !lines.is_empty() {
                outputs.push((format!("{stream} of {}", escape::text(&instance.name)), lines));
            }
        }
    }
    outputs
}

/// An output that cannot be read has no lines: its file is in the folder of the run.
fn last_lines(output: &Output) -> Vec<String> {
    let cut = |line: String| match line.char_indices().nth(CHARACTERS) {
        Some((end, _)) => escape::text(&line[..end]) + "...",
        None => escape::text(&line),
    };
    output.last_lines(LINES).unwrap_or_default().into_iter().map(cut).collect()
}

fn least_text(scenario: &Scenario, least: &Least) -> String {
    let text = |line: &u32| {
        let fault = scenario.faults.iter().find(|fault| fault.line == *line);
        let what = fault.map(|fault| format!(" ({})", escape::text(&fault.text))).unwrap_or_default();
        format!("line {line}{what}")
    };
    let faults: Vec<String> = least.faults.iter().map(text).collect();
    let what = match faults.is_empty() {
        true => "fails without any fault".into(),
        false => format!("fails with {}", faults.join(", ")),
    };
    format!("{what} (found in {})", show::counted(least.runs.into(), "run"))
}

/// The command that repeats a run, quoted for a shell.
pub fn again(scenario: &Scenario, outcome: &Outcome, settings: &Settings) -> String {
    let file = scenario.path.as_os_str().as_bytes();
    // A name with a dash would be an option.
    let file = if file.starts_with(b"-") { [b"./", file].concat() } else { file.to_vec() };
    let mut command = format!("ringctl test {} --seed {}", escape::word(&file), outcome.seed);
    if let Some(Point::At(point)) = outcome.point {
        command += &format!(" --point {point}");
    }
    let own = |line: &&u32| scenario.faults.iter().any(|fault| fault.line == **line);
    for line in settings.omit.iter().filter(own) {
        command += &format!(" --omit {line}");
    }
    if let Some(server) = &settings.over {
        command += &format!(" --over {}", escape::argument(&server.to_string()));
    }
    command
}
