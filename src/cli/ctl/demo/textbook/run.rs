//! A run of a lesson: its buffer and its processes.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::lesson::Lesson;
use super::player::Player;
use crate::Role;
use crate::sys::command::textbook::Textbook;

/// A run of a lesson.
pub struct Run {
    pub lesson: Lesson,
    pub buffer: Textbook,
    pub players: Vec<Player>,
    /// All processes so far.
    pub started: Vec<(u32, Role)>,
    /// When an item moved last.
    pub moved: Instant,
}

impl Run {
    /// The process that must not die now, in words; `None`: there is none.
    pub fn owner(&self) -> Option<(u32, String)> {
        let owner = self.buffer.owner.load(Relaxed);
        let (_, role) = self.started.iter().find(|(pid, _)| *pid == owner)?;
        Some((owner, format!("{role} {owner}")))
    }

    /// The living processes of a role.
    pub fn alive(&self, role: Role) -> impl Iterator<Item = &Player> {
        self.players.iter().filter(move |player| player.is_alive() && player.role == role)
    }
}
