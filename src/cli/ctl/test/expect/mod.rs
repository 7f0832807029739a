//! What must be true after a run.

mod events;
mod exits;
mod files;
mod history;
mod mapping;

use super::run::outcome::Outcome;
use super::run::stage::Stage;
use super::scenario::Scenario;
use crate::cli::common::exit::Failure;

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
    // The exits and files of a run that was cut off say nothing more.
    let is_whole = outcome.state.is_none();
    if is_whole {
        for (place, line) in exits::judge(expect, stage) {
            outcome.instances[place].unexpected = true;
            outcome.complaints.push(line);
        }
    }
    history::judge(scenario, stage, outcome)?;
    if is_whole {
        outcome.complaints.extend(files::judge(expect, stage)?);
        outcome.complaints.extend(leftovers);
        if let Some(within) = expect.within.filter(|within| outcome.duration > *within) {
            let line = format!("the run took {:.3?}, expected at most {within:?}", outcome.duration);
            outcome.complaints.push(line);
        }
    }
    Ok(())
}
