//! Draws the log: the sentences, the latest ones at the bottom.

use std::collections::VecDeque;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};

use super::theme::Theme;
use super::{Choices, Screen, heading};
use crate::cli::common::wrap::wrap;
use crate::cli::ctl::picture::model::Event;

/// The minimum width of a sentence: a narrower screen shows no times.
const LEAST: usize = 30;

impl Screen<'_> {
    pub fn log(&self, title: Rect, area: Rect, buf: &mut Buffer) {
        draw(&self.model.events, self.choices, title, area, buf);
    }
}

/// Draws a heading, and the sentences below it.
pub fn draw(events: &VecDeque<Event>, choices: Choices, title: Rect, area: Rect, buf: &mut Buffer) {
    let rows = area.height as usize;
    let back = choices.back.min(events.len().saturating_sub(1));
    let remark = if back > 0 { format!("{back} later ones below") } else { String::new() };
    heading("What happens", &remark, choices.theme, title, buf);
    let mut lines = VecDeque::new();
    for event in events.iter().rev().skip(back) {
        if lines.len() >= rows {
            break;
        }
        let mut sentence = sentence(event, choices.theme, area.width as usize);
        if lines.is_empty() {
            // If a sentence is too long for the screen, shows its beginning.
            sentence.truncate(rows);
        }
        sentence.into_iter().rev().for_each(|line| lines.push_front(line));
    }
    // Of the oldest sentence, shows the end.
    let above = lines.len().saturating_sub(rows);
    Paragraph::new(lines.into_iter().skip(above).collect::<Vec<_>>()).render(area, buf);
}

/// A sentence in as many lines as it needs, with its time before the first.
fn sentence(event: &Event, theme: Theme, width: usize) -> Vec<Line<'static>> {
    let time = format!("{:>7.2}s ", event.at.as_secs_f64());
    let time = if width < LEAST + time.len() { String::new() } else { time };
    let lines = wrap(&event.text, width - time.len()).into_iter().enumerate();
    lines
        .map(|(n, text)| {
            let before = if n == 0 { time.clone() } else { " ".repeat(time.len()) };
            let text = Span::styled(text, theme.mood(event.mood));
            Line::from(vec![Span::styled(before, theme.dim()), text])
        })
        .collect()
}
