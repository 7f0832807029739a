//! The short answer: ringpipe beside the best of the carriers that do the same work.

use std::fmt::{self, Write};

use super::series::{Series, find};
use super::table::{Column, EXCLUSIVE, EXCLUSIVE_ANY, FOR_MANY, FOR_MANY_ANY, columns, plain, rate, rows};
use crate::peer::Kind;
use crate::plan::{Shape, Test, bytes};

/// Carriers of bytes, not of messages: receivers that do not all know one size cannot share them.
const STREAMS: [&str; 2] = ["pipe", "unix stream"];

/// Writes how many times the best of the others ringpipe is, shape by shape.
pub fn write(out: &mut String, series: &[Series]) -> fmt::Result {
    let title = |shape: &Shape| match shape.work.batch {
        1 => bytes(shape.work.size),
        batch => format!("{} x {batch}", bytes(shape.work.size)),
    };
    let columns = columns(series, rate, |shape| shape.test == Test::OneWay, title);
    let lossless = |_: &str, kind| kind == Kind::SharedMemory;
    let competing = |carrier: &str, kind| {
        !STREAMS.contains(&carrier)
            && matches!(kind, Kind::SharedMemory | Kind::Kernel)
            && serves_many(series, carrier)
    };
    let lines = [
        (EXCLUSIVE, "the best other through shared memory", best(series, &columns, EXCLUSIVE, lossless)),
        (
            FOR_MANY,
            "the best other that serves competing receivers",
            best(series, &columns, FOR_MANY, competing),
        ),
        (
            EXCLUSIVE_ANY,
            "the best other through shared memory",
            best(series, &columns, EXCLUSIVE_ANY, lossless),
        ),
        (
            FOR_MANY_ANY,
            "the best other that serves competing receivers",
            best(series, &columns, FOR_MANY_ANY, competing),
        ),
        (
            EXCLUSIVE,
            "rtrb between threads",
            best(series, &columns, EXCLUSIVE, |carrier, _| carrier == "rtrb"),
        ),
        (FOR_MANY, "ringpipe exclusive", best(series, &columns, FOR_MANY, |carrier, _| carrier == EXCLUSIVE)),
    ];
    if lines.iter().all(|(.., cells)| cells.iter().all(Option::is_none)) {
        return Ok(());
    }
    let titles: Vec<&str> = columns.iter().map(|column| column.title.as_str()).collect();
    writeln!(
        out,
        "## How far ahead\n\nTimes the rate of whom it is compared with, one sender, one receiver. Pipes \
         and streams, which know no messages, and whose messages came wrong, are in the tables only.\n"
    )?;
    writeln!(out, "| | {} |\n|---{}|", titles.join(" | "), "|---".repeat(columns.len()))?;
    for (ours, others, cells) in lines {
        let cells: Vec<String> = cells.into_iter().map(Option::unwrap_or_default).collect();
        writeln!(out, "| {ours}, to {others} | {} |", cells.join(" | "))?;
    }
    writeln!(out)
}

/// In each column the ratio to the fastest carrier that `wanted` selects.
fn best(
    series: &[Series],
    columns: &[Column],
    ours: &str,
    wanted: impl Fn(&str, Kind) -> bool,
) -> Vec<Option<String>> {
    let others: Vec<&str> = rows(series)
        .into_iter()
        .filter(|(name, kind)| wanted(name, *kind) && !is_faulty(series, name))
        .map(|(name, _)| name)
        .collect();
    let one = |column: &Column| {
        let ours = find(series, ours, &column.shape)?;
        let figures = others.iter().filter_map(|name| {
            let one = find(series, name, &column.shape)?;
            Some((one.median(rate)?, *name))
        });
        let (_, fastest) = figures.max_by(|a, b| a.0.total_cmp(&b.0))?;
        let ratio = ours.ratio(find(series, fastest, &column.shape)?, rate)?;
        let name = if others.len() > 1 { format!(" ({fastest})") } else { String::new() };
        Some(format!("{}x{name}", plain(ratio)))
    };
    columns.iter().map(one).collect()
}

/// Processor time that the busiest pair of workers had in each second of a shape of work, at the median.
pub fn processors_had(series: &[Series]) -> Option<f64> {
    let mut most: Vec<(Shape, f64)> = Vec::new();
    for one in series.iter().filter(|one| one.shape.test == Test::OneWay) {
        let Some(cpu) = one.median(|record| record.cpu) else { continue };
        match most.iter_mut().find(|(shape, _)| *shape == one.shape) {
            Some((_, most)) => *most = most.max(cpu),
            None => most.push((one.shape, cpu)),
        }
    }
    most.sort_by(|a, b| a.1.total_cmp(&b.1));
    most.get(most.len() / 2).map(|(_, cpu)| *cpu)
}

/// Whether any message of this carrier came wrong.
fn is_faulty(series: &[Series], carrier: &str) -> bool {
    series.iter().any(|one| one.carrier == carrier && one.is_faulty())
}

fn serves_many(series: &[Series], carrier: &str) -> bool {
    series.iter().any(|one| one.carrier == carrier && one.shape.test == Test::Many && one.refusal().is_none())
}
