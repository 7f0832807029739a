//! Draws one picture of the model, of any size, for the terminal and for `--once`.
pub mod help;
pub mod log;
mod processes;
mod semaphores;
pub mod slots;
pub mod theme;

use std::collections::HashMap;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};

use super::model::{Model, Rates};
use crate::cli::common::sync_args;
use crate::cli::ctl::show;
use slots::SlotPicture;
use theme::Theme;

/// The narrowest screen on which semaphores and processes are side by side.
const SIDE_BY_SIDE: u16 = 110;
/// The width of the semaphores there, and of the space next to them.
const SEMAPHORES: u16 = 44;
const SPACE: u16 = 2;
/// The minimum number of rows of the log before slots become boxes, besides its title and first row.
const LOG: u16 = 1;

/// The viewer's choices.
#[derive(Debug, Clone, Copy)]
pub struct Choices {
    pub theme: Theme,
    pub interval: Duration,
    pub paused: bool,
    /// The first shown line of the help, or `None` if it is closed.
    pub help: Option<u16>,
    /// The number of sentences by which the log is scrolled back.
    pub back: usize,
    /// The keys, and what the help says of them.
    pub guide: &'static Guide,
}

/// The keys of a picture.
#[derive(Debug, PartialEq, Eq)]
pub struct Guide {
    /// The keys to show, with a word for each, the most important first.
    pub keys: &'static [(&'static str, &'static str)],
    /// What the help says of the keys.
    pub help: &'static str,
}

impl Guide {
    /// For a picture without keys.
    pub const SILENT: Guide = Guide { keys: &[], help: "" };
}

impl Choices {
    /// The picture as it is at first.
    pub fn new(theme: Theme, interval: Duration, guide: &'static Guide) -> Self {
        Choices { theme, interval, paused: false, help: None, back: 0, guide }
    }
}

/// What a command that has started the processes of the ring adds to the picture.
#[derive(Debug, Default)]
pub struct Extras<'m> {
    /// A row below the header.
    pub status: Option<Line<'m>>,
    /// Its processes, by their ids, in the order in which they are listed. Others follow.
    pub order: &'m [u32],
    /// The one among them that keys act on.
    pub selected: Option<u32>,
    /// What is said of dead processes, by their ids, instead of what they held.
    pub fates: HashMap<u32, String>,
}

/// The whole picture.
#[derive(Debug)]
pub struct Screen<'m> {
    model: &'m Model,
    choices: Choices,
    extras: Extras<'m>,
}

/// The areas of the parts; a part without height is left out.
struct Places {
    header: Rect,
    status: Rect,
    slots_title: Rect,
    slots: Rect,
    legend: Rect,
    semaphores: Rect,
    processes: Rect,
    log_title: Rect,
    log: Rect,
    keys: Rect,
}

/// The rows that are still free.
struct Rows(u16);

impl Rows {
    /// Takes all `wanted` rows, or none.
    fn take(&mut self, wanted: u16) -> u16 {
        let given = if self.0 >= wanted { wanted } else { 0 };
        self.0 -= given;
        given
    }
}

