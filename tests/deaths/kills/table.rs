//! Which points are tried, and what is printed about them.

use crate::kills::scenario::Kind;
use crate::kills::trail::Arrivals;
use crate::kills::worker::Course;
use crate::kills::world::{Outcome, Wrong};
use crate::support::report;
use crate::support::scale::is_ci;

/// In full, operations of up to this number of instructions are killed at each one.
const EACH: u64 = 2_000;
/// Longer ones at this number, and at each change; the longest, which repeat themselves, at fewer.
const SOME: u64 = 500;
const LONGEST: u64 = 20_000;
const FEW: u64 = 50;

/// How much of the experiment is run: `RINGPIPE_KILLS`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// `few`: the first and the last change of each operation, on one kind of ring, for an emulated machine.
    Few,
    /// Some of the instructions that change the segment, the operation's beginning, and its last instruction.
    Sample,
    /// `full`: every instruction; of operations beyond 2,000 each change, and 500 in between
    /// (50 beyond 20,000).
    Full,
    /// `every`: every instruction of everything, which takes hours.
    Every,
}

impl Share {
    pub fn of_env() -> Share {
        match std::env::var("RINGPIPE_KILLS").as_deref() {
            Err(_) | Ok("") => Share::Sample,
            Ok("few") => Share::Few,
            Ok("full") => Share::Full,
            Ok("every") => Share::Every,
            Ok(other) => panic!("RINGPIPE_KILLS={other}: expected few, full or every"),
        }
    }

    /// Whether the `m`-th scenario is tried on the `n`-th kind of ring. A sample tries each on one of the two kinds of
    /// the default discipline, every fourth one also on a kind with fixed items, and every fourth one on a kind of the
    /// three others. At the scale of the gate, each is tried on both kinds of the default discipline and on two of the others;
    /// every third one has fixed items there, and is tried on a kind of the default discipline with fixed items. A
    /// scenario that is for fixed items only (`fixed_only`) counts as such a one. Few try each on one kind.
    pub fn tries(self, n: usize, kind: &Kind, m: usize, fixed_only: bool) -> bool {
        let third = m.is_multiple_of(3) || fixed_only;
        match self {
            Share::Full | Share::Every => true,
            Share::Few => n == 0 || fixed_only && n == 2,
            Share::Sample if is_ci() && kind.other_discipline => {
                kind.fixed == third && !(n + m + m / 3).is_multiple_of(3)
            }
            Share::Sample if is_ci() => !kind.fixed || third && (n + m / 3).is_multiple_of(2),
            Share::Sample if kind.other_discipline => {
                (n + m).is_multiple_of(3) && m.is_multiple_of(4) && kind.fixed == (m % 8 == 4 || fixed_only)
            }
            Share::Sample if !kind.fixed || fixed_only => (n + m).is_multiple_of(2),
            Share::Sample => m.is_multiple_of(4) && (n + m / 4).is_multiple_of(2),
        }
    }

    /// Whether it is a sample, in which each process tries other operations.
    pub fn is_sample(self) -> bool {
        matches!(self, Share::Few | Share::Sample)
    }

    /// The points at which an operation of this course is interrupted.
    pub fn points(self, course: &Course) -> Vec<u64> {
        match self {
            Share::Few => spread(&course.changes, 2),
            Share::Sample => {
                joined(spread(&course.changes, if is_ci() { 5 } else { 1 }), course.instructions, 1)
            }
            Share::Full if course.instructions > LONGEST => {
                joined(course.changes.clone(), course.instructions, FEW)
            }
            Share::Full if course.instructions > EACH => {
                joined(course.changes.clone(), course.instructions, SOME)
            }
            Share::Full => (0..=course.instructions).collect(),
            Share::Every => (0..=course.instructions).collect(),
        }
    }

    /// The same of the ring that is there to go wrong: fewer would not show both ways in which it does.
    pub fn points_of_textbook(self, course: &Course) -> Vec<u64> {
        match self.is_sample() {
            true => joined(spread(&course.changes, if is_ci() { 5 } else { 3 }), course.instructions, 1),
            false => self.points(course),
        }
    }

    pub fn points_of_recovery(self, course: &Course) -> Vec<u64> {
        match self {
            Share::Few => spread(&course.changes, 1),
            Share::Sample => {
                joined(spread(&course.changes, if is_ci() { 2 } else { 1 }), course.instructions, 1)
            }
            // Most of its instructions ask the kernel which processes are alive, and change nothing.
            Share::Full => joined(course.changes.clone(), course.instructions, 100),
            Share::Every => (0..=course.instructions).collect(),
        }
    }

    /// The deaths after which recovery is tried.
    pub fn crashes(self, changes: &[u64]) -> Vec<u64> {
        match self {
            Share::Few => spread(changes, 1),
            Share::Sample => spread(changes, if is_ci() { 2 } else { 1 }),
            _ => changes.to_vec(),
        }
    }
}

