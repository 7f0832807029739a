//! The picture of a lesson.

use std::sync::atomic::Ordering::Relaxed;

use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};

use super::Book;
use super::actor::{Actor, Doing};
use super::lesson::Lesson;
use crate::cli::common::wrap::wrap;
use crate::cli::ctl::picture::view::theme::Theme;
use crate::cli::ctl::picture::view::{Choices, heading, help, keys, log};
use crate::sys::command::textbook::Object;

/// Screens of less rows have no headings, no task, and no list of events below an explanation.
const TALL: u16 = 20;

fn wrapped(text: &str, style: Style, width: u16) -> Vec<Line<'_>> {
    wrap(text, width.into()).into_iter().map(|line| Line::styled(line, style)).collect()
}

impl Book {
    /// Draws the buffer, its semaphores and its processes, and why no item moves.
    pub fn draw(&self, selected: Option<usize>, choices: Choices, area: Rect, buf: &mut Buffer) {
        let theme = choices.theme;
        let is_tall = area.height >= TALL;
        let why = self.explanation(theme, area.width, is_tall);
        let titles = u16::from(is_tall);
        // On a small screen, the reason takes the place of the slots and the semaphores.
        let state_rows = u16::from(self.stuck.is_none() || is_tall);
        let [header, counts, slots_title, slots, objects, actors_title, actors, reason, log_title, log, foot] =
            Layout::vertical([
                Constraint::Length(1),
                Constraint::Length(1),
                Constraint::Length(titles),
                Constraint::Length(state_rows),
                Constraint::Length(state_rows),
                Constraint::Length(titles),
                Constraint::Length(self.state.actors.len() as u16),
                Constraint::Length(why.len() as u16),
                Constraint::Length(state_rows),
                Constraint::Min(0),
                Constraint::Length(1),
            ])
            .areas(area);
        let state = match &self.stuck {
            Some(stuck) if stuck.is_final => Span::styled("wedged", theme.bad()),
            Some(_) => Span::styled("stands still", theme.notable()),
            None if self.state.stands_still() => Span::styled("stands still", theme.notable()),
            None => Span::styled("moves", theme.good()),
        };
        let number = format!("lesson {}", self.state.lesson.key());
        let title = format!("{number}: {}  ", self.state.lesson.name());
        let fits = title.len() + state.width() <= area.width.into();
        let title = if fits { title } else { number + "  " };
        Line::from(vec![Span::styled(title, theme.heading()), state]).render(header, buf);
        let put = self.state.buffer.put.load(Relaxed);
        let text = format!("sent {put} · done {} · killed {} · lost {}", self.done, self.killed, self.lost);
        Line::styled(text, theme.heading()).render(counts, buf);
        heading("Buffer of the textbooks", "", theme, slots_title, buf);
        self.slots().render(slots, buf);
        self.objects(theme).render(objects, buf);
        heading("Processes", "", theme, actors_title, buf);
        Paragraph::new(self.actors(selected, choices)).render(actors, buf);
        Paragraph::new(why).render(reason, buf);
        if state_rows > 0 {
            log::draw(&self.events, choices, log_title, log, buf);
        }
        keys(choices, area.width.into()).render(foot, buf);
        if let Some(top) = choices.help {
            help::draw(choices, top, area, buf);
        }
    }

    /// Why no item moves and what ringpipe does instead; or, while items move, what to do.
    fn explanation(&self, theme: Theme, width: u16, is_tall: bool) -> Vec<Line<'_>> {
        match &self.stuck {
            Some(stuck) => {
                let mut lines = wrapped(&stuck.why, theme.bad(), width);
                if is_tall && !stuck.here.is_empty() {
                    lines.extend(wrapped(stuck.here, theme.good(), width));
                }
                lines
            }
            None if is_tall => wrapped(self.state.lesson.task(), theme.dim(), width),
            None => Vec::new(),
        }
    }

    /// The slots; or what takes their place in this lesson.
    fn slots(&self) -> Line<'static> {
        let slot = |item: u64| match item {
            0 => "[ ]".into(),
            item => format!("[{item}]"),
        };
        let slots = || self.state.buffer.buffer.iter().map(|place| place.load(Relaxed));
        Line::raw(match self.state.lesson {
            Lesson::Mutex | Lesson::WrongSignal => slots().map(slot).collect::<String>(),
            Lesson::Condition => format!("num {}", self.state.buffer.num.load(Relaxed)),
            Lesson::Event => format!("item {}", slots().take(1).map(slot).collect::<String>()),
        })
    }

    /// The semaphores with their values, and which process has what others wait for.
    fn objects(&self, theme: Theme) -> Line<'static> {
        let sleep = |object: Object| {
            self.state.actors.iter().filter(|actor| actor.doing == Doing::SleepsOn(object)).count()
        };
        let told = self.state.lesson.objects().iter().map(|&object| match object.semaphore() {
            Some(semaphore) => format!("{} {}", object.name(), self.state.buffer.value(semaphore)),
            None => format!("{}: {} asleep", object.name(), sleep(object)),
        });
        let told = told.collect::<Vec<_>>().join("  ");
        let held = self.state.lesson.held();
        let owner = self.state.owner().map_or(String::new(), |(pid, owner)| {
            let is_alive = self.state.actors.iter().any(|actor| actor.pid() == pid && actor.is_alive());
            format!("  {owner} {} {held}", if is_alive { "has" } else { "died with" })
        });
        Line::from(vec![Span::raw(told), Span::styled(owner, theme.notable())])
    }

    fn actors(&self, selected: Option<usize>, choices: Choices) -> Vec<Line<'static>> {
        let theme = choices.theme;
        let owner = self.state.buffer.owner.load(Relaxed);
        let line = |(place, actor): (usize, &Actor)| {
            let item = actor.item.map_or(String::new(), |item| format!(", has item {item}"));
            let held = self.state.lesson.held();
            let owns = actor.pid() == owner;
            let (doing, style) = match actor.doing {
                Doing::Dead if owns => (format!("died with {held}"), theme.bad()),
                Doing::Dead if actor.item.is_some() => (format!("died{item}: lost"), theme.bad()),
                Doing::Dead => ("died".into(), theme.bad()),
                Doing::Stopped if owns => (format!("stopped, has {held}"), theme.bad()),
                Doing::Stopped => (format!("stopped{item}"), theme.bad()),
                _ if owns => (format!("has {held}"), theme.notable()),
                Doing::SleepsOn(object) => (format!("sleeps on {}", object.name()), theme.dim()),
                _ if actor.item.is_some() => (format!("works{item}"), theme.good()),
                _ => ("busy".into(), theme.good()),
            };
            let mark = if selected == Some(place) { '▸' } else { ' ' };
            let reversed = if selected == Some(place) { Modifier::REVERSED } else { Modifier::empty() };
            let name = Span::styled(
                format!("{:<8}{mark}{:>5}", actor.role.to_string(), actor.pid()),
                style.add_modifier(reversed),
            );
            Line::from(vec![name, Span::raw("  "), Span::styled(doing, style)])
        };
        self.state.actors.iter().enumerate().map(line).collect()
    }
}
