//! One run of a scenario: starts its programs, lets its faults strike, and notes what happened.

mod faults;
pub mod instance;
mod leftovers;
mod names;
pub mod outcome;
pub mod stage;
mod state;

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::expect;
use super::scenario::Scenario;
use crate::StopFlag;
use crate::cli::common::exit::Failure;
use faults::Faults;
use outcome::{Outcome, Point};
use stage::Stage;

/// The time between two checks of everything.
const POLL: Duration = Duration::from_millis(1);

/// What makes one run of a scenario differ from another.
#[derive(Debug, Clone)]
pub struct Plan {
    /// All choices of the run follow from it.
    pub seed: u64,
    /// Where the fault with `every` strikes.
    pub point: Option<Point>,
    /// The faults that are left out, by their places in the file.
    pub omitted: Vec<usize>,
    /// The folder of the run, which is made.
    pub folder: PathBuf,
}

/// Runs a scenario once. `None`: the run was stopped by a signal.
///
/// # Errors
/// A [`Failure`] of the test itself: a ring or a process could not be made, a file could not be read.
pub fn run(scenario: &Scenario, plan: &Plan, stop: &StopFlag) -> Result<Option<Outcome>, Failure> {
    let mut stage = Stage::set(scenario, plan)?;
    let mut faults = Faults::new(scenario, plan);
    let ended = loop {
        if stop.is_raised() {
            return Ok(None);
        }
        stage.start_next(&mut faults)?;
        stage.look(&mut faults)?;
        faults.look(&mut stage)?;
        stage.note_segments();
        if let Some(ended) = stage.has_ended(&faults) {
            break ended;
        }
        thread::sleep(POLL);
    };
    let stalled = match ended {
        Ended::Over => None,
        Ended::Stalled(why) => Some(stage.record_state(&why)?),
    };
    let mut leftovers = Vec::new();
    if stalled.is_none() {
        leftovers.extend(stage.leftovers(leftovers::descriptors));
        stage.end_background(stop);
        leftovers.extend(stage.leftovers(leftovers::find));
    }
    faults.finish(&mut stage);
    let duration = stage.began.elapsed();
    stage.kill()?;
    let mut outcome = stage.outcome(faults, duration, stalled);
    expect::judge(scenario, &stage, leftovers, &mut outcome)?;
    Ok(Some(outcome))
}

/// Why a run ended.
#[derive(Debug)]
pub enum Ended {
    /// All programs that it waits for have ended.
    Over,
    /// It can go no further, or took too long: the reason.
    Stalled(String),
}

/// The moment after a duration; far in the future if there is no such moment.
fn after(start: Instant, wait: Duration) -> Instant {
    start.checked_add(wait).unwrap_or_else(|| start + Duration::from_secs(1 << 30))
}
