//! Draws bar charts: in the terminal, and as an SVG file.
use std::fmt::Write;

use crate::cli::common::paint::{Paint, Tone};
use crate::cli::ctl::svg_file;

/// Cells of the longest bar in the terminal.
const CELLS: usize = 36;
/// If the largest value is at least this many times the smallest, bars are as long as the values' logarithms.
const LOGARITHMIC: f64 = 50.0;
/// The powers of ten that a logarithmic bar can show: smaller values have the shortest bar.
const DECADES: f64 = 6.0;

/// Groups of bars, below each other.
pub struct Plot(pub Vec<Group>);

/// Bars of one kind of figure.
pub struct Group {
    pub title: &'static str,
    /// Formats the figure.
    pub show: fn(f64) -> String,
    pub bars: Vec<Bar>,
}

/// One figure.
pub struct Bar {
    /// What was measured; shown once for consecutive bars of the same label.
    pub label: String,
    /// The name of the compared thing.
    pub series: &'static str,
    /// `None`: unknown.
    pub value: Option<f64>,
}

/// The scale of the bars.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    Linear { most: f64 },
    Logarithmic { least: f64, most: f64 },
}

impl Scale {
    fn of(group: &Group) -> Self {
        let values = group.bars.iter().filter_map(|bar| bar.value).filter(|&value| value > 0.0);
        let (least, most) = values.fold((f64::INFINITY, 0.0), |(least, most): (f64, f64), value| {
            (least.min(value), most.max(value))
        });
        match most > LOGARITHMIC * least {
            // Starts a power of ten below the smallest value, so that this has a bar, too.
            true => {
                Scale::Logarithmic { least: (least.log10().ceil() - 1.0).max(most.log10() - DECADES), most }
            }
            false => Scale::Linear { most },
        }
    }

    /// The length of a bar: 0 to 1.
    fn share(self, value: f64) -> f64 {
        match self {
            _ if value <= 0.0 => 0.0,
            Scale::Linear { most } => value / most,
            Scale::Logarithmic { least, most } => {
                ((value.log10() - least) / (most.log10() - least)).clamp(0.01, 1.0)
            }
        }
    }

    /// A note after the title.
    fn note(self) -> &'static str {
        match self {
            Scale::Linear { .. } => "",
            Scale::Logarithmic { .. } => " (logarithmic: bars grow by powers of ten)",
        }
    }
}

impl Group {
    fn shown(&self, bar: &Bar) -> String {
        bar.value.map_or("-".into(), self.show)
    }
}

impl Plot {
    /// For a terminal of 80 columns.
    pub fn text(&self, paint: Paint) -> String {
        self.render(paint, speaks_utf8())
    }

    fn render(&self, paint: Paint, blocks: bool) -> String {
        let bars = || self.0.iter().flat_map(|group| &group.bars);
        let labels = bars().map(|bar| bar.label.len()).max().unwrap_or(0);
        let series = bars().map(|bar| bar.series.len()).max().unwrap_or(0);
        let mut text = String::new();
        for group in self.0.iter().filter(|group| !group.bars.is_empty()) {
            let scale = Scale::of(group);
            text += &format!("\n{}{}\n", paint.text(Tone::Heading, group.title), scale.note());
            let mut last = None;
            for bar in &group.bars {
                let label = if last == Some(&bar.label) { "" } else { &bar.label };
                last = Some(&bar.label);
                let drawn = draw(scale.share(bar.value.unwrap_or(0.0)), blocks);
                let fill = " ".repeat(CELLS - drawn.chars().count());
                let drawn = paint.series(self.number(bar.series), &drawn);
                let shown = group.shown(bar);
                text += &format!("  {label:labels$}  {:series$}  {drawn}{fill} {shown:>8}\n", bar.series);
            }
        }
        text
    }

    /// The same number for each bar of the same name.
    fn number(&self, series: &str) -> usize {
        let mut seen: Vec<&str> = Vec::new();
        for bar in self.0.iter().flat_map(|group| &group.bars) {
            if !seen.contains(&bar.series) {
                seen.push(bar.series);
            }
        }
        seen.iter().position(|one| *one == series).unwrap_or(0)
    }
}

/// A bar of this length, in eighths of a cell; with ASCII, in whole cells. A value above zero always shows.
fn draw(share: f64, blocks: bool) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let cells = share * CELLS as f64;
    if share <= 0.0 {
        String::new()
    } else if blocks {
        let eighths = ((cells * 8.0).round() as usize).max(1);
        "█".repeat(eighths / 8) + PARTS[eighths % 8]
    } else {
        "#".repeat((cells.round() as usize).max(1))
    }
}