impl Places {
    fn new(screen: &Screen<'_>, area: Rect) -> Self {
        let lines = screen.processes(screen.model.rates().as_ref());
        let people = lines.len() as u16 + 1;
        let widest = lines.iter().map(Line::width).max().unwrap_or(0);
        let beside = area.width.saturating_sub(SEMAPHORES + SPACE) as usize;
        // The processes of the command keep their place when a line becomes longer.
        let has_own = !screen.extras.order.is_empty();
        let side_by_side = area.width >= SIDE_BY_SIDE && widest <= beside && !has_own;
        let semaphores = screen.semaphores(area.width).len() as u16 + 1;
        let both = if side_by_side { people.max(semaphores) } else { people + semaphores };
        // In the order of importance: a small screen leaves out the last ones first.
        let mut rows = Rows(area.height);
        let header = rows.take(1);
        let slots_least = rows.take(1);
        let status = rows.take(screen.extras.status.is_some() as u16);
        let log_title = rows.take(2) / 2;
        // The processes of the command come before what explains the slots.
        let own = if has_own { people.min(rows.0.saturating_sub(1)) } else { 0 };
        let mut rest = Rows(rows.0 - own);
        let (slots_title, legend, keys) = match own {
            0 => (rest.take(1), rest.take(1), rest.take(!screen.choices.guide.keys.is_empty() as u16)),
            _ => {
                let keys = rest.take(1);
                (rest.take(1), rest.take(1), keys)
            }
        };
        let mut rows = Rows(rest.0 + own);
        // Boxes show more than the list of processes does; the log gets the remaining rows.
        let spare = match own {
            _ if rows.0 > both + LOG => rows.0 - both - LOG,
            0 => rows.0 / 2,
            _ => rows.0.saturating_sub(people + LOG),
        };
        let slots = Rect { height: spare + slots_least, ..area };
        let slots = slots_least + rows.take(screen.slots(slots).height().saturating_sub(slots_least));
        let both = match own {
            // Without the semaphores, if both do not fit.
            1.. if rows.0 < both + LOG => rows.take(people.min(rows.0)),
            _ => rows.take(both.min(rows.0)),
        };
        let [header, status, slots_title, slots, legend, middle, log_title, log, keys] = Layout::vertical([
            Constraint::Length(header),
            Constraint::Length(status),
            Constraint::Length(slots_title),
            Constraint::Length(slots),
            Constraint::Length(legend),
            Constraint::Length(both),
            Constraint::Length(log_title),
            Constraint::Min(0),
            Constraint::Length(keys),
        ])
        .areas(area);
        let [semaphores, processes] = match side_by_side {
            true => {
                let parts = [Constraint::Length(SEMAPHORES), Constraint::Min(0)];
                Layout::horizontal(parts).spacing(SPACE).areas(middle)
            }
            false => {
                let least = if own > 0 { people } else { 2 };
                let semaphores = if both >= semaphores + least { semaphores } else { 0 };
                Layout::vertical([Constraint::Length(semaphores), Constraint::Min(0)]).areas(middle)
            }
        };
        Places { header, status, slots_title, slots, legend, semaphores, processes, log_title, log, keys }
    }
}

impl Widget for Screen<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let places = Places::new(&self, area);
        let rates = self.model.rates();
        self.header(rates.as_ref(), area.width as usize).render(places.header, buf);
        self.extras.status.clone().render(places.status, buf);
        let slots = self.slots(places.slots);
        self.title("Slots", &self.fill(&slots), places.slots_title, buf);
        slots.render(places.slots, buf);
        slots::legend(&self.model.watched.last, self.choices.theme, area.width).render(places.legend, buf);
        self.middle(rates.as_ref(), &places, buf);
        self.log(places.log_title, places.log, buf);
        keys(self.choices, area.width as usize).render(places.keys, buf);
        if let Some(top) = self.choices.help {
            help::draw(self.choices, top, area, buf);
        }
    }
}

impl<'m> Screen<'m> {
    pub fn new(model: &'m Model, choices: Choices) -> Self {
        Screen { model, choices, extras: Extras::default() }
    }

    pub fn with(self, extras: Extras<'m>) -> Self {
        Screen { extras, ..self }
    }
}

