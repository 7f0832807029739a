//! Compares the disciplines: what a message costs under each.
use std::str::FromStr;

use serde::Serialize;

use super::{
    Args, Bench, Size,
    cost::Used,
    figure::{Figure, short, small},
    idle,
    job::{Answer, RoundTrips},
    latency::{self, ASLEEP},
    plot::{Bar, Group, Plot},
    rings::{RINGS, RingKind, SHARED},
    team::{Halt, Team},
    throughput::{self, Case},
};
use crate::Discipline;
use crate::cli::common::exit::{Failure, plain};
use crate::cli::common::paint::Paint;
use crate::cli::common::sync_args;
use crate::cli::common::table::{Table, cell};
use crate::cli::ctl::show;

/// The default number of bytes of a message.
const SIZE: usize = 64;
/// The maximum length in seconds of a round in which system calls are counted.
const TRACED_SECONDS: f64 = 0.2;

/// A value of `--sync`.
#[derive(Debug, Clone, Copy)]
pub enum Choice {
    All,
    One(Discipline),
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        match given {
            "all" => Ok(Choice::All),
            name => sync_args::named(name)
                .map(Choice::One)
                .ok_or_else(|| format!("expected {}", sync_args::names(&["all"]))),
        }
    }
}

/// The requested disciplines, each once; all of them by default.
fn chosen(choices: &[Choice]) -> Vec<Discipline> {
    let is_chosen = |one: &Discipline| {
        choices.is_empty()
            || choices.iter().any(|choice| match choice {
                Choice::All => true,
                Choice::One(chosen) => chosen == one,
            })
    };
    Discipline::ALL.iter().copied().filter(is_chosen).collect()
}

/// The number of measurements.
pub fn steps(args: &Args) -> usize {
    let disciplines = chosen(&args.sync);
    let measured = cases(args).len() + trips(&disciplines).len();
    measured * (args.rounds as usize + 1) + disciplines.len()
}

fn cases(args: &Args) -> Vec<Case> {
    let size = args.size.map_or(SIZE, |Size(size)| size);
    let under = |case: Case| {
        let of = move |&sync: &Discipline| Case { ring: case.ring.under(sync), ..case };
        chosen(&args.sync).iter().map(of).collect::<Vec<_>>()
    };
    throughput::cases(Some(size), args.processes()).into_iter().flat_map(under).collect()
}

fn trips(disciplines: &[Discipline]) -> Vec<RingKind> {
    RINGS.iter().flat_map(|ring| disciplines.iter().map(|&sync| ring.under(sync))).collect()
}

/// The cost of one message, or one round trip.
#[derive(Debug, Serialize)]
struct Cost {
    cpu_ns: Figure,
    voluntary_switches: Figure,
    involuntary_switches: Figure,
    /// `None`: the system forbids counting them, or it took too long.
    system_calls: Option<f64>,
}

impl Cost {
    fn of(all: &[(u64, Used)], system_calls: Option<f64>) -> Self {
        let each = |used: fn(&Used) -> u64| {
            Figure::of(all.iter().map(|(number, one)| used(one) as f64 / *number as f64).collect())
        };
        Cost {
            cpu_ns: each(|used| used.cpu_ns),
            voluntary_switches: each(|used| used.voluntary),
            involuntary_switches: each(|used| used.involuntary),
            system_calls,
        }
    }

    fn switches(&self) -> f64 {
        self.voluntary_switches.median + self.involuntary_switches.median
    }

    fn calls(&self) -> String {
        self.system_calls.map_or("-".into(), small)
    }
}

#[derive(Debug, Serialize)]
struct Stream {
    work: &'static str,
    discipline: &'static str,
    ring: &'static str,
    producers: usize,
    consumers: usize,
    size: usize,
    batch: usize,
    messages_per_second: Figure,
    per_message: Cost,
}

#[derive(Debug, Serialize)]
struct Trip {
    work: &'static str,
    discipline: &'static str,
    ring: &'static str,
    peer: &'static str,
    round_trips: u64,
    p50_ns: Figure,
    per_round_trip: Cost,
}

