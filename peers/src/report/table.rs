//! The tables: a row for each carrier, a column for each shape of work.

use std::fmt::{self, Write};

use super::json::{Record, Run};
use super::series::{Figure, Series, find};
use super::summary;
use crate::links;
use crate::peer::Kind;
use crate::plan::{Place, Shape, Test, Trip, bytes};

/// What the others are compared with, first of all.
pub const TEXTBOOK: &str = "textbook ring";
pub const EXCLUSIVE: &str = "ringpipe exclusive";
pub const FOR_MANY: &str = "ringpipe for many";
pub const EXCLUSIVE_ANY: &str = "ringpipe exclusive, any length";
pub const FOR_MANY_ANY: &str = "ringpipe for many, any length";

/// A column: its title, what it is about, and what is taken from it.
pub struct Column {
    pub title: String,
    pub shape: Shape,
    pub figure: Figure,
    /// The carriers whose figures of the same round are given as ratios, in brackets.
    pub bases: Vec<&'static str>,
}

/// The whole page.
pub fn tables(run: &Run) -> String {
    let series = run.series();
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut page, run, &series);
    page
}

fn write_page(out: &mut String, run: &Run, series: &[Series]) -> fmt::Result {
    let head = &run.head;
    writeln!(out, "# ringpipe beside its peers\n")?;
    writeln!(
        out,
        "{}, {} cores, Linux {}, {}, {}. {} interleaved rounds of {} s; medians. Made by \
         `cargo run --release --manifest-path peers/Cargo.toml`; README.md there says how, and what is fair.\n",
        head.cpu, head.cores, head.kernel, head.libc, head.rustc, head.rounds, head.seconds
    )?;
    writeln!(
        out,
        "M and k are a million and a thousand messages a second. In brackets: how many times the textbook ring \
         of the same rounds, and how many times ringpipe (exclusive where there is one sender and one receiver). \
         – is not done, ✗ failed; both are explained below each table or at the end.\n"
    )?;
    if let Some(had) = summary::processors_had(series).filter(|had| *had < 1.8) {
        writeln!(
            out,
            "**The machine was busy**: two workers that spin had {had:.1} of its processors, not 2.\n"
        )?;
    }
    summary::write(out, series)?;
    for (title, note, columns, format) in sections(series) {
        write_table(out, title, note, &columns, format, series)?;
    }
    write_failures(out, series)?;
    write_carriers(out, series)
}

type Section = (&'static str, &'static str, Vec<Column>, fn(f64) -> String);

/// The shapes of the run that `wanted` picks, as columns.
pub fn columns(
    series: &[Series],
    figure: Figure,
    wanted: impl Fn(&Shape) -> bool,
    title: impl Fn(&Shape) -> String,
) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for shape in series.iter().map(|series| series.shape).filter(wanted) {
        if !columns.iter().any(|column| column.shape == shape) {
            let pair = shape.work.senders + shape.work.receivers == 2;
            let bases = vec![TEXTBOOK, if pair { EXCLUSIVE } else { FOR_MANY }];
            columns.push(Column { title: title(&shape), shape, figure, bases });
        }
    }
    columns
}

fn sections(series: &[Series]) -> Vec<Section> {
    let size = |shape: &Shape| bytes(shape.work.size);
    let one_way = |batch, figure| {
        columns(series, figure, |s| s.test == Test::OneWay && (s.work.batch > 1) == batch, size)
    };
    let large =
        |in_place| columns(series, gigabytes, |s| s.test == Test::Large && s.work.in_place == in_place, size);
    let many = |place| {
        let way = |s: &Shape| if s.work.batch == 1 { "one at a time" } else { "batches of 64" };
        columns(
            series,
            rate,
            |s| s.test == Test::Many && s.place == place,
            |s| format!("{}, {}", size(s), way(s)),
        )
    };
    let scaling = |batch| {
        let chosen = |s: &Shape| {
            let crowd = s.test == Test::Scaling || s.test == Test::Many && s.place == Place::Mixed;
            s.work.size == 64 && (s.work.batch > 1) == batch && (crowd || s.test == Test::OneWay)
        };
        columns(series, rate, chosen, |s| format!("{} to {}", s.work.senders, s.work.receivers))
    };
    vec![
        ("One at a time", "Messages a second from one sender to one receiver.", one_way(false, rate), short),
        ("Batches of 64", "The same, 64 messages in a call.", one_way(true, rate), short),
        (
            "Processor time, one at a time",
            "Nanoseconds of both sides for each message.",
            without_ratios(one_way(false, cost)),
            plain,
        ),
        (
            "Processor time, batches of 64",
            "The same for batches.",
            without_ratios(one_way(true, cost)),
            plain,
        ),
        (
            "Large messages, copied",
            "GB/s; every byte is written, copied in, copied out, and compared.",
            large(false),
            plain,
        ),
        (
            "Large messages, in place",
            "GB/s that the receiver reads where they lie; the sender writes a word of each page. The limit is one \
             core that reads a shared mapping to which the other writes the same words.",
            large(true),
            plain,
        ),
        (
            "Two to two, apart",
            "Both senders on one core, both receivers on the other.",
            many(Place::Apart),
            short,
        ),
        ("Two to two, mixed", "A sender and a receiver on each core.", many(Place::Mixed), short),
        ("More processes, one at a time", "Messages of 64 bytes on two cores.", scaling(false), short),
        ("More processes, batches of 64", "The same for batches.", scaling(true), short),
        (
            "Round trip",
            "Microseconds for 8 bytes and their answer; p50, p99 and p99.9. Awake: one after the other. Asleep: both \
             sides idle for 250 us before each message, so that both sleep. In brackets: how many times the bare \
             exchange of the same rounds, a cache line each way where awake and semaphores elsewhere.",
            trips(series),
            plain,
        ),
        ("Memory", "GB/s of one core.", columns(series, gigabytes, |s| s.test == Test::Memory, size), plain),
    ]
}

