//! The state of a lesson: its buffer and its processes.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::actor::Actor;
use super::lesson::Lesson;
use crate::Role;
use crate::sys::command::textbook::Textbook;

/// After this time without an item that moves, nothing moves.
const STILL: Duration = Duration::from_secs(1);

/// The state of a lesson.
pub struct State {
    pub lesson: Lesson,
    pub buffer: Textbook,
    pub actors: Vec<Actor>,
    /// All processes so far.
    pub started: Vec<(u32, Role)>,
    /// When an item moved last.
    pub moved: Instant,
}

impl State {
    /// The process that must not die now, in words; `None`: there is none.
    pub fn owner(&self) -> Option<(u32, String)> {
        let owner = self.buffer.owner.load(Relaxed);
        let (_, role) = self.started.iter().find(|(pid, _)| *pid == owner)?;
        Some((owner, format!("{role} {owner}")))
    }

    /// Whether no item has moved for longer than the processes take for one.
    pub fn stands_still(&self) -> bool {
        self.moved.elapsed() > STILL
    }

    /// The living processes of a role.
    pub fn alive(&self, role: Role) -> impl Iterator<Item = &Actor> {
        self.actors.iter().filter(move |actor| actor.is_alive() && actor.role == role)
    }
}
