//! What must be true of the items of a run.

use std::io;
use std::path::PathBuf;

use super::Complaints;
use super::events::{Again, Events, Key, percentile};
use super::logs;
use super::mapping::{self, Names};
use crate::cli::common::exit::Failure;
use crate::cli::ctl::check;
use crate::cli::ctl::test::beside::beside;
use crate::cli::ctl::test::run::instance::Instance;
use crate::cli::ctl::test::run::outcome::{Items, Outcome};
use crate::cli::ctl::test::run::stage::Stage;
use crate::cli::ctl::test::scenario::{Duplicated, Expect, Scenario};
use crate::testing::history::{self, Checker, Fault, HistoryError, Report};

/// How many faults of a kind are shown.
const SHOWN: usize = 3;

/// What is false of the history. Adds to the outcome that there is none if one is needed.
///
/// # Errors
/// A log cannot be read.
pub fn judge(scenario: &Scenario, stage: &Stage<'_>, outcome: &mut Outcome) -> Result<Complaints, Failure> {
    let expect = &scenario.expect;
    let own = logs::own(stage)?;
    let (mut logs, mut names) = (own.clone(), Names::new());
    if !scenario.history.is_empty()
        && let Some((log, items, doubt)) = mapping::write(scenario, stage)?
    {
        logs.push(log);
        names = items;
        outcome.gaps.extend(doubt);
    }
    let nothing = if scenario.history.is_empty() { NOTHING } else { NO_LINE };
    if logs.is_empty() {
        if needs_history(expect) {
            outcome.gaps.push(nothing.into());
        }
        return Ok(Complaints::new());
    }
    let failed = |error: HistoryError| check::failure(error);
    let unread = |error: io::Error| Failure::io("reading the history", &error);
    let files = logs.clone();
    let report = beside(stage.stop, move || history::check(&files, Checker::new().describe(1000)));
    let report = report.map_err(unread)?.map_err(failed)?;
    outcome.history = Some(Items { counts: report.counts, lost: report.count(Fault::Lost) });
    if !needs_history(expect) {
        return Ok(Complaints::new());
    }
    if report.counts.events == 0 {
        outcome.gaps.push(nothing.into());
        return Ok(Complaints::new());
    }
    let read = |logs: Vec<PathBuf>, keys: Vec<Key>| {
        let events = beside(stage.stop, move || Events::read(&logs, keys));
        events.map_err(unread)?.map_err(failed)
    };
    let mut keys: Vec<Key> = report.found.iter().map(|found| (found.producer, found.sequence)).collect();
    let mut events = read(logs.clone(), keys.clone())?;
    let again = unexpected_again(stage, &events);
    let shown = shown_again(&report, &again);
    // Only a run that fails is read twice: to note the processes of all items would take much memory.
    if shown.iter().any(|key| events.involved(*key).is_none()) {
        keys.extend(&shown);
        events = read(logs, keys)?;
    }
    let mut complaints = counts(stage, &report, &names, &events, &again);
    // The mapped history has no times.
    let own = if names.is_empty() { events } else { read(own, Vec::new())? };
    complaints.extend(times(expect, &own, outcome));
    Ok(complaints)
}

const NOTHING: &str = "no process has logged an item: nothing can be said about lost or duplicated items \
                       (docs/TESTING.md shows how programs write histories)";

const NO_TIMES: &str = "lines of output have no times: stall and latency need a history that a program writes \
                        (docs/TESTING.md shows how)";

const NO_LINE: &str = "no line that was read matches a pattern of [history], and no process has logged an item: nothing can \
                       be said about lost or duplicated items";

fn needs_history(expect: &Expect) -> bool {
    let Expect { lost, unexpected, duplicated, corrupted, order, received, stall, latency, .. } = expect;
    let counts = [lost, unexpected, corrupted, received].into_iter().any(Option::is_some);
    counts || duplicated.is_some() || *order || stall.is_some() || !latency.is_empty()
}

