//! Drawing: one picture of the model, whatever its size, for the terminal and for `--once`.
pub mod help;
pub mod slots;
pub mod theme;

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};

use super::model::{Model, Rates, items_of};
use crate::cli::{ctl::show, sync_args};
use crate::{Activity, Liveness, ParticipantInfo, Role, SlotState};
use slots::Slots;
use theme::Theme;

/// Narrowest screen on which semaphores and processes stand side by side.
const SIDE_BY_SIDE: u16 = 110;
/// Columns of the semaphores there.
const SEMAPHORES: u16 = 46;
/// Rows that the log gets at least before slots become boxes, besides its title and first row.
const LOG: u16 = 1;
/// Longest bar of a semaphore.
const BAR: u64 = 12;

/// What the viewer has chosen.
#[derive(Debug, Clone, Copy)]
pub struct Choices {
    pub theme: Theme,
    pub interval: Duration,
    pub paused: bool,
    pub help: bool,
    /// Sentences that the log is scrolled back by.
    pub back: usize,
    /// Whether there are keys to be told of.
    pub keys: bool,
}

/// The whole picture.
#[derive(Debug)]
pub struct Screen<'m> {
    pub model: &'m Model,
    pub choices: Choices,
}

/// Where the parts go; those of no height are left out.
struct Places {
    header: Rect,
    slots_title: Rect,
    slots: Rect,
    legend: Rect,
    semaphores: Rect,
    processes: Rect,
    log_title: Rect,
    log: Rect,
    keys: Rect,
}

/// Rows that are not given away yet.
struct Rows(u16);

impl Rows {
    /// All that is wanted, or nothing.
    fn take(&mut self, wanted: u16) -> u16 {
        let given = if self.0 >= wanted { wanted } else { 0 };
        self.0 -= given;
        given
    }
}

impl Places {
    fn new(screen: &Screen<'_>, area: Rect) -> Self {
        let people = screen.model.look.snapshot.participants.len().max(1) as u16 + 1;
        let side_by_side = area.width >= SIDE_BY_SIDE;
        let both = match side_by_side {
            true => people.max(screen.semaphores().len() as u16 + 1),
            false => people + screen.semaphores().len() as u16 + 1,
        };
        // In the order in which a small screen gives them up, last first.
        let mut rows = Rows(area.height);
        let header = rows.take(1);
        let slots_least = rows.take(1);
        let log_title = rows.take(2) / 2;
        let slots_title = rows.take(1);
        let legend = rows.take(1);
        let keys = rows.take(screen.choices.keys as u16);
        // Boxes show more than the list of processes does; the log gets what is left.
        let spare = if rows.0 > both + LOG { rows.0 - both - LOG } else { rows.0 / 2 };
        let slots = Rect { height: spare + slots_least, ..area };
        let slots = slots_least + rows.take(screen.slots(slots).height().saturating_sub(slots_least));
        let both = rows.take(both.min(rows.0));
        let [header, slots_title, slots, legend, middle, log_title, log, keys] = Layout::vertical([
            Constraint::Length(header),
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
                Layout::horizontal(parts).spacing(2).areas(middle)
            }
            false => {
                let semaphores = screen.semaphores().len() as u16 + 1;
                let semaphores = if both > semaphores + 1 { semaphores } else { 0 };
                Layout::vertical([Constraint::Length(semaphores), Constraint::Min(0)]).areas(middle)
            }
        };
        Places { header, slots_title, slots, legend, semaphores, processes, log_title, log, keys }
    }
}

impl Widget for Screen<'_> {
    fn render(self, area: Rect, buf: &mut Buffer) {
        if area.is_empty() {
            return;
        }
        let places = Places::new(&self, area);
        let rates = self.model.rates();
        self.header(rates.as_ref()).render(places.header, buf);
        let slots = self.slots(places.slots);
        self.title("Slots", &self.fill(&slots), places.slots_title, buf);
        slots.render(places.slots, buf);
        slots::legend(&self.model.look, self.choices.theme).render(places.legend, buf);
        self.middle(rates.as_ref(), &places, buf);
        self.log(places.log_title, places.log, buf);
        self.keys().render(places.keys, buf);
        if self.choices.help {
            help::draw(self.choices.theme, area, buf);
        }
    }
}

