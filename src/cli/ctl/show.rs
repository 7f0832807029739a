//! Formats names, sizes, times and counts.
use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};

pub use crate::cli::common::escape::text as name;
use crate::cli::common::paint::Tone;
use crate::cli::common::table::{Cell, cell, toned};
use crate::sys::command::clock;
use crate::{Activity, Liveness, PidNamespace};

/// `64 B`, `1.50 MiB`.
pub fn bytes(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

/// `1,234,567`.
pub fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

/// `1 item`, `2 items`.
pub fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", count(number))
}

/// Two units at most: `850ns`, `12.3us`, `3.40ms`, `5.2s`, `3m 20s`, `2h 5m`, `3d 4h`.
pub fn duration(nanoseconds: u64) -> String {
    let seconds = nanoseconds / 1_000_000_000;
    let n = nanoseconds as f64;
    match seconds {
        0 if nanoseconds < 1_000 => format!("{nanoseconds}ns"),
        0 if nanoseconds < 1_000_000 => format!("{:.1}us", n / 1e3),
        0 => format!("{:.1}ms", n / 1e6),
        1..60 => format!("{:.1}s", n / 1e9),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A duration in nanoseconds.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds since a time given in nanoseconds since 1970; 0 for times in the future.
pub fn age_ns(since: u64) -> u64 {
    clock::realtime_ns().saturating_sub(since)
}

/// In the form that `--timeout` accepts.
pub fn given(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// The state of a ring or stream, in its colour.
pub fn state(state: &str) -> Cell {
    let tone = match state {
        "open" => Tone::Good,
        "unusable" => Tone::Bad,
        _ => Tone::Notable,
    };
    toned(tone, state)
}

/// The row of a list for a ring or stream whose figures are not known.
pub fn unusable(name: Cell, state: Cell) -> Vec<Cell> {
    let unknown = || cell("-");
    vec![name, unknown(), unknown(), unknown(), unknown(), state, unknown(), unknown()]
}

/// In words, as in JSON.
pub fn liveness(liveness: Liveness) -> &'static str {
    match liveness {
        Liveness::Alive => "alive",
        Liveness::Stopped => "stopped",
        Liveness::Dead => "dead",
    }
}

/// In words, as in JSON.
pub fn pid_namespace(namespace: PidNamespace) -> &'static str {
    match namespace {
        PidNamespace::This => "this",
        PidNamespace::Other => "other",
        _ => "unseen",
    }
}

/// A remark after a participant's state: that its process id refers to another process here, or to none.
pub fn elsewhere(pid_namespace: Option<&str>) -> &'static str {
    match pid_namespace {
        Some("other") => ", in another PID namespace",
        Some("unseen") => ", no such process here",
        _ => "",
    }
}

/// In words, as in JSON.
pub fn activity(activity: Activity) -> &'static str {
    match activity {
        Activity::WaitingForItems => "waiting for items",
        Activity::WaitingForRoom => "waiting for room",
        _ => "busy",
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_have_two_units_at_most() {
        for (ns, text) in [
            (0, "0ns"),
            (999, "999ns"),
            (12_300, "12.3us"),
            (3_400_000, "3.4ms"),
            (5_200_000_000, "5.2s"),
            (200_000_000_000, "3m 20s"),
            (7_500_000_000_000, "2h 5m"),
            (273_600_000_000_000, "3d 4h"),
        ] {
            assert_eq!(super::duration(ns), text);
        }
    }
}
