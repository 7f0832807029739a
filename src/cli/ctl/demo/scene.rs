//! The picture of the demonstration: the ring with its processes, the counts, and what the keys do.

use std::collections::{HashMap, HashSet};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::KeyCode;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::ledger::{Handover, Key, Ledger};
use super::stage::{PATIENCE, POLL, Stage, stop_and_wait};
use super::textbook::Book;
use super::textbook::lesson::Lesson;
use crate::cli::common::exit::Failure;
use crate::cli::ctl::picture::model::Model;
use crate::cli::ctl::picture::screen::Scene;
use crate::cli::ctl::picture::steps::Mood;
use crate::cli::ctl::picture::view::theme::Theme;
use crate::cli::ctl::picture::view::{Choices, Extras, Guide, Screen};
use crate::cli::ctl::show;
use crate::sys::command::clock;
use crate::testing::history::{Report, producer_in_ring};
use crate::{Role, SlotState};

/// The keys of `ringctl demo`.
pub const GUIDE: Guide = Guide {
    keys: &[
        ("q", "quit"),
        ("k", "kill"),
        ("r", "restart"),
        ("1-4", "lessons"),
        ("s", "stop"),
        ("c", "resume"),
        ("?", "help"),
        ("tab", "select"),
        ("space", "pause"),
    ],
    help: "k: kill -9 of the selected process (▸), or of a worker that has an item. s: stop it as kill -STOP does. \
        c: continue what is stopped. r: start again what is dead. Tab, left and right: select a process, or none. \
        1 to 4: lessons on the buffer of the textbooks, where k kills the selected process, or the one that has what all \
        others need, such as the mutex: 1 two semaphores and a mutex, 2 the wrong signal, 3 a condition variable, 4 a \
        semaphore as an event. t: lesson 1, or back to our ring. q, Ctrl-C: end all processes, check their logs and quit. \
        Space: pause the picture, not the processes. + and -: look more or less often. Arrows, Page Up and Down, Home, End: \
        scroll the list of events, and this help, which any other key closes.",
};

/// Narrower screens have short words for the fate of a dead process.
const WIDE: u16 = 60;

/// The demonstration.
pub struct Demo {
    /// The ring of the textbooks, while it is shown. Its processes are the session's: they end before that reaps them.
    book: Option<Book>,
    pub stage: Stage,
    model: Model,
    ledger: Ledger,
    /// The process of each place, in their order.
    pids: Vec<u32>,
    /// The selected place.
    selected: Option<usize>,
    /// What became of the items of killed processes, by process id.
    fates: HashMap<u32, Handover>,
    /// The place where the search for a worker begins: another one each time.
    next: usize,
    /// What a key could not do.
    failure: Option<Failure>,
}

impl Demo {
    /// Ends all processes, and checks the logs; the second value is the number of killed processes.
    pub fn end(mut self) -> Result<(Report, u64), Failure> {
        self.book = None;
        self.stage.end()
    }

    /// Starts the processes, and observes their ring.
    pub fn start() -> Result<Self, Failure> {
        let stage = Stage::new()?;
        let failed = |error| Failure::of_ring(stage.ring.name(), &error);
        let mut model = Model::new((**stage.ring).clone()).map_err(failed)?;
        // A dead process is shown until it is started again.
        model.tally.deaths.show_for(Duration::MAX);
        let mut demo = Demo {
            stage,
            model,
            ledger: Ledger::default(),
            pids: Vec::new(),
            selected: None,
            fates: HashMap::new(),
            next: 0,
            book: None,
            failure: None,
        };
        demo.list();
        Ok(demo)
    }

    fn list(&mut self) {
        self.pids = self.stage.places.iter().map(|place| place.pid()).collect();
    }

    /// Reads the logs, and says which process got the item of a killed one.
    fn read(&mut self) -> Result<(), Failure> {
        let events = self.stage.events()?;
        for handover in self.ledger.take(events) {
            let Handover { sequence, from, to, after } = handover;
            let after = show::duration(after);
            let text = format!("consumer {to} got item {sequence}, {after} after kill -9 of consumer {from}");
            self.model.tell(Mood::Alarm, text);
            self.fates.insert(from, handover);
        }
        Ok(())
    }

    /// The items in the ring at the last observation, as the logs name them.
    fn in_ring(&self) -> HashSet<Key> {
        let ring = self.model.watched.ring.id();
        let look = &self.model.watched.last;
        let items = look.firsts().filter(|seen| seen.slot.state != SlotState::Free);
        items
            .filter_map(|seen| seen.id())
            .map(|(producer, sequence)| (producer_in_ring(ring, producer), sequence))
            .collect()
    }