impl Screen<'_> {
    /// Rows that show everything at this width, and a few sentences.
    pub fn height(&self, width: u16) -> u16 {
        let slots = self.slots(Rect { x: 0, y: 0, width, height: u16::MAX }).height();
        let people = self.model.look.snapshot.participants.len() as u16 + 4;
        slots.saturating_add(people).saturating_add(self.semaphores().len() as u16 + 10)
    }

    fn slots(&self, area: Rect) -> Slots<'_> {
        Slots::new(&self.model.look, self.choices.theme, area.width, area.height)
    }

    fn header(&self, rates: Option<&Rates>) -> Line<'static> {
        let (ring, snapshot, theme) = (&self.model.ring, &self.model.look.snapshot, self.choices.theme);
        let state = self.model.state();
        let tone = if state == "open" { theme.good() } else { theme.notable() };
        let flow = rates.map(|now| format!("  in {}/s  out {}/s", rate(now.sent), rate(now.received)));
        let size =
            format!("{} of {}", show::counted(snapshot.capacity, "slot"), show::bytes(snapshot.slot_size));
        let sharing = if ring.is_exclusive() { "one producer, one consumer" } else { "for many processes" };
        Line::from(vec![
            Span::styled(format!("{}  ", show::name(ring.name())), theme.heading()),
            Span::styled(state, tone),
            Span::raw(flow.unwrap_or_default()),
            Span::styled(format!("  {size}, {sharing}"), theme.dim()),
            Span::styled(format!(", {}", sync_args::describe(snapshot.discipline)), theme.dim()),
        ])
    }

    /// A heading, a remark, and a rule to the end of the line.
    fn title(&self, title: &str, remark: &str, area: Rect, buf: &mut Buffer) {
        let theme = self.choices.theme;
        let used = title.chars().count() + remark.chars().count() + 2 + !remark.is_empty() as usize;
        let rule = "─".repeat((area.width as usize).saturating_sub(used));
        let spans = vec![
            Span::styled(format!("{title} "), theme.heading()),
            Span::raw(if remark.is_empty() { String::new() } else { format!("{remark} ") }),
            Span::styled(rule, theme.dim()),
        ];
        Line::from(spans).render(area, buf);
    }

    fn fill(&self, slots: &Slots<'_>) -> String {
        let look = &self.model.look;
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
            Paragraph::new(self.semaphores()).render(rest, buf);
        }
        if places.processes.height > 0 {
            let [title, rest] = titled(places.processes);
            let came = &self.model.look.snapshot;
            let producers = show::counted(came.producers_ever, "producer");
            let consumers = show::counted(came.consumers_ever, "consumer");
            let remark = format!("{producers} and {consumers} came so far");
            self.title("Processes", &remark, title, buf);
            let mut lines = self.processes(rates);
            let more = lines.len().saturating_sub(rest.height as usize);
            if more > 0 && rest.height > 1 {
                lines.truncate(rest.height as usize - 1);
                lines.push(Line::styled(format!("and {} more", more + 1), self.choices.theme.dim()));
            }
            Paragraph::new(lines).render(rest, buf);
        }
    }

    fn semaphores(&self) -> Vec<Line<'static>> {
        let snapshot = &self.model.look.snapshot;
        let mut lines: Vec<Line<'static>> = [
            ("items", snapshot.items_semaphore, "consumers"),
            ("room", snapshot.room_semaphore, "producers"),
        ]
        .into_iter()
        .map(|(name, (value, sleepers), who)| {
            let theme = self.choices.theme;
            let shown = u64::try_from(value).unwrap_or(0);
            let length = snapshot.capacity.min(BAR);
            let full = match snapshot.capacity <= BAR {
                true => shown.min(length),
                false => shown.saturating_mul(length).div_ceil(snapshot.capacity).min(length),
            };
            let asleep = match sleepers {
                0 => Span::styled(format!("  no {who} asleep"), theme.dim()),
                1 => Span::styled(format!("  1 {} asleep", &who[..who.len() - 1]), theme.notable()),
                n => Span::styled(format!("  {n} {who} asleep"), theme.notable()),
            };
            Line::from(vec![
                Span::raw(format!("{name:<6}{value:>4} ")),
                Span::styled("●".repeat(full as usize), theme.good()),
                Span::styled("○".repeat((length - full) as usize), theme.dim()),
                asleep,
            ])
        })
        .collect();
        if snapshot.discipline.takes_turns() && !self.model.ring.is_exclusive() {
            lines.push(self.mutex());
        }
        lines
    }

    fn mutex(&self) -> Line<'static> {
        let (snapshot, theme) = (&self.model.look.snapshot, self.choices.theme);
        let (value, owner) = snapshot.mutex;
        let free = value > 0;
        let turn = owner.map(|number| match snapshot.participants.iter().find(|one| one.number == number) {
            Some(one) => format!("  {} {} has its turn", one.role, one.pid),
            None => format!("  participant {number} had its turn"),
        });
        Line::from(vec![
            Span::raw(format!("{:<6}{value:>4} ", "mutex")),
            Span::styled(if free { "●" } else { "○" }, if free { theme.good() } else { theme.dim() }),
            match turn {
                Some(turn) => Span::styled(turn, theme.notable()),
                None => Span::styled("  nobody's turn", theme.dim()),
            },
        ])
    }

    fn processes(&self, rates: Option<&Rates>) -> Vec<Line<'static>> {
        let participants = &self.model.look.snapshot.participants;
        if participants.is_empty() {
            return vec![Line::styled("nobody takes part", self.choices.theme.dim())];
        }
        let mut sorted: Vec<&ParticipantInfo> = participants.iter().collect();
        sorted.sort_by_key(|one| (one.role == Role::Consumer, one.serial));
        sorted.into_iter().map(|one| self.process(one, rates)).collect()
    }

    fn process(&self, one: &ParticipantInfo, rates: Option<&Rates>) -> Line<'static> {
        let theme = self.choices.theme;
        let state = if one.role == Role::Producer { SlotState::Writing } else { SlotState::Reading };
        let (doing, style) = match (one.liveness, one.activity) {
            (Liveness::Dead, _) => ("dead".to_string(), theme.bad()),
            (Liveness::Stopped, _) => ("stopped".to_string(), theme.bad()),
            (_, Activity::Busy) => (self.holds(one).unwrap_or("busy".into()), theme.state(state)),
            (_, Activity::WaitingForItems) => ("waits for items".to_string(), theme.dim()),
            (_, Activity::WaitingForRoom) => ("waits for room".to_string(), theme.notable()),
        };
        let per_second =
            rates.and_then(|rates| rates.of.get(&one.serial)).map(|own| format!("  {:>7}/s", rate(*own)));
        let done = if one.role == Role::Producer { "sent" } else { "taken" };
        Line::from(vec![
            Span::styled(format!("{:<8} {:>7}", one.role.to_string(), one.pid), theme.state(state)),
            Span::raw(format!("  {:<10.10}  ", one.command)),
            Span::styled(format!("{doing:<17}"), style),
            Span::raw(format!(
                "  {:>9} {done:<5}{}",
                show::count(items_of(one)),
                per_second.unwrap_or_default()
            )),
        ])
    }

    /// What a participant writes or has, where slots are seen one by one.
    fn holds(&self, one: &ParticipantInfo) -> Option<String> {
        let mut held = self.model.look.firsts().filter(|seen| seen.slot.owner == Some(one.number));
        let first = held.next()?;
        let verb = if one.role == Role::Producer { "writes" } else { "has" };
        Some(match (first.id(), held.count()) {
            (_, more) if more > 0 => format!("{verb} {} items", more + 1),
            (Some((_, sequence)), _) => format!("{verb} item {sequence}"),
            (None, _) => format!("{verb} slot {}", first.slot.number),
        })
    }

    fn log(&self, title: Rect, area: Rect, buf: &mut Buffer) {
        let (theme, events) = (self.choices.theme, &self.model.events);
        let rows = area.height as usize;
        let back = self.choices.back.min(events.len().saturating_sub(rows));
        let remark = if back > 0 { format!("{back} later ones below") } else { String::new() };
        self.title("What happens", &remark, title, buf);
        let end = events.len() - back;
        let lines: Vec<Line<'_>> = events
            .range(end.saturating_sub(rows)..end)
            .map(|event| {
                Line::from(vec![
                    Span::styled(format!("{:>8.2}s  ", event.at.as_secs_f64()), theme.dim()),
                    Span::styled(event.text.as_str(), theme.mood(event.mood)),
                ])
            })
            .collect();
        Paragraph::new(lines).render(area, buf);
    }

    fn keys(&self) -> Line<'static> {
        let theme = self.choices.theme;
        let mut spans = Vec::new();
        let pause = if self.choices.paused { "go on" } else { "pause" };
        for (key, does) in
            [("q", "quit"), ("space", pause), ("+ -", "pace"), ("↑ ↓", "scroll"), ("?", "help")]
        {
            spans.push(Span::styled(format!(" {key} "), theme.heading().add_modifier(Modifier::REVERSED)));
            spans.push(Span::styled(format!(" {does}  "), theme.dim()));
        }
        let every = show::given(self.choices.interval);
        spans.push(match self.choices.paused {
            true => Span::styled("paused: the ring goes on".to_string(), theme.notable()),
            false => Span::styled(format!("a look every {every}"), theme.dim()),
        });
        Line::from(spans)
    }
}