fn without_ratios(columns: Vec<Column>) -> Vec<Column> {
    columns.into_iter().map(|column| Column { bases: Vec::new(), ..column }).collect()
}

/// Three percentiles of each way to await a round trip.
fn trips(series: &[Series]) -> Vec<Column> {
    let percentiles: [(&str, Figure); 3] =
        [("p50", |r| micro(r.p50)), ("p99", |r| micro(r.p99)), ("p99.9", |r| micro(r.p999))];
    let shapes = columns(series, rate, |s| s.test == Test::RoundTrip, trip_title);
    let one = |column: &Column| {
        let (shape, title) = (column.shape, column.title.clone());
        let awake = shape.trip == Some(Trip::Awake) && shape.place == Place::Apart;
        let base = if awake { "bare cache line" } else { "bare semaphores" };
        percentiles.map(|(name, figure)| Column {
            title: format!("{title} {name}"),
            shape,
            figure,
            bases: vec![base],
        })
    };
    shapes.iter().flat_map(one).collect()
}

/// "awake", "asleep", "one core".
pub fn trip_title(shape: &Shape) -> String {
    match (shape.trip, shape.place) {
        (_, Place::Together) => "on one core".into(),
        (Some(Trip::Asleep), _) => "asleep".into(),
        _ => "awake".into(),
    }
}

fn write_table(
    out: &mut String,
    title: &str,
    note: &str,
    columns: &[Column],
    format: fn(f64) -> String,
    series: &[Series],
) -> fmt::Result {
    if columns.is_empty() {
        return Ok(());
    }
    let titles: Vec<&str> = columns.iter().map(|column| column.title.as_str()).collect();
    writeln!(
        out,
        "## {title}\n\n{note}\n\n| | {} |\n|---{}|",
        titles.join(" | "),
        "|---".repeat(columns.len())
    )?;
    let mut refused: Vec<String> = Vec::new();
    for (carrier, kind) in rows(series) {
        let of = |column: &Column| find(series, carrier, &column.shape);
        let all: Vec<&Series> = columns.iter().filter_map(of).collect();
        let refusal = all.iter().find_map(|series| series.refusal());
        if all.iter().all(|series| series.refusal().is_some()) {
            // What is no carrier is not missed.
            refused.extend(refusal.filter(|_| kind != Kind::Limit).map(|why| format!("{carrier} ({why})")));
            continue;
        }
        if let Some(why) = refusal {
            refused.push(format!("{carrier} in part ({why})"));
        }
        let cells: Vec<String> =
            columns.iter().map(|column| cell(of(column), column, format, series)).collect();
        writeln!(out, "| {} | {} |", label(carrier, kind), cells.join(" | "))?;
    }
    writeln!(out)?;
    if !refused.is_empty() {
        writeln!(out, "Not done: {}.\n", refused.join(", "))?;
    }
    Ok(())
}

fn cell(series: Option<&Series>, column: &Column, format: fn(f64) -> String, all: &[Series]) -> String {
    let Some(series) = series else { return String::new() };
    let Some(figure) = series.median(column.figure) else {
        return if series.refusal().is_some() { "–".into() } else { "✗".into() };
    };
    let ratio = |base: &&str| {
        let ratio = series.ratio(find(all, base, &column.shape)?, column.figure)?;
        Some(format!("{}x", plain(ratio)))
    };
    let ratios: Vec<String> = column.bases.iter().filter_map(ratio).collect();
    let mark = if series.warning().is_none() { "" } else { " ✗" };
    match ratios.is_empty() {
        true => format!("{}{mark}", format(figure)),
        false => format!("{} ({}){mark}", format(figure), ratios.join(", ")),
    }
}