    /// The place that a key acts on: the selected one; or a worker that has an item, which is stopped then, so that it
    /// keeps the item; or, if no worker has one for a moment, any that runs.
    fn target(&mut self) -> Result<Option<usize>, Failure> {
        if let Some(selected) = self.selected {
            return Ok(self.stage.places[selected].is_running().then_some(selected));
        }
        let start = Instant::now();
        let found = loop {
            // What the logs have by now decides which worker has an item.
            self.look_again()?;
            let running = self.running();
            let is_worker = |place: &usize| self.stage.places[*place].role == Role::Consumer;
            let workers: Vec<usize> = running.iter().copied().filter(is_worker).collect();
            let produces = running.iter().any(|place| self.stage.places[*place].role == Role::Producer);
            let may_come = produces || !self.ledger.open().is_empty();
            if workers.is_empty() || !may_come || start.elapsed() > PATIENCE {
                break workers.first().or(running.first()).copied();
            }
            if let Some(busy) = self.stop_busy(&workers)? {
                break Some(busy);
            }
            thread::sleep(POLL);
        };
        self.next = found.map_or(self.next, |place| place + 1);
        Ok(found)
    }

    /// The places whose processes run, from the next one on.
    fn running(&self) -> Vec<usize> {
        let places = &self.stage.places;
        let running = |place: &usize| places[*place].is_running() && !places[*place].is_stopped();
        (0..places.len()).map(|n| (self.next + n) % places.len()).filter(running).collect()
    }

    /// Stops the first of the workers that has an item and that the picture shows: it shows no process that comes and dies
    /// between two observations.
    fn stop_busy(&mut self, workers: &[usize]) -> Result<Option<usize>, Failure> {
        for &place in workers {
            let pid = self.stage.places[place].pid();
            let is_shown = self.model.watched.last.snapshot.participants.iter().any(|one| one.pid == pid);
            if !is_shown || !self.ledger.has_item(pid) {
                continue;
            }
            let has_stopped = stop_and_wait(pid);
            // It may have finished meanwhile.
            self.read()?;
            if has_stopped && self.ledger.has_item(pid) {
                return Ok(Some(place));
            }
            self.stage.signal(place, Signal::SIGCONT);
        }
        Ok(None)
    }

    fn kill(&mut self) -> Result<(), Failure> {
        let Some(place) = self.target()? else {
            self.say("k: no process to kill; r starts them again");
            return Ok(());
        };
        let (who, pid) = self.named(place);
        self.ledger.kill(pid, clock::monotonic_ns());
        self.stage.signal(place, Signal::SIGKILL);
        self.say(&format!("k: kill -9 {pid}, {who}"));
        Ok(())
    }

    fn stop(&mut self) -> Result<(), Failure> {
        let Some(place) = self.target()? else {
            self.say("s: no process to stop");
            return Ok(());
        };
        let (who, pid) = self.named(place);
        self.stage.signal(place, Signal::SIGSTOP);
        self.say(&format!("s: kill -STOP {pid}, {who}"));
        Ok(())
    }

    /// The selected place, or all.
    fn chosen(&self) -> Vec<usize> {
        self.selected.map_or_else(|| (0..self.stage.places.len()).collect(), |place| vec![place])
    }

    fn go_on(&mut self) -> Result<(), Failure> {
        let stopped = self.chosen().into_iter().filter(|place| self.stage.places[*place].is_stopped());
        let stopped: Vec<usize> = stopped.collect();
        for &place in &stopped {
            let (who, pid) = self.named(place);
            self.stage.signal(place, Signal::SIGCONT);
            self.say(&format!("c: kill -CONT {pid}, {who}"));
        }
        if stopped.is_empty() {
            self.say("c: no process is stopped");
        }
        Ok(())
    }

    fn restart(&mut self) -> Result<(), Failure> {
        self.note_ends()?;
        // All that the dead processes have logged.
        self.read()?;
        let dead = self.chosen().into_iter().filter(|place| !self.stage.places[*place].is_alive());
        let dead: Vec<usize> = dead.collect();
        for &place in &dead {
            let before = self.stage.restart(place)?;
            self.model.tally.deaths.dismiss(before);
            let (who, pid) = self.named(place);
            self.say(&format!("r: {who} starts, process {pid}"));
        }
        if dead.is_empty() {
            self.say("r: no process is dead");
        }
        self.list();
        Ok(())
    }

    fn note_ends(&mut self) -> Result<(), Failure> {
        for place in self.stage.ended()? {
            if let Some(complaint) = self.stage.places[place].complaint() {
                self.model.tell(Mood::Alarm, complaint);
            }
        }
        Ok(())
    }

    /// A place in words, and its process.
    fn named(&self, place: usize) -> (String, u32) {
        let places = &self.stage.places;
        let role = places[place].role;
        let number = places[..=place].iter().filter(|other| other.role == role).count();
        let what = if role == Role::Producer { "producer" } else { "worker" };
        (format!("{what} no. {number}"), places[place].pid())
    }

    fn say(&mut self, text: &str) {
        self.model.tell(Mood::Note, text.into());
    }

    fn select(&mut self, forward: bool) {
        let last = self.book.as_ref().map_or(self.stage.places.len(), Book::places) - 1;
        self.selected = match (self.selected, forward) {
            (None, true) => Some(0),
            (None, false) => Some(last),
            (Some(place), true) if place < last => Some(place + 1),
            (Some(place @ 1..), false) => Some(place - 1),
            _ => None,
        };
    }

