//! Draws the slots: as boxes with their content if there is room, else as cells, else as heat.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, BorderType, Paragraph, Widget};

use super::theme::{Theme, letter, word};
use crate::SlotState;
use crate::cli::ctl::picture::observation::{Census, Observation, STATES, Seen};
use crate::cli::ctl::show;

/// The widest and narrowest box with text, the narrowest box without, and the narrowest cell.
const BOX: u16 = 26;
const TEXT_BOX: u16 = 13;
const SMALL_BOX: u16 = 8;
/// The height of a box with text, and of one without.
const TALL: u16 = 5;
const SHORT: u16 = 3;
/// The maximum number of rows of heat.
const MOST_ROWS: u16 = 8;
/// How full a cell is that represents many slots.
const LEVELS: [&str; 9] = [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// The way to draw the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Boxes in columns of this width and height.
    Boxes { columns: u16, width: u16, height: u16 },
    /// Cells of `each` slots, `row` of them in a row.
    Heat { each: usize, row: usize },
}

impl Form {
    fn choose(slots: usize, shown: bool, width: u16, height: u16) -> Form {
        let boxes = [(TEXT_BOX, TALL), (SMALL_BOX, SHORT)].into_iter().find_map(|(narrowest, tall)| {
            let most = (width / narrowest).min(slots.min(u16::MAX as usize) as u16);
            if !shown || most == 0 {
                return None;
            }
            let rows = slots.div_ceil(most as usize);
            // Even rows look better than full ones with a short last one.
            let columns = slots.div_ceil(rows) as u16;
            let fits = rows * tall as usize <= height as usize;
            fits.then_some(Form::Boxes { columns, width: (width / columns).min(BOX), height: tall })
        });
        boxes.unwrap_or_else(|| {
            // A power of two in each row and in each cell, so that the numbers of the slots are round.
            let row = 1 << (width.saturating_sub(LABEL).max(1)).ilog2();
            let cells = row * height.clamp(1, MOST_ROWS) as usize;
            Form::Heat { each: slots.div_ceil(cells).next_power_of_two(), row }
        })
    }
}

/// Columns for the number of a row's first slot.
const LABEL: u16 = 8;

/// The slots of an observation.
#[derive(Debug)]
pub struct SlotPicture<'l> {
    look: &'l Observation,
    theme: Theme,
    form: Form,
}

impl<'l> SlotPicture<'l> {
    pub fn new(look: &'l Observation, theme: Theme, width: u16, height: u16) -> Self {
        let form = Form::choose(look.buckets.len(), !look.slots.is_empty(), width, height);
        SlotPicture { look, theme, form }
    }

    /// Rows that it takes.
    pub fn height(&self) -> u16 {
        let slots = self.look.buckets.len();
        match self.form {
            Form::Boxes { columns, height, .. } => slots.div_ceil(columns as usize) as u16 * height,
            Form::Heat { each, row } => slots.div_ceil(each * row).max(1) as u16,
        }
    }

    /// What a cell represents, if that is not obvious.
    pub fn scale(&self) -> Option<String> {
        match self.form {
            Form::Boxes { .. } => None,
            Form::Heat { each, .. } => {
                let capacity = self.look.snapshot.capacity;
                let slots = each as u64 * capacity / self.look.buckets.len() as u64;
                Some(format!("a cell is {}", show::counted(slots, "slot")))
            }
        }
    }

    fn draw_box(&self, seen: &Seen, area: Rect, buf: &mut Buffer) {
        let slot = &seen.slot;
        let (head, tail) =
            (self.look.slot_of(self.look.snapshot.head), self.look.slot_of(self.look.snapshot.tail));
        let style = self.theme.state(slot.state);
        let roomy = area.width >= TEXT_BOX;
        let marks = |mark: &'static str, long: &'static str| match roomy {
            true => Span::styled(long, self.theme.mark()),
            false => Span::styled(mark, self.theme.mark()),
        };
        let mut block = Block::bordered()
            .border_type(if slot.state == SlotState::Free { BorderType::Plain } else { BorderType::Rounded })
            .border_style(self.theme.border(slot.state))
            .title(Span::styled(slot.number.to_string(), self.theme.dim()));
        if slot.number == tail {
            block = block.title(Line::from(marks(" ▼ ", " ▼ next in ")).right_aligned());
        }
        if slot.number == head {
            block = block.title_bottom(marks(" ▲ ", " ▲ next out "));
        }
        let inner = block.inner(area);
        block.render(area, buf);
        let name = item_name(seen);
        let mut lines = vec![match (inner.height, slot.state) {
            (1, SlotState::Free) => Line::default(),
            (1, state) => Line::styled(format!("{} {name}", letter(state)), style),
            (_, SlotState::Free) => Line::styled(word(slot.state), self.theme.dim()),
            (_, state) => Line::styled(word(state), style.add_modifier(Modifier::BOLD)),
        }];
        if inner.height > 1 && slot.state != SlotState::Free {
            let owner = slot.owner.map(|number| match self.look.participant(number) {
                Some(one) => format!("by {}", one.pid),
                None => format!("by no. {number}"),
            });
            let again = if slot.attempt > 1 { format!(" ({}x)", slot.attempt) } else { String::new() };
            let second = [name + &again, owner.unwrap_or_default()];
            let second = second.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>();
            match inner.width >= 18 || second.len() < 2 {
                true => lines.push(Line::styled(second.join("  "), style)),
                false => lines.extend(second.into_iter().map(|text| Line::styled(text, style))),
            }
            if lines.len() < 3 {
                lines.push(Line::raw(item_text(seen, inner.width as usize)));
            }
        }
        Paragraph::new(lines).render(inner, buf);
    }