fn write_failures(out: &mut String, series: &[Series]) -> fmt::Result {
    let one = |one: &Series| {
        let (warning, rounds) = one.warning()?;
        Some(format!(
            "- {}, {}: {warning} ({rounds} of {} rounds)",
            one.carrier,
            one.shape.title(),
            one.records.len()
        ))
    };
    let failures: Vec<String> = series.iter().filter_map(one).collect();
    if failures.is_empty() {
        return writeln!(out, "Every message of every measurement arrived once, in order, and whole.\n");
    }
    writeln!(out, "## What went wrong (✗)\n\n{}\n", failures.join("\n"))
}

fn write_carriers(out: &mut String, series: &[Series]) -> fmt::Result {
    writeln!(out, "## The carriers\n\n| | version | when empty or full | remark |\n|---|---|---|---|")?;
    let present = |name| series.iter().any(|series| series.carrier == name);
    for about in
        links::carriers().into_iter().map(|carrier| carrier.about).filter(|about| present(about.name))
    {
        writeln!(
            out,
            "| {} | {} | {} | {} |",
            label(about.name, about.kind),
            about.version,
            about.waits,
            about.remark
        )?;
    }
    Ok(())
}

/// Carriers in the order of their first records.
pub fn rows<'r>(series: &[Series<'r>]) -> Vec<(&'r str, Kind)> {
    let mut rows = Vec::new();
    for row in series.iter().map(|series| (series.carrier, series.kind)) {
        if !rows.contains(&row) {
            rows.push(row);
        }
    }
    rows
}

fn label(carrier: &str, kind: Kind) -> String {
    match kind {
        Kind::Ours => format!("**{carrier}**"),
        Kind::Threads => format!("{carrier} (threads)"),
        Kind::Limit => format!("*{carrier}*"),
        _ => carrier.into(),
    }
}

pub fn rate(record: &Record) -> Option<f64> {
    record.rate
}

/// Nanoseconds of processor time for each message.
fn cost(record: &Record) -> Option<f64> {
    Some(record.cpu? / record.rate? * 1e9)
}

fn gigabytes(record: &Record) -> Option<f64> {
    Some(record.rate? * record.shape.work.size as f64 / 1e9)
}

fn micro(nanoseconds: Option<u64>) -> Option<f64> {
    nanoseconds.map(|nanoseconds| nanoseconds as f64 / 1e3)
}

/// "53.1M", "720k".
pub fn short(figure: f64) -> String {
    match figure {
        f if f >= 1e6 => format!("{}M", plain(f / 1e6)),
        f if f >= 1e3 => format!("{}k", plain(f / 1e3)),
        f => plain(f),
    }
}

/// Two or three digits.
pub fn plain(figure: f64) -> String {
    match figure {
        f if f >= 20.0 => format!("{f:.0}"),
        f if f >= 2.0 => format!("{f:.1}"),
        f => format!("{f:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rounds of two carriers; one refuses batches.
    const RUN: &str = include_str!("testdata.jsonl");

    fn line(page: &str, title: &str, carrier: &str) -> String {
        let section = page.split("\n## ").find(|section| section.starts_with(title)).expect(title);
        section.lines().find(|line| line.contains(carrier)).unwrap_or_default().to_owned()
    }

    #[test]
    fn a_cell_has_the_median_and_the_median_of_the_rounds_ratios() {
        let page = tables(&Run::parse(RUN).unwrap());
        // 10M and 30M; 10 and 5 times the textbook ring of the same round, not 20M to 3.5M.
        assert_eq!(
            line(&page, "One at a time", "exclusive"),
            "| **ringpipe exclusive** | 20M (7.5x, 1.00x) |"
        );
    }

    #[test]
    fn who_refuses_is_named_with_the_reason() {
        let page = tables(&Run::parse(RUN).unwrap());
        assert_eq!(line(&page, "Batches of 64", "mqueue"), "Not done: POSIX mqueue (no batches).");
    }

    #[test]
    fn a_figure_with_faults_is_marked_and_explained() {
        let page = tables(&Run::parse(RUN).unwrap());
        assert!(line(&page, "One at a time", "mqueue").ends_with("✗ |"));
        assert!(
            line(&page, "What went wrong", "mqueue")
                .contains("0 corrupted, 3 lost, 0 doubled (1 of 2 rounds)")
        );
    }

    #[test]
    fn figures_have_two_or_three_digits() {
        assert_eq!([53_120_000.0, 720_400.0, 2_940.0, 1.234].map(short), ["53M", "720k", "2.9k", "1.23"]);
    }
}
