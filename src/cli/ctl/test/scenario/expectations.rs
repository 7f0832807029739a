//! The history and the expectations of a scenario file.

use std::collections::BTreeMap;

use regex_lite::Regex;

use super::keys::{EXPECT, HISTORY, LEFTOVERS, MAPPING};
use super::kind::percentile;
use super::names::Names;
use super::node::{Node, Table};
use super::wrong::Wrong;
use super::{Duplicated, Exit, Expect, Mapping, values};

/// How events are read from output: the mapping for all programs first, if there is one.
///
/// # Errors
/// The first fault.
pub fn read_history(file: &Table<'_>, names: &Names) -> Result<Vec<Mapping>, Wrong> {
    let Some(node) = file.get("history") else { return Ok(Vec::new()) };
    let table = node.table(&HISTORY)?;
    let mut mappings = Vec::new();
    let is_for_all = HISTORY.keys.iter().any(|key| table.get(key.name).is_some());
    if is_for_all || table.rest().next().is_none() {
        mappings.push(read_mapping(&table, Vec::new(), names)?);
    }
    for program in table.rest() {
        names.is_program(node, program.key_at, program.name)?;
        mappings.push(read_mapping(&program.table(&MAPPING)?, vec![program.name.into()], names)?);
    }
    Ok(mappings)
}

fn read_mapping(table: &Table<'_>, of: Vec<String>, names: &Names) -> Result<Mapping, Wrong> {
    let [sent, received, acknowledged] =
        ["sent", "received", "acknowledged"].map(|key| table.read(key, with_id));
    let mapping = Mapping {
        of,
        files: table.read("files", |node| values::each(node, |one| names.template(one)))?.unwrap_or_default(),
        sent: sent?,
        received: received?,
        acknowledged: acknowledged?,
    };
    match (&mapping.sent, &mapping.received, &mapping.acknowledged) {
        (None, None, None) => {
            Err(table.node.wrong("no event is described", "at least one of sent, received, acknowledged"))
        }
        _ => Ok(mapping),
    }
}

/// A pattern with the group `id`.
fn with_id(node: Node<'_>) -> Result<Regex, Wrong> {
    let pattern = values::pattern(node)?;
    match pattern.capture_names().flatten().any(|name| name == "id") {
        true => Ok(pattern),
        false => Err(node.wrong("the pattern has no group id", r#"a pattern such as "PUT (?<id>\\d+)""#)),
    }
}

/// The expectations.
///
/// # Errors
/// The first fault.
pub fn read_expect(file: &Table<'_>, names: &Names) -> Result<Expect, Wrong> {
    let Some(node) = file.get("expect") else { return Ok(Expect::default()) };
    let table = node.table(&EXPECT)?;
    let output = |key| table.read(key, |node| read_output(node, names)).map(Option::unwrap_or_default);
    Ok(Expect {
        lost: table.read("lost", values::whole)?,
        unexpected: table.read("unexpected", values::whole)?,
        duplicated: table.read("duplicated", read_duplicated)?,
        corrupted: table.read("corrupted", values::whole)?,
        order: table.read("order", values::truth)?.unwrap_or(false),
        received: table.read("received", values::whole)?,
        exit: table.read("exit", |node| read_exit(node, names))?.unwrap_or_default(),
        stdout: output("stdout")?,
        stderr: output("stderr")?,
        equal: table
            .read("equal", |node| values::each(node, |pair| read_pair(pair, names)))?
            .unwrap_or_default(),
        sha256: table.read("sha256", |node| read_checksums(node, names))?.unwrap_or_default(),
        stall: table.read("stall", values::positive)?,
        latency: table.read("latency", read_latency)?.unwrap_or_default(),
        leftovers: table.read("leftovers", |node| read_leftovers(node, names))?,
        within: table.read("within", values::positive)?,
    })
}

/// The expectations that the run must break.
///
/// # Errors
/// One of them is not in `[expect]`.
pub fn read_fails(file: &Table<'_>) -> Result<Vec<String>, Wrong> {
    let expected = match file.get("expect") {
        Some(node) => Some(node.table(&EXPECT)?),
        None => None,
    };
    let one = |node: Node<'_>| {
        let key = values::word(node)?;
        // Every run has a timeout, and every process an expected exit.
        let is_there =
            matches!(&*key, "timeout" | "exit") || expected.is_some_and(|table| table.get(&key).is_some());
        match is_there {
            true => Ok(key),
            false => Err(node.wrong(format!("{key} is not expected"), format!("{key} = ... in [expect]"))),
        }
    };
    file.read("fails", |node| values::each(node, one)).map(Option::unwrap_or_default)
}

fn read_duplicated(node: Node<'_>) -> Result<Duplicated, Wrong> {
    match node.value.is_str() {
        true => Ok(Duplicated::Redelivered),
        false => values::whole(node).map(Duplicated::AtMost),
    }
}

fn read_exit(node: Node<'_>, names: &Names) -> Result<BTreeMap<String, Vec<Exit>>, Wrong> {
    let Some(entries) = node.entries() else {
        return Ok(BTreeMap::from([("*".into(), values::each(node, values::exit)?)]));
    };
    let mut ends = BTreeMap::new();
    for entry in entries {
        if entry.name != "*" {
            names.is_program(node, entry.key_at, entry.name)?;
        }
        ends.insert(entry.name.into(), values::each(entry, values::exit)?);
    }
    Ok(ends)
}

fn read_output(node: Node<'_>, names: &Names) -> Result<BTreeMap<String, Vec<Regex>>, Wrong> {
    let mut patterns = BTreeMap::new();
    for entry in node.entries().into_iter().flatten() {
        names.is_program(node, entry.key_at, entry.name)?;
        patterns.insert(entry.name.into(), values::each(entry, values::pattern)?);
    }
    Ok(patterns)
}

fn read_pair(node: Node<'_>, names: &Names) -> Result<(String, String), Wrong> {
    let files = values::each(node, |one| names.template(one))?;
    <[String; 2]>::try_from(files)
        .map(|[first, second]| (first, second))
        .map_err(|files| node.wrong(format!("these are {} files", files.len()), "pairs of two files"))
}

fn read_checksums(node: Node<'_>, names: &Names) -> Result<BTreeMap<String, String>, Wrong> {
    let mut sums = BTreeMap::new();
    for entry in node.entries().into_iter().flatten() {
        names.placeholders(entry.of_key(), entry.name)?;
        sums.insert(entry.name.into(), values::sha256(entry)?);
    }
    Ok(sums)
}

fn read_latency(node: Node<'_>) -> Result<Vec<(f64, std::time::Duration)>, Wrong> {
    let mut limits = Vec::new();
    for entry in node.entries().into_iter().flatten() {
        let limit = values::duration(entry)?;
        limits.extend(percentile(entry.name).map(|percentile| (percentile, limit)));
    }
    Ok(limits)
}

fn read_leftovers(node: Node<'_>, names: &Names) -> Result<Vec<String>, Wrong> {
    match node.value.is_table() {
        true => node.table(&LEFTOVERS)?.need("except", |node| values::each(node, |one| names.template(one))),
        false => Ok(Vec::new()),
    }
}