/// At most `most` of them, the first and the last included; the middle one if `most` is 1.
fn spread(points: &[u64], most: usize) -> Vec<u64> {
    match points.len() {
        len if len <= most => points.to_vec(),
        len if most == 1 => vec![points[len / 2]],
        len => (0..most).map(|n| points[n * (len - 1) / (most - 1)]).collect(),
    }
}

/// These, and `more` spread over 0 to `last`.
fn joined(mut points: Vec<u64>, last: u64, more: u64) -> Vec<u64> {
    let more = more.min(last + 1);
    points.extend((0..more).map(|n| n * last / (more - 1).max(1)));
    points.push(last);
    points.sort_unstable();
    points.dedup();
    points
}

/// Wrong points of a row after which no more are described.
const MOST_DESCRIBED: u64 = 5;
/// The kind of ring of which nothing is described: it is there to go wrong.
pub const TEXTBOOK: &str = "textbook";

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub operation: String,
    pub path: String,
    pub kind: String,
    pub instructions: u64,
    pub states: u64,
    pub points: u64,
    /// As [`Wrong`] has them.
    pub wrong: [u64; 4],
    /// How victims came to where they were interrupted.
    pub arrivals: Arrivals,
}

const MARK: &str = "ROW\t";

impl Row {
    pub fn new(operation: String, path: &str, kind: &str, instructions: u64, states: u64) -> Row {
        let (path, kind) = (path.into(), kind.into());
        Row {
            operation,
            path,
            kind,
            instructions,
            states,
            points: 0,
            wrong: [0; 4],
            arrivals: Arrivals::default(),
        }
    }

    pub fn longest(&mut self, course: &Course) {
        self.instructions = self.instructions.max(course.instructions);
        self.states = self.states.max(course.changes.len() as u64);
    }

    pub fn count(&mut self, point: u64, outcome: Outcome) {
        self.points += 1;
        if let Err(trouble) = outcome {
            self.wrong[trouble.wrong as usize] += 1;
            if self.kind != TEXTBOOK && self.wrong.iter().sum::<u64>() <= MOST_DESCRIBED {
                let Row { operation, path, kind, .. } = self;
                let text = trouble.text;
                report(&format!("{operation}, {path}, {kind}, after {point}: {:?}: {text}", trouble.wrong));
            }
        }
    }

    /// Tells the test.
    pub fn print(&self) {
        let Row { operation, path, kind, instructions, states, points, wrong, arrivals } = self;
        let wrong = wrong.map(|n| n.to_string()).join("\t");
        let Arrivals { by_breakpoints, by_steps, astray } = arrivals;
        report(&format!(
            "{MARK}{operation}\t{path}\t{kind}\t{instructions}\t{states}\t{points}\t{wrong}\t\
             {by_breakpoints}\t{by_steps}\t{astray}"
        ));
    }

    pub fn from_line(line: &str) -> Option<Row> {
        let fields: Vec<&str> = line.strip_prefix(MARK)?.split('\t').collect();
        let [operation, path, kind, rest @ ..] = &fields[..] else { return None };
        let numbers: Vec<u64> = rest.iter().map(|text| text.parse().ok()).collect::<Option<_>>()?;
        let [instructions, states, points, numbers @ ..] = &numbers[..] else { return None };
        let [lost, doubled, wedged, short, by_breakpoints, by_steps, astray] = *numbers else { return None };
        let row = Row::new(operation.to_string(), path, kind, *instructions, *states);
        let arrivals = Arrivals { by_breakpoints, by_steps, astray };
        Some(Row { points: *points, wrong: [lost, doubled, wedged, short], arrivals, ..row })
    }

    /// Adds what another part found.
    pub fn add(&mut self, other: &Row) {
        self.instructions = self.instructions.max(other.instructions);
        self.states = self.states.max(other.states);
        self.points += other.points;
        (0..4).for_each(|n| self.wrong[n] += other.wrong[n]);
        self.arrivals.add(other.arrivals);
    }

    pub fn is_clean(&self) -> bool {
        self.wrong == [0; 4]
    }

    pub fn of(&self, wrong: Wrong) -> u64 {
        self.wrong[wrong as usize]
    }
}

pub fn print(title: &str, rows: &[Row]) {
    report(&format!("\n{title}"));
    report("| operation | path | ring | instructions | states | points | lost | doubled | wedged | short |");
    report("|---|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let Row { operation, path, kind, instructions, states, points, wrong, .. } = row;
        let wrong = wrong.map(|n| n.to_string()).join(" | ");
        report(&format!(
            "| {operation} | {path} | {kind} | {instructions} | {states} | {points} | {wrong} |"
        ));
    }
    let points: u64 = rows.iter().map(|row| row.points).sum();
    let mut arrivals = Arrivals::default();
    rows.iter().for_each(|row| arrivals.add(row.arrivals));
    let Arrivals { by_breakpoints, by_steps, astray } = arrivals;
    report(&format!(
        "{points} points; instructions reached by breakpoints: {by_breakpoints}, by steps alone: {by_steps}, \
         by steps after another way was taken: {astray}"
    ));
}
