//! Every system call: the commands that create, attach to, detach from and remove a ring are killed before and
//! after each system call of theirs, and have each one fail with each error that it may give.
//!
//! Whatever happens, a command that is not killed ends well, or with one line and an exit code of docs/COMMANDS.md;
//! the name meanwhile shows nothing or a complete ring; afterwards a fresh producer and consumer work
//! under the name, on all slots, no item is lost, and nothing is left in /dev/shm.
//!
//! `cargo test --test deaths syscalls::` kills before or after each call, by turns, and tries one error for each. All of it,
//! with a table:
//!
//! ```text
//! RINGPIPE_SYSCALLS=full cargo test --test deaths syscalls:: -- --nocapture
//! ```
//!
//! `RINGPIPE_SYSCALLS=few` tries one of seven of the sample, which a machine that is emulated can finish.
#![cfg(all(target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod errors;
mod meanwhile;
mod operation;
mod victim;
#[cfg(feature = "cli")]
mod workers;

use nix::errno::Errno;

use crate::support::{TestName, report};
use operation::Operation;
use victim::{Moment, Outcome, Plan};

fn in_full() -> bool {
    std::env::var("RINGPIPE_SYSCALLS").as_deref() == Ok("full")
}

/// Of the plans of a sample, one of this many is tried.
fn stride() -> usize {
    if std::env::var("RINGPIPE_SYSCALLS").as_deref() == Ok("few") { 7 } else { 1 }
}

/// One victim and all checks after it.
fn try_one(operation: Operation, plan: Plan) -> std::io::Result<(Outcome, Result<(), String>)> {
    let name = TestName::new("calls");
    operation.prepare(&name);
    let mut seen = Ok(());
    // A creator under the final name makes other processes wait: they would wait for the suspended victim.
    let look = || {
        if plan.fail.is_none() {
            seen = operation.look(&name)
        }
    };
    let outcome = victim::run(operation.command(&name), plan, look)?;
    let checked = seen.and_then(|()| operation.check(&name, plan, &outcome));
    if checked.is_err() {
        let _ = std::fs::remove_file(name.path());
    }
    Ok((outcome, checked))
}

/// The calls of an undisturbed life; `None` where processes may not be traced, which in CI is a failure.
fn calls_of(operation: Operation, plan: Plan) -> Option<Outcome> {
    match try_one(operation, plan) {
        Ok((outcome, checked)) => {
            assert_eq!(checked, Ok(()), "{operation:?}, {plan:?}: {outcome:?}");
            Some(outcome)
        }
        Err(error) => {
            not_tried(&format!("{error}; a container's filter?"));
            None
        }
    }
}

/// Says so; in CI that is a failure.
fn not_tried(why: &str) {
    let why = format!("syscalls: NOT TRIED: {why}");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    report(&why);
}

/// Tries all of these plans, and says what went wrong.
fn try_all(operation: Operation, what: &str, calls: &Outcome, plans: &[Plan]) {
    assert!(!plans.is_empty());
    let mut wrong = Vec::new();
    let mut ends = std::collections::BTreeMap::<String, u32>::new();
    for &plan in plans.iter().step_by(stride()) {
        let (outcome, checked) = try_one(operation, plan).expect("tracing was allowed before");
        let end = outcome.status.code().map_or("killed".into(), |code| format!("exit {code}"));
        *ends.entry(end).or_default() += 1;
        if let Err(why) = checked {
            let call = plan.fail.map(|(call, _)| call).or(plan.kill.map(|kill| kill.call));
            let call = call.and_then(|call| outcome.calls.get(call));
            wrong.push(format!("{plan:?} at {call:?}: {why}\n  {:?} {:?}", outcome.status, outcome.stderr));
        }
    }
    if in_full() || !wrong.is_empty() {
        let (calls, points) = (calls.calls.len(), plans.len().div_ceil(stride()));
        report(&format!(
            "{operation:?}, {what}: {calls} calls, {points} points, {} wrong, {ends:?}",
            wrong.len()
        ));
    }
    assert!(wrong.is_empty(), "{operation:?}, {what}:\n{}", wrong.join("\n"));
}