/// The instance that is a process of a history; `None`: the scenario has not started it itself.
fn instance<'a>(stage: &'a Stage<'_>, process: u64) -> Option<&'a Instance> {
    // The last digits of a process in logs: src/testing/history/log.rs.
    const IDS: u64 = 10_000_000;
    stage.instances.iter().find(|one| u64::from(one.process.id()) % IDS == process % IDS)
}

/// Whether a process of a history was struck by a fault. A child of an instance may have been struck with it.
fn is_struck(stage: &Stage<'_>, process: u64) -> bool {
    match instance(stage, process) {
        Some(instance) => instance.struck,
        None => stage.instances.iter().any(|one| one.struck),
    }
}

/// Which instances have sent and received an item, in words; empty: none is known.
fn involved(stage: &Stage<'_>, events: &Events, key: Key) -> String {
    let Some(involved) = events.involved(key) else { return String::new() };
    let list = |what: &str, processes: &[u64]| {
        let known = processes.iter().filter_map(|process| instance(stage, *process));
        let known = known.map(|one| format!("{}, process {}", one.process.name(), one.process.id()));
        let known = known.collect::<Vec<_>>().join(", then ");
        (!known.is_empty()).then(|| format!("{what} by {known}"))
    };
    let parts = [list("sent", &involved.senders), list("received", &involved.receivers)];
    let parts = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
    if parts.is_empty() { parts } else { format!(" ({parts})") }
}

/// The deliveries after an item's first that are not expected, as far as their number is looked at.
fn unexpected_again(stage: &Stage<'_>, events: &Events) -> Again {
    match stage.scenario.expect.duplicated {
        Some(Duplicated::AtMost(most)) => Some(events.repeated()).filter(|again| again.count > most),
        Some(Duplicated::Redelivered) => Some(events.without_reason(|process| is_struck(stage, process))),
        None => None,
    }
    .unwrap_or_default()
}

/// The first of these items that the faults of the checker do not name, as many as are shown.
fn shown_again(report: &Report, again: &Again) -> Vec<Key> {
    let faults = report.found.iter().filter(|found| DOUBLED.contains(&found.fault)).take(SHOWN);
    let named: Vec<Key> = faults.map(|found| (found.producer, found.sequence)).collect();
    let others = again.keys.iter().copied().filter(|key| !named.contains(key));
    others.take(SHOWN.saturating_sub(named.len())).collect()
}

/// An item that was received again, in a line.
fn described_again(stage: &Stage<'_>, names: &Names, events: &Events, key: Key) -> String {
    let who = involved(stage, events, key);
    match names.get(&key) {
        Some(id) => format!("  received again: item {id:?}{who}"),
        None => format!("  received again: item {} of producer {}{who}", key.1, key.0),
    }
}

/// The faults of the checker that are an item received twice.
const DOUBLED: [Fault; 3] = [Fault::Duplicated, Fault::AcknowledgedTwice, Fault::HeldTwice];

