//! The result of a recovery, as callers see it.

use crate::protocol::Recovered;

/// What recovery from deaths found and changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repaired {
    /// Dead participants whose entries were freed.
    pub participants: u64,
    /// Half-written claims that were given up.
    pub abandoned: u64,
    /// Items that will be delivered again.
    pub returned: u64,
}

impl Repaired {
    /// Whether anything was changed.
    pub fn any(&self) -> bool {
        *self != Repaired::default()
    }

    pub(super) fn of(recovered: Recovered, freed: bool) -> Self {
        Repaired {
            participants: u64::from(freed),
            abandoned: recovered.abandoned,
            returned: recovered.returned,
        }
    }

    pub(super) fn add(&mut self, more: Repaired) {
        self.participants += more.participants;
        self.abandoned += more.abandoned;
        self.returned += more.returned;
    }
}
