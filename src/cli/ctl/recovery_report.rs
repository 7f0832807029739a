//! The JSON object about dead participants and what was recovered from them.
use serde::Serialize;

use crate::Repaired;

#[derive(Serialize)]
pub struct RecoveryReport {
    /// Participants that died and whose entries were freed.
    pub deaths: u64,
    /// Items that they held, to be delivered again.
    pub items: u64,
    /// Their unpublished claims, which were given up.
    pub claims: u64,
}

impl From<Repaired> for RecoveryReport {
    fn from(reaped: Repaired) -> Self {
        RecoveryReport { deaths: reaped.participants, items: reaped.returned, claims: reaped.abandoned }
    }
}
