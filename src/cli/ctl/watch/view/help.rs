//! The help that lies over the picture.

use ratatui::buffer::Buffer;
use ratatui::layout::{Margin, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Clear, Paragraph, Widget, Wrap};

use super::theme::{Theme, letter, word};
use crate::SlotState;
use crate::cli::ctl::watch::model::STATES;

/// Most columns: longer lines read badly.
const WIDEST: u16 = 84;

/// Columns that a word which does not fit leaves at the end of a line, on average.
const SLACK: u16 = 3;

const RING: &str = "A ring is a buffer with a fixed number of slots. Producers put items into the next slot, \
    consumers take them out in the same order; after the last slot comes the first again. When all slots are \
    full producers wait for room, and when all are free consumers wait for items.";

const SEMAPHORES: &str = "A semaphore is a number that processes wait on: posting adds one and wakes a sleeper. \
    Consumers that find nothing sleep on `items`, producers that find no free slot on `room`. Here a post is a \
    hint: who wakes looks at the slots, which alone tell the truth.";

const KEYS: &str = "q, Ctrl-C: quit. Space: pause; the ring goes on. + and -: look more or less often. Arrows, \
    Page Up and Down, Home, End: scroll the log. Any key closes this help.";

/// Draws it in the middle of `area`, as large as it needs to be and there is room.
pub fn draw(theme: Theme, area: Rect, buf: &mut Buffer) {
    let lines = lines(theme);
    let width = area.width.min(WIDEST);
    // A wrapped line is a little shorter than it might be.
    let columns = width.saturating_sub(4 + SLACK).max(1) as usize;
    let rows = lines.iter().map(|line| line.width().div_ceil(columns).max(1)).sum::<usize>() as u16;
    let height = rows.saturating_add(2).min(area.height);
    let (x, y) = (area.x + (area.width - width) / 2, area.y + (area.height - height) / 2);
    let place = Rect { x, y, width, height };
    Clear.render(place, buf);
    let block = Block::bordered().border_type(BorderType::Rounded).title(" What is to be seen ");
    block.render(place, buf);
    Paragraph::new(lines).wrap(Wrap { trim: true }).render(place.inner(Margin::new(2, 1)), buf);
}

fn lines(theme: Theme) -> Vec<Line<'static>> {
    let mut lines = vec![Line::raw(RING), Line::default()];
    for state in STATES {
        lines.push(Line::from(vec![
            Span::styled(format!("{} {:<10} ", letter(state), word(state)), theme.state(state)),
            Span::raw(meaning(state)),
        ]));
    }
    lines.extend([Line::default(), Line::raw(SEMAPHORES), Line::default(), Line::raw(KEYS)]);
    lines
}

fn meaning(state: SlotState) -> &'static str {
    match state {
        SlotState::Free => "empty",
        SlotState::Writing => "a producer writes an item into it",
        SlotState::Ready => "an item waits to be taken",
        SlotState::Reading => "a consumer has taken the item, and not acknowledged it yet",
        SlotState::Redeliver => "its consumer died or gave the item back: it will be delivered again",
        SlotState::Late => "its producer is slow; consumers go on, the item comes later",
        SlotState::Abandoned => "its producer died or gave up: there is nothing in it",
        SlotState::Damaged => "no process of this program wrote what is here",
    }
}