    /// Shows a lesson instead of our ring, or our ring.
    fn open(&mut self, lesson: Option<Lesson>) -> Result<(), Failure> {
        // The lesson before ends first: the next one makes a buffer of the same name.
        (self.book, self.selected) = (None, None);
        self.book = lesson.map(|lesson| Book::start(&self.stage, lesson)).transpose()?;
        Ok(())
    }

    fn act(&mut self, key: KeyCode) -> Result<bool, Failure> {
        let selected = self.selected;
        match (key, &mut self.book) {
            (KeyCode::Char('t'), Some(_)) => self.open(None)?,
            (KeyCode::Char('t'), None) => self.open(Some(Lesson::Mutex))?,
            (KeyCode::Char('k'), Some(book)) => book.signal(selected, Signal::SIGKILL)?,
            (KeyCode::Char('s'), Some(book)) => book.signal(selected, Signal::SIGSTOP)?,
            (KeyCode::Char('c'), Some(book)) => book.go_on(selected),
            (KeyCode::Char('r'), Some(book)) => book.restart(&self.stage, selected)?,
            (KeyCode::Char(key), _) if Lesson::of_key(key).is_some() => self.open(Lesson::of_key(key))?,
            _ => return self.act_on_ours(key),
        }
        Ok(true)
    }

    fn act_on_ours(&mut self, key: KeyCode) -> Result<bool, Failure> {
        match key {
            KeyCode::Char('k') => self.kill()?,
            KeyCode::Char('s') => self.stop()?,
            KeyCode::Char('c') => self.go_on()?,
            KeyCode::Char('r') => self.restart()?,
            KeyCode::Tab | KeyCode::Right => self.select(true),
            KeyCode::BackTab | KeyCode::Left => self.select(false),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The counts, as many as fit.
    fn counts(&self, theme: Theme, width: u16) -> Line<'static> {
        let Ledger { sent, done, again, .. } = self.ledger;
        let (killed, lost) = (self.stage.killed, self.ledger.lost());
        let of = |what: &str, count: u64, style| {
            vec![Span::raw(format!("{what} ")), Span::styled(show::count(count), style)]
        };
        let fate = |count| if count > 0 { theme.bad() } else { theme.heading() };
        let judged = if lost > 0 { theme.bad() } else { theme.good().patch(theme.heading()) };
        let all = [
            of("sent", sent, theme.heading()),
            of("done", done, theme.heading()),
            of("killed", killed, fate(killed)),
            of("again", again, theme.heading()),
            of("lost", lost, judged),
        ];
        let line = |gap: &'static str, with_again: bool| {
            let parts = all.iter().enumerate().filter(|(number, _)| with_again || *number != 3);
            let mut line = Line::default();
            for (_, part) in parts {
                if line.width() > 0 {
                    line.spans.push(Span::styled(gap, theme.dim()));
                }
                line.spans.extend(part.iter().cloned());
            }
            line
        };
        let lines = [line(" · ", true), line(" · ", false), line(" ", false)];
        let fits = |line: &Line<'_>| line.width() <= width.into();
        lines.iter().find(|line| fits(line)).unwrap_or(&lines[2]).clone()
    }

    fn fate(handover: &Handover, width: u16) -> String {
        let Handover { sequence, to, after, .. } = handover;
        let after = show::duration(*after);
        match width {
            WIDE.. => format!("died, had item {sequence}; {to} got it after {after}"),
            _ => format!("item {sequence} to {to}: {after}"),
        }
    }
}

impl Scene for Demo {
    fn look_again(&mut self) -> Result<bool, Failure> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let before = self.ledger.open();
        let looked = self.model.look_again();
        let go_on = looked.map_err(|error| Failure::of_ring(self.stage.ring.name(), &error))?;
        self.note_ends()?;
        self.read()?;
        let in_ring = self.in_ring();
        self.ledger.compare(&before, &in_ring);
        if let Some(book) = &mut self.book {
            book.look_again()?;
        }
        Ok(go_on)
    }

    fn events(&self) -> (usize, u64) {
        match &self.book {
            Some(book) => (book.events.len(), book.told),
            None => (self.model.events.len(), self.model.told),
        }
    }

    fn draw(&self, choices: Choices, area: Rect, buf: &mut Buffer) {
        if let Some(book) = &self.book {
            return book.draw(self.selected, choices, area, buf);
        }
        let fates = self.fates.iter().map(|(pid, handover)| (*pid, Self::fate(handover, area.width)));
        let extras = Extras {
            status: Some(self.counts(choices.theme, area.width)),
            order: &self.pids,
            selected: self.selected.map(|place| self.pids[place]),
            fates: fates.collect(),
        };
        Screen::new(&self.model, choices).with(extras).render(area, buf);
    }

    fn key(&mut self, key: KeyCode) -> bool {
        self.act(key).unwrap_or_else(|failure| {
            self.failure = Some(failure);
            true
        })
    }
}
