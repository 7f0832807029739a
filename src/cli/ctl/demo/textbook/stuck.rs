//! Why no item moves, from the values of the semaphores and the states of the processes.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::super::stage::state;
use super::lesson::Lesson;
use super::player::{Doing, Player};
use super::run::Run;
use crate::Role;
use crate::sys::command::textbook::{Object, Semaphore};

/// The buffer counts as stuck if no item has moved for this long.
const STILL: Duration = Duration::from_secs(1);

/// Why no item moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stuck {
    /// No item will ever move again.
    pub is_final: bool,
    pub why: String,
    /// What ringpipe does instead.
    pub here: &'static str,
}

impl Stuck {
    fn for_now(why: String) -> Option<Self> {
        Some(Stuck { is_final: false, why, here: "" })
    }
}

impl Run {
    /// Whether items move; otherwise why not, if that is known.
    pub fn stuck(&self) -> Option<Stuck> {
        if self.moved.elapsed() < STILL {
            return None;
        }
        let reasons = [
            Run::all_dead,
            Run::owner_stopped,
            Run::owner_died,
            Run::wrong_signal,
            Run::no_signal,
            Run::role_dead,
        ];
        reasons.iter().find_map(|reason| reason(self))
    }

    fn final_reason(&self, why: String) -> Option<Stuck> {
        Some(Stuck { is_final: true, why: format!("Wedged: {why}"), here: self.lesson.here() })
    }

    fn all_dead(&self) -> Option<Stuck> {
        if self.players.iter().any(Player::is_alive) {
            return None;
        }
        Stuck::for_now("All processes are dead. r starts them again.".into())
    }

    fn role_dead(&self) -> Option<Stuck> {
        let mut roles = [Role::Producer, Role::Consumer].into_iter();
        let dead = roles.find(|role| self.alive(*role).next().is_none())?;
        Stuck::for_now(format!("All {dead}s are dead. r starts them again."))
    }

    fn owner_stopped(&self) -> Option<Stuck> {
        let (pid, named) = self.owner()?;
        let owner = self.players.iter().find(|player| player.pid() == pid)?;
        (owner.doing == Doing::Stopped).then_some(())?;
        Stuck::for_now(format!("{named} is stopped, and has {}. c continues it.", self.lesson.held()))
    }

    /// The process died with the mutex, or with the lock.
    fn owner_died(&self) -> Option<Stuck> {
        let (object, state_of_it) = match self.lesson {
            Lesson::Mutex | Lesson::WrongSignal if self.buffer.value(Semaphore::Mutex) == 0 => {
                (Object::Mutex, "It stays 0: the kernel knows no owner of a semaphore")
            }
            Lesson::Condition => {
                (Object::Lock, "It stays taken: a plain lock does not know that its owner is dead")
            }
            _ => return None,
        };
        let (owner, named) = self.owner()?;
        let is_dead = state(owner).is_none_or(|state| "ZX".contains(state));
        let alive = || self.players.iter().filter(|player| player.is_alive());
        let sleeps = |player: &Player| matches!(player.doing, Doing::SleepsOn(_) | Doing::Unknown);
        if !is_dead || !alive().all(sleeps) {
            return None;
        }
        let on_it = alive().filter(|player| player.doing == Doing::SleepsOn(object)).count();
        let sleep = if on_it == 1 { "sleeps" } else { "sleep" };
        let (held, all) = (self.lesson.held(), alive().count());
        self.final_reason(format!(
            "{named} died with {held}. {state_of_it}, so no process gives it back. {on_it} of {all} {sleep} on it."
        ))
    }

    /// The producers wait for room in an empty buffer.
    fn wrong_signal(&self) -> Option<Stuck> {
        let is_empty = self.buffer.buffer.iter().all(|slot| slot.load(Relaxed) == 0);
        let waits = self.lesson == Lesson::WrongSignal
            && self.buffer.value(Semaphore::Room) == 0
            && self.alive(Role::Producer).next().is_some()
            && self.alive(Role::Producer).all(|player| player.may_sleep_on(Object::Room));
        (waits && is_empty).then_some(())?;
        self.final_reason(
            "all slots are empty, and room is 0: the producers sleep on it for ever. The consumers signal items after each \
             item, so they take from an empty buffer, again and again."
                .into(),
        )
    }

    /// The producer died between the item and its signal.
    fn no_signal(&self) -> Option<Stuck> {
        let (_, named) = self.owner().filter(|_| self.lesson == Lesson::Event)?;
        let waits = self.buffer.value(Semaphore::Items) == 0
            && self.alive(Role::Producer).next().is_none()
            && self.alive(Role::Consumer).all(|player| player.may_sleep_on(Object::Items));
        waits.then_some(())?;
        self.final_reason(format!(
            "{named} died after it had made the item, and before it signalled it. The item is there; the consumer sleeps on \
             items, which stays 0, for ever."
        ))
    }
}
