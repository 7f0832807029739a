//! Why no item moves, from the values of the semaphores and the states of the processes.

use std::sync::atomic::Ordering::Relaxed;

use super::super::stage::state;
use super::actor::{Actor, Doing};
use super::lesson::Lesson;
use super::state::State;
use crate::Role;
use crate::sys::command::textbook::{Object, Semaphore};

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

impl State {
    /// Whether items move; otherwise why not, if that is known.
    pub fn stuck(&self) -> Option<Stuck> {
        if !self.stands_still() {
            return None;
        }
        let reasons = [
            State::all_dead,
            State::owner_stopped,
            State::owner_died,
            State::notifies_the_dead,
            State::wrong_signal,
            State::no_signal,
            State::role_dead,
        ];
        reasons.iter().find_map(|reason| reason(self))
    }

    fn final_reason(&self, why: String) -> Option<Stuck> {
        Some(Stuck { is_final: true, why: format!("Wedged: {why}"), here: self.lesson.here() })
    }

    fn all_dead(&self) -> Option<Stuck> {
        if self.actors.iter().any(Actor::is_alive) {
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
        let owner = self.actors.iter().find(|actor| actor.pid() == pid)?;
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
        let alive = || self.actors.iter().filter(|actor| actor.is_alive());
        let sleeps = |actor: &Actor| matches!(actor.doing, Doing::SleepsOn(_) | Doing::Unknown);
        if !is_dead || !alive().all(sleeps) {
            return None;
        }
        let on_it = alive().filter(|actor| actor.doing == Doing::SleepsOn(object)).count();
        let sleep = if on_it == 1 { "sleeps" } else { "sleep" };
        let (held, all) = (self.lesson.held(), alive().count());
        self.final_reason(format!(
            "{named} died with {held}. {state_of_it}, so no process gives it back. {on_it} of {all} {sleep} on it."
        ))
    }

    /// A process that waited for the condition died there, and the next one that wakes all waits for it.
    fn notifies_the_dead(&self) -> Option<Stuck> {
        let (pid, named) = self.owner().filter(|_| self.lesson == Lesson::Condition)?;
        let owner = self.actors.iter().find(|actor| actor.pid() == pid)?;
        let has_dead = self.actors.iter().any(|actor| !actor.is_alive());
        (owner.doing == Doing::SleepsOn(Object::Condition) && has_dead).then_some(())?;
        self.final_reason(format!(
            "{named} has the lock and wakes all that wait. The C library's condition waits there, until each one that it woke has \
             left; one of them is dead."
        ))
    }

    /// The producers wait for room in an empty buffer.
    fn wrong_signal(&self) -> Option<Stuck> {
        let is_empty = self.buffer.buffer.iter().all(|slot| slot.load(Relaxed) == 0);
        let waits = self.lesson == Lesson::WrongSignal
            && self.buffer.value(Semaphore::Room) == 0
            && self.alive(Role::Producer).next().is_some()
            && self.alive(Role::Producer).all(|actor| actor.may_sleep_on(Object::Room));
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
            && self.alive(Role::Consumer).all(|actor| actor.may_sleep_on(Object::Items));
        waits.then_some(())?;
        self.final_reason(format!(
            "{named} died after it had made the item, and before it signalled it. The item is there; the consumer sleeps on \
             items, which stays 0, for ever."
        ))
    }
}
