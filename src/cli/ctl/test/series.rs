//! Which runs the scenarios need, and in which order.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::run::outcome::{Outcome, Point, Verdict};
use super::run::{self, Plan};
use super::scenario::{FaultSpec, Scenario, When};
use super::shrink;
use crate::StopFlag;
use crate::cli::common::exit::Failure;

/// How often a run is made for a point that the process may not reach.
const TRIES: u32 = 4;

/// What a report is told, as it happens.
#[derive(Debug)]
pub enum Event<'a> {
    /// A scenario begins, or begins again.
    Begun(&'a Scenario),
    /// A run has ended.
    Run(&'a Scenario, &'a Outcome, Option<&'a shrink::Least>),
    /// A scenario was left out, and why.
    Skipped(&'a Scenario, &'a str),
    /// A scenario could not be run.
    Broken(&'a Scenario, &'a Failure),
    /// All runs of a scenario in this round have ended.
    Ended(&'a Scenario),
}

/// How the scenarios are run.
#[derive(Debug)]
pub struct Settings {
    /// The seed of the first round; each round has the next one.
    pub seed: u64,
    /// How many rounds; `None`: until a run does not pass.
    pub rounds: Option<u64>,
    /// Whether the first run that does not pass is the last.
    pub until_fail: bool,
    /// How many scenarios run at the same time.
    pub jobs: u32,
    /// Where the folders of the runs are made.
    pub folder: PathBuf,
    /// Whether the folders of runs that passed stay.
    pub keep: bool,
    /// Only this point of a fault with `every`.
    pub point: Option<u64>,
    /// The lines of the faults that are left out.
    pub omit: Vec<u32>,
}

/// The totals of all runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Runs that passed.
    pub passed: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Runs that could not be judged.
    pub inconclusive: u64,
    /// Scenarios that were left out.
    pub skipped: u64,
    /// Scenarios that could not be run.
    pub broken: u64,
}

/// Runs all scenarios, and returns the totals, with the first failure of the tests themselves.
pub fn run_all(
    scenarios: &[Scenario],
    settings: &Settings,
    stop: &StopFlag,
    report: &mut (dyn FnMut(Event<'_>, Totals) + Send),
) -> (Totals, Option<Failure>) {
    let shared = Shared {
        report: Mutex::new((report, Totals::default())),
        failure: Mutex::new(None),
        next: AtomicU64::new(0),
        enough: AtomicBool::new(scenarios.is_empty()),
    };
    let work = || {
        while !stop.is_raised() && !shared.enough.load(Ordering::Relaxed) {
            let number = shared.next.fetch_add(1, Ordering::Relaxed);
            let (round, place) =
                (number / scenarios.len() as u64, (number % scenarios.len() as u64) as usize);
            if settings.rounds.is_some_and(|rounds| round >= rounds) {
                break;
            }
            let series = Series { scenario: &scenarios[place], settings, stop, shared: &shared, round };
            series.run();
        }
    };
    thread::scope(|scope| {
        for _ in 1..settings.jobs.min(u32::try_from(scenarios.len()).unwrap_or(u32::MAX)) {
            // With fewer threads than jobs, the scenarios take longer.
            let _ = thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    let totals = shared.report.into_inner().unwrap_or_else(PoisonError::into_inner).1;
    (totals, shared.failure.into_inner().unwrap_or_else(PoisonError::into_inner))
}

type Reporter<'r> = &'r mut (dyn FnMut(Event<'_>, Totals) + Send);

/// What the threads share that run scenarios.
struct Shared<'r> {
    report: Mutex<(Reporter<'r>, Totals)>,
    failure: Mutex<Option<Failure>>,
    next: AtomicU64,
    enough: AtomicBool,
}

/// The runs of one scenario in one round.
struct Series<'s, 'r> {
    scenario: &'s Scenario,
    settings: &'s Settings,
    stop: &'s StopFlag,
    shared: &'s Shared<'r>,
    round: u64,
}

impl Series<'_, '_> {
    fn run(&self) {
        if let Some(missing) = self.scenario.needs.iter().find(|program| !is_in_path(program)) {
            self.tell(Event::Skipped(self.scenario, &format!("{missing} was not found in PATH")));
            return;
        }
        self.tell(Event::Begun(self.scenario));
        let result = match self.scenario.faults.iter().find_map(points_of) {
            None => self.run_once(None).map(drop),
            Some(_) if self.settings.point.is_some() => {
                self.run_once(self.settings.point.map(Point::At)).map(drop)
            }
            Some((max, within)) => self.run_points(max, within),
        };
        if let Err(failure) = result {
            self.tell(Event::Broken(self.scenario, &failure));
            self.shared.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        }
        self.tell(Event::Ended(self.scenario));
    }

    /// Counts the points in a run without the fault, and then runs once for each.
    fn run_points(&self, max: u64, within: std::time::Duration) -> Result<(), Failure> {
        let start = Instant::now();
        let Some(count) = self.run_once(Some(Point::Count))? else { return Ok(()) };
        if count.verdict() != Verdict::Passed {
            return Ok(());
        }
        let all = count.points.unwrap_or(0);
        let points = spread(all, max);
        let mut foreseen = Vec::new();
        for (place, point) in points.iter().enumerate() {
            let Some((plan, mut outcome)) = self.run_point(*point, all)? else { break };
            let least = self.shrink(&plan, &outcome)?;
            // What the scenario must break, one of the points must break.
            foreseen.append(&mut outcome.foreseen.clone());
            let is_last = place + 1 == points.len() || start.elapsed() > within;
            if is_last || self.is_enough() {
                self.add_unbroken(&foreseen, &mut outcome);
            }
            self.conclude(&plan, &outcome, least.as_ref());
            if is_last || self.is_enough() {
                break;
            }
        }
        Ok(())
    }

    /// A run with the fault at one of `all` points. If the process reaches fewer points than it did when they were
    /// counted, it is run again with the fault at a point in proportion.
    fn run_point(&self, mut point: u64, all: u64) -> Result<Option<(Plan, Outcome)>, Failure> {
        for tries in 1.. {
            let plan = self.plan(Some(Point::At(point)));
            let Some(outcome) = run::run(self.scenario, &plan, self.stop)? else { return Ok(None) };
            let missed = outcome.points.filter(|_| outcome.verdict() == Verdict::Inconclusive);
            match missed.filter(|reached| *reached < point && tries < TRIES) {
                None => return Ok(Some((plan, outcome))),
                Some(reached) => {
                    point = in_proportion(point, reached, all);
                    // What cannot be removed stays among the temporary files.
                    let _ = std::fs::remove_dir_all(&plan.folder);
                }
            }
        }
        Ok(None)
    }

    fn is_enough(&self) -> bool {
        self.stop.is_raised() || self.shared.enough.load(Ordering::Relaxed)
    }

    /// One run. `None`: it was stopped.
    fn run_once(&self, point: Option<Point>) -> Result<Option<Outcome>, Failure> {
        let plan = self.plan(point);
        let Some(mut outcome) = run::run(self.scenario, &plan, self.stop)? else { return Ok(None) };
        let counts = point == Some(Point::Count);
        if counts && outcome.points.unwrap_or(0) == 0 && outcome.complaints.is_empty() {
            outcome.gaps.push("no point was counted at which the fault could strike".into());
        }
        let least = self.shrink(&plan, &outcome)?;
        if !counts {
            let foreseen = outcome.foreseen.clone();
            self.add_unbroken(&foreseen, &mut outcome);
        }
        self.conclude(&plan, &outcome, least.as_ref());
        Ok(Some(outcome))
    }

    fn plan(&self, point: Option<Point>) -> Plan {
        let omitted = self.scenario.faults.iter().enumerate();
        let omitted = omitted.filter(|(_, fault)| self.settings.omit.contains(&fault.line));
        Plan {
            seed: self.settings.seed.wrapping_add(self.round),
            point,
            omitted: omitted.map(|(place, _)| place).collect(),
            folder: self.folder(point),
        }
    }

    /// The least set of faults, for a run that failed.
    fn shrink(&self, plan: &Plan, outcome: &Outcome) -> Result<Option<shrink::Least>, Failure> {
        match outcome.verdict() {
            Verdict::Failed => shrink::shrink(self.scenario, plan, outcome, self.stop),
            _ => Ok(None),
        }
    }

    /// Complains of the expectations that had to be broken and were not. An inconclusive run says nothing about them.
    fn add_unbroken(&self, foreseen: &[(&'static str, String)], outcome: &mut Outcome) {
        if outcome.gaps.is_empty() {
            let unbroken = self.scenario.fails.iter();
            let unbroken = unbroken.filter(|key| !foreseen.iter().any(|(broken, _)| broken == key));
            let line = |key: &String| format!("{key} was not broken, but the scenario says that it fails");
            outcome.complaints.extend(unbroken.map(line));
        }
    }

    /// Reports a run, and removes its folder if it passed.
    fn conclude(&self, plan: &Plan, outcome: &Outcome, least: Option<&shrink::Least>) {
        let verdict = outcome.verdict();
        if verdict != Verdict::Passed && self.settings.until_fail {
            self.shared.enough.store(true, Ordering::Relaxed);
        }
        self.tell(Event::Run(self.scenario, outcome, least));
        if verdict == Verdict::Passed && !self.settings.keep {
            // What cannot be removed stays among the temporary files.
            let _ = std::fs::remove_dir_all(&plan.folder);
        }
    }

    /// The folder of a run: the scenario's name, then what makes the run differ.
    fn folder(&self, point: Option<Point>) -> PathBuf {
        let mut name = self.scenario.name.replace('/', "_");
        if self.round > 0 {
            name += &format!("-round-{}", self.round + 1);
        }
        match point {
            None => {}
            Some(Point::Count) => name += "-count",
            Some(Point::At(point)) => name += &format!("-point-{point}"),
        }
        unused(&self.settings.folder, &name)
    }

    fn tell(&self, event: Event<'_>) {
        let mut report = self.shared.report.lock().unwrap_or_else(PoisonError::into_inner);
        let (report, totals) = &mut *report;
        match &event {
            Event::Run(_, outcome, _) => match outcome.verdict() {
                Verdict::Passed => totals.passed += 1,
                Verdict::Inconclusive => totals.inconclusive += 1,
                Verdict::Failed => totals.failed += 1,
            },
            Event::Skipped(..) => totals.skipped += 1,
            Event::Broken(..) => totals.broken += 1,
            Event::Begun(_) | Event::Ended(_) => {}
        }
        report(event, *totals);
    }
}

/// The folder of this name, or the first one with a number that does not exist: two scenarios may have one name.
fn unused(folder: &Path, name: &str) -> PathBuf {
    let numbered = (2..).map(|number| folder.join(format!("{name}.{number}")));
    let mut all = std::iter::once(folder.join(name)).chain(numbered);
    all.find(|path| !path.exists()).unwrap_or_else(|| folder.join(name))
}

/// The most runs of a fault with `every`, and how long they may take.
fn points_of(fault: &FaultSpec) -> Option<(u64, std::time::Duration)> {
    match fault.when {
        When::Every { max, within, .. } => Some((max, within)),
        _ => None,
    }
}

/// Up to `max` points of all, at equal distances, the first one included.
fn spread(all: u64, max: u64) -> Vec<u64> {
    let count = all.min(max);
    (0..count).map(|run| (u128::from(run) * u128::from(all) / u128::from(count)) as u64 + 1).collect()
}

/// The point among `reached` that corresponds to a point among `all`.
fn in_proportion(point: u64, reached: u64, all: u64) -> u64 {
    let scaled = u128::from(point) * u128::from(reached) / u128::from(all.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX).clamp(1, reached.max(1))
}

/// Whether a program is found.
fn is_in_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    program.contains('/') && Path::new(program).exists()
        || env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_spread_over_all() {
        assert_eq!(spread(5, 100), [1, 2, 3, 4, 5]);
        assert_eq!(spread(100, 4), [1, 26, 51, 76]);
        assert_eq!(spread(0, 4), Vec::<u64>::new());
        assert_eq!(spread(u64::MAX, 2), [1, u64::MAX / 2 + 1]);
    }

    #[test]
    fn a_point_that_is_not_reached_has_one_in_proportion() {
        assert_eq!(in_proportion(90, 50, 100), 45);
        assert_eq!(in_proportion(100, 99, 100), 99);
        assert_eq!(in_proportion(1, 0, 100), 1);
        assert_eq!(in_proportion(5, 3, 0), 3);
        assert_eq!(in_proportion(u64::MAX, u64::MAX - 1, u64::MAX), u64::MAX - 1);
    }

    #[test]
    fn a_program_is_found_in_the_path_or_by_its_own() {
        assert!(is_in_path("sh") && is_in_path("/bin/sh"));
        assert!(!is_in_path("no-such-program") && !is_in_path("/no/such/program"));
    }
}
