//! The cells of a picture as pieces of SVG: texts, lines and filled boxes.
//!
//! A piece is a text of one style without gaps, so that a number that changes is a piece of its own. Lines of boxes are
//! drawn as paths, because the glyphs of most fonts leave gaps between rows.

use std::fmt::Write;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use ratatui::text::Span;

use super::{CELL, LEFT, TOP, pixels};
use crate::cli::ctl::svg_file::escape;

/// From the top of a row to the line on which letters stand.
pub const BASE: u32 = 130;
/// The radius of a round corner.
const RADIUS: u32 = 40;

/// An element of the file. The order is that in which the elements are drawn.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    layer: Layer,
    row: u16,
    column: u16,
    pub element: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Below the letters.
    Fill,
    Mark,
}

impl Piece {
    pub fn new(layer: Layer, row: u16, column: u16, element: String) -> Self {
        Piece { layer, row, column, element }
    }

    pub fn layer(&self) -> Layer {
        self.layer
    }
}

/// The classes of a cell's colour and modifiers.
fn classes(cell: &Cell) -> String {
    let is = |modifier| cell.modifier.contains(modifier);
    let colour = match cell.fg {
        _ if is(Modifier::DIM) => "d",
        Color::Red => "r",
        Color::Green => "g",
        Color::Yellow => "y",
        Color::Magenta => "m",
        Color::Cyan => "c",
        Color::DarkGray => "d",
        Color::LightRed => "l",
        _ => "",
    };
    let all = [colour, if is(Modifier::BOLD) { "b" } else { "" }];
    all.into_iter().filter(|class| !class.is_empty()).collect::<Vec<_>>().join(" ")
}

fn is_reversed(cell: &Cell) -> bool {
    cell.modifier.contains(Modifier::REVERSED)
}

/// Where a line goes from the middle of a cell: up, down, left, right; and whether its corner is round.
fn arms(symbol: &str) -> Option<([bool; 4], bool)> {
    let arms = match symbol {
        "─" => [false, false, true, true],
        "│" => [true, true, false, false],
        "┌" | "╭" => [false, true, false, true],
        "┐" | "╮" => [false, true, true, false],
        "└" | "╰" => [true, false, false, true],
        "┘" | "╯" => [true, false, true, false],
        _ => return None,
    };
    Some((arms, matches!(symbol, "╭" | "╮" | "╰" | "╯")))
}

/// Cells side by side that become one piece.
#[derive(Default)]
struct Run {
    column: u16,
    columns: u16,
    text: String,
    classes: String,
    is_lines: bool,
}

impl Run {
    fn piece(self, row: u16) -> Piece {
        let element = if self.is_lines { self.path(row) } else { self.letters(row) };
        Piece::new(Layer::Mark, row, self.column, element)
    }

