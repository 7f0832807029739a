//! The failures and hints of a consumer that got no item.

use std::time::Duration;

use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};
use crate::cli::transport::Observe;
use crate::{Liveness, Role};

/// No item came in this time.
pub(super) fn timed_out(ring: &impl Observe, limit: Duration) -> Failure {
    let (name, waited) = (ring.name(), humantime::format_duration(limit));
    let what = match ring.wake_at() {
        Some(wake_at) if !ring.is_drained() => format!("has fewer than the {wake_at} items that it wakes at"),
        _ => "is empty".into(),
    };
    let line = format!("ring {name:?} {what}, waited {waited}");
    Failure::new(code::FULL, line).hint(advice(ring))
}

/// A hint for an empty ring.
fn advice(ring: &impl Observe) -> String {
    let name = escape::argument(ring.name());
    match ring.peers(Role::Producer).iter().any(|one| one.liveness == Liveness::Alive) {
        true => format!("ringctl inspect {name} lists its processes"),
        false => format!("no live producer; ringctl inspect {name}"),
    }
}

/// The items lie behind one that is being written; fails with this code.
pub(super) fn blocked(ring: &impl Observe, exit: u8) -> Failure {
    let name = ring.name();
    let line = format!("ring {name:?} has items behind one that its producer has not finished");
    Failure::new(exit, line).hint(format!("ringctl inspect {}", escape::argument(name)))
}

/// Whether the ring's name is gone and no producer is attached: no items will come.
pub(super) fn is_deserted(ring: &impl Observe) -> bool {
    ring.is_nameless() && !ring.has_live(Role::Producer)
}

/// Why the stream ended before its last producer left. `None`: it did not.
pub(super) fn forced_end(ring: &impl Observe) -> Option<&'static str> {
    if ring.is_nameless() {
        Some("it was removed")
    } else if ring.is_closed() && !ring.is_over() {
        Some("it was closed")
    } else {
        None
    }
}
