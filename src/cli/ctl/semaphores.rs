//! The JSON object about the semaphores of a ring.
use serde::Serialize;

use crate::Snapshot;

#[derive(Serialize)]
pub struct Semaphores {
    pub items: SemaphoreState,
    pub room: SemaphoreState,
    /// The mutex of a discipline with turns, in a ring for many.
    pub mutex: Option<Mutex>,
}

#[derive(Serialize)]
pub struct SemaphoreState {
    pub value: i32,
    pub sleepers: u64,
}

#[derive(Serialize)]
pub struct Mutex {
    pub value: i32,
    /// The participant that has the turn.
    pub participant: Option<u32>,
}

impl Semaphores {
    /// The semaphores of a ring, which may be an exclusive one.
    pub fn of(snapshot: &Snapshot, exclusive: bool) -> Self {
        let semaphore = |(value, sleepers)| SemaphoreState { value, sleepers };
        let (value, participant) = snapshot.mutex;
        let has_turns = snapshot.discipline.takes_turns() && !exclusive;
        Semaphores {
            items: semaphore(snapshot.items_semaphore),
            room: semaphore(snapshot.room_semaphore),
            mutex: has_turns.then_some(Mutex { value, participant }),
        }
    }
}
