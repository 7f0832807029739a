//! Shared by the tests of this module: rings that leave nothing behind, and dead participants.

use super::{Ring, RingOptions, Role};
use crate::layout::discipline::Discipline;
use crate::membership::participant::Participant;
pub use crate::membership::testing::dies;
use crate::sys::testing::TestName;

/// A ring of 4 slots of 64 bytes.
pub fn ring(discipline: Discipline) -> (TestName, Ring) {
    let name = TestName::new();
    let options = RingOptions::new().capacity(4).slot_size(64).sync(discipline);
    let ring = options.create(name.0.as_str()).unwrap();
    (name, ring)
}

/// A participant of a ring.
pub fn attached(ring: &Ring, role: Role) -> Participant {
    Participant::attach(ring.mapping(), role).unwrap()
}
