//! One run of a scenario: starts its programs, lets its faults strike, and notes what happened.

mod faults;
pub mod instance;
mod leftovers;
mod names;
pub mod outcome;
pub mod ring;
pub mod stage;
mod state;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use super::expect;
use super::scenario::Scenario;
use crate::StopFlag;
use crate::cli::common::address::Server;
use crate::cli::common::exit::Failure;
use faults::Faults;
use outcome::{Cut, InstanceEnd, Outcome, Point};
use stage::Stage;

/// The time between two checks of everything.
const POLL: Duration = Duration::from_millis(1);

/// What a run over a server has in addition.
const OVER_A_SERVER: Duration = Duration::from_secs(60);

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
    /// The server whose streams are the rings.
    pub over: Option<Server>,
}

impl Plan {
    /// A time that a scenario allows, with what it gets in addition over a server: deaths are noticed late there.
    pub fn allowed(&self, time: Duration) -> Duration {
        let more = if self.over.is_some() { OVER_A_SERVER } else { Duration::ZERO };
        time.saturating_add(more)
    }
}

/// Runs a scenario once. `None`: the run was stopped by a signal.
///
/// # Errors
/// A [`Failure`] of the test itself: a ring or a process could not be made, a file could not be read.
pub fn run(scenario: &Scenario, plan: &Plan, stop: &StopFlag) -> Result<Option<Outcome>, Failure> {
    match run_to_the_end(scenario, plan, stop) {
        // Work that was given up for a signal.
        Err(_) if stop.is_raised() => Ok(None),
        ended => ended,
    }
}

fn run_to_the_end(scenario: &Scenario, plan: &Plan, stop: &StopFlag) -> Result<Option<Outcome>, Failure> {
    let mut stage = Stage::set(scenario, plan, stop)?;
    let mut faults = Faults::new(scenario, plan);
    let ended = loop {
        if stop.is_raised() {
            return Ok(None);
        }
        for (program, number) in stage.take_due(faults.will_restart()) {
            faults.start(&mut stage, program, number)?;
        }
        for index in stage.look()? {
            faults.ready(&mut stage, index)?;
        }
        faults.look(&mut stage)?;
        stage.note_segments();
        if let Some(ended) = stage.has_ended(faults.will_restart())? {
            break ended;
        }
        thread::sleep(POLL);
    };
    let mut leftovers = Vec::new();
    let mut cut = match ended {
        Ended::Over => {
            let except = scenario.expect.leftovers.as_deref();
            leftovers.extend(except.map(|_| leftovers::descriptors(&stage)).unwrap_or_default());
            stage.end_background();
            leftovers.extend(except.map(|except| leftovers::find(&stage, except)).unwrap_or_default());
            stage.flooded()?.map(|why| (Cut::Output, why))
        }
        Ended::Cut(cut, why) => Some((cut, why)),
    };
    let mut state = cut.as_ref().map(|(_, why)| state::write(&stage, why)).transpose()?;
    faults.finish(&mut stage);
    // Children of traced processes may have written meanwhile.
    if cut.is_none()
        && let Some(why) = stage.flooded()?
    {
        state = Some(state::write(&stage, &why)?);
        cut = Some((Cut::Output, why));
    }
    let duration = stage.began.elapsed();
    stage.kill()?;
    let points = faults.points();
    let (strikes, gaps) = faults.into_records();
    let (cut, complaint) = cut.unzip();
    let mut outcome = Outcome {
        seed: plan.seed,
        point: plan.point,
        cut,
        broken: BTreeSet::new(),
        complaints: complaint.into_iter().collect(),
        foreseen: Vec::new(),
        gaps,
        strikes,
        instances: stage.instances.iter().map(InstanceEnd::of).collect(),
        history: None,
        duration,
        points,
        folder: plan.folder.clone(),
        state,
    };
    expect::judge(scenario, &stage, leftovers, &mut outcome)?;
    Ok(Some(outcome))
}

/// Why a run ended.
#[derive(Debug)]
pub enum Ended {
    /// All programs that it waits for have ended.
    Over,
    /// It was cut off, and why.
    Cut(Cut, String),
}

/// The moment after a duration; far in the future if there is no such moment.
fn after(start: Instant, wait: Duration) -> Instant {
    start.checked_add(wait).unwrap_or_else(|| start + Duration::from_secs(1 << 30))
}
