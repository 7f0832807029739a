//! Draws the help over the picture.

use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph, Widget};

use super::Choices;
use super::theme::{letter, word};
use crate::SlotState;
use crate::cli::common::wrap::wrap;
use crate::cli::ctl::picture::observation::STATES;

/// The maximum width: longer lines are hard to read.
const WIDEST: u16 = 84;
/// The width of a state's letter and word, and the most that they take of a line.
const STATE: usize = 13;

const RING: &str = "A ring is a buffer with a fixed number of slots. Producers put items into the next slot, \
    consumers take them out in the same order; after the last slot comes the first again. When all slots are \
    full, producers wait for room; when all are free, consumers wait for items.";

const SEMAPHORES: &str = "A semaphore is a number that processes wait on: posting adds one and wakes a sleeper. \
    Consumers that find nothing sleep on `items`, producers that find no free slot on `room`. Here a post is a \
    hint: a woken process looks at the slots, which alone are the truth.";

const PROCESSES: &str = "A process that detaches leaves. A process that was killed died: the items that it held are \
    delivered again, an item that it was writing vanishes. It is shown for ten seconds with what it held.";

/// Draws the help in the middle of `area`, as large as needed and possible, from line `top` on.
pub fn draw(choices: Choices, top: u16, area: Rect, buf: &mut Buffer) {
    let (place, lines) = layout(choices, area);
    let top = top.min(farthest(&lines, place));
    Clear.render(place, buf);
    let mut block = Block::bordered().border_type(BorderType::Rounded).title(" What is to be seen ");
    let more = match (top > 0, top < farthest(&lines, place)) {
        (true, true) => " ↑ ↓ more ",
        (true, false) => " ↑ more ",
        (false, true) => " ↓ more ",
        (false, false) => "",
    };
    block = block.title_bottom(Line::from(more).right_aligned());
    block.render(place, buf);
    Paragraph::new(lines).scroll((top, 0)).render(place.inner(Margin::new(2, 1)), buf);
}

/// The last line from which the help may be shown on a screen of this size.
pub fn last_top(choices: Choices, area: Rect) -> u16 {
    let (place, lines) = layout(choices, area);
    farthest(&lines, place)
}

fn farthest(lines: &[Line<'_>], place: Rect) -> u16 {
    (lines.len() as u16).saturating_sub(place.height.saturating_sub(2))
}

fn layout(choices: Choices, area: Rect) -> (Rect, Vec<Line<'static>>) {
    let width = area.width.min(WIDEST);
    let lines = lines(choices, width.saturating_sub(4) as usize);
    let height = (lines.len() as u16).saturating_add(2).min(area.height);
    let (x, y) = (area.x + (area.width - width) / 2, area.y + (area.height - height) / 2);
    (Rect { x, y, width, height }, lines)
}

fn lines(choices: Choices, width: usize) -> Vec<Line<'static>> {
    let mut lines = paragraph(RING, width);
    lines.push(Line::default());
    for state in STATES {
        let indent = STATE.min(width / 2);
        for (n, text) in wrap(meaning(state), width - indent).into_iter().enumerate() {
            let before =
                if n == 0 { format!("{} {:<10} ", letter(state), word(state)) } else { String::new() };
            let before = format!("{before:<indent$}");
            lines.push(Line::from(vec![Span::styled(before, choices.theme.state(state)), Span::raw(text)]));
        }
    }
    for text in [PROCESSES, SEMAPHORES, choices.guide.help] {
        lines.push(Line::default());
        lines.extend(paragraph(text, width));
    }
    lines
}

fn paragraph(text: &str, width: usize) -> Vec<Line<'static>> {
    wrap(text, width).into_iter().map(Line::raw).collect()
}

fn meaning(state: SlotState) -> &'static str {
    match state {
        SlotState::Free => "empty",
        SlotState::Writing => "a producer writes an item into it",
        SlotState::Ready => "an item waits to be taken",
        SlotState::Reading => "a consumer has taken the item, and not acknowledged it yet",
        SlotState::Redeliver => "its consumer died or gave the item back: it will be delivered again",
        SlotState::Late => "its producer is slow; consumers continue, the item comes later",
        SlotState::Abandoned => "its producer died or gave up: it has no item",
        SlotState::Damaged => "its word is damaged: no process of this program writes such a value",
    }
}
