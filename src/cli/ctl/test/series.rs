//! Which runs the scenarios need, and in which order.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use std::{env, fs, iter, thread};

use super::run::outcome::{Outcome, Point, Verdict};
use super::run::ring::only_in_memory;
use super::run::{self, Plan};
use super::scenario::{FaultSpec, Scenario, When};
use super::shrink;
use crate::StopFlag;
use crate::cli::common::address::Server;
use crate::cli::common::exit::Failure;

/// The most characters of a scenario's name in that of a folder.
const NAME: usize = 80;
/// How often a run is made for a point that the process may not reach.
const TRIES: u32 = 4;

/// What a report is told, as it happens.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// Its place among the scenarios, from 0.
    pub place: usize,
    /// The round, from 0.
    pub round: u64,
    /// What happened.
    pub what: What<'a>,
}

/// What happened to a scenario in a round.
#[derive(Debug, Clone, Copy)]
pub enum What<'a> {
    /// Its runs begin.
    Begun,
    /// A run has ended.
    Run(&'a Outcome, Option<&'a shrink::Least>),
    /// It was left out, and why: nothing else is told of it.
    Skipped(&'a str),
    /// It could not be run, or not to the end.
    Broken(&'a Failure),
    /// A signal has stopped its runs.
    Interrupted,
    /// All its runs have ended.
    Ended,
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
    /// The server whose streams are the rings.
    pub over: Option<Server>,
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
    /// Scenarios that a signal has stopped.
    pub interrupted: u64,
}

/// Runs all scenarios, and returns the totals, with the first failure of the tests themselves or of the report.
pub fn run_all(
    scenarios: &[Scenario],
    settings: &Settings,
    stop: &StopFlag,
    report: Reporter<'_>,
) -> (Totals, Option<Failure>) {
    let shared = Shared {
        report: Mutex::new((report, Totals::default())),
        failure: Mutex::new(None),
        next: AtomicU64::new(0),
        enough: AtomicBool::new(scenarios.is_empty()),
    };
    // Scenarios that are all left out would be left out for ever.
    let rounds =
        if scenarios.iter().all(|one| left_out(one, settings).is_some()) { Some(1) } else { settings.rounds };
    let work = || {
        while !stop.is_raised() && !shared.enough.load(Ordering::Relaxed) {
            let number = shared.next.fetch_add(1, Ordering::Relaxed);
            let (round, place) =
                (number / scenarios.len() as u64, (number % scenarios.len() as u64) as usize);
            if rounds.is_some_and(|rounds| round >= rounds) {
                break;
            }
            let series =
                Series { scenario: &scenarios[place], place, settings, stop, shared: &shared, round };
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
    let begun = usize::try_from(shared.next.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
    let why = if stop.is_raised() { "interrupted" } else { "an earlier run did not pass" };
    for (place, scenario) in scenarios.iter().enumerate().skip(begun) {
        Series { scenario, place, settings, stop, shared: &shared, round: 0 }.tell(What::Skipped(why));
    }
    let totals = shared.report.into_inner().unwrap_or_else(PoisonError::into_inner).1;
    (totals, shared.failure.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Takes an event.
type Reporter<'r> = &'r mut (dyn FnMut(Event<'_>) -> Result<(), Failure> + Send);

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
    place: usize,
    settings: &'s Settings,
    stop: &'s StopFlag,
    shared: &'s Shared<'r>,
    round: u64,
}

impl Series<'_, '_> {
    fn run(&self) {
        if let Some(why) = left_out(self.scenario, self.settings) {
            if self.round == 0 {
                self.tell(What::Skipped(&why));
            }
            return;
        }
        self.tell(What::Begun);
        let result = match self.scenario.faults.iter().find_map(points_of) {
            None => self.run_once(None).map(|outcome| outcome.is_some()),
            Some(_) if self.settings.point.is_some() => {
                self.run_once(self.settings.point.map(Point::At)).map(|outcome| outcome.is_some())
            }
            Some((max, within)) => self.run_points(max, within),
        };
        match result {
            Ok(true) => {}
            Ok(false) => self.tell(What::Interrupted),
            Err(failure) => {
                self.tell(What::Broken(&failure));
                if self.settings.until_fail {
                    self.shared.enough.store(true, Ordering::Relaxed);
                }
                let line = format!("a scenario could not be run: {}", failure.line);
                self.shared.fail(Failure { line, ..failure });
            }
        }
        self.tell(What::Ended);
    }

    /// Counts the points in a run without the fault, and then runs once for each. False: the runs were interrupted.
    fn run_points(&self, max: u64, within: std::time::Duration) -> Result<bool, Failure> {
        let start = Instant::now();
        let Some(count) = self.run_once(Some(Point::Count))? else { return Ok(false) };
        if count.verdict() != Verdict::Passed {
            return Ok(true);
        }
        let all = count.points.unwrap_or(0);
        let points = spread(all, max);
        // What the scenario must break, one of the points must break.
        let mut foreseen = Vec::new();
        let mut done = BTreeSet::new();
        for (place, point) in points.iter().enumerate() {
            let Some((plan, mut outcome)) = self.run_point(*point, all, &mut done)? else {
                match self.stop.is_raised() {
                    true => return Ok(false),
                    // The process has fewer points than were counted, and each of them was one already.
                    false => continue,
                }
            };
            foreseen.extend(outcome.foreseen.iter().cloned());
            let is_last = place + 1 == points.len() || start.elapsed() > within || self.is_enough();
            if is_last {
                self.add_unbroken(&foreseen, &mut outcome);
            }
            self.conclude(&plan, &outcome)?;
            if is_last || self.is_enough() {
                break;
            }
        }
        Ok(!self.stop.is_raised())
    }

    /// A run with the fault at one of `all` points. If the process reaches fewer points than it did when they were
    /// counted, it is run again with the fault at a point in proportion, which is not yet among `done`. `None`: there is
    /// none, or the run was stopped.
    fn run_point(
        &self,
        mut point: u64,
        all: u64,
        done: &mut BTreeSet<u64>,
    ) -> Result<Option<(Plan, Outcome)>, Failure> {
        for tries in 1.. {
            let plan = self.plan(Some(Point::At(point)))?;
            let Some(outcome) = run::run(self.scenario, &plan, self.stop)? else { return Ok(None) };
            let missed = outcome.points.filter(|_| outcome.verdict() == Verdict::Inconclusive);
            let Some(reached) = missed.filter(|reached| *reached < point && tries < TRIES) else {
                done.insert(point);
                return Ok(Some((plan, outcome)));
            };
            // What cannot be removed stays among the temporary files.
            let _ = fs::remove_dir_all(&plan.folder);
            let scaled = in_proportion(point, reached, all);
            let Some(other) = (scaled..=reached).chain(1..scaled).find(|other| !done.contains(other)) else {
                break;
            };
            point = other;
        }
        Ok(None)
    }

    fn is_enough(&self) -> bool {
        self.stop.is_raised() || self.shared.enough.load(Ordering::Relaxed)
    }

    /// One run. `None`: it was stopped.
    fn run_once(&self, point: Option<Point>) -> Result<Option<Outcome>, Failure> {
        let plan = self.plan(point)?;
        let Some(mut outcome) = run::run(self.scenario, &plan, self.stop)? else { return Ok(None) };
        if point != Some(Point::Count) {
            let foreseen = outcome.foreseen.clone();
            self.add_unbroken(&foreseen, &mut outcome);
        } else if outcome.points.unwrap_or(0) == 0 && outcome.complaints.is_empty() {
            let line = "no point was counted at which the fault could strike";
            if outcome.gaps.is_empty() {
                outcome.gaps.push(line.into());
            }
        }
        self.conclude(&plan, &outcome)?;
        Ok(Some(outcome))
    }

    fn plan(&self, point: Option<Point>) -> Result<Plan, Failure> {
        let omitted = self.scenario.faults.iter().enumerate();
        let omitted = omitted.filter(|(_, fault)| self.settings.omit.contains(&fault.line));
        Ok(Plan {
            seed: self.settings.seed.wrapping_add(self.round),
            point,
            omitted: omitted.map(|(place, _)| place).collect(),
            folder: self.folder(point)?,
            over: self.settings.over.clone(),
        })
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

    /// Reports a run, with the least set of faults if it failed, and removes its folder if it passed.
    fn conclude(&self, plan: &Plan, outcome: &Outcome) -> Result<(), Failure> {
        let verdict = outcome.verdict();
        let least = match verdict {
            Verdict::Failed => shrink::shrink(self.scenario, plan, outcome, self.stop),
            _ => Ok(None),
        };
        if verdict != Verdict::Passed && self.settings.until_fail {
            self.shared.enough.store(true, Ordering::Relaxed);
        }
        self.tell(What::Run(outcome, least.as_ref().ok().and_then(Option::as_ref)));
        if verdict == Verdict::Passed && !self.settings.keep {
            // What cannot be removed stays among the temporary files.
            let _ = std::fs::remove_dir_all(&plan.folder);
        }
        least.map(drop)
    }

    /// The folder of a run: the scenario's name, then what makes the run differ.
    fn folder(&self, point: Option<Point>) -> Result<PathBuf, Failure> {
        let mut name = file_name(&self.scenario.name);
        if self.round > 0 {
            name += &format!("-round-{}", self.round + 1);
        }
        match point {
            None => {}
            Some(Point::Count) => name += "-count",
            Some(Point::At(point)) => name += &format!("-point-{point}"),
        }
        make(&self.settings.folder, &name)
    }

    fn tell(&self, what: What<'_>) {
        let mut report = self.shared.report.lock().unwrap_or_else(PoisonError::into_inner);
        let (report, totals) = &mut *report;
        match what {
            What::Run(outcome, _) => match outcome.verdict() {
                Verdict::Passed => totals.passed += 1,
                Verdict::Inconclusive => totals.inconclusive += 1,
                Verdict::Failed => totals.failed += 1,
            },
            What::Skipped(_) => totals.skipped += 1,
            What::Broken(_) => totals.broken += 1,
            What::Interrupted => totals.interrupted += 1,
            What::Begun | What::Ended => {}
        }
        let event = Event { scenario: self.scenario, place: self.place, round: self.round, what };
        if let Err(failure) = report(event) {
            // Without its report, a further run is of no use.
            self.shared.enough.store(true, Ordering::Relaxed);
            self.shared.fail(failure);
        }
    }
}

impl Shared<'_> {
    /// Keeps the first failure.
    fn fail(&self, failure: Failure) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
    }
}

/// The name of a scenario as that of a file which needs no quotes.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_+,".contains(c) { c } else { '_' };
    name.chars().take(NAME).map(plain).collect()
}

/// Makes a folder of this name, or of the first one with a number that does not exist: other runs may have the name, also
/// those of another process.
fn make(folder: &Path, name: &str) -> Result<PathBuf, Failure> {
    let failed = |path: &Path, error| Failure::io(format!("folder of the run {path:?}"), &error);
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    let numbered = (2_u64..).map(|number| folder.join(format!("{name}.{number}")));
    for path in iter::once(folder.join(name)).chain(numbered) {
        match fs::create_dir(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            made => return made.map(|()| path.clone()).map_err(|error| failed(&path, error)),
        }
    }
    Ok(folder.join(name))
}

/// The most runs of a fault with `every`, and how long they may take.
fn points_of(fault: &FaultSpec) -> Option<(u64, std::time::Duration)> {
    match fault.when {
        When::Every { max, within, .. } => Some((max, within)),
        _ => None,
    }
}

/// Why a scenario is left out: a program that it needs is not found, or no stream has what its rings have.
fn left_out(scenario: &Scenario, settings: &Settings) -> Option<String> {
    let missing = scenario.needs.iter().find(|program| !is_in_path(program));
    let missing = missing.map(|program| format!("{program} was not found in PATH"));
    missing.or_else(|| settings.over.as_ref().and_then(|_| only_in_memory(scenario)))
}

/// Up to `max` points of all, at equal distances, the first one included. They are in an order of which each beginning
/// is spread over all points, since there may not be time for the rest.
fn spread(all: u64, max: u64) -> Vec<u64> {
    let count = all.min(max);
    let point = |run: u64| (u128::from(run) * u128::from(all) / u128::from(count)) as u64 + 1;
    // The numbers with their bits in reverse order: the half, the quarters, the eighths.
    let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
    let reversed = |number: u64| number.reverse_bits().checked_shr(u64::BITS - bits).unwrap_or(0);
    (0..1_u64.checked_shl(bits).unwrap_or(count))
        .map(reversed)
        .filter(|run| *run < count)
        .map(point)
        .collect()
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
        assert_eq!(spread(5, 100), [1, 5, 3, 2, 4]);
        assert_eq!(spread(100, 4), [1, 51, 26, 76]);
        let mut all = spread(1000, 300);
        assert!(all.len() == 300 && all[..4] == [1, 854, 427, 214], "{all:?}");
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 300);
        assert_eq!(spread(1, 9), [1]);
        assert_eq!(spread(0, 4), Vec::<u64>::new());
        assert_eq!(spread(u64::MAX, 2), [1, u64::MAX / 2 + 1]);
    }

    #[test]
    fn a_folder_has_the_name_of_its_scenario_without_what_a_shell_would_read() {
        assert_eq!(file_name("two-workers"), "two-workers");
        assert_eq!(file_name("../a b\u{1b}'#ü"), "___a_b____");
        assert_eq!(file_name(&"x".repeat(1000)).len(), NAME);
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
