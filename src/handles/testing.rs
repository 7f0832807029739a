//! What the tests of this floor share: rings that leave nothing behind, and participants that are dead.

use super::participant::Participant;
use super::{Ring, RingOptions, Role};
use crate::layout::discipline::Discipline;
use crate::sys::testing::TestName;

/// A ring of 4 slots of 64 bytes.
pub fn ring(discipline: Discipline) -> (TestName, Ring) {
    let name = TestName::new();
    let options = RingOptions::new().capacity(4).slot_size(64).sync(discipline);
    let ring = options.create(name.0.as_str()).unwrap();
    (name, ring)
}

/// One that does not watch for deaths.
pub fn attached(ring: &Ring, role: Role) -> Participant {
    Participant::attach(ring.view(), role, false).unwrap()
}

/// Whoever leaves while a guard is forgotten is to all others as one that was killed: its entry stays, and its lock
/// is gone. Answers with its number.
pub fn dies(participant: Participant) -> u32 {
    participant.guard_made();
    participant.number
}
