//! How long a failed item is held back before it is tried again.

use std::str::FromStr;
use std::time::Duration;

use crate::cli::common::args::{ArgError, DelayArg};

/// The value of `--backoff`: `MIN..MAX`, or one duration for a constant wait.
///
/// The wait doubles with each failure, from MIN up to MAX, and a random part of it, at most half, is left out, so
/// that items which failed together are not tried again together. This is the "equal jitter" of "Exponential
/// Backoff and Jitter" (Marc Brooker, AWS Architecture Blog, 2015). A constant wait is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff(DelayArg);

/// 1 second to 5 minutes.
impl Default for Backoff {
    fn default() -> Self {
        Backoff(DelayArg { min: Duration::from_secs(1), max: Duration::from_secs(300) })
    }
}

impl Backoff {
    /// How long to wait after an item has failed `failures` times: half of the doubled wait, plus a random part of
    /// the other half. 0 failures count as 1.
    pub fn delay(&self, failures: u8, rng: &mut fastrand::Rng) -> Duration {
        let DelayArg { min, max } = self.0;
        if min == max {
            return max;
        }
        let doubled = min.as_secs_f64() * 2_f64.powi(i32::from(failures.saturating_sub(1)));
        // A time that is too long for a duration is above MAX, too.
        let whole = Duration::try_from_secs_f64(doubled).map_or(max, |doubled| doubled.min(max));
        let half = whole / 2;
        let span = u64::try_from((whole - half).as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(rng.u64(0..=span))
    }
}

impl FromStr for Backoff {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        given.parse().map(Backoff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn delays(given: &str, failures: u8) -> Vec<Duration> {
        let (backoff, mut rng) = (given.parse::<Backoff>().unwrap(), fastrand::Rng::with_seed(7));
        (0..1000).map(|_| backoff.delay(failures, &mut rng)).collect()
    }

    #[test]
    fn the_wait_doubles_up_to_the_maximum_and_varies_by_half_of_it() {
        for (failures, whole) in [(0, 100), (1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (6, 1000)]
            .into_iter()
            .chain([(32, 1000), (33, 1000), (255, 1000)])
        {
            let delays = delays("100ms..1s", failures);
            let (least, most) = (*delays.iter().min().unwrap(), *delays.iter().max().unwrap());
            assert!(least >= whole * MS / 2 && most <= whole * MS, "{failures}: {least:?}..{most:?}");
            assert!(least < whole * MS * 6 / 10 && most > whole * MS * 9 / 10, "{failures}: no jitter");
        }
    }

    #[test]
    fn one_duration_is_a_constant_wait() {
        for failures in [0, 1, 2, 255] {
            assert!(delays("2s", failures).iter().all(|delay| *delay == Duration::from_secs(2)));
        }
    }

    #[test]
    fn extreme_waits_do_not_overflow() {
        assert!(delays("0..1s", 255).iter().all(|delay| delay.is_zero()), "twice nothing is nothing");
        assert!(delays("1ns..9999d", 255).iter().all(|delay| *delay >= Duration::from_secs(4999 * 86400)));
        assert!(delays("9998d..9999d", 255).iter().all(|delay| *delay >= Duration::from_secs(4999 * 86400)));
    }

    #[test]
    fn other_forms_are_refused_with_the_expected_one() {
        for bad in ["", "x", "2s..1s", "1s..", "..1s"] {
            let error = bad.parse::<Backoff>().unwrap_err().to_string();
            assert!(error.contains("; expected a duration such as 250ms, or MIN..MAX"), "{bad:?}: {error}");
        }
    }
}
