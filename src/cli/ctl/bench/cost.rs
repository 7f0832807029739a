//! Measures what a process uses while it works.
use std::iter::Sum;

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeValLike,
};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, sys::command::trace::Counted};

/// Processor time and context switches.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Used {
    /// In user and in kernel mode.
    pub cpu_ns: u64,
    /// Times that the process went to sleep.
    pub voluntary: u64,
    /// Times that it lost its processor although it could have continued, or yielded it.
    pub involuntary: u64,
}

impl Used {
    /// What this process has used so far.
    fn so_far() -> Result<Self> {
        let usage = getrusage(UsageWho::RUSAGE_SELF).map_err(|error| Error::Io {
            what: "reading what this process used".into(),
            source: error.into(),
        })?;
        let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Ok(Used {
            cpu_ns: microseconds as u64 * 1000,
            voluntary: usage.voluntary_context_switches() as u64,
            involuntary: usage.involuntary_context_switches() as u64,
        })
    }

    fn since(self, before: Used) -> Self {
        Used {
            cpu_ns: self.cpu_ns.saturating_sub(before.cpu_ns),
            voluntary: self.voluntary.saturating_sub(before.voluntary),
            involuntary: self.involuntary.saturating_sub(before.involuntary),
        }
    }
}

impl Sum for Used {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Used::default(), |sum, one| Used {
            cpu_ns: sum.cpu_ns + one.cpu_ns,
            voluntary: sum.voluntary + one.voluntary,
            involuntary: sum.involuntary + one.involuntary,
        })
    }
}

/// Runs while a process works. A tracer counts the system calls in this time.
pub struct Meter {
    before: Used,
    counted: Counted,
}

impl Meter {
    pub fn start() -> Result<Self> {
        Ok(Meter { before: Used::so_far()?, counted: Counted::begin() })
    }

    /// What the process used since the start of the meter.
    pub fn stop(self) -> Result<Used> {
        self.counted.end();
        Ok(Used::so_far()?.since(self.before))
    }
}
