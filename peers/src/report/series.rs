//! Medians over the rounds, and ratios within them.

use super::json::{Record, Run};
use crate::peer::Kind;
use crate::plan::Shape;

/// What one carrier did in one shape of work.
#[derive(Debug)]
pub struct Series<'r> {
    pub carrier: &'r str,
    pub kind: Kind,
    pub shape: Shape,
    pub records: Vec<&'r Record>,
}

/// What is taken from a record.
pub type Figure = fn(&Record) -> Option<f64>;

impl Series<'_> {
    /// Median over the rounds.
    pub fn median(&self, figure: Figure) -> Option<f64> {
        median(self.records.iter().filter_map(|record| figure(record)).collect())
    }

    /// Median of the ratios to `base` in the same rounds.
    pub fn ratio(&self, base: &Series, figure: Figure) -> Option<f64> {
        let of_round = |round: usize| base.records.iter().find(|record| record.round == round);
        let ratio = |record: &&Record| Some(figure(record)? / figure(of_round(record.round)?)?);
        median(self.records.iter().filter_map(ratio).collect())
    }

    /// Why it does not do this work.
    pub fn refusal(&self) -> Option<&str> {
        self.records.iter().find_map(|record| record.refused.as_deref())
    }

    /// What went wrong first, and in how many rounds something did.
    pub fn warning(&self) -> Option<(String, usize)> {
        let all: Vec<String> = self.records.iter().filter_map(|record| record.warning()).collect();
        Some((all.first()?.clone(), all.len()))
    }

    /// Whether a message did not arrive as it was sent.
    pub fn is_faulty(&self) -> bool {
        self.records.iter().any(|record| record.faults.any())
    }
}

fn median(mut figures: Vec<f64>) -> Option<f64> {
    figures.sort_unstable_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        len if len % 2 == 1 => Some(figures[middle]),
        _ => Some(f64::midpoint(figures[middle - 1], figures[middle])),
    }
}

impl Run {
    /// All series of the run, in the order of their first records.
    pub fn series(&self) -> Vec<Series<'_>> {
        let mut all: Vec<Series> = Vec::new();
        for record in &self.records {
            let same = all
                .iter_mut()
                .find(|series| series.carrier == record.carrier && series.shape == record.shape);
            match same {
                Some(series) => series.records.push(record),
                None => all.push(Series {
                    carrier: &record.carrier,
                    kind: record.kind,
                    shape: record.shape,
                    records: vec![record],
                }),
            }
        }
        all
    }
}

/// The one of this carrier and shape.
pub fn find<'s, 'r>(all: &'s [Series<'r>], carrier: &str, shape: &Shape) -> Option<&'s Series<'r>> {
    all.iter().find(|series| series.carrier == carrier && series.shape == *shape)
}
