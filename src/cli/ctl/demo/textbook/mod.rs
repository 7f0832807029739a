//! The buffer of the textbooks beside our ring: lessons in which semaphores and locks have no record of which process is
//! alive. A kill stops it, and the picture says why.

mod draw;
pub mod lesson;
mod player;
mod run;
mod stuck;

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::stage::{PATIENCE, POLL, Stage, stop_and_wait};
use crate::Role;
use crate::cli::common::exit::Failure;
use crate::cli::ctl::children::not_started;
use crate::cli::ctl::picture::model::Event;
use crate::cli::ctl::picture::steps::Mood;
use crate::sys::command::textbook::Textbook;
use crate::testing::Ended;
use lesson::Lesson;
use player::Player;
use run::Run;
use stuck::Stuck;

/// The number of sentences that are kept.
const MOST_EVENTS: usize = 1000;

/// The buffer with its processes.
pub struct Book {
    run: Run,
    pub events: VecDeque<Event>,
    pub told: u64,
    began: Instant,
    done: u64,
    killed: u64,
    lost: u64,
    /// Why no item moves, once that is known.
    stuck: Option<Stuck>,
}

impl Book {
    /// Makes the buffer and starts its processes.
    pub fn start(stage: &Stage, lesson: Lesson) -> Result<Self, Failure> {
        let name = stage.textbook_name();
        let made = Textbook::create(&name);
        let buffer = made.map_err(|error| Failure::io(format!("buffer {name:?}"), &error))?;
        let now = Instant::now();
        let mut book = Book {
            run: Run { lesson, buffer, players: Vec::new(), started: Vec::new(), moved: now },
            events: VecDeque::new(),
            told: 0,
            began: now,
            done: 0,
            killed: 0,
            lost: 0,
            stuck: None,
        };
        book.tell(Mood::Note, format!("lesson {}, {}; t goes back to our ring", lesson.key(), lesson.name()));
        for &role in lesson.roles() {
            book.put(stage, role, None)?;
        }
        Ok(book)
    }

    /// The number of its processes.
    pub fn places(&self) -> usize {
        self.run.players.len()
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
        for place in 0..self.run.players.len() {
            self.follow(place)?;
        }
        let name = self.run.buffer.name().to_string();
        self.run.players.iter_mut().for_each(|player| player.observe(&name));
        let stuck = self.run.stuck();
        if let (Some(stuck), None) = (&stuck, &self.stuck) {
            self.tell(Mood::Alarm, stuck.why.clone());
        }
        self.stuck = stuck;
        Ok(())
    }

    fn follow(&mut self, place: usize) -> Result<(), Failure> {
        let player = &mut self.run.players[place];
        let who = player.named();
        let was_alive = player.ended.is_none();
        // Before its lines, so that all are read when it has ended.
        player.ended = player.process.ended().map_err(|error| Failure::io("a process", &error))?;
        let lines = player.lines.lines().map_err(|error| Failure::io("an output", &error))?;
        let mut told = Vec::new();
        for line in lines {
            let (what, item) = line.split_once(' ').unwrap_or((&line, ""));
            let (mood, text) = match what {
                "made" => (Mood::Note, format!("{who} made item {item}")),
                "put" => (Mood::Ready, format!("{who} put item {item}")),
                "took" => (Mood::Take, format!("{who} took item {item}")),
                "done" => (Mood::Done, format!("{who} is done with item {item}")),
                _ => {
                    told.push((Mood::Alarm, format!("{who} took from an empty slot")));
                    continue;
                }
            };
            player.item = item.parse().ok().filter(|_| matches!(what, "made" | "took"));
            self.done += u64::from(what == "done");
            self.run.moved = Instant::now();
            told.push((mood, text));
        }
        if was_alive && player.ended.is_some() {
            let is_owner = self.run.buffer.owner.load(Relaxed) == player.pid();
            self.killed += u64::from(player.ended == Some(Ended::Signal(9)));
            self.lost += u64::from(player.item.is_some());
            let held = match (is_owner, player.item) {
                (true, _) => format!("with {}", self.run.lesson.held()),
                (false, Some(item)) => format!("with item {item}, which no other process gets"),
                (false, None) => "with nothing".into(),
            };
            told.push((Mood::Alarm, format!("{who} died {held}")));
        }
        told.into_iter().for_each(|(mood, text)| self.tell(mood, text));
        Ok(())
    }

    /// The process of a place; or the one that must not die now, for which this waits a moment, and which is stopped then,
    /// so that it keeps what it has.
    fn target(&self, selected: Option<usize>) -> Option<usize> {
        if selected.is_some() {
            return selected.filter(|place| self.run.players[*place].ended.is_none());
        }
        let start = Instant::now();
        while self.stuck.is_none() && start.elapsed() < PATIENCE {
            let owner = || self.run.buffer.owner.load(Relaxed);
            let owns = |player: &Player| player.ended.is_none() && player.pid() == owner();
            if let Some(place) = self.run.players.iter().position(owns) {
                let player = &self.run.players[place];
                if stop_and_wait(player.pid()) && player.pid() == owner() {
                    return Some(place);
                }
                player.signal(Signal::SIGCONT);
            }
            thread::sleep(POLL);
        }
        None
    }

    /// Sends a signal to the process of a place, or to the one that must not die now.
    pub fn signal(&mut self, selected: Option<usize>, signal: Signal) -> Result<(), Failure> {
        self.look_again()?;
        let Some(place) = self.target(selected) else {
            let text = match selected {
                Some(_) => "the process is dead; r starts it again".into(),
                None => format!("no living process has {}", self.run.lesson.held()),
            };
            self.tell(Mood::Note, text);
            return Ok(());
        };
        let player = &self.run.players[place];
        player.signal(signal);
        let option = if signal == Signal::SIGKILL { "-9" } else { "-STOP" };
        let text = format!("kill {option} {}, {}", player.pid(), player.role);
        self.tell(Mood::Note, text);
        Ok(())
    }

    /// The process of a place, or all.
    fn chosen(&self, selected: Option<usize>) -> impl Iterator<Item = usize> + use<> {
        selected.map_or(0..self.run.players.len(), |place| place..place + 1)
    }

    /// Continues processes that are stopped.
    pub fn go_on(&mut self, selected: Option<usize>) {
        self.chosen(selected).for_each(|place| self.run.players[place].signal(Signal::SIGCONT));
    }

    /// Starts dead processes again.
    pub fn restart(&mut self, stage: &Stage, selected: Option<usize>) -> Result<(), Failure> {
        self.look_again()?;
        for place in self.chosen(selected) {
            if self.run.players[place].ended.is_some() {
                self.put(stage, self.run.players[place].role, Some(place))?;
            }
        }
        Ok(())
    }

    fn put(&mut self, stage: &Stage, role: Role, place: Option<usize>) -> Result<(), Failure> {
        let process = stage.start_on_textbook(role, self.run.lesson);
        let process = process.map_err(|error| not_started("process", &error))?;
        self.run.started.push((process.id(), role));
        let new = Player::new(role, process);
        self.tell(Mood::Note, format!("{} starts", new.named()));
        match place {
            Some(place) => self.run.players[place] = new,
            None => self.run.players.push(new),
        }
        Ok(())
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        // The processes do not end by themselves.
        self.run.players.iter().for_each(|player| player.signal(Signal::SIGKILL));
    }
}
