//! The lessons: the solutions of docs/CLASSICS.md on the buffer of the textbooks, each with what breaks it.

use crate::Role::{self, Consumer, Producer};
use crate::sys::command::textbook::Object;

/// A lesson, named by what it teaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Lesson {
    /// Two semaphores and a mutex, for many.
    Mutex,
    /// The same with the wrong signal.
    WrongSignal,
    /// A condition variable, with thresholds.
    Condition,
    /// A semaphore as an event.
    Event,
}

impl Lesson {
    /// In the order of their keys, from 1 on.
    pub const ALL: [Lesson; 4] = [Lesson::Mutex, Lesson::WrongSignal, Lesson::Condition, Lesson::Event];

    /// The lesson of a key.
    pub fn of_key(key: char) -> Option<Lesson> {
        let number = key.to_digit(10)?.checked_sub(1)?;
        Self::ALL.get(number as usize).copied()
    }

    pub fn key(self) -> usize {
        self as usize + 1
    }

    /// As `ringctl demo-worker` has it.
    pub fn argument(self) -> &'static str {
        match self {
            Lesson::Mutex => "mutex",
            Lesson::WrongSignal => "wrong-signal",
            Lesson::Condition => "condition",
            Lesson::Event => "event",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Lesson::Mutex => "two semaphores and a mutex",
            Lesson::WrongSignal => "the wrong signal",
            Lesson::Condition => "a condition variable",
            Lesson::Event => "a semaphore as an event",
        }
    }

    /// What happens, and what to do.
    pub fn task(self) -> &'static str {
        match self {
            Lesson::Mutex => {
                "Producers wait for room, consumers for items, all for the mutex. k kills the process that has it."
            }
            Lesson::WrongSignal => {
                "The consumers signal items where they should signal room. Wait until 10 items are sent."
            }
            Lesson::Condition => {
                "The producer makes 5 with the lock, wakes all and waits; consumers take one each. k kills the process that \
                 has the lock."
            }
            Lesson::Event => {
                "The semaphore items is 0 at first: the consumer waits until the producer has made an item and signals it. k \
                 kills the producer in between."
            }
        }
    }

    /// Its processes.
    pub fn roles(self) -> &'static [Role] {
        match self {
            // As many as on our ring.
            Lesson::Mutex | Lesson::WrongSignal => &[Producer, Producer, Consumer, Consumer, Consumer],
            Lesson::Condition => &[Producer, Consumer, Consumer, Consumer],
            Lesson::Event => &[Producer, Consumer],
        }
    }

    /// The objects that it uses.
    pub fn objects(self) -> &'static [Object] {
        match self {
            Lesson::Mutex | Lesson::WrongSignal => &[Object::Room, Object::Items, Object::Mutex],
            Lesson::Condition => &[Object::Lock, Object::Condition],
            Lesson::Event => &[Object::Items],
        }
    }

    /// What a process has while it must not die.
    pub fn held(self) -> &'static str {
        match self {
            Lesson::Mutex | Lesson::WrongSignal => "the mutex",
            Lesson::Condition => "the lock",
            Lesson::Event => "an unsignalled item",
        }
    }

    /// What ringpipe does instead.
    pub fn here(self) -> &'static str {
        match self {
            Lesson::Mutex => {
                "In a ring of ringpipe, each slot names its owner, and the kernel says which owner is dead: the next process \
                 takes over."
            }
            Lesson::WrongSignal => {
                "In a ring of ringpipe, a count is a hint: a process looks at the slots before it sleeps, and after 20 ms in \
                 any case."
            }
            Lesson::Condition => {
                "In a ring of ringpipe, no process makes or uses an item while it has a lock, and the next process takes over \
                 from a dead owner."
            }
            Lesson::Event => {
                "In a ring of ringpipe, an item and its signal are one store. When all producers are dead, the consumer gets the \
                 end of the stream."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn keys_and_arguments_belong_to_one_lesson() {
        for lesson in Lesson::ALL {
            let key = char::from_digit(lesson.key() as u32, 10).unwrap();
            assert_eq!(Lesson::of_key(key), Some(lesson));
            assert_eq!(lesson.to_possible_value().unwrap().get_name(), lesson.argument());
        }
        for key in ['0', '5', '9', 'k'] {
            assert_eq!(Lesson::of_key(key), None);
        }
    }
}