#[derive(Debug, Serialize)]
struct Wait {
    work: &'static str,
    discipline: &'static str,
    #[serde(flatten)]
    cost: idle::Line,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Stream(&'a Stream),
    Trip(&'a Trip),
    Wait(&'a Wait),
}

/// All figures.
struct Figures {
    streams: Vec<Stream>,
    trips: Vec<Trip>,
    waits: Vec<Wait>,
    /// Why no system calls were counted.
    refused: Option<String>,
    /// Some system calls were not counted, since that took too long.
    late: bool,
}

/// Measures everything in interleaved rounds, then counts system calls, then measures waits. Returns the plot.
pub fn measure(bench: &Bench<'_>) -> Result<Plot, Halt> {
    let disciplines = chosen(&bench.args.sync);
    let (cases, trips) = (cases(bench.args), trips(&disciplines));
    let mut streamed = vec![(Vec::new(), Vec::new()); cases.len()];
    let mut tripped = vec![(Vec::new(), Vec::new()); trips.len()];
    for _ in 0..bench.rounds() {
        for (case, (rates, used)) in cases.iter().zip(&mut streamed) {
            step(bench, case.ring, "messages");
            let one = case.stream(bench, bench.seconds(), Team::work)?;
            rates.push(one.rate()?);
            used.push((one.messages, one.used));
        }
        for (&ring, (times, used)) in trips.iter().zip(&mut tripped) {
            step(bench, ring, "round trip");
            let (one, mut both) = latency::round_trips(bench, ring, ASLEEP, bench.seconds(), Team::work)?;
            // The pause before each round trip is a sleep of the asking process itself.
            both.voluntary = both.voluntary.saturating_sub(one.count);
            used.push((one.count, both));
            times.push(one);
        }
    }
    let mut counting = Counting::default();
    let mut figures =
        Figures { streams: Vec::new(), trips: Vec::new(), waits: Vec::new(), refused: None, late: false };
    for (case, (rates, used)) in cases.iter().zip(streamed) {
        let calls = counting
            .count(bench, case.ring, |seconds, work| Ok((case.stream(bench, seconds, work)?.messages, 0)))?;
        figures.streams.push(stream(case, rates, Cost::of(&used, calls)));
    }
    for (&ring, (times, used)) in trips.iter().zip(tripped) {
        let calls = counting.count(bench, ring, |seconds, work| {
            let number = latency::round_trips(bench, ring, ASLEEP, seconds, work)?.0.count;
            Ok((number, number))
        })?;
        figures.trips.push(trip(ring, &times, Cost::of(&used, calls)));
    }
    for &sync in &disciplines {
        step(bench, SHARED.under(sync), "a consumer that waits");
        let cost = idle::cost(bench, SHARED.under(sync))?;
        figures.waits.push(Wait { work: "wait", discipline: sync.name(), cost });
    }
    (figures.refused, figures.late) = (counting.refused, counting.late);
    figures.emit(bench)?;
    Ok(figures.plot())
}

fn step(bench: &Bench<'_>, ring: RingKind, what: &str) {
    bench.report.step(&format!("{what}, {}, {}", ring.sync, ring.title));
}

/// Counts system calls while the system allows it.
#[derive(Default)]
struct Counting {
    refused: Option<String>,
    late: bool,
}

/// Makes processes work, and returns their answers.
type Works<'w, 'b> = &'w mut dyn FnMut(&mut Team<'b>) -> Result<Vec<Answer>, Halt>;

impl Counting {
    /// System calls per message in one measurement, which returns the number of messages, and how many of the
    /// calls are its own and must not count.
    fn count<'b>(
        &mut self,
        bench: &Bench<'b>,
        ring: RingKind,
        measure: impl FnOnce(f64, Works<'_, 'b>) -> Result<(u64, u64), Halt>,
    ) -> Result<Option<f64>, Halt> {
        step(bench, ring, "system calls");
        if self.refused.is_some() {
            return Ok(None);
        }
        let mut counted = None;
        let mut work = |team: &mut Team<'b>| {
            let (answers, calls) = team.work_traced()?;
            counted = Some(calls);
            Ok(answers)
        };
        let (messages, own) = match measure(bench.seconds().min(TRACED_SECONDS), &mut work) {
            Err(Halt::Late) => {
                self.late = true;
                return Ok(None);
            }
            measured => measured?,
        };
        match counted {
            Some(Ok(calls)) => Ok(Some(calls.saturating_sub(own) as f64 / messages as f64)),
            Some(Err(error)) => {
                self.refused = Some(plain(&error));
                Ok(None)
            }
            None => Ok(None),
        }
    }
}

fn stream(case: &Case, rates: Vec<f64>, cost: Cost) -> Stream {
    Stream {
        work: "stream",
        discipline: case.ring.sync.name(),
        ring: case.ring.title,
        producers: case.producers,
        consumers: case.consumers,
        size: case.size,
        batch: case.batch,
        messages_per_second: Figure::of(rates),
        per_message: cost,
    }
}

fn trip(ring: RingKind, times: &[RoundTrips], cost: Cost) -> Trip {
    Trip {
        work: "round trip",
        discipline: ring.sync.name(),
        ring: ring.title,
        peer: ASLEEP.title,
        round_trips: times.iter().map(|one| one.count).sum(),
        p50_ns: Figure::of(times.iter().map(|one| one.p50_ns as f64).collect()),
        per_round_trip: cost,
    }
}

impl Figures {
    fn emit(&self, bench: &Bench<'_>) -> Result<(), Failure> {
        let mut lines: Vec<Line<'_>> = self.streams.iter().map(Line::Stream).collect();
        lines.extend(self.trips.iter().map(Line::Trip));
        lines.extend(self.waits.iter().map(Line::Wait));
        bench.report.emit("sync", &lines, |paint| self.text(paint) + &self.plot().text(paint))?;
        if let (Some(reason), true) = (&self.refused, bench.args.json) {
            bench.report.note(&format!("system calls were not counted: tracing is refused: {reason}"));
        }
        Ok(())
    }