fn titled(area: Rect) -> [Rect; 2] {
    Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area)
}

/// Items per second: two digits where there are few.
fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 9.95 => show::count(rate.round() as u64),
        rate => format!("{rate:.1}"),
    }
}

/// Bytes as text on one line: what is no text is escaped. A character that is cut off at the end of what is not
/// the `whole` is left out.
pub fn escape(bytes: &[u8], whole: bool) -> String {
    let mut text = String::new();
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        for c in chunk.valid().chars() {
            match c {
                c if c.is_control() => text.extend(c.escape_default()),
                c => text.push(c),
            }
        }
        let cut_off = !whole && chunks.peek().is_none() && chunk.invalid().len() < 4;
        let is_start = std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
        if !(cut_off && is_start) {
            chunk.invalid().iter().for_each(|byte| text += &format!("\\x{byte:02x}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RingOptions;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    /// A ring with an item that waits, one that is held, and one that is being written.
    fn with_model(what: &str, capacity: u64, test: impl FnOnce(&Model)) {
        let name = format!("watch-view-{what}-{}", std::process::id());
        let ring = RingOptions::new().capacity(capacity).create(&name).unwrap();
        let (mut producer, mut other) = (ring.producer().unwrap(), ring.producer().unwrap());
        let mut consumer = ring.consumer().unwrap();
        producer.send(b"first").unwrap();
        producer.send(b"sec\xffond\n").unwrap();
        let held = consumer.recv().unwrap();
        let reserved = other.reserve(5).unwrap();
        let mut model = Model::new(ring.clone()).unwrap();
        assert!(model.look_again().unwrap());
        test(&model);
        drop((held, reserved));
        ring.remove().unwrap();
    }

    fn choices(colours: bool) -> Choices {
        let interval = Duration::from_millis(100);
        Choices { theme: Theme::new(colours), interval, paused: false, help: false, back: 0, keys: true }
    }

    fn drawn(model: &Model, choices: Choices, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| frame.render_widget(Screen { model, choices }, frame.area())).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_small_ring_shows_what_each_slot_holds() {
        with_model("boxes", 4, |model| {
            let picture = drawn(model, choices(true), 80, 24);
            for part in
                ["READING", "READY", "WRITING", "FREE", "#0", "#1", "sec\\xffond\\n", "next in", "next out"]
            {
                assert!(picture.contains(part), "no {part} in\n{picture}");
            }
            let pid = format!("by {}", std::process::id());
            assert!(picture.contains(&pid), "{picture}");
            assert!(picture.contains("items") && picture.contains("room"), "{picture}");
        });
    }

    #[test]
    fn any_size_can_be_drawn_on() {
        for (what, capacity) in [("tiny", 4), ("few", 8), ("many", 1024), ("buckets", 1 << 14)] {
            with_model(what, capacity, |model| {
                for width in [1, 2, 3, 7, 8, 9, 13, 20, 40, 80, 109, 110, 200] {
                    for height in (1..12).chain([24, 60]) {
                        let help = height % 2 == 0;
                        drawn(model, Choices { help, back: 7, ..choices(help) }, width, height);
                    }
                }
            });
        }
    }

    #[test]
    fn a_tiny_screen_still_shows_the_slots_and_what_happens() {
        with_model("20x5", 8, |model| {
            let picture = drawn(model, choices(false), 20, 5);
            assert!(picture.contains("TRW") && picture.contains("What happens"), "{picture}");
        });
    }

    #[test]
    fn a_large_ring_is_a_row_of_heat_that_says_its_scale() {
        with_model("heat", 1 << 14, |model| {
            let picture = drawn(model, choices(true), 80, 24);
            assert!(picture.contains("16,384") && picture.contains("a cell is 32 slots"), "{picture}");
        });
    }

    #[test]
    fn without_colours_nothing_is_coloured() {
        with_model("plain", 8, |model| {
            let mut buffer = Buffer::empty(Rect::new(0, 0, 80, 24));
            Screen { model, choices: choices(false) }.render(buffer.area, &mut buffer);
            let coloured = |cell: &&ratatui::buffer::Cell| cell.fg != ratatui::style::Color::Reset;
            assert_eq!(buffer.content.iter().find(coloured), None);
            Screen { model, choices: choices(true) }.render(buffer.area, &mut buffer);
            assert!(buffer.content.iter().any(|cell| coloured(&cell)));
        });
    }

    #[test]
    fn what_is_no_text_is_escaped_and_a_character_cut_in_two_is_left_out() {
        assert_eq!(escape("a\tü".as_bytes(), true), "a\\tü");
        assert_eq!(escape(b"\x1b[31m\xff\x00", true), "\\u{1b}[31m\\xff\\u{0}");
        assert_eq!(escape(&"aü".as_bytes()[..2], false), "a");
        assert_eq!(escape(&"aü".as_bytes()[..2], true), "a\\xc3");
        assert_eq!(escape(b"a\xff", false), "a\\xff");
    }
}
