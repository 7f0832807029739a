//! The plots: rates by size, round trips as curves of their percentiles, rates by processes.

use std::io;
use std::ops::Range;
use std::path::Path;

use plotters::style::RGBColor;

use super::curve::{self, Axis, Curve, Pen};
use super::json::Run;
use super::series::Series;
use super::table::{rate, rows};
use crate::drive;
use crate::peer::Kind;
use crate::plan::{Place, Shape, Test, Trip, bytes};

/// Draws all plots that the run has figures for.
pub fn plots(run: &Run, folder: &Path) -> io::Result<()> {
    let series = run.series();
    let pens = Pens(rows(&series));
    for (name, batch, title) in [
        ("throughput.svg", false, "One sender, one receiver, one message at a time"),
        ("throughput-batches.svg", true, "One sender, one receiver, batches of 64"),
    ] {
        let chosen = |s: &Shape| s.test == Test::OneWay && (s.work.batch > 1) == batch;
        let curves = rates(&series, &pens, chosen, |s| (s.work.size as f64).log2());
        let sizes = [8, 64, 1024, 16 * 1024].map(|size: usize| ((size as f64).log2(), bytes(size)));
        draw(&folder.join(name), title, "bytes of a message", sizes.into(), "messages a second", curves)?;
    }
    for (name, batch, title) in [
        ("scaling.svg", false, "64 bytes, one at a time, on two cores"),
        ("scaling-batches.svg", true, "64 bytes, batches of 64, on two cores"),
    ] {
        let chosen = |s: &Shape| {
            let crowd = s.test == Test::Scaling || s.test == Test::Many && s.place == Place::Mixed;
            (crowd || s.test == Test::OneWay) && s.work.size == 64 && (s.work.batch > 1) == batch
        };
        let mut curves = rates(&series, &pens, chosen, |s| (s.work.senders as f64).log2());
        curves.retain(|curve| curve.points.len() > 1);
        let marks = [1, 2, 4, 16].map(|each| (f64::from(each).log2(), format!("{each} + {each}")));
        draw(&folder.join(name), title, "senders + receivers", marks.into(), "messages a second", curves)?;
    }
    for (name, trip, title) in [
        ("round-trip-awake.svg", Trip::Awake, "Round trip of 8 bytes, both sides awake"),
        ("round-trip-asleep.svg", Trip::Asleep, "Round trip of 8 bytes, both sides asleep"),
    ] {
        let chosen = |s: &Shape| s.trip == Some(trip) && s.place == Place::Apart;
        let curves = percentiles(&series, &pens, chosen);
        let rarest =
            curves.iter().flat_map(|curve| curve.points.last()).fold(0.0, |most: f64, end| most.max(end.0));
        let marks = (0..=rarest.ceil() as u32).map(|nines| (f64::from(nines), percent(nines))).collect();
        draw(&folder.join(name), title, "percentile", marks, "microseconds", curves)?;
    }
    Ok(())
}

/// Draws curves over a logarithmic height.
fn draw(
    file: &Path,
    title: &str,
    x_title: &'static str,
    marks: Vec<(f64, String)>,
    y_title: &'static str,
    curves: Vec<Curve>,
) -> io::Result<()> {
    let heights = || curves.iter().flat_map(|curve| curve.points.iter().map(|point| point.1));
    let (least, most) = heights().fold((f64::MAX, f64::MIN), |all, one| (all.0.min(one), all.1.max(one)));
    let (Some(first), Some(last)) = (marks.first(), marks.last()) else { return Ok(()) };
    if least > most {
        return Ok(());
    }
    let range = first.0 - 0.15..last.0 + 0.15;
    let x = Axis { title: x_title, range, marks };
    let range = least - 0.1..most + 0.1;
    let y = Axis { title: y_title, marks: heights_marked(&range), range };
    curve::draw(file, title, &x, &y, &curves).map_err(|error| io::Error::other(error.to_string()))
}

/// Powers of ten, and where there are few of them their doubles and quintuples.
fn heights_marked(range: &Range<f64>) -> Vec<(f64, String)> {
    let within: &[f64] = if range.end - range.start > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let powers = range.start.floor() as i32..=range.end.ceil() as i32;
    let values = powers.flat_map(|power| within.iter().map(move |times| times * 10f64.powi(power)));
    values.map(|value| (value.log10(), round(value))).collect()
}