    fn text(&self, paint: Paint) -> String {
        let size = self.streams.first().map_or(SIZE, |stream| stream.size);
        let calls = match &self.refused {
            None => {
                "PREEMPTED counts yields, too. System calls were counted in a separate short round, in which the \
                 processes\nwere traced. Tracing slows each call, and changes how often processes wait: the rate of this \
                 round is\nnot shown."
                    .into()
            }
            Some(reason) => format!("System calls were not counted: tracing is refused here ({reason})."),
        };
        let late = if self.late { " Where there is none, it took too long." } else { "" };
        format!(
            "\nDisciplines: messages of {}, each copied in, copied out, checked and acknowledged; cost of one, of \
             all\nprocesses together\n{}{calls}{late}\n\
             \nRound trip: 8 bytes to another process that sleeps, and back; cost of one, of both processes\n{}\
             \nWaiting: a consumer to which no item comes\n{}",
            show::bytes(size as u64),
            self.streams_table().render("  ", paint),
            self.trips_table().render("  ", paint),
            self.waits_table().render("  ", paint),
        )
    }

    fn streams_table(&self) -> Table {
        let mut table = Table::new(&[
            "PROCESSES",
            "RING",
            ">AT ONCE",
            "SYNC",
            ">MESSAGES/S",
            ">CPU",
            ">SLEEPS",
            ">PREEMPTED",
            ">CALLS",
        ]);
        for one in &self.streams {
            table.row(vec![
                cell(format!("{} x {}", one.producers, one.consumers)),
                cell(one.ring),
                cell(one.batch),
                cell(one.discipline),
                cell(one.messages_per_second.rate()),
                cell(one.per_message.cpu_ns.time()),
                cell(small(one.per_message.voluntary_switches.median)),
                cell(small(one.per_message.involuntary_switches.median)),
                cell(one.per_message.calls()),
            ]);
        }
        table
    }

    fn trips_table(&self) -> Table {
        let mut table = Table::new(&["RING", "SYNC", ">P50", ">CPU", ">SWITCHES", ">CALLS"]);
        for one in &self.trips {
            table.row(vec![
                cell(one.ring),
                cell(one.discipline),
                cell(one.p50_ns.time()),
                cell(one.per_round_trip.cpu_ns.time()),
                cell(small(one.per_round_trip.switches())),
                cell(one.per_round_trip.calls()),
            ]);
        }
        table
    }

    fn waits_table(&self) -> Table {
        let mut table = Table::new(&["SYNC", ">OF A CORE", ">WAKE-UPS/S"]);
        for one in &self.waits {
            table.row(vec![
                cell(one.discipline),
                cell(format!("{:.3} %", one.cost.cpu_percent)),
                cell(format!("{:.1}", one.cost.wakeups_per_second)),
            ]);
        }
        table
    }

    /// The plot of messages one at a time, round trips, and waits.
    fn plot(&self) -> Plot {
        let streams = |title, of: fn(&Stream) -> Option<f64>, show: fn(f64) -> String| {
            let bar = |one: &Stream| Bar {
                label: format!("{} x {} {}", one.producers, one.consumers, one.ring),
                series: one.discipline,
                value: of(one),
            };
            let singly = self.streams.iter().filter(|one| one.batch == 1);
            Group { title, show, bars: singly.map(bar).collect() }
        };
        let trip = |one: &Trip| Bar {
            label: one.ring.into(),
            series: one.discipline,
            value: Some(one.p50_ns.median),
        };
        let wait = |one: &Wait| Bar {
            label: String::new(),
            series: one.discipline,
            value: Some(one.cost.cpu_percent / 100.0),
        };
        Plot(vec![
            streams("Messages a second", |one| Some(one.messages_per_second.median), short),
            streams("Processor time of a message", |one| Some(one.per_message.cpu_ns.median), time),
            streams("Context switches of a message", |one| Some(one.per_message.switches()), small),
            streams("System calls of a message, while traced", |one| one.per_message.system_calls, small),
            Group {
                title: "Round trip to a process that sleeps",
                show: time,
                bars: self.trips.iter().map(trip).collect(),
            },
            Group {
                title: "Cores that a waiting consumer takes",
                show: small,
                bars: self.waits.iter().map(wait).collect(),
            },
        ])
    }
}

fn time(nanoseconds: f64) -> String {
    show::duration(nanoseconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_discipline_is_measured_once_in_the_usual_order() {
        let names = |choices: &[&str]| {
            let choices: Vec<Choice> = choices.iter().map(|choice| choice.parse().unwrap()).collect();
            chosen(&choices).into_iter().map(Discipline::name).collect::<Vec<_>>()
        };
        let all: Vec<_> = Discipline::ALL.iter().copied().map(Discipline::name).collect();
        assert_eq!(names(&[]), all);
        assert_eq!(names(&["monitor", "all", "monitor"]), all);
        assert_eq!(names(&["monitor", "adaptive", "monitor"]), ["adaptive", "monitor"]);
        assert!("".parse::<Choice>().is_err() && "Monitor".parse::<Choice>().is_err());
    }
}
