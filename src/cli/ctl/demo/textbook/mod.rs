//! The buffer of the textbooks beside our ring: lessons in which semaphores and locks have no record of which process is
//! alive. A kill stops it, and the picture says why.

mod actor;
mod draw;
pub mod lesson;
mod state;
mod stuck;

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::stage::{PATIENCE, POLL, Stage, complaint, stop_and_wait};
use crate::Role;
use crate::cli::common::exit::Failure;
use crate::cli::ctl::children::not_started;
use crate::cli::ctl::picture::model::Event;
use crate::cli::ctl::picture::steps::Mood;
use crate::sys::command::textbook::Textbook;
use crate::testing::Ended;
use actor::Actor;
use lesson::Lesson;
use state::State;
use stuck::Stuck;

/// The number of sentences that are kept.
const MOST_EVENTS: usize = 1000;

/// The buffer with its processes.
pub struct Book {
    state: State,
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
            state: State { lesson, buffer, actors: Vec::new(), started: Vec::new(), moved: now },
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
        self.state.actors.len()
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
        for place in 0..self.state.actors.len() {
            self.follow(place)?;
        }
        let name = self.state.buffer.name().to_string();
        self.state.actors.iter_mut().for_each(|actor| actor.observe(&name));
        let stuck = self.state.stuck();
        let is_final = |stuck: &Option<Stuck>| stuck.as_ref().map(|stuck| stuck.is_final);
        if let Some(now) = &stuck
            && is_final(&self.stuck) != Some(now.is_final)
        {
            self.tell(Mood::Alarm, now.why.clone());
        }
        self.stuck = stuck;
        Ok(())
    }

    fn follow(&mut self, place: usize) -> Result<(), Failure> {
        let actor = &mut self.state.actors[place];
        let who = actor.named();
        let was_alive = actor.ended.is_none();
        // Before its lines, so that all are read when it has ended.
        actor.ended = actor.process.ended().map_err(|error| Failure::io("a process", &error))?;
        let lines = actor.lines.lines().map_err(|error| Failure::io("an output", &error))?;
        let mut told = Vec::new();
        for line in lines {
            let (what, item) = line.split_once(' ').unwrap_or((&line, ""));
            let (mood, text) = match what {
                "made" => (Mood::Note, format!("{who} made item {item}")),
                "put" => (Mood::Ready, format!("{who} put item {item}")),
                "took" => (Mood::Take, format!("{who} took item {item}")),
                "done" => (Mood::Done, format!("{who} is done with item {item}")),
                "over" => {
                    self.lost += 1;
                    told.push((
                        Mood::Alarm,
                        format!("{who} overwrote item {item}, which no process had taken"),
                    ));
                    continue;
                }
                _ => {
                    told.push((Mood::Alarm, format!("{who} took from an empty slot")));
                    continue;
                }
            };
            actor.item = item.parse().ok().filter(|_| matches!(what, "made" | "took"));
            self.done += u64::from(what == "done");
            self.state.moved = Instant::now();
            told.push((mood, text));
        }
        if was_alive && actor.ended.is_some() {
            let is_owner = self.state.buffer.owner.load(Relaxed) == actor.pid();
            self.killed += u64::from(actor.ended == Some(Ended::Signal(9)));
            self.lost += u64::from(actor.item.is_some());
            let held = match (is_owner, actor.item) {
                (true, _) => format!("with {}", self.state.lesson.held()),
                (false, Some(item)) => format!("with item {item}, which no other process gets"),
                (false, None) => "with nothing".into(),
            };
            let text = complaint(actor.role, &actor.process, actor.ended);
            told.push((Mood::Alarm, text.unwrap_or_else(|| format!("{who} died {held}"))));
        }
        told.into_iter().for_each(|(mood, text)| self.tell(mood, text));
        Ok(())
    }

    /// The process of a place; or the one that must not die now, for which this waits a moment, and which is stopped then,
    /// so that it keeps what it has.
    fn target(&self, selected: Option<usize>) -> Option<usize> {
        if selected.is_some() {
            return selected.filter(|place| self.state.actors[*place].is_running());
        }
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let owner = || self.state.buffer.owner.load(Relaxed);
            let owns = |actor: &Actor| actor.is_running() && actor.pid() == owner();
            let died = |actor: &Actor| !actor.is_running() && actor.pid() == owner();
            if self.state.actors.iter().any(died) {
                // It keeps what it has.
                return None;
            }
            if let Some(place) = self.state.actors.iter().position(owns) {
                let actor = &self.state.actors[place];
                if stop_and_wait(actor.pid()) && actor.pid() == owner() {
                    return Some(place);
                }
                actor.signal(Signal::SIGCONT);
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
                None => format!("no living process has {}", self.state.lesson.held()),
            };
            self.tell(Mood::Note, text);
            return Ok(());
        };
        let actor = &mut self.state.actors[place];
        actor.signal(signal);
        actor.is_killed |= signal == Signal::SIGKILL;
        let option = if signal == Signal::SIGKILL { "-9" } else { "-STOP" };
        let text = format!("kill {option} {}, {}", actor.pid(), actor.role);
        self.tell(Mood::Note, text);
        Ok(())
    }

    /// The process of a place, or all.
    fn chosen(&self, selected: Option<usize>) -> impl Iterator<Item = usize> + use<> {
        selected.map_or(0..self.state.actors.len(), |place| place..place + 1)
    }

    /// Continues processes that are stopped.
    pub fn go_on(&mut self, selected: Option<usize>) {
        self.chosen(selected).for_each(|place| self.state.actors[place].signal(Signal::SIGCONT));
    }

    /// Starts dead processes again.
    pub fn restart(&mut self, stage: &Stage, selected: Option<usize>) -> Result<(), Failure> {
        self.look_again()?;
        for place in self.chosen(selected) {
            if self.state.actors[place].ended.is_some() {
                self.put(stage, self.state.actors[place].role, Some(place))?;
            }
        }
        Ok(())
    }

    fn put(&mut self, stage: &Stage, role: Role, place: Option<usize>) -> Result<(), Failure> {
        let process = stage.start_on_textbook(role, self.state.lesson);
        let process = process.map_err(|error| not_started("process", &error))?;
        self.state.started.push((process.id(), role));
        let new = Actor::new(role, process);
        self.tell(Mood::Note, format!("{} starts", new.named()));
        match place {
            Some(place) => self.state.actors[place] = new,
            None => self.state.actors.push(new),
        }
        Ok(())
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        // The processes do not end by themselves.
        self.state.actors.iter().for_each(|actor| actor.signal(Signal::SIGKILL));
    }
}
