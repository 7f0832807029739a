//! Helpers for the tests of membership: rings that are removed afterwards, and participants that look dead.

use std::sync::Arc;

use super::Role;
use super::memory::{SegmentRingCore, observer};
use super::participant::Participant;
use crate::layout::discipline::Discipline;
use crate::layout::geometry::Geometry;
use crate::layout::mapping::Mapping;
use crate::layout::preamble::Preamble;
use crate::sys::testing::TestName;
use crate::sys::{abi, fence};

/// A ring as seen by a process that does not take part in it.
pub struct Ring(SegmentRingCore);

impl Ring {
    pub fn new(geometry: Geometry) -> (TestName, Ring) {
        let name = TestName::new();
        fence::register();
        let preamble = Preamble::new(&geometry, abi::TAG, 0, 0);
        let segment = Mapping::create(&name.0, geometry.size, 0o600, &preamble).unwrap();
        let (mapping, _) = Mapping::new(Arc::new(segment)).unwrap();
        (name, Ring(observer(&mapping).unwrap()))
    }

    pub fn mapping(&self) -> &Mapping {
        &self.0.memory().mapping
    }

    pub fn observer(&self) -> &SegmentRingCore {
        &self.0
    }
}

/// A geometry for 1,024 participants.
pub fn geometry(capacity: u64, slot_size: u64, flags: u64) -> Geometry {
    Geometry::new(capacity, slot_size, 1024, 1, flags).unwrap()
}

/// A ring of 4 slots of 64 bytes.
pub fn ring(discipline: Discipline) -> (TestName, Ring) {
    Ring::new(geometry(4, 64, 0).with_discipline(discipline).unwrap())
}

/// A participant that has just attached.
pub fn attached(ring: &Ring, role: Role) -> Participant {
    Participant::attach(ring.mapping(), role).unwrap()
}

/// Makes a participant look killed: it leaves while a guard is forgotten, so its entry stays and its lock is
/// released. Returns its number.
pub fn dies(participant: Participant) -> u32 {
    participant.guard_made();
    participant.number
}
