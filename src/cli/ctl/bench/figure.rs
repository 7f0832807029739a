//! Summarises the figures of several rounds.
use serde::Serialize;

/// The median of some figures, with the extremes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figure {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Figure {
    /// The summary of at least one figure; all zeros without any.
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or_default();
        let last = figures.len().saturating_sub(1);
        let median = (at(last / 2) + at(last.div_ceil(2))) / 2.0;
        Figure { median, least: at(0), most: at(last) }
    }

    /// The distance of the extremes: `±3%` of the median.
    pub fn spread(&self) -> String {
        let half = (self.most - self.least) / 2.0;
        let share = if self.median > 0.0 { 100.0 * half / self.median } else { 0.0 };
        format!("±{share:.0}%")
    }

    /// As a rate: `53.1M ±3%`.
    pub fn rate(&self) -> String {
        format!("{} {:>5}", short(self.median), self.spread())
    }

    /// As a time, given in nanoseconds.
    pub fn time(&self) -> String {
        crate::cli::ctl::show::duration(self.median as u64)
    }
}

/// A figure with three or four digits.
pub fn short(figure: f64) -> String {
    match figure {
        f if f >= 1e6 => format!("{:.1}M", f / 1e6),
        f if f >= 1e4 => format!("{:.0}k", f / 1e3),
        f => format!("{f:.0}"),
    }
}

/// A figure that may be far below one: two or three significant digits.
pub fn small(figure: f64) -> String {
    match figure {
        0.0 => "0".into(),
        f if f >= 100.0 => short(f),
        f if f >= 1.0 => format!("{f:.2}"),
        f if f >= 0.01 => format!("{f:.3}"),
        f if f >= 0.001 => format!("{f:.4}"),
        f => format!("{f:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(Figure::of(vec![4.0, 1.0, 3.0]), Figure { median: 3.0, least: 1.0, most: 4.0 });
        assert_eq!(Figure::of(vec![4.0, 1.0, 3.0, 2.0]).median, 2.5);
        assert_eq!(Figure::of(vec![]).median, 0.0);
    }

    #[test]
    fn rates_are_short() {
        let figure = |median| Figure { median, least: 0.9 * median, most: 1.1 * median };
        assert_eq!(figure(53_123_456.0).rate(), "53.1M  ±10%");
        assert_eq!(figure(53_123.0).rate(), "53k  ±10%");
        assert_eq!(figure(531.0).rate(), "531  ±10%");
    }

    #[test]
    fn small_figures_keep_their_digits() {
        let figures = [0.0, 0.000_012_3, 0.004_56, 0.0456, 1.5, 1234.0];
        let shown = ["0", "1.2e-5", "0.0046", "0.046", "1.50", "1234"];
        assert_eq!(figures.map(small), shown);
    }
}
