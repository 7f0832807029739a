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

/// A further run may take this many times as long as the first one, and this much longer.
const TIMES: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(1);

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
    // A fault that did not strike is not needed.
    omitted
        .extend((0..scenario.faults.len()).filter(|fault| !plan.omitted.contains(fault) && !struck(*fault)));
    // Without a fault that ends a process, a run may go on for ever: that is another failure.
    let usual = outcome.duration * TIMES + PATIENCE;
    let shorter = Scenario { timeout: scenario.timeout.min(usual), ..scenario.clone() };
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
        let again = run::run(&shorter, &plan, stop)?;
        runs += 1;
        // What cannot be removed stays among the temporary files.
        let _ = std::fs::remove_dir_all(folder);
        let is_same =
            |again: Outcome| again.verdict() == Verdict::Failed && outcome.broken.is_subset(&again.broken);
        if !again.is_some_and(is_same) {
            omitted.pop();
        }
    }
    let needed = scenario.faults.iter().enumerate().filter(|(place, _)| !omitted.contains(place));
    let faults = needed.map(|(_, fault)| fault.line).collect();
    Ok((runs > 0).then_some(Least { faults, runs }))
}