/// Whether the reader of the output expects UTF-8, according to the C library's locale.
fn speaks_utf8() -> bool {
    let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
    let locale = locale.to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// Colours that colour-blind readers can distinguish (Okabe and Ito).
const COLOURS: [&str; 4] = ["#0072b2", "#e69f00", "#d55e00", "#009e73"];
/// Dimensions of the SVG file.
const WIDTH: usize = 760;
const ROW: usize = 18;
const LABEL: usize = 150;
const SERIES: usize = 90;
const VALUE: usize = 90;

impl Plot {
    /// As an SVG file, with `below` in small letters at its end.
    pub fn svg(&self, below: &str) -> String {
        let mut body = String::new();
        let mut y = 12;
        for group in self.0.iter().filter(|group| !group.bars.is_empty()) {
            let scale = Scale::of(group);
            y += ROW + 8;
            text(&mut body, 12, y, "class=\"title\"", &format!("{}{}", group.title, scale.note()));
            let mut last = None;
            for bar in &group.bars {
                y += ROW;
                if last != Some(&bar.label) {
                    text(&mut body, 12, y, "", &bar.label);
                }
                last = Some(&bar.label);
                text(&mut body, 12 + LABEL, y, "", bar.series);
                let x = 12 + LABEL + SERIES;
                let length = scale.share(bar.value.unwrap_or(0.0)) * (WIDTH - 12 - VALUE - x) as f64;
                let colour = COLOURS[self.number(bar.series) % COLOURS.len()];
                // Writing to a string does not fail.
                let _ = writeln!(
                    body,
                    r#"<rect x="{x}" y="{}" width="{length:.1}" height="{}" fill="{colour}"/>"#,
                    y - 11,
                    ROW - 4
                );
                text(&mut body, x + length as usize + 6, y, "", &group.shown(bar));
            }
        }
        for line in below.lines() {
            y += ROW;
            text(&mut body, 12, y, "class=\"small\"", line);
        }
        let height = y + 16;
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">
<style>text {{ font: 12px sans-serif; fill: #222 }} .title {{ font-weight: bold }} .small {{ font-size: 11px }}</style>
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
{body}</svg>
"##
        )
    }
}

fn text(out: &mut String, x: usize, y: usize, with: &str, text: &str) {
    let text = svg_file::escape(text);
    // Writing to a string does not fail.
    let _ = writeln!(out, r#"<text x="{x}" y="{y}" {with}>{text}</text>"#);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(values: &[Option<f64>]) -> Group {
        let bar = |&value| Bar { label: "a <b>".into(), series: "s", value };
        Group { title: "Title", show: |value| value.to_string(), bars: values.iter().map(bar).collect() }
    }

    fn lengths(values: &[Option<f64>]) -> Vec<usize> {
        let text = Plot(vec![group(values)]).render(Paint::new(false), false);
        text.lines().skip(2).map(|line| line.matches('#').count()).collect()
    }

    #[test]
    fn bars_are_as_long_as_their_values_are_large() {
        assert_eq!(lengths(&[Some(36.0), Some(18.0), Some(1.0), Some(0.0), None]), [36, 18, 1, 0, 0]);
    }

    #[test]
    fn bars_of_very_different_values_are_logarithmic_and_the_title_says_so() {
        assert_eq!(lengths(&[Some(1e6), Some(1e3), Some(0.0)]), [36, 9, 0]);
        let far = Plot(vec![group(&[Some(100.0), Some(1.0)])]).render(Paint::new(false), true);
        assert!(far.contains("logarithmic"), "{far}");
        let near = Plot(vec![group(&[Some(49.0), Some(1.0)])]).render(Paint::new(false), true);
        assert!(!near.contains("logarithmic"), "{near}");
    }

    #[test]
    fn a_value_much_smaller_than_the_others_still_has_a_bar() {
        let lengths = lengths(&[Some(1e9), Some(1e-9)]);
        assert_eq!(lengths, [36, 1]);
    }

    #[test]
    fn a_bar_is_drawn_in_eighths_of_a_block() {
        assert_eq!(draw(1.0, true), "█".repeat(CELLS));
        assert_eq!(draw(1.5 / CELLS as f64, true), "█▌");
        assert_eq!(draw(1e-9, true), "▏");
        assert_eq!(draw(0.0, true), "");
    }

    #[test]
    fn the_file_has_a_bar_for_each_figure_and_its_text_is_escaped() {
        let svg = Plot(vec![group(&[Some(2.0), None])]).svg("x & y");
        assert_eq!(svg.matches("<rect x=").count(), 2);
        assert!(svg.contains("a &lt;b&gt;") && svg.contains("x &amp; y") && svg.ends_with("</svg>\n"));
    }
}