    fn letters(&self, row: u16) -> String {
        let (x, y) = (pixels(left(self.column)), pixels(top(row) + BASE));
        let width = pixels(CELL.0 * u32::from(self.columns));
        let class = match self.classes.as_str() {
            "" => String::new(),
            classes => format!(r#" class="{classes}""#),
        };
        format!(
            r#"<text x="{x}" y="{y}" textLength="{width}" lengthAdjust="spacingAndGlyphs"{class}>{}</text>"#,
            escape(&self.text)
        )
    }

    fn path(&self, row: u16) -> String {
        let mut path = String::new();
        let (high, middle, low) = (top(row), top(row) + CELL.1 / 2, top(row) + CELL.1);
        // A line through several cells: where it has begun.
        let mut begun: Option<u32> = None;
        for (column, symbol) in (self.column..).zip(self.text.chars()) {
            let Some(([up, down, to_left, to_right], is_round)) = arms(symbol.encode_utf8(&mut [0; 4]))
            else {
                continue;
            };
            let (start, end) = (left(column), left(column) + CELL.0);
            let centre = (start + end) / 2;
            let [x, y, high, low] = [centre, middle, high, low].map(pixels);
            let mut line = |from: u32, to: u32| {
                let _ = write!(path, "M{} {y}H{}", pixels(from), pixels(to));
            };
            if to_left {
                let to = if is_round { centre - RADIUS } else { centre };
                let from = begun.take().unwrap_or(start);
                match to_right {
                    true => begun = Some(from),
                    false => line(from, to),
                }
            } else if let Some(from) = begun.take() {
                line(from, start);
            }
            if to_right && !to_left {
                begun = Some(if is_round { centre + RADIUS } else { centre });
            }
            // Writing to a string does not fail.
            let _ = match (up, down, is_round) {
                (true, true, _) => write!(path, "M{x} {high}V{low}"),
                (true, false, false) => write!(path, "M{x} {high}V{y}"),
                (false, true, false) => write!(path, "M{x} {low}V{y}"),
                (false, false, _) => Ok(()),
                (_, _, true) => {
                    let side = pixels(if to_right { centre + RADIUS } else { centre - RADIUS });
                    let (from, bend) = if up { (high, middle - RADIUS) } else { (low, middle + RADIUS) };
                    write!(path, "M{x} {from}V{}Q{x} {y} {side} {y}", pixels(bend))
                }
            };
        }
        if let Some(from) = begun {
            let end = left(self.column + self.columns);
            let _ = write!(path, "M{} {}H{}", pixels(from), pixels(middle), pixels(end));
        }
        let space = if self.classes.is_empty() { "" } else { " " };
        format!(r#"<path class="s{space}{}" d="{path}"/>"#, self.classes)
    }
}

/// The left edge of a column and the top edge of a row, in tenths of a pixel.
pub fn left(column: u16) -> u32 {
    LEFT + u32::from(column) * CELL.0
}

pub fn top(row: u16) -> u32 {
    TOP + u32::from(row) * CELL.1
}

/// The pieces of a picture, in the order of drawing.
pub fn pieces(buffer: &Buffer) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for row in 0..buffer.area.height {
        fills(buffer, row, &mut pieces);
        marks(buffer, row, &mut pieces);
    }
    pieces.sort();
    pieces
}

/// The backgrounds of reversed cells.
fn fills(buffer: &Buffer, row: u16, pieces: &mut Vec<Piece>) {
    let mut column = 0;
    while column < buffer.area.width {
        let cell = &buffer[(column, row)];
        let first = column;
        column += 1;
        if !is_reversed(cell) {
            continue;
        }
        let is_same = |other: &Cell| is_reversed(other) && classes(other) == classes(cell);
        while column < buffer.area.width && is_same(&buffer[(column, row)]) {
            column += 1;
        }
        let width = pixels(u32::from(column - first) * CELL.0);
        let element = format!(
            r#"<rect class="f {}" x="{}" y="{}" width="{width}" height="{}" rx="2"/>"#,
            classes(cell),
            pixels(left(first)),
            pixels(top(row)),
            pixels(CELL.1)
        );
        pieces.push(Piece::new(Layer::Fill, row, first, element.replace(r#"f ""#, r#"f""#)));
    }
}

/// The texts and lines of a row.
fn marks(buffer: &Buffer, row: u16, pieces: &mut Vec<Piece>) {
    let mut run: Option<Run> = None;
    let mut column = 0;
    while column < buffer.area.width {
        let cell = &buffer[(column, row)];
        let symbol = cell.symbol();
        // A wide character also covers the next cell.
        let columns = (Span::raw(symbol).width() as u16).max(1);
        let at = column;
        column += columns;
        if symbol.trim().is_empty() {
            continue;
        }
        let classes = match is_reversed(cell) {
            true => format!("i {}", classes(cell)).trim_end().to_string(),
            false => classes(cell),
        };
        let is_lines = arms(symbol).is_some();
        let joins = |run: &Run| {
            let gap = at - (run.column + run.columns);
            let widest = if is_lines { 0 } else { 1 };
            run.is_lines == is_lines && run.classes == classes && gap <= widest
        };
        match run.as_mut().filter(|run| joins(run)) {
            Some(run) => {
                if run.column + run.columns < at {
                    run.text.push(' ');
                }
                run.text += symbol;
                run.columns = at + columns - run.column;
            }
            None => {
                let next = Run { column: at, columns, text: symbol.into(), classes, is_lines };
                pieces.extend(run.replace(next).map(|run| run.piece(row)));
            }
        }
    }
    pieces.extend(run.map(|run| run.piece(row)));
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;

    fn elements(draw: impl Fn(&mut Buffer)) -> Vec<String> {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 40, 2));
        draw(&mut buffer);
        pieces(&buffer).into_iter().map(|piece| piece.element).collect()
    }

    fn texts(elements: &[String]) -> Vec<&str> {
        let texts = elements.iter().filter_map(|element| element.split_once('>')?.1.strip_suffix("</text>"));
        texts.collect()
    }

    #[test]
    fn a_piece_is_a_text_of_one_style_without_gaps() {
        let found = elements(|buffer| {
            buffer.set_string(0, 0, "sent ", Style::new());
            buffer.set_string(5, 0, "17", Style::new().add_modifier(Modifier::BOLD));
            buffer.set_string(10, 0, "two words  gap", Style::new().fg(Color::Red));
        });
        assert_eq!(texts(&found), ["sent", "17", "two words", "gap"]);
        assert!(found[1].contains(r#" class="b">"#) && found[2].contains(r#" class="r">"#), "{found:?}");
        // Columns 10 to 18, of 8.4 pixels.
        assert!(found[2].contains(r#"x="100" "#) && found[2].contains(r#"textLength="75.6""#), "{found:?}");
    }

    #[test]
    fn a_text_is_escaped_and_a_wide_character_takes_two_columns() {
        let found = elements(|buffer| {
            buffer.set_string(0, 1, "a<b>&", Style::new());
            buffer.set_string(10, 1, "文字x", Style::new());
        });
        assert_eq!(texts(&found), ["a&lt;b&gt;&amp;", "文字x"]);
        assert!(found[1].contains(r#"textLength="42""#), "{found:?}");
    }

    #[test]
    fn reversed_cells_are_dark_letters_on_a_box_that_is_drawn_first() {
        let found = elements(|buffer| {
            buffer.set_string(0, 0, " k ", Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED));
        });
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with(r#"<rect class="f b" x="16""#) && found[0].contains(r#"width="25.2""#));
        assert!(found[1].contains(r#"class="i b">k</text>"#), "{found:?}");
    }

    #[test]
    fn lines_are_paths_and_what_is_in_a_line_is_not_covered() {
        let dim = Style::new().fg(Color::DarkGray);
        let found = elements(|buffer| {
            buffer.set_string(0, 0, "┌0──┐", dim);
            buffer.set_string(0, 1, "╰───╯", dim);
        });
        let paths: Vec<&String> = found.iter().filter(|element| element.starts_with("<path")).collect();
        let (left, top) = (20.2, 40.0);
        assert_eq!(texts(&found), ["0"]);
        assert_eq!(
            paths[0],
            &format!(
                r#"<path class="s d" d="M{left} {}V{}M{left} {}H24.4"/>"#,
                top + 18.0,
                top + 9.0,
                top + 9.0
            )
        );
        // One line through two cells and a half, which ends in the corner.
        assert_eq!(paths[1], r#"<path class="s d" d="M32.8 49H53.8M53.8 58V49"/>"#);
        assert_eq!(
            paths[2],
            r#"<path class="s d" d="M20.2 58V63Q20.2 67 24.2 67M24.2 67H49.8M53.8 58V63Q53.8 67 49.8 67"/>"#
        );
    }
}