impl Screen<'_> {
    /// The number of rows that show everything at this width, and a few sentences.
    pub fn height(&self, width: u16) -> u16 {
        let slots = self.slots(Rect { x: 0, y: 0, width, height: u16::MAX }).height();
        let people = self.processes(None).len() as u16 + 4;
        slots.saturating_add(people).saturating_add(self.semaphores(width).len() as u16 + 10)
    }

    fn slots(&self, area: Rect) -> SlotPicture<'_> {
        SlotPicture::new(&self.model.watched.last, self.choices.theme, area.width, area.height)
    }

    /// The ring and its state, and as many of its properties as fit.
    fn header(&self, rates: Option<&Rates>, width: usize) -> Line<'static> {
        let (ring, snapshot, theme) =
            (&self.model.watched.ring, &self.model.watched.last.snapshot, self.choices.theme);
        let state = self.model.state();
        let tone = if state == "open" { theme.good() } else { theme.notable() };
        let flow = rates.map(|now| format!("  in {}/s  out {}/s", rate(now.sent), rate(now.received)));
        let slots = show::counted(snapshot.capacity, "slot");
        let size = match snapshot.fixed {
            Some(bytes) => format!("{slots} for items of {}", show::bytes(bytes)),
            None => format!("{slots} of {}", show::bytes(snapshot.slot_size)),
        };
        let sharing = if ring.is_exclusive() { "one producer, one consumer" } else { "for many processes" };
        let mut line = Line::from(vec![
            Span::styled(format!("{}  ", show::name(ring.name())), theme.heading()),
            Span::styled(state, tone),
            Span::raw(flow.unwrap_or_default()),
            Span::styled(format!("  {size}"), theme.dim()),
        ]);
        for part in [sync_args::describe(snapshot.discipline), sharing.into()] {
            let part = Span::styled(format!(", {part}"), theme.dim());
            if line.width() + part.width() <= width {
                line.spans.push(part);
            }
        }
        line
    }

    fn title(&self, title: &str, remark: &str, area: Rect, buf: &mut Buffer) {
        heading(title, remark, self.choices.theme, area, buf);
    }

    fn fill(&self, slots: &SlotPicture<'_>) -> String {
        let look = &self.model.watched.last;
        let (used, capacity) = (look.census.used(), look.snapshot.capacity);
        let fill = match used {
            0 => format!("all {} free", show::count(capacity)),
            used if used == capacity => format!("all {} in use", show::count(capacity)),
            used => format!("{} of {} in use", show::count(used), show::count(capacity)),
        };
        match slots.scale() {
            None => fill,
            Some(scale) => {
                let (head, tail) = (look.slot_of(look.snapshot.head), look.slot_of(look.snapshot.tail));
                format!("{fill}; {scale}; ▼ {tail} ▲ {head}")
            }
        }
    }

    fn middle(&self, rates: Option<&Rates>, places: &Places, buf: &mut Buffer) {
        if places.semaphores.height > 0 {
            let [title, rest] = titled(places.semaphores);
            self.title("Semaphores", "", title, buf);
            Paragraph::new(self.semaphores(rest.width)).render(rest, buf);
        }
        if places.processes.height > 0 {
            let [title, rest] = titled(places.processes);
            let columns = (title.width as usize).saturating_sub("Processes  ".len());
            self.title("Processes", &self.census(columns), title, buf);
            let mut lines = self.processes(rates);
            let more = lines.len().saturating_sub(rest.height as usize);
            if more > 0 && rest.height > 1 {
                lines.truncate(rest.height as usize - 1);
                lines.push(Line::styled(format!("and {} more", more + 1), self.choices.theme.dim()));
            }
            Paragraph::new(lines).render(rest, buf);
        }
    }
}

/// Draws a heading, a remark, and a rule to the end of the line.
pub fn heading(title: &str, remark: &str, theme: Theme, area: Rect, buf: &mut Buffer) {
    let used = title.chars().count() + remark.chars().count() + 2 + !remark.is_empty() as usize;
    let rule = "─".repeat((area.width as usize).saturating_sub(used));
    let spans = vec![
        Span::styled(format!("{title} "), theme.heading()),
        Span::raw(if remark.is_empty() { String::new() } else { format!("{remark} ") }),
        Span::styled(rule, theme.dim()),
    ];
    Line::from(spans).render(area, buf);
}

/// As many keys as fit, and the interval.
pub fn keys(choices: Choices, width: usize) -> Line<'static> {
    let theme = choices.theme;
    let pace = match choices.paused {
        true => Span::styled("paused", theme.notable()),
        false => Span::styled(format!("a look every {}", show::given(choices.interval)), theme.dim()),
    };
    let mut line = Line::default();
    for &(key, does) in choices.guide.keys {
        let does = if does == "pause" && choices.paused { "go on" } else { does };
        let key = Span::styled(format!(" {key} "), theme.heading().add_modifier(Modifier::REVERSED));
        let does = Span::styled(format!(" {does}  "), theme.dim());
        if line.width() + key.width() + does.width() <= width {
            line.spans.extend([key, does]);
        }
    }
    if line.width() + pace.width() <= width {
        line.spans.push(pace);
    }
    line
}

fn titled(area: Rect) -> [Rect; 2] {
    Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area)
}

/// Items per second; small rates have two digits.
fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 9.95 => show::count(rate.round() as u64),
        rate => format!("{rate:.1}"),
    }
}

#[cfg(test)]
mod tests;