/// Moments before and after the calls from `first` on; by turns, where not all are asked for.
fn moments(first: usize, calls: usize) -> impl Iterator<Item = Moment> {
    let both = (first..calls).flat_map(|call| [Moment { call, after: false }, Moment { call, after: true }]);
    both.filter(|moment| in_full() || moment.after == (moment.call % 2 == 0))
}

fn killed_at_each_call(operation: Operation) {
    let Some(calls) = calls_of(operation, Plan::default()) else { return };
    let plans: Vec<Plan> =
        moments(0, calls.calls.len()).map(|moment| Plan { kill: Some(moment), ..Plan::default() }).collect();
    try_all(operation, "killed", &calls, &plans);
}

fn failed_at_each_call(operation: Operation) {
    let Some(calls) = calls_of(operation, Plan::default()) else { return };
    let mut plans = Vec::new();
    for (index, call) in calls.calls.iter().enumerate() {
        let errors = errors::of(call.number);
        let one = errors.get(index % errors.len().max(1)).copied();
        let tried: Vec<Errno> = if in_full() { errors.to_vec() } else { one.into_iter().collect() };
        plans.extend(tried.into_iter().map(|errno| Plan { fail: Some((index, errno)), ..Plan::default() }));
    }
    try_all(operation, "failed", &calls, &plans);
}

/// From each call on nothing more of what it takes is to be had.
fn starved_from_each_call(operation: Operation) {
    let Some(calls) = calls_of(operation, Plan::default()) else { return };
    let numbered = calls.calls.iter().enumerate();
    let plans: Vec<Plan> = numbered
        .filter_map(|(index, call)| Some((index, errors::of_starvation(call.number)?)))
        .map(|fail| Plan { fail: Some(fail), for_good: true, ..Plan::default() })
        .collect();
    try_all(operation, "starved", &calls, &plans);
}

/// Where there are no unnamed files, a ring is made under its name: the other way to make one.
fn killed_without_unnamed_files(operation: Operation) {
    let Some(calls) = calls_of(operation, Plan::default()) else { return };
    let unnamed = calls.calls.iter().position(|call| {
        call.number == libc::SYS_openat && call.arguments[2] as i32 & libc::O_TMPFILE == libc::O_TMPFILE
    });
    let unnamed = unnamed.expect("an unnamed file was opened");
    let fail = Some((unnamed, Errno::EOPNOTSUPP));
    let Some(calls) = calls_of(operation, Plan { fail, ..Plan::default() }) else { return };
    let plans: Vec<Plan> = moments(unnamed + 1, calls.calls.len())
        .map(|moment| Plan { fail, kill: Some(moment), ..Plan::default() })
        .collect();
    try_all(operation, "killed, made under its name", &calls, &plans);
}

#[test]
fn a_creator_killed_at_any_system_call_leaves_a_complete_ring_or_nothing() {
    killed_at_each_call(Operation::Create);
}

#[test]
fn a_creator_killed_under_the_final_name_leaves_a_file_that_can_be_removed() {
    killed_without_unnamed_files(Operation::Create);
}

#[test]
fn a_creator_reports_any_failing_system_call_and_leaves_nothing() {
    failed_at_each_call(Operation::Create);
}

#[test]
fn a_producer_killed_at_any_system_call_costs_other_processes_nothing() {
    killed_at_each_call(Operation::Send);
    killed_at_each_call(Operation::MakeAndSend);
}

#[test]
fn a_producer_reports_a_failing_system_call_or_sends() {
    failed_at_each_call(Operation::Send);
    failed_at_each_call(Operation::MakeAndSend);
}

#[test]
fn a_consumer_killed_at_any_system_call_costs_other_processes_nothing() {
    killed_at_each_call(Operation::Receive);
}

#[test]
fn a_consumer_reports_a_failing_system_call_or_receives() {
    failed_at_each_call(Operation::Receive);
}

#[test]
fn a_remover_killed_at_any_system_call_leaves_a_ring_in_use_or_a_free_name() {
    killed_at_each_call(Operation::Remove);
}

#[test]
fn a_remover_reports_a_failing_system_call_or_removes() {
    failed_at_each_call(Operation::Remove);
}

#[test]
fn commands_report_a_lasting_lack_of_descriptors_memory_or_locks() {
    for operation in
        [Operation::Create, Operation::Send, Operation::MakeAndSend, Operation::Receive, Operation::Remove]
    {
        starved_from_each_call(operation);
    }
}
