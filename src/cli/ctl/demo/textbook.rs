//! The ring of the textbooks beside ours: three semaphores, and no record of which process is alive. The same kill
//! stops it, and the picture says why.

use std::collections::VecDeque;
use std::fs;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc::{SYS_futex, sem_t};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use ratatui::buffer::Buffer;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Widget};

use super::stage::{PATIENCE, POLL, Stage, state, stop_and_wait};
use crate::Role;
use crate::cli::common::exit::Failure;
use crate::cli::common::wrap::wrap;
use crate::cli::ctl::children::not_started;
use crate::cli::ctl::picture::model::Event;
use crate::cli::ctl::picture::steps::Mood;
use crate::cli::ctl::picture::view::{Choices, heading, help, keys, log};
use crate::sys::command::textbook::{BUFFERSIZE, Semaphore, Textbook};
use crate::testing::{Ended, Follow, Process};

/// The processes: as many as on our ring.
const ROLES: [Role; 5] = [Role::Producer, Role::Producer, Role::Consumer, Role::Consumer, Role::Consumer];
/// The buffer counts as wedged if no item has moved for this long.
const STILL: Duration = Duration::from_secs(1);
/// The number of sentences that are kept.
const MOST_EVENTS: usize = 1000;
/// Screens of less rows have no headings, and no list of events below an explanation.
const TALL: u16 = 20;
/// The semaphores, in the order of their places in memory.
const NAMES: [&str; 3] = ["room", "items", "mutex"];
const MUTEX: usize = 2;

/// One of the processes.
struct Player {
    role: Role,
    process: Process,
    lines: Follow,
    /// The item that it has taken and is not done with.
    item: Option<u64>,
    ended: Option<Ended>,
    doing: Doing,
    /// Where the buffer is in its memory.
    base: Option<u64>,
}

/// What a process does, as the kernel tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Runs,
    /// It sleeps for a time, or on something else than a semaphore.
    Sleeps,
    /// It sleeps on the semaphore with this number.
    SleepsOn(usize),
    /// It sleeps, and the system does not say where.
    Unknown,
    Stopped,
    Dead,
}

impl Player {
    fn pid(&self) -> u32 {
        self.process.id()
    }

    fn named(&self) -> String {
        format!("{} {}", self.role, self.pid())
    }

    fn signal(&self, signal: Signal) {
        // The session reaps it in the end: until then, the id belongs to it.
        let _ = kill(Pid::from_raw(self.pid() as i32), signal);
    }

    /// Asks the kernel what the process does.
    fn observe(&mut self, buffer: &str) {
        let read = |file: &str| fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).ok();
        self.doing = match state(self.pid()) {
            _ if self.ended.is_some() => Doing::Dead,
            Some('T') => Doing::Stopped,
            Some('S') => {
                if self.base.is_none() {
                    self.base = read("maps").and_then(|maps| address(&maps, buffer));
                }
                match (self.base, read("syscall")) {
                    (Some(base), Some(call)) => {
                        let offset = futex(&call).and_then(|at| at.checked_sub(base));
                        let number = offset.map(|offset| offset as usize / size_of::<sem_t>());
                        number.filter(|number| *number < NAMES.len()).map_or(Doing::Sleeps, Doing::SleepsOn)
                    }
                    _ => Doing::Unknown,
                }
            }
            _ => Doing::Runs,
        };
    }
}

/// The address at which a process has mapped a segment.
fn address(maps: &str, name: &str) -> Option<u64> {
    let line = maps.lines().find(|line| line.ends_with(&format!("/{name}")))?;
    u64::from_str_radix(line.split('-').next()?, 16).ok()
}

/// The address on which a process sleeps, from the number and the arguments of its system call.
fn futex(call: &str) -> Option<u64> {
    let mut words = call.split_whitespace();
    words.next().filter(|number| number.parse() == Ok(SYS_futex))?;
    u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok()
}

/// The buffer with its processes.
pub struct Book {
    buffer: Textbook,
    players: Vec<Player>,
    /// All processes so far.
    started: Vec<(u32, Role)>,
    pub events: VecDeque<Event>,
    pub told: u64,
    began: Instant,
    /// Steps so far, and the time of the last one.
    steps: u64,
    moved: Instant,
    done: u64,
    killed: u64,
    lost: u64,
    /// Why no item moves, once that is known.
    why: Option<String>,
}

