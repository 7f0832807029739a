//! Monotonic time and deadlines, in nanoseconds.
#![allow(unsafe_code)]

use std::time::Duration;

/// Nanoseconds of the monotonic clock: the same for all processes, never set back, stopped during suspend.
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// The monotonic clock as of the last timer tick: 1 to 10 ms behind [`monotonic_ns`], and cheaper.
pub fn coarse_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

/// Nanoseconds since 1970, for display; it may be set at any time.
pub fn realtime_ns() -> u64 {
    read(libc::CLOCK_REALTIME)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is ours. All three clocks exist on every Linux that Rust runs on, so with a valid
    // pointer the call cannot fail.
    let result = unsafe { libc::clock_gettime(clock, &mut now) };
    debug_assert_eq!(result, 0);
    (now.tv_sec as u64).saturating_mul(1_000_000_000).saturating_add(now.tv_nsec as u64)
}

/// The end of a wait, on the monotonic clock.
///
/// A duration that is too long for the clock is cut to the longest one, 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    at: Option<u64>,
}

impl Deadline {
    /// Never passes.
    pub const fn never() -> Self {
        Deadline { at: None }
    }

    /// Has passed already: the caller tries once and does not wait.
    pub const fn immediate() -> Self {
        Deadline { at: Some(0) }
    }

    /// Passes after `wait` from now.
    pub fn after(wait: Duration) -> Self {
        let wait = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Deadline { at: Some(monotonic_ns().saturating_add(wait)) }
    }

    /// The time left: zero when the deadline has passed, `None` if it never passes.
    pub fn remaining(&self) -> Option<Duration> {
        match self.at {
            None => None,
            Some(0) => Some(Duration::ZERO),
            Some(at) => Some(Duration::from_nanos(at.saturating_sub(monotonic_ns()))),
        }
    }

    /// Whether the deadline has passed.
    pub fn passed(&self) -> bool {
        self.remaining() == Some(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clocks_run_forward() {
        let before = monotonic_ns();
        std::thread::sleep(Duration::from_millis(2));
        assert!(monotonic_ns() >= before + 2_000_000);
        assert!(coarse_ns() <= monotonic_ns());
        assert!(realtime_ns() > 1_600_000_000_000_000_000);
    }

    #[test]
    fn deadlines_pass_in_their_time_or_at_once_or_never() {
        assert!(Deadline::immediate().passed());
        assert!(Deadline::after(Duration::ZERO).passed());
        assert!(!Deadline::never().passed());
        assert_eq!(Deadline::never().remaining(), None);
        let long = Deadline::after(Duration::MAX);
        assert!(long.remaining().unwrap() > Duration::from_secs(3_000_000_000));
        let short = Deadline::after(Duration::from_millis(2));
        std::thread::sleep(Duration::from_millis(2));
        assert!(short.passed());
    }
}
