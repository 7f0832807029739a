//! The semaphores of a ring, as JSON tells of them.
use serde::Serialize;

use crate::Snapshot;

#[derive(Serialize)]
pub struct Semaphores {
    pub items: Semaphore,
    pub room: Semaphore,
    /// Of a discipline with turns, in a ring for many.
    pub mutex: Option<Mutex>,
}

#[derive(Serialize)]
pub struct Semaphore {
    pub value: i32,
    pub sleepers: u64,
}

#[derive(Serialize)]
pub struct Mutex {
    pub value: i32,
    /// Whose turn it is.
    pub participant: Option<u32>,
}

impl Semaphores {
    /// Those of a ring, which may be an exclusive one.
    pub fn of(snapshot: &Snapshot, exclusive: bool) -> Self {
        let semaphore = |(value, sleepers)| Semaphore { value, sleepers };
        let (value, participant) = snapshot.mutex;
        let has_turns = snapshot.discipline.takes_turns() && !exclusive;
        Semaphores {
            items: semaphore(snapshot.items_semaphore),
            room: semaphore(snapshot.room_semaphore),
            mutex: has_turns.then_some(Mutex { value, participant }),
        }
    }
}