/// "10M", "500", "0.2".
fn round(value: f64) -> String {
    let text = |value: f64| format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned();
    match value {
        value if value >= 1e6 => format!("{}M", text(value / 1e6)),
        value if value >= 1e3 => format!("{}k", text(value / 1e3)),
        value => text(value),
    }
}

fn rates(
    series: &[Series],
    pens: &Pens,
    chosen: impl Fn(&Shape) -> bool,
    x: impl Fn(&Shape) -> f64,
) -> Vec<Curve> {
    let one = |&(carrier, _): &(&str, Kind)| {
        let own = series.iter().filter(|one| one.carrier == carrier && chosen(&one.shape));
        let point = |one: &Series| Some((x(&one.shape), one.median(rate)?.log10()));
        let mut points: Vec<(f64, f64)> = own.filter_map(point).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Curve { name: carrier.into(), pen: pens.of(carrier), points, marked: true }
    };
    pens.0.iter().map(one).filter(|curve| !curve.points.is_empty()).collect()
}

/// Times of all rounds together, by how rare they are.
fn percentiles(series: &[Series], pens: &Pens, chosen: impl Fn(&Shape) -> bool) -> Vec<Curve> {
    let one = |one: &Series| {
        let mut times = drive::times();
        for [nanoseconds, count] in one.records.iter().flat_map(|record| &record.times) {
            times.saturating_record_n(*nanoseconds, *count);
        }
        // Rarer than one in all cannot be told.
        let most = (times.len() as f64).log10().min(4.0);
        let steps = (0..).map(|step| f64::from(step) / 20.0).take_while(|nines| *nines <= most);
        let point = |nines: f64| {
            let nanoseconds = times.value_at_quantile(1.0 - 10f64.powf(-nines)).max(1);
            (nines, (nanoseconds as f64 / 1e3).log10())
        };
        let points = if times.is_empty() { Vec::new() } else { steps.map(point).collect() };
        Curve { name: one.carrier.into(), pen: pens.of(one.carrier), points, marked: false }
    };
    let own = series.iter().filter(|one| chosen(&one.shape));
    own.map(one).filter(|curve| !curve.points.is_empty()).collect()
}

/// "90 %", "99 %", and so on.
fn percent(nines: u32) -> String {
    match nines {
        0 => "0 %".into(),
        1 => "90 %".into(),
        2 => "99 %".into(),
        more => format!("99.{} %", "9".repeat(more as usize - 2)),
    }
}

/// Every carrier has the same pen in all plots: what is measured stands out, threads and limits are dashed.
struct Pens<'r>(Vec<(&'r str, Kind)>);

const OURS: [u32; 2] = [0xd6001c, 0xff7f0e];
const SHARED_MEMORY: [u32; 12] = [
    0x1f4eb4, 0x2ca02c, 0x9467bd, 0x17becf, 0x006d5b, 0x7b3f00, 0xe377c2, 0x6b8e23, 0x4169e1, 0xb8860b,
    0x800040, 0x5f4b8b,
];
const KERNEL: [u32; 7] = [0x333333, 0x666666, 0x998877, 0x556677, 0x8888bb, 0xaa8877, 0x779977];
const THREADS: [u32; 4] = [0x7fbf7b, 0xc39bd3, 0x6baed6, 0xf4a582];
const LIMIT: [u32; 1] = [0];

impl Pens<'_> {
    fn of(&self, carrier: &str) -> Pen {
        let kind = self.0.iter().find(|row| row.0 == carrier).map_or(Kind::Limit, |row| row.1);
        let place = self.0.iter().filter(|row| row.1 == kind).position(|row| row.0 == carrier).unwrap_or(0);
        let (colours, width, dashed): (&[u32], u32, bool) = match kind {
            Kind::Ours => (&OURS, 4, false),
            Kind::SharedMemory => (&SHARED_MEMORY, 2, false),
            Kind::Kernel => (&KERNEL, 1, false),
            Kind::Threads => (&THREADS, 1, true),
            Kind::Limit => (&LIMIT, 1, true),
        };
        let [_, red, green, blue] = colours[place % colours.len()].to_be_bytes();
        Pen { colour: RGBColor(red, green, blue), width, dashed }
    }
}
