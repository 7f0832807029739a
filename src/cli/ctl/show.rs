//! How names, sizes, times and counts are shown.
use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount};

use crate::{Activity, Liveness, sys::clock};

/// A name on one line: control characters are escaped.
pub fn name(name: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    name.chars().map(escape).collect()
}

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

/// Nanoseconds since a time given in nanoseconds since 1970; 0 for times to come.
pub fn age_ns(since: u64) -> u64 {
    clock::realtime_ns().saturating_sub(since)
}

/// As `--timeout` takes it.
pub fn given(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
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
pub fn activity(activity: Activity) -> &'static str {
    match activity {
        Activity::Busy => "busy",
        Activity::WaitingForItems => "waiting for items",
        Activity::WaitingForRoom => "waiting for room",
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

    #[test]
    fn a_name_stays_on_its_line() {
        assert_eq!(super::name("a\nb\x1b[31mü"), "a\\nb\\u{1b}[31mü");
    }
}