    fn draw_boxes(&self, columns: u16, width: u16, height: u16, area: Rect, buf: &mut Buffer) {
        for (index, seen) in self.look.slots.iter().enumerate() {
            let (row, column) = (index as u16 / columns, index as u16 % columns);
            let place = Rect { x: area.x + column * width, y: area.y + row * height, width, height };
            self.draw_box(seen, place.intersection(area), buf);
        }
    }

    fn draw_heat(&self, each: usize, row: usize, area: Rect, buf: &mut Buffer) {
        let in_bucket = self.look.snapshot.capacity / self.look.buckets.len().max(1) as u64;
        let cell_of = |position: u64| (self.look.slot_of(position) / in_bucket.max(1)) as usize / each;
        let (head, tail) = (cell_of(self.look.snapshot.head), cell_of(self.look.snapshot.tail));
        let label = if area.width > row as u16 { (area.width - row as u16).min(LABEL) } else { 0 };
        for (index, buckets) in self.look.buckets.chunks(each).enumerate() {
            let (line, column) = ((index / row) as u16, (index % row) as u16);
            let (x, y) = (area.x + label + column, area.y + line);
            if !area.contains((x, y).into()) {
                continue;
            }
            if column == 0 && label > 1 {
                let first = (index * each) as u64 * in_bucket;
                let text = format!("{first:>width$}", width = label as usize - 1);
                buf.set_stringn(area.x, y, text, label as usize - 1, self.theme.dim());
            }
            let mut census = Census::default();
            buckets.iter().for_each(|bucket| census.join(bucket));
            let (text, style) = self.cell(&census, each as u64 * in_bucket);
            let style = match index == head || index == tail {
                true => style.add_modifier(Modifier::REVERSED),
                false => style,
            };
            buf.set_stringn(x, y, text, 1, style);
        }
    }

    /// A cell of `slots` slots. For a single slot: its letter. For many: how full they are, in the colour of a
    /// rare state among them, or else of the most frequent one.
    fn cell(&self, census: &Census, slots: u64) -> (&'static str, Style) {
        let rare = [SlotState::Damaged, SlotState::Abandoned, SlotState::Late, SlotState::Redeliver];
        let common = [SlotState::Ready, SlotState::Reading, SlotState::Writing];
        let rare = rare.into_iter().find(|&state| census.of(state) > 0);
        let most = common.into_iter().max_by_key(|&state| census.of(state)).filter(|_| census.used() > 0);
        let state = rare.or(most).unwrap_or(SlotState::Free);
        if slots == 1 {
            return (letter(state), self.theme.state(state));
        }
        let level = (census.used() * 8).div_ceil(slots).min(8) as usize;
        match state {
            SlotState::Free => (letter(state), self.theme.dim()),
            // Without colours, a rare state needs its letter to be visible.
            _ if rare.is_some() && !self.theme.has_colours() => (letter(state), self.theme.state(state)),
            _ => (LEVELS[level], self.theme.state(state)),
        }
    }
}

impl Widget for SlotPicture<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        match self.form {
            Form::Boxes { columns, width, height } => self.draw_boxes(columns, width, height, area, buf),
            Form::Heat { each, row } => self.draw_heat(each, row, area, buf),
        }
    }
}

/// The letters and colours of the usual states and of those that are present, and the marks, as far as they fit.
pub fn legend(look: &Observation, theme: Theme, width: u16) -> Line<'static> {
    let usual = [SlotState::Free, SlotState::Writing, SlotState::Ready, SlotState::Reading];
    let line = |with_usual: bool, blanks: &str, marks: &'static str| {
        let is_shown = |state: &SlotState| with_usual && usual.contains(state) || look.census.of(*state) > 0;
        let mut spans = Vec::new();
        for state in STATES.into_iter().filter(is_shown) {
            let count = look.census.of(state);
            spans.push(Span::styled(format!("{} {} ", letter(state), word(state)), theme.state(state)));
            spans.push(Span::raw(format!("{}{blanks}", show::count(count))));
        }
        spans.push(Span::styled(marks, theme.mark()));
        Line::from(spans)
    };
    let (long, short) = ("▼ next in  ▲ next out", "▼ in ▲ out");
    let forms = [(true, "   ", long), (true, "  ", short), (false, "  ", short), (false, "  ", "")];
    let mut lines = forms.map(|(usual, blanks, marks)| line(usual, blanks, marks)).into_iter();
    let first = lines.find(|line| line.width() <= width as usize);
    first.unwrap_or_else(|| line(false, " ", ""))
}

fn item_name(seen: &Seen) -> String {
    match (&seen.item, seen.slot.part) {
        (Some(item), 0) => format!("#{}", item.sequence),
        (_, 0) => String::new(),
        (_, part) => format!("part {} of {}", part + 1, seen.slot.parts),
    }
}

/// The beginning of the item, as far as it fits.
fn item_text(seen: &Seen, width: usize) -> String {
    let Some(item) = &seen.item else { return String::new() };
    let whole = item.len as usize <= item.beginning.len();
    let text = crate::cli::common::escape::bytes(&item.beginning, whole);
    if whole && text.chars().count() <= width {
        return text;
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}
