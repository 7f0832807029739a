//! JUnit's XML: a suite for each scenario, and a case for each of its runs.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::describe::{self, Description};
use super::{End, Form};
use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};
use crate::cli::ctl::test::run::outcome::{Outcome, Verdict};
use crate::cli::ctl::test::scenario::Scenario;
use crate::cli::ctl::test::series::{Event, Settings, What};
use crate::cli::ctl::test::shrink::Least;

/// The report, which is written at the end.
pub struct Junit<'s> {
    path: PathBuf,
    file: File,
    settings: &'s Settings,
    suites: Vec<Suite>,
}

struct Suite {
    name: String,
    time: Duration,
    cases: Vec<TestCase>,
}

impl<'s> Junit<'s> {
    /// Makes the file; one that exists is overwritten.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(path: &PathBuf, scenarios: &[Scenario], settings: &'s Settings) -> Result<Self, Failure> {
        let file = File::create(path).map_err(|error| Failure::io(format!("writing {path:?}"), &error))?;
        let suite =
            |one: &Scenario| Suite { name: one.name.clone(), time: Duration::ZERO, cases: Vec::new() };
        Ok(Junit { path: path.clone(), file, settings, suites: scenarios.iter().map(suite).collect() })
    }

    fn run(&self, event: &Event<'_>, outcome: &Outcome, least: Option<&Least>) -> TestCase {
        let description = Description::new(event.scenario, outcome, least, self.settings);
        let status = match outcome.verdict() {
            Verdict::Passed => TestCaseStatus::success(),
            Verdict::Failed => bad(NonSuccessKind::Failure, "failed", description.reason()),
            Verdict::Inconclusive => bad(NonSuccessKind::Error, "inconclusive", description.reason()),
        };
        let mut case = TestCase::new(describe::run_name(event.scenario, outcome, event.round), status);
        if outcome.verdict() != Verdict::Passed {
            case.status.set_description(text(&description));
        }
        case.set_time(outcome.duration);
        case.add_property(("seed", outcome.seed.to_string().as_str()));
        if describe::is_kept(outcome, self.settings) {
            let mut text = format!("output: {}\n", description.folder);
            for (name, lines) in &description.outputs {
                text += &format!("{name}:\n");
                lines.iter().for_each(|line| text += &format!("  {line}\n"));
            }
            case.set_system_out(text);
        }
        case
    }
}

impl Form for Junit<'_> {
    fn take(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        let name = describe::name(event.scenario, event.round);
        let (mut case, time) = match event.what {
            What::Begun | What::Ended => return Ok(()),
            What::Skipped(why) => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(escape::text(why));
                (TestCase::new(name, status), Duration::ZERO)
            }
            What::Broken(failure) => {
                let mut status = bad(NonSuccessKind::Error, "broken", &escape::text(&failure.line));
                if let Some(hint) = &failure.hint {
                    status.set_description(format!("hint: {}", escape::text(hint)));
                }
                (TestCase::new(name, status), Duration::ZERO)
            }
            What::Interrupted => {
                let status = bad(NonSuccessKind::Error, "interrupted", "a signal has stopped the test");
                (TestCase::new(name, status), Duration::ZERO)
            }
            What::Run(outcome, least) => (self.run(event, outcome, least), outcome.duration),
        };
        let suite = &mut self.suites[event.place];
        case.set_classname(escape::text(&suite.name));
        suite.cases.push(case);
        suite.time += time;
        Ok(())
    }

    fn end(&mut self, end: &End) -> Result<(), Failure> {
        let mut report = Report::new("ringctl test");
        report.set_time(end.elapsed);
        for Suite { name, time, cases } in self.suites.drain(..) {
            let mut suite = TestSuite::new(escape::text(&name));
            suite.set_time(time).add_test_cases(cases);
            report.add_test_suite(suite);
        }
        let text = report.to_string().map_err(|error| {
            Failure::new(code::RUNTIME, format!("writing {:?}: making XML: {error}", self.path))
        })?;
        let failed = |error| Failure::io(format!("writing {:?}", self.path), &error);
        self.file.write_all(text.as_bytes()).map_err(failed)
    }
}

fn bad(kind: NonSuccessKind, word: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(word).set_message(message);
    status
}

/// The whole description, a line for each part of it.
fn text(description: &Description) -> String {
    let lines = description.complaints.iter().chain(&description.gaps).cloned();
    let struck = description.struck.iter().map(|strike| format!("struck: {strike}"));
    let facts = description.facts().into_iter().map(|(word, fact)| format!("{word}: {fact}"));
    lines.chain(struck).chain(facts).collect::<Vec<_>>().join("\n")
}
