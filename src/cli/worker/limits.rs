//! Holds back new commands while the machine is busy or short of memory.

use std::fs;
use std::str::FromStr;

use crate::cli::common::args::{ArgError, ByteSize};
use crate::sys::command::process::processors;

/// The value of `--load`: a load average, or a percentage of the processors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoadArg(f64);

impl FromStr for LoadArg {
    type Err = ArgError;

    fn from_str(given: &str) -> Result<Self, ArgError> {
        load_of(given, processors()).map(LoadArg)
    }
}

fn load_of(given: &str, processors: u32) -> Result<f64, ArgError> {
    let bad = |problem| ArgError::new(problem, "a number above 0 such as 1.5, or a percentage such as 80%");
    let (number, unit) = match given.strip_suffix('%') {
        Some(percent) => (percent, f64::from(processors) / 100.0),
        None => (given, 1.0),
    };
    // `parse` alone would accept "inf", "1e3" and "+1".
    if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(bad("this is not a load"));
    }
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number * unit),
        Ok(_) => Err(bad("this load is never reached")),
        Err(_) => Err(bad("this is not a load")),
    }
}

/// When a new command may start.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    load: Option<f64>,
    memory: Option<u64>,
}

impl Limits {
    /// The limits of `--load` and `--memfree`.
    pub fn new(load: Option<LoadArg>, memfree: Option<ByteSize>) -> Self {
        Limits { load: load.map(|LoadArg(load)| load), memory: memfree.map(|ByteSize(bytes)| bytes) }
    }

    /// Whether a command may start now: the load average of the last minute is below its limit, and enough
    /// memory is available. A value that the system does not report is no reason to wait.
    pub fn allow(&self) -> bool {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let calm = self.load.is_none_or(|most| load(&read("/proc/loadavg")).is_none_or(|load| load < most));
        calm && self
            .memory
            .is_none_or(|least| available(&read("/proc/meminfo")).is_none_or(|free| free >= least))
    }
}

/// The load average of the last minute, from the text of /proc/loadavg.
fn load(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

/// The bytes of MemAvailable, from the text of /proc/meminfo: what commands can use without swapping.
fn available(text: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    value.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_a_number_or_a_percentage_of_the_processors() {
        for (given, expected) in
            [("1.5", 1.5), ("4", 4.0), (".5", 0.5), ("100%", 8.0), ("25%", 2.0), ("150%", 12.0)]
        {
            assert_eq!(load_of(given, 8), Ok(expected), "{given}");
        }
        for bad in ["", "%", "0", "0%", "-1", "+1", "1e3", "inf", "nan", "1.2.3", "80%%", &"9".repeat(400)] {
            let error = load_of(bad, 8).unwrap_err().to_string();
            assert!(error.contains("; expected a number above 0"), "{bad:?}: {error}");
        }
    }

    #[test]
    fn the_systems_texts_are_read() {
        assert_eq!(load("0.42 0.30 0.25 1/123 4567\n"), Some(0.42));
        assert_eq!([load(""), load("x")], [None; 2]);
        let text = "MemTotal:       24683520 kB\nMemFree:        21708800 kB\nMemAvailable:   24197120 kB\n";
        assert_eq!(available(text), Some(24_197_120 * 1024));
        for text in ["", "MemFree: 1 kB\n", "MemAvailable: x kB\n", "MemAvailable: 99999999999999999999 kB\n"]
        {
            assert_eq!(available(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_limit_that_this_machine_keeps_allows_and_one_that_it_cannot_keep_does_not() {
        let limits = |load: Option<&str>, memory| Limits::new(load.map(|l| l.parse().unwrap()), memory);
        assert!(limits(None, None).allow());
        assert!(limits(Some("1000000"), Some(ByteSize(1))).allow());
        assert!(!limits(None, Some(ByteSize(u64::MAX))).allow());
    }
}
