//! A chart of named curves. Each curve has its name at its end, in its colour, instead of a legend.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const SIZE: (u32, u32) = (1000, 660);
/// Room on the right for the names.
const NAMES: i32 = 190;
const NAME_HEIGHT: i32 = 14;
const FONT: &str = "sans-serif";

/// How a curve is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Pen {
    pub colour: RGBColor,
    pub width: u32,
    pub dashed: bool,
}

pub struct Curve {
    pub name: String,
    pub pen: Pen,
    pub points: Vec<(f64, f64)>,
    /// Whether the points themselves are marked: few that were measured, rather than many.
    pub marked: bool,
}

/// Where the axis has its marks, and what they say. Values are what is drawn: logarithms already taken.
#[derive(Debug, Clone)]
pub struct Axis {
    pub title: &'static str,
    pub marks: Vec<(f64, String)>,
    pub range: Range<f64>,
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, pixels: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        pixels.0 + (share * f64::from(pixels.1 - pixels.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.iter().map(|mark| mark.0).filter(|at| self.range.contains(at)).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(value: &f64) -> String {
        value.to_string()
    }

    fn format_ext(&self, value: &f64) -> String {
        let mark = self.marks.iter().find(|mark| mark.0 == *value);
        mark.map_or_else(String::new, |mark| mark.1.clone())
    }
}

/// Writes the chart as SVG.
pub fn draw(file: &Path, title: &str, x: &Axis, y: &Axis, curves: &[Curve]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 20))
        .margin(12)
        .margin_right(NAMES)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x.clone(), y.clone())?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(222, 222, 222))
        .x_desc(x.title)
        .y_desc(y.title)
        .label_style((FONT, 13))
        .draw()?;
    let mut ends = Vec::new();
    for curve in curves {
        let Some(&last) = curve.points.last() else { continue };
        let style = curve.pen.colour.stroke_width(curve.pen.width);
        if curve.pen.dashed {
            chart.draw_series(DashedLineSeries::new(curve.points.iter().copied(), 6, 4, style))?;
        } else {
            chart.draw_series(LineSeries::new(curve.points.iter().copied(), style))?;
        }
        if curve.marked {
            let dot =
                |point: &(f64, f64)| Circle::new(*point, curve.pen.width + 1, curve.pen.colour.filled());
            chart.draw_series(curve.points.iter().map(dot))?;
        }
        ends.push((chart.backend_coord(&last), curve));
    }
    write_names(&root, ends)?;
    root.present()?;
    Ok(())
}

type Root<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Writes the names beside the ends of the curves, each on a line of its own.
fn write_names(root: &Root, mut ends: Vec<((i32, i32), &Curve)>) -> Result<(), Box<dyn Error>> {
    ends.sort_by_key(|((_, height), _)| *height);
    let heights =
        spread(&ends.iter().map(|((_, height), _)| *height).collect::<Vec<_>>(), SIZE.1 as i32 - 12);
    let column = SIZE.0 as i32 - NAMES + 14;
    for (((right, from), curve), to) in ends.into_iter().zip(heights) {
        let colour = curve.pen.colour;
        root.draw(&PathElement::new([(right + 4, from), (column, to)], colour.mix(0.6)))?;
        let style = TextStyle::from((FONT, 13)).color(&colour).pos(Pos::new(HPos::Left, VPos::Center));
        root.draw(&Text::new(curve.name.as_str(), (column + 4, to), style))?;
    }
    Ok(())
}

/// Moves sorted heights apart, as little as possible, so that a name fits on each and all are above `bottom`.
fn spread(heights: &[i32], bottom: i32) -> Vec<i32> {
    // Groups of names that touch: the sum of where they belong, and how many they are.
    let mut groups: Vec<(i32, i32)> = Vec::new();
    let first = |(sum, count): (i32, i32)| {
        let place = (sum / count - (count - 1) * NAME_HEIGHT / 2).max(NAME_HEIGHT);
        place.min(bottom - (count - 1) * NAME_HEIGHT)
    };
    for &height in heights {
        let mut group = (height, 1);
        while let Some(before) =
            groups.pop_if(|before| first(*before) + before.1 * NAME_HEIGHT > first(group))
        {
            group = (before.0 + group.0, before.1 + group.1);
        }
        groups.push(group);
    }
    let place = |group| (0..).map(move |number| first(group) + number * NAME_HEIGHT);
    groups.iter().flat_map(|group| place(*group).take(group.1 as usize)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_moved_apart_and_stay_on_the_page() {
        assert_eq!(spread(&[20, 100, 200], 500), [20, 100, 200]);
        assert_eq!(spread(&[100, 101, 102], 500), [87, 101, 115]);
        assert_eq!(spread(&[490, 495, 500], 500), [472, 486, 500]);
        assert_eq!(spread(&[1, 2], 500), [14, 28]);
    }
}