fn counts(stage: &Stage<'_>, report: &Report, names: &Names, events: &Events, again: &Again) -> Complaints {
    let expect = &stage.scenario.expect;
    let mut complaints = Complaints::new();
    let described = |key: &'static str, faults: &[Fault]| -> Complaints {
        let who = |item| involved(stage, events, item);
        described(report, names, &who, faults).into_iter().map(|line| (key, line)).collect()
    };
    let mut at_most = |key: &'static str, what: &str, most: Option<u64>, faults: &[Fault]| {
        let found: u64 = faults.iter().map(|fault| report.count(*fault)).sum();
        if most.is_some_and(|most| found > most) {
            complaints.push((key, format!("{what}: {found}, expected at most {}", most.unwrap_or(0))));
            complaints.extend(described(key, faults));
        }
    };
    at_most("lost", "items lost", expect.lost, &[Fault::Lost]);
    at_most(
        "unexpected",
        "items received but not sent",
        expect.unexpected,
        &[Fault::Unexpected, Fault::Renamed],
    );
    at_most("corrupted", "items that are not what was sent", expect.corrupted, &[Fault::Corrupted]);
    at_most("order", "items out of order", expect.order.then_some(0), &[Fault::OutOfOrder]);
    const TWICE: &str = "duplicated";
    // One item can have several of these faults.
    let doubled = DOUBLED.iter().map(|fault| report.count(*fault)).max().unwrap_or(0);
    let shown = shown_again(report, again);
    let shown = shown.into_iter().map(|key| (TWICE, described_again(stage, names, events, key)));
    match expect.duplicated {
        Some(Duplicated::AtMost(most)) if again.count.max(doubled) > most => {
            let found = again.count.max(doubled);
            let line = format!("items received more than once: {found}, expected at most {most}");
            complaints.push((TWICE, line));
            complaints.extend(described(TWICE, &DOUBLED));
            complaints.extend(shown);
        }
        Some(Duplicated::Redelivered) => {
            if doubled > 0 {
                let line =
                    format!("items received again after they were done: {doubled}, expected at most 0");
                complaints.push((TWICE, line));
                complaints.extend(described(TWICE, &DOUBLED));
            }
            if again.count > 0 {
                let line = format!(
                    "items received again: {} that no process had in hand when a fault struck it, or gave back",
                    again.count
                );
                complaints.push((TWICE, line));
                complaints.extend(shown);
            }
        }
        _ => {}
    }
    if let Some(least) = expect.received.filter(|least| events.received() < *least) {
        let line = format!("items received: {}, expected at least {least}", events.received());
        complaints.push(("received", line));
    }
    complaints
}

/// The first faults of these kinds, a line each. An item of a mapped output has its name there.
fn described(report: &Report, names: &Names, who: &dyn Fn(Key) -> String, faults: &[Fault]) -> Vec<String> {
    let found = report.found.iter().filter(|found| faults.contains(&found.fault)).take(SHOWN);
    let place = |found: &history::Found| match found.place {
        Some(place) => match report.files.get(place.file as usize) {
            Some(file) => format!(" ({}, line {})", file.display(), place.line),
            None => String::new(),
        },
        None => String::new(),
    };
    let line = |found: &history::Found| {
        let key = (found.producer, found.sequence);
        let (what, text, who) = (found.fault.name(), &found.text, who(key));
        match names.get(&key) {
            Some(id) => format!("  {what}: item {id:?}{who}: {text}"),
            None => {
                let (number, producer) = (found.sequence, found.producer);
                format!("  {what}: item {number} of producer {producer}{who}: {text}{}", place(found))
            }
        }
    };
    found.map(line).collect()
}

fn times(expect: &Expect, events: &Events, outcome: &mut Outcome) -> Complaints {
    let mut complaints = Complaints::new();
    let needs_times = expect.stall.is_some() || !expect.latency.is_empty();
    if needs_times && events.is_empty() {
        outcome.gaps.push(NO_TIMES.into());
        return complaints;
    }
    if let Some(most) = expect.stall.filter(|most| events.longest_gap > *most) {
        let line = format!("for {:.3?} no item moved, expected at most {most:?}", events.longest_gap);
        complaints.push(("stall", line));
    }
    let latencies = events.latencies();
    if !expect.latency.is_empty() && latencies.is_empty() {
        outcome.gaps.push("no item was both sent and received: no latency is known".into());
        return complaints;
    }
    for (percent, most) in &expect.latency {
        let Some(found) = percentile(&latencies, *percent).filter(|found| found > most) else { continue };
        let name =
            if *percent >= 100.0 { "the longest latency".into() } else { format!("the latency p{percent}") };
        complaints.push(("latency", format!("{name} is {found:.3?}, expected at most {most:?}")));
    }
    complaints
}