impl Book {
    /// Makes the buffer and starts its processes.
    pub fn start(stage: &Stage) -> Result<Self, Failure> {
        let name = stage.textbook_name();
        let made = Textbook::create(&name);
        let buffer = made.map_err(|error| Failure::io(format!("buffer {name:?}"), &error))?;
        let now = Instant::now();
        let mut book = Book {
            buffer,
            players: Vec::new(),
            started: Vec::new(),
            events: VecDeque::new(),
            told: 0,
            began: now,
            steps: 0,
            moved: now,
            done: 0,
            killed: 0,
            lost: 0,
            why: None,
        };
        for role in ROLES {
            book.put(stage, role, None)?;
        }
        book.tell(
            Mood::Note,
            "the ring of the textbooks: semaphores room, items and mutex; t goes back to ours".into(),
        );
        Ok(book)
    }

    fn tell(&mut self, mood: Mood, text: String) {
        if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Event { at: self.began.elapsed(), mood, text });
        self.told += 1;
    }

    /// Reads what the processes say, and what the kernel says of them.
    pub fn look_again(&mut self) -> Result<(), Failure> {
        for number in 0..self.players.len() {
            self.follow(number)?;
        }
        let name = self.buffer.name().to_string();
        self.players.iter_mut().for_each(|player| player.observe(&name));
        let why = self.wedged();
        if let (Some(why), None) = (&why, &self.why) {
            self.tell(Mood::Alarm, why.clone());
        }
        self.why = why;
        Ok(())
    }

    fn follow(&mut self, number: usize) -> Result<(), Failure> {
        let player = &mut self.players[number];
        let who = player.named();
        let was_alive = player.ended.is_none();
        // Before its lines, so that all are read when it has ended.
        player.ended = player.process.ended().map_err(|error| Failure::io("a process", &error))?;
        let lines = player.lines.lines().map_err(|error| Failure::io("an output", &error))?;
        let mut told = Vec::new();
        for line in lines {
            let (what, item) = line.split_once(' ').unwrap_or((&line, ""));
            match what {
                "put" => told.push((Mood::Ready, format!("{who} put item {item}"))),
                "took" => {
                    player.item = item.parse().ok();
                    told.push((Mood::Take, format!("{who} took item {item}")));
                }
                _ => {
                    player.item = None;
                    self.done += 1;
                    told.push((Mood::Done, format!("{who} is done with item {item}")));
                }
            }
            self.steps += 1;
            self.moved = Instant::now();
        }
        if was_alive && player.ended.is_some() {
            let had_mutex = self.buffer.owner.load(Relaxed) == player.pid();
            self.killed += u64::from(player.ended == Some(Ended::Signal(9)));
            self.lost += u64::from(player.item.is_some());
            let held = match (had_mutex, player.item) {
                (true, _) => "in the critical section, with the mutex".into(),
                (false, Some(item)) => format!("with item {item}, which no other process gets"),
                (false, None) => "with nothing".into(),
            };
            told.push((Mood::Alarm, format!("{who} died {held}")));
        }
        told.into_iter().for_each(|(mood, text)| self.tell(mood, text));
        Ok(())
    }

    /// The process that has the mutex, in words; `None`: no process has it.
    fn owner(&self) -> Option<(u32, String)> {
        let owner = self.buffer.owner.load(Relaxed);
        let (_, role) = self.started.iter().find(|(pid, _)| *pid == owner)?;
        Some((owner, format!("{role} {owner}")))
    }

    /// Why no item moves, from the values of the semaphores and the states of the processes.
    fn wedged(&self) -> Option<String> {
        let (owner, named) = self.owner()?;
        let is_dead = state(owner).is_none_or(|state| "ZX".contains(state));
        let is_taken = self.buffer.value(Semaphore::Mutex) == 0;
        let alive = || self.players.iter().filter(|player| player.doing != Doing::Dead);
        let asleep = alive().all(|player| matches!(player.doing, Doing::SleepsOn(_) | Doing::Unknown));
        if !is_dead || !is_taken || !asleep || self.moved.elapsed() < STILL {
            return None;
        }
        let on_mutex = alive().filter(|player| player.doing == Doing::SleepsOn(MUTEX)).count();
        let sleep = if on_mutex == 1 { "sleeps" } else { "sleep" };
        Some(format!(
            "Wedged: {named} died with the mutex. It stays 0: the kernel knows no owner of a semaphore, so no process \
             gives it back. {on_mutex} of {} {sleep} on it.",
            alive().count(),
        ))
    }

    /// The process of a place; or the one that has the mutex, for which this waits a moment, and which is stopped then,
    /// so that it keeps the mutex.
    fn target(&self, selected: Option<usize>) -> Option<usize> {
        if selected.is_some() {
            return selected;
        }
        let start = Instant::now();
        while self.why.is_none() && start.elapsed() < PATIENCE {
            let owner = || self.buffer.owner.load(Relaxed);
            let has_mutex = |player: &Player| player.ended.is_none() && player.pid() == owner();
            if let Some(place) = self.players.iter().position(has_mutex) {
                let player = &self.players[place];
                if stop_and_wait(player.pid()) && player.pid() == owner() {
                    return Some(place);
                }
                player.signal(Signal::SIGCONT);
            }
            thread::sleep(POLL);
        }
        None
    }

    /// Sends a signal to the process of a place, or to the one that has the mutex.
    pub fn signal(&mut self, selected: Option<usize>, signal: Signal) {
        let Some(place) = self.target(selected) else {
            return self.tell(Mood::Note, "no living process has the mutex".into());
        };
        let player = &self.players[place];
        player.signal(signal);
        let option = if signal == Signal::SIGKILL { "-9" } else { "-STOP" };
        let text = format!("kill {option} {}", player.pid());
        self.tell(Mood::Note, text);
    }

    /// Continues all processes that are stopped.
    pub fn go_on(&mut self) {
        self.players.iter().for_each(|player| player.signal(Signal::SIGCONT));
    }

    /// Starts dead processes again.
    pub fn restart(&mut self, stage: &Stage) -> Result<(), Failure> {
        for place in 0..self.players.len() {
            if self.players[place].ended.is_some() {
                self.put(stage, self.players[place].role, Some(place))?;
            }
        }
        Ok(())
    }

    fn put(&mut self, stage: &Stage, role: Role, place: Option<usize>) -> Result<(), Failure> {
        let process = stage.start_on_textbook(role).map_err(|error| not_started("process", &error))?;
        let lines = process.stdout().follow();
        self.started.push((process.id(), role));
        let new = Player { role, process, lines, item: None, ended: None, doing: Doing::Runs, base: None };
        self.tell(Mood::Note, format!("{} starts", new.named()));
        match place {
            Some(place) => self.players[place] = new,
            None => self.players.push(new),
        }
        Ok(())
    }

    /// Draws the buffer, its semaphores and its processes, and why no item moves.
    pub fn draw(&self, selected: Option<usize>, choices: Choices, area: Rect, buf: &mut Buffer) {
        let theme = choices.theme;
        let why: Vec<Line<'_>> = self
            .why
            .iter()
            .flat_map(|why| wrap(why, area.width.into()))
            .map(|line| Line::styled(line, theme.bad()))
            .collect();
        let titles = u16::from(area.height >= TALL);
        // On a small screen, the reason takes the place of the slots and the semaphores.
        let state_rows = u16::from(why.is_empty() || titles > 0);
        let log_rows = if why.is_empty() || titles > 0 { 1 } else { 0 };
        let [
            header,
            counts,
            slots_title,
            slots,
            semaphores,
            players_title,
            players,
            reason,
            log_title,
            log,
            foot,
        ] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            Constraint::Length(titles),
            Constraint::Length(state_rows),
            Constraint::Length(state_rows),
            Constraint::Length(titles),
            Constraint::Length(self.players.len() as u16),
            Constraint::Length(why.len() as u16),
            Constraint::Length(log_rows),
            Constraint::Min(0),
            Constraint::Length(1),
        ])
        .areas(area);
        let state = if why.is_empty() {
            Span::styled("moves", theme.good())
        } else {
            Span::styled("wedged", theme.bad())
        };
        let title = Span::styled("the textbook ring  ", theme.heading());
        Line::from(vec![title, state, Span::styled("  semaphores room, items and mutex", theme.dim())])
            .render(header, buf);
        let put = self.buffer.put.load(Relaxed);
        let text = format!("sent {put} · done {} · killed {} · lost {}", self.done, self.killed, self.lost);
        Line::styled(text, theme.heading()).render(counts, buf);
        heading("Slots", "", theme, slots_title, buf);
        self.slots().render(slots, buf);
        self.semaphores(choices).render(semaphores, buf);
        heading("Processes", "", theme, players_title, buf);
        Paragraph::new(self.players(selected, choices)).render(players, buf);
        Paragraph::new(why).render(reason, buf);
        if log_rows > 0 {
            log::draw(&self.events, choices, log_title, log, buf);
        }
        keys(choices, area.width.into()).render(foot, buf);
        if let Some(top) = choices.help {
            help::draw(choices, top, area, buf);
        }
    }

    fn slots(&self) -> Line<'static> {
        let slot = |number: usize| match self.buffer.buffer[number].load(Relaxed) {
            0 => "[ ]".into(),
            item => format!("[{item}]"),
        };
        Line::raw((0..BUFFERSIZE as usize).map(slot).collect::<String>())
    }

    fn semaphores(&self, choices: Choices) -> Line<'static> {
        let value = |which| self.buffer.value(which);
        let values = [value(Semaphore::Room), value(Semaphore::Items), value(Semaphore::Mutex)];
        let text: Vec<String> =
            NAMES.iter().zip(values).map(|(name, value)| format!("{name} {value}")).collect();
        let owner = self.owner().map_or(String::new(), |(_, owner)| format!("  {owner} has it"));
        Line::from(vec![Span::raw(text.join("  ")), Span::styled(owner, choices.theme.notable())])
    }

    fn players(&self, selected: Option<usize>, choices: Choices) -> Vec<Line<'static>> {
        let theme = choices.theme;
        let owner = self.buffer.owner.load(Relaxed);
        let line = |(place, player): (usize, &Player)| {
            let item = player.item.map_or(String::new(), |item| format!(", has item {item}"));
            let has_mutex = player.pid() == owner;
            let (doing, style) = match player.doing {
                Doing::Dead if has_mutex => ("died with the mutex".into(), theme.bad()),
                Doing::Dead if player.item.is_some() => (format!("died{item}: lost"), theme.bad()),
                Doing::Dead => ("died".into(), theme.bad()),
                Doing::Stopped => (format!("stopped{item}"), theme.bad()),
                _ if has_mutex => ("in the critical section".into(), theme.notable()),
                Doing::SleepsOn(number) => (format!("sleeps on {}", NAMES[number]), theme.dim()),
                _ if player.item.is_some() => (format!("works{item}"), theme.good()),
                _ => ("busy".into(), theme.good()),
            };
            let mark = if selected == Some(place) { '▸' } else { ' ' };
            let reversed = if selected == Some(place) { Modifier::REVERSED } else { Modifier::empty() };
            let name = Span::styled(
                format!("{:<8}{mark}{:>5}", player.role.to_string(), player.pid()),
                style.add_modifier(reversed),
            );
            Line::from(vec![name, Span::raw("  "), Span::styled(doing, style)])
        };
        self.players.iter().enumerate().map(line).collect()
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        // The processes do not end by themselves.
        self.players.iter().for_each(|player| player.signal(Signal::SIGKILL));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_semaphore_on_which_a_process_sleeps_is_found_by_its_address() {
        let maps = "7f00a000-7f00b000 rw-s 00000000 00:19 7 /dev/shm/other\n\
                    7f00b000-7f00c000 rw-s 00000000 00:19 8 /dev/shm/book\n";
        assert_eq!(address(maps, "book"), Some(0x7f00_b000));
        assert_eq!(address(maps, "none"), None);
        assert_eq!(futex(&format!("{SYS_futex} 0x7f00b040 0x189 0x0 0x0")), Some(0x7f00_b040));
        for call in ["running", "-1 0x0 0x0", "", "0 0x7f00b040 0x189"] {
            assert_eq!(futex(call), None, "{call}");
        }
    }
}
