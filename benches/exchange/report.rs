//! Medians over the rounds, and ratios within them.

use std::collections::BTreeMap;

use crate::link::{Kind, Way};

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    what: String,
    kind: Kind,
}

impl Row {
    /// Messages per second.
    pub fn rate(kind: Kind, way: Way, size: usize) -> Self {
        let way = if way == Way::One { "one at a time" } else { "batches of 64" };
        Row { what: format!("{size:>5} B, {way}, messages/s"), kind }
    }

    /// Microseconds.
    pub fn round_trip(kind: Kind, share: &str) -> Self {
        Row { what: format!("round trip, {share}, us"), kind }
    }
}

/// All figures of all rounds.
#[derive(Debug, Default)]
pub struct Report {
    figures: BTreeMap<Row, Vec<f64>>,
}

impl Report {
    /// Adds the figure of one round.
    pub fn add(&mut self, row: Row, figure: f64) {
        self.figures.entry(row).or_default().push(figure);
    }

    /// Prints medians, spreads, and the median of the rounds' ratios to the textbook ring.
    pub fn print(&self, rounds: usize, seconds: f64) {
        println!(
            "{rounds} interleaved rounds of {seconds} s; median [least .. most], ratio to the textbook ring"
        );
        let mut last = "";
        for (row, figures) in &self.figures {
            if row.what != last {
                println!("\n{}", row.what.trim_start());
                last = &row.what;
            }
            let base = &self.figures[&Row { what: row.what.clone(), kind: Kind::Textbook }];
            let mut ratios: Vec<f64> = figures.iter().zip(base).map(|(figure, base)| figure / base).collect();
            let (middle, least, most) = spread(&mut figures.clone());
            let (ratio, _, _) = spread(&mut ratios);
            let title = row.kind.title();
            println!("  {title:<32} {:>9} [{} .. {}]  {ratio:.2}x", short(middle), short(least), short(most));
        }
    }
}

fn spread(figures: &mut [f64]) -> (f64, f64, f64) {
    figures.sort_unstable_by(f64::total_cmp);
    (figures[figures.len() / 2], figures[0], figures[figures.len() - 1])
}

fn short(figure: f64) -> String {
    match figure {
        f if f >= 1e6 => format!("{:.1}M", f / 1e6),
        f if f >= 1e4 => format!("{:.0}k", f / 1e3),
        f => format!("{f:.2}"),
    }
}
