//! JSON: an object for each run, and for each scenario that was not run, on a line.

use serde::Serialize;

use super::describe;
use super::{End, Form, Out};
use crate::cli::common::exit::Failure;
use crate::cli::common::ui::json_line;
use crate::cli::ctl::check::report::CountsDef;
use crate::cli::ctl::show;
use crate::cli::ctl::test::run::outcome::{InstanceEnd, Items, Outcome, Point, Strike};
use crate::cli::ctl::test::scenario::Scenario;
use crate::cli::ctl::test::series::{Event, Settings, What};
use crate::cli::ctl::test::shrink::Least;
use crate::testing::Ended;
use crate::testing::history::Counts;

/// The report.
pub struct Json<'s> {
    out: Out,
    settings: &'s Settings,
}

impl<'s> Json<'s> {
    /// Writes to `out`.
    pub fn new(out: Out, settings: &'s Settings) -> Self {
        Json { out, settings }
    }
}

impl Form for Json<'_> {
    fn take(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        let none = |verdict, reason: Option<&str>| Row::new(event, verdict, reason);
        let row = match event.what {
            What::Begun | What::Ended => return Ok(()),
            What::Skipped(why) => none("skipped", Some(why)),
            What::Broken(failure) => none("broken", Some(&failure.line)),
            What::Interrupted => none("interrupted", None),
            What::Run(outcome, least) => {
                let run = Run::new(event.scenario, outcome, least, self.settings);
                Row { run: Some(run), ..none(outcome.verdict().word(), None) }
            }
        };
        self.out.write(&json_line(&row)?)
    }

    fn end(&mut self, _: &End) -> Result<(), Failure> {
        // Nothing, but an output that was closed is a failure, whatever was to be written.
        self.out.write("")
    }
}

/// A line.
#[derive(Serialize)]
struct Row {
    schema: &'static str,
    scenario: String,
    about: Option<String>,
    file: String,
    /// From 1.
    round: u64,
    verdict: &'static str,
    /// Why there was no run.
    reason: Option<String>,
    #[serde(flatten)]
    run: Option<Run>,
}

impl Row {
    fn new(event: &Event<'_>, verdict: &'static str, reason: Option<&str>) -> Self {
        Row {
            schema: "ringpipe.test/1",
            scenario: event.scenario.name.clone(),
            about: event.scenario.about.clone(),
            file: event.scenario.path.to_string_lossy().into_owned(),
            round: event.round + 1,
            verdict,
            reason: reason.map(str::to_string),
            run: None,
        }
    }
}

/// What only a run has.
#[derive(Serialize)]
struct Run {
    seed: u64,
    /// Where the fault with `every` struck.
    point: Option<u64>,
    /// How many points were counted, in the run without that fault.
    points: Option<u64>,
    duration_ns: u64,
    complaints: Vec<String>,
    /// What `fails` names, and is false.
    foreseen: Vec<String>,
    gaps: Vec<String>,
    strikes: Vec<StrikeRow>,
    instances: Vec<InstanceRow>,
    history: Option<HistoryRow>,
    /// The lines of the faults with which it still failed, and the number of runs that showed it.
    least: Option<LeastRow>,
    folder: Option<String>,
    state: Option<String>,
    again: String,
}

#[derive(Serialize)]
struct StrikeRow {
    line: Option<u32>,
    action: String,
    instance: String,
    at_ns: u64,
    place: Option<String>,
}

#[derive(Serialize)]
struct InstanceRow {
    name: String,
    code: Option<i32>,
    signal: Option<i32>,
    struck: bool,
    unexpected: bool,
}

#[derive(Serialize)]
struct HistoryRow {
    lost: u64,
    #[serde(flatten, with = "CountsDef")]
    counts: Counts,
}

#[derive(Serialize)]
struct LeastRow {
    lines: Vec<u32>,
    runs: u32,
}

impl Run {
    fn new(scenario: &Scenario, outcome: &Outcome, least: Option<&Least>, settings: &Settings) -> Self {
        let strike = |one: &Strike| StrikeRow {
            line: scenario.faults.get(one.fault).map(|fault| fault.line),
            action: one.action.clone(),
            instance: one.instance.clone(),
            at_ns: show::nanoseconds(one.at),
            place: one.place.clone(),
        };
        let instance = |one: &InstanceEnd| InstanceRow {
            name: one.name.clone(),
            code: one.ended.and_then(|ended| if let Ended::Code(code) = ended { Some(code) } else { None }),
            signal: one.ended.and_then(|ended| if let Ended::Signal(no) = ended { Some(no) } else { None }),
            struck: one.struck,
            unexpected: one.unexpected,
        };
        let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
        Run {
            seed: outcome.seed,
            point: outcome.point.and_then(|point| if let Point::At(at) = point { Some(at) } else { None }),
            points: outcome.points,
            duration_ns: show::nanoseconds(outcome.duration),
            complaints: outcome.complaints.clone(),
            foreseen: outcome.foreseen.iter().map(|(_, line)| line.clone()).collect(),
            gaps: outcome.gaps.clone(),
            strikes: outcome.strikes.iter().map(strike).collect(),
            instances: outcome.instances.iter().map(instance).collect(),
            history: outcome.history.map(|Items { lost, counts }| HistoryRow { lost, counts }),
            least: least.map(|least| LeastRow { lines: least.faults.clone(), runs: least.runs }),
            folder: describe::is_kept(outcome, settings).then(|| path(&outcome.folder)),
            state: outcome.state.as_deref().map(path),
            again: describe::again(scenario, outcome, settings),
        }
    }
}
