//! How the processes must have ended.

use std::collections::BTreeMap;

use crate::cli::ctl::test::run::instance::{Instance, ended_text};
use crate::cli::ctl::test::run::stage::Stage;
use crate::cli::ctl::test::scenario::{Exit, Expect, Signal};
use crate::testing::Ended;

/// Stands for all programs that are not named.
const OTHERS: &str = "*";

/// The places of the instances that ended otherwise, with a line for each.
///
/// Without an expectation for its program, an instance must end with code 0; exempt are those that a fault struck. One in
/// the background may also end by the signal with which it was asked to end.
pub fn judge(expect: &Expect, stage: &Stage<'_>) -> Vec<(usize, String)> {
    let all = stage.instances.iter().enumerate();
    all.filter_map(|(place, one)| Some((place, judge_one(&expect.exit, stage, one)?))).collect()
}

fn judge_one(exit: &BTreeMap<String, Vec<Exit>>, stage: &Stage<'_>, instance: &Instance) -> Option<String> {
    let spec = stage.program(instance);
    let name = instance.process.name();
    let named = exit.get(&spec.name);
    if instance.stopped_for_good || (named.is_none() && instance.struck) {
        return None;
    }
    let mut allowed = named.or(exit.get(OTHERS)).cloned().unwrap_or_else(|| vec![Exit::Code(0)]);
    if named.is_none() && spec.background {
        allowed.extend([Exit::Signal(spec.stop.0), Exit::Code(128 + spec.stop.0.0 as i32)]);
    }
    let list = allowed.iter().map(|exit| text(*exit)).collect::<Vec<_>>().join(" or ");
    match instance.ended {
        None => Some(format!("{name} did not end within {:?} of {}", spec.stop.1, spec.stop.0.name())),
        Some((ended, _)) if allowed.iter().any(|exit| is(*exit, ended)) => None,
        Some((ended, _)) => Some(format!("{name} {}, expected {list}", ended_text(ended))),
    }
}

fn is(exit: Exit, ended: Ended) -> bool {
    match (exit, ended) {
        (Exit::Code(expected), Ended::Code(code)) => expected == code,
        (Exit::Signal(Signal(expected)), Ended::Signal(number)) => expected as i32 == number,
        _ => false,
    }
}

fn text(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("code {code}"),
        Exit::Signal(signal) => signal.name().into(),
    }
}
