//! The picture of a ring, which `ringctl watch` shows: slots, semaphores, processes and events, as items move.
mod changes;
pub mod deaths;
pub mod model;
pub mod observation;
pub mod screen;
pub mod steps;
pub mod svg;
pub mod text;
pub mod view;

use std::time::Duration;

/// The shortest and longest time between two observations.
pub const INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(3600));
/// Observing a large ring takes long: observations use at most this share of the time (1/5).
const SHARE: u32 = 5;

/// How long to wait after an observation that took `look`.
pub fn pause(interval: Duration, look: Duration) -> Duration {
    // A process that was stopped during the observation must not sleep for long.
    interval.max(look.saturating_mul(SHARE).min(Duration::from_secs(1)))
}
