//! Tables of text: aligned columns with headings.

use super::escape;
use super::paint::{Paint, Tone};

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

/// An entry in the colour of a tone, always on one line.
pub fn toned(tone: Tone, text: impl ToString) -> Cell {
    Cell { text: escape::text(&text.to_string()), tone }
}

/// Rows with headings; each column is as wide as its widest entry.
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
        assert_eq!(table.render(" ", Paint::new(false)), " NAME    ITEMS\n a        1000\n longer      7\n");
        let coloured = table.render("", Paint::new(true));
        assert!(coloured.contains(" \x1b[1;31m1000\x1b[0m\n"), "{coloured:?}");
    }
}
