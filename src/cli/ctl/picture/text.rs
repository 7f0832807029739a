//! A picture as lines of text.

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

/// The lines of a picture, without trailing blanks and trailing empty lines.
pub fn text(buffer: &Buffer, colours: bool) -> String {
    let mut text = String::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        let mut blanks = String::new();
        let mut style = String::new();
        let mut covered = 0;
        for x in 0..buffer.area.width {
            let cell = &buffer[(x, y)];
            // A wide character also covers the next cell.
            if covered > 0 {
                covered -= 1;
                continue;
            }
            covered = ratatui::text::Span::raw(cell.symbol()).width().saturating_sub(1);
            if cell.symbol() == " " && !cell.modifier.contains(Modifier::REVERSED) {
                blanks.push(' ');
                continue;
            }
            line += &std::mem::take(&mut blanks);
            let wanted = if colours { codes(cell) } else { String::new() };
            if wanted != style {
                line += &format!("\x1b[0{wanted}m");
                style = wanted;
            }
            line += cell.symbol();
        }
        if !style.is_empty() {
            line += "\x1b[0m";
        }
        text += &(line + "\n");
    }
    text.truncate(text.trim_end_matches('\n').len());
    text + "\n"
}

/// The terminal's escape codes for the colour and the modifiers of a cell.
fn codes(cell: &Cell) -> String {
    let colour = match cell.fg {
        Color::Red => ";31",
        Color::Green => ";32",
        Color::Yellow => ";33",
        Color::Magenta => ";35",
        Color::Cyan => ";36",
        Color::DarkGray => ";90",
        Color::LightRed => ";91",
        _ => "",
    };
    let modifiers = [(Modifier::BOLD, ";1"), (Modifier::DIM, ";2"), (Modifier::REVERSED, ";7")];
    let set = modifiers.into_iter().filter(|(modifier, _)| cell.modifier.contains(*modifier));
    set.map(|(_, code)| code).chain([colour]).collect()
}
