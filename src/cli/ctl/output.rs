//! What goes to standard output: text, tables, JSON lines.
use std::{
    env,
    io::{self, ErrorKind, IsTerminal, Write},
};

use serde::Serialize;

use crate::cli::exit::{Failure, code};
use crate::sys::stdio;

/// Writes everything to standard output and flushes. That nobody reads it any more is nobody's loss; that it was
/// closed from the beginning is an error where there is something to be said.
pub fn emit(bytes: &[u8]) -> Result<(), Failure> {
    if !stdio::was_open(1) && !bytes.is_empty() {
        return Err(Failure::closed("standard output"));
    }
    emit_to(&mut io::stdout().lock(), bytes)
}

/// As [`emit`], to standard error.
pub fn emit_aside(bytes: &[u8]) -> Result<(), Failure> {
    if !stdio::was_open(2) && !bytes.is_empty() {
        return Err(Failure::closed("standard error"));
    }
    emit_to(&mut io::stderr(), bytes)
}

fn emit_to(out: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::io("writing the output", &error)),
        _ => Ok(()),
    }
}

/// A note to standard error: no failure, and not data.
pub fn note(text: &str) {
    let _ = io::stderr().write_all(format!("ringctl: {text}\n").as_bytes());
}

/// One JSON object on a line of its own.
pub fn json_line(value: &impl Serialize) -> Result<String, Failure> {
    match serde_json::to_string(value) {
        Ok(text) => Ok(text + "\n"),
        Err(error) => Err(Failure::new(code::RUNTIME, format!("writing JSON: {error}"))),
    }
}

/// The values of `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorArg {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// Colours text, or leaves it as it is.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    on: bool,
}

/// What a piece of text means, and thereby its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    /// As it is.
    #[default]
    Plain,
    /// A heading.
    Heading,
    /// All is well.
    Good,
    /// Worth a look.
    Notable,
    /// Something died or is damaged.
    Bad,
}

impl Paint {
    /// Decides for standard output.
    pub fn new(when: ColorArg) -> Self {
        let on = match when {
            ColorArg::Always => true,
            ColorArg::Never => false,
            // As no-color.org says: set, and not to nothing.
            ColorArg::Auto => {
                env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                    && env::var_os("TERM").is_none_or(|value| value != "dumb")
                    && io::stdout().is_terminal()
            }
        };
        Paint { on }
    }

    /// Whether it colours.
    pub fn is_on(self) -> bool {
        self.on
    }

    /// The text in the colour of its tone.
    pub fn text(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Heading => "1",
            Tone::Good => "32",
            Tone::Notable => "33",
            Tone::Bad => "1;31",
            Tone::Plain => return text.into(),
        };
        self.coded(code, text)
    }

    /// The text in the colour number `number` of those that tell things apart which are compared.
    pub fn series(self, number: usize, text: &str) -> String {
        self.coded(SERIES[number % SERIES.len()], text)
    }

    fn coded(self, code: &str, text: &str) -> String {
        if self.on && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
    }
}

/// The colours of what is compared: blue, yellow, magenta, cyan.
const SERIES: [&str; 4] = ["34", "33", "35", "36"];

/// One entry of a table.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    tone: Tone,
}

/// An entry without colour.
pub fn cell(text: impl ToString) -> Cell {
    toned(Tone::Plain, text)
}

/// An entry in the colour of a tone.
pub fn toned(tone: Tone, text: impl ToString) -> Cell {
    Cell { text: text.to_string(), tone }
}

/// Rows below headings; columns are as wide as their widest entry.
pub struct Table {
    /// A heading that begins with `>` aligns its column to the right.
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows. A heading that begins with `>` aligns its column to the right.
    pub fn new(headings: &[&'static str]) -> Self {
        Table { headings: headings.into(), rows: Vec::new() }
    }

    /// Adds a row, with as many entries as there are headings.
    pub fn row(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines that begin with `indent`.
    pub fn render(&self, indent: &str, paint: Paint) -> String {
        let title = |heading: &'static str| heading.trim_start_matches('>');
        let headings = self.headings.iter().map(|heading| toned(Tone::Heading, title(heading))).collect();
        let rows: Vec<&Vec<Cell>> = std::iter::once(&headings).chain(&self.rows).collect();
        let width =
            |column: usize| rows.iter().map(|row| row[column].text.chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.headings.len()).map(width).collect();
        let mut text = String::new();
        for row in &rows {
            let mut line = indent.to_string();
            for (column, Cell { text, tone }) in row.iter().enumerate() {
                let fill = " ".repeat(widths[column] - text.chars().count());
                let painted = paint.text(*tone, text);
                let gap = if column == 0 { "" } else { "  " };
                line += gap;
                line += &match self.headings[column].starts_with('>') {
                    true => fill + &painted,
                    false => painted + &fill,
                };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_the_colours() {
        let mut table = Table::new(&["NAME", ">ITEMS"]);
        table.row(vec![cell("a"), toned(Tone::Bad, "1000")]);
        table.row(vec![cell("longer"), cell("7")]);
        assert_eq!(
            table.render(" ", Paint { on: false }),
            " NAME    ITEMS\n a        1000\n longer      7\n"
        );
        let coloured = table.render("", Paint { on: true });
        assert!(coloured.contains(" \x1b[1;31m1000\x1b[0m\n"), "{coloured:?}");
    }
}
