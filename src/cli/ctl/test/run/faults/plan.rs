//! What a trace counts for a fault, and what it does at which point.

use crate::cli::common::exit::{Failure, code};
use crate::cli::ctl::test::run::stage::Stage;
use crate::cli::ctl::test::scenario::{self, Action, FaultSpec, When};
use crate::testing::point::{self, Calls, Lasting, Strike};

/// The system calls of these names: for an action that makes calls fail, its own. Without names: all, or for a full disk
/// those that need room on it.
pub(super) fn named(spec: &FaultSpec, calls: &[String]) -> Calls {
    let fails = matches!(spec.action, Action::Fail { .. });
    let calls = match &spec.action {
        Action::Fail { calls, .. } => calls,
        _ => calls,
    };
    match (calls, fails) {
        ([], true) => Calls::NeedRoom,
        ([], false) => Calls::All,
        // The reader of the file knows the same names.
        (calls, _) => Calls::named(calls).unwrap_or(Calls::Numbers(Vec::new())),
    }
}

pub(super) fn strike_of(spec: &FaultSpec) -> Result<Strike, Failure> {
    Ok(match &spec.action {
        Action::Kill | Action::Restart(_) if !spec.group => Strike::Kill,
        // As at a time: an instance is a process group.
        Action::Kill | Action::Restart(_) => Strike::KillGroup,
        Action::Stop(time) => Strike::Stop { resume_after: *time },
        Action::Send(signal) => Strike::Signal(signal.0 as i32),
        Action::Fail { errno, lasting, .. } => {
            let lasting = match *lasting {
                scenario::Lasting::Always => Lasting::Always,
                scenario::Lasting::For(time) => Lasting::For(time),
                scenario::Lasting::Times(times) => Lasting::Times(times),
            };
            Strike::Fail { errno: *errno, lasting }
        }
        Action::Memory(_) => {
            let line = format!("line {}: memory is limited at a time or an event, not at a point", spec.line);
            return Err(Failure::new(code::USAGE, line));
        }
    })
}

/// The plan, for the files below the folder of a fault only.
pub(super) fn below(
    plan: point::Plan,
    spec: &FaultSpec,
    stage: &Stage<'_>,
    number: u32,
) -> Result<point::Plan, Failure> {
    let Action::Fail { path: Some(path), .. } = &spec.action else { return Ok(plan) };
    let path = stage.names.fill(path, number).map_err(|error| Failure::io("a port", &error))?;
    Ok(plan.below(stage.names.folder().join(path)))
}

/// Whether a fault is carried out by tracing from the beginning.
pub(super) fn is_traced(when: &When) -> bool {
    matches!(when, When::Syscall { .. } | When::Instruction(_) | When::Every { .. })
}
