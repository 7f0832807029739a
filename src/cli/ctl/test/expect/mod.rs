//! What must be true after a run.

mod events;
mod exits;
mod files;
mod history;
mod logs;
mod mapping;

use super::run::outcome::{Cut, Outcome};
use super::run::stage::Stage;
use super::scenario::Scenario;
use crate::cli::common::exit::Failure;

/// What was expected and is false: the key of the expectation, and a line.
type Complaints = Vec<(&'static str, String)>;

/// Adds to the outcome what was expected and is false, and what could not be judged.
///
/// # Errors
/// A [`Failure`] of the test itself: an output or a log cannot be read.
pub fn judge(
    scenario: &Scenario,
    stage: &Stage<'_>,
    leftovers: Vec<String>,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let expect = &scenario.expect;
    let mut found = Complaints::new();
    // The exits and files of a run that was cut off say nothing more.
    let is_whole = outcome.cut.is_none();
    if let Some(cut) = outcome.cut {
        found.extend(outcome.complaints.drain(..).map(|line| (cut.key(), line)));
    }
    if is_whole {
        for (place, line) in exits::judge(expect, stage) {
            outcome.instances[place].unexpected = true;
            found.push(("exit", line));
        }
    }
    // What is too much to be written is too much to be read.
    if outcome.cut != Some(Cut::Output) {
        found.extend(history::judge(scenario, stage, outcome)?);
    }
    if is_whole {
        found.extend(files::judge(expect, stage)?);
        found.extend(leftovers.into_iter().map(|line| ("leftovers", line)));
        if let Some(within) =
            expect.within.map(|within| stage.plan.allowed(within)).filter(|within| outcome.duration > *within)
        {
            let line = format!("the run took {:.3?}, expected at most {within:?}", outcome.duration);
            found.push(("within", line));
        }
    }
    let is_foreseen = |(key, _): &(&str, String)| scenario.fails.iter().any(|name| name == key);
    let (foreseen, others): (Complaints, Complaints) = found.into_iter().partition(is_foreseen);
    outcome.foreseen.extend(foreseen);
    outcome.broken = others.iter().map(|(key, _)| *key).collect();
    outcome.complaints.extend(others.into_iter().map(|(_, line)| line));
    Ok(())
}
