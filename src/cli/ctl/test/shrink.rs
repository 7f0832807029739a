//! Finds the least set of faults with which a run still fails.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::run::outcome::{Outcome, Verdict};
use super::run::{self, Plan};
use super::scenario::Scenario;
use crate::StopFlag;
use crate::cli::common::exit::Failure;

/// No more runs are begun after this time.
const LONGEST: Duration = Duration::from_secs(30);

/// What further runs have shown of a run that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Least {
    /// The lines of the faults with which it still failed; none: it fails without any.
    pub faults: Vec<u32>,
    /// How many runs were made.
    pub runs: u32,
}

/// Runs the scenario again without one fault after the other. `None`: there is nothing to leave out.
///
/// # Errors
/// A [`Failure`] of the test itself.
pub fn shrink(
    scenario: &Scenario,
    plan: &Plan,
    outcome: &Outcome,
    stop: &StopFlag,
) -> Result<Option<Least>, Failure> {
    let mut omitted = plan.omitted.clone();
    let struck = |fault: usize| outcome.strikes.iter().any(|strike| strike.fault == fault);
    // Those that did not strike are not needed.
    omitted
        .extend((0..scenario.faults.len()).filter(|fault| !plan.omitted.contains(fault) && !struck(*fault)));
    let mut runs = 0;
    let start = Instant::now();
    for fault in 0..scenario.faults.len() {
        if omitted.contains(&fault) || start.elapsed() + outcome.duration > LONGEST || stop.is_raised() {
            continue;
        }
        omitted.push(fault);
        let mut folder = plan.folder.clone().into_os_string();
        folder.push(format!(".shrink-{runs}"));
        let folder = PathBuf::from(folder);
        let plan = Plan { omitted: omitted.clone(), folder: folder.clone(), ..plan.clone() };
        let again = run::run(scenario, &plan, stop)?;
        runs += 1;
        // What cannot be removed stays among the temporary files.
        let _ = std::fs::remove_dir_all(folder);
        if again.is_none_or(|again| again.verdict() != Verdict::Failed) {
            omitted.pop();
        }
    }
    let needed = scenario.faults.iter().enumerate().filter(|(place, _)| !omitted.contains(place));
    let faults = needed.map(|(_, fault)| fault.line).collect();
    Ok((runs > 0).then_some(Least { faults, runs }))
}
