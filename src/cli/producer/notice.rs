//! Decides when to note that the producer waits for room.

use std::time::{Duration, Instant};

use crate::cli::common::report::Reporter;
use crate::cli::transport::Observe;

/// With -v, a wait of this length is noted. Also the time between two checks of whether to note it.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
/// A full ring is normal. Without -v, a wait is noted only if nothing was taken out of the ring for this long.
const STUCK: Duration = Duration::from_secs(5);

/// Notes once that the producer waits for room.
#[derive(Debug)]
pub(super) struct Notice {
    is_pending: bool,
    is_verbose: bool,
    /// The number of items that consumers had taken, and the time when it last grew.
    taken: u64,
    moved: Instant,
}

impl Notice {
    pub(super) fn new(report: &Reporter) -> Self {
        let (is_pending, is_verbose) = (report.tells_notes(), report.is_verbose());
        Notice { is_pending, is_verbose, taken: 0, moved: Instant::now() }
    }

    /// Records that a wait begins.
    pub(super) fn begin(&mut self) {
        self.moved = Instant::now();
    }

    /// Whether the note may still be needed.
    pub(super) fn is_pending(&self) -> bool {
        self.is_pending
    }

    /// Whether to note the wait now.
    pub(super) fn is_due(&mut self, ring: &impl Observe) -> bool {
        if !self.is_pending {
            return false;
        }
        if !self.is_verbose {
            let taken = ring.counts().map_or(self.taken, |seen| seen.acknowledged);
            if std::mem::replace(&mut self.taken, taken) != taken {
                self.moved = Instant::now();
            }
        }
        self.is_pending = self.moved.elapsed() < if self.is_verbose { PATIENCE } else { STUCK };
        !self.is_pending
    }
}
