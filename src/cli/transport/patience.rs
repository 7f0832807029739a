//! How long a command waits to attach, and the note about that wait.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::StopFlag;
use crate::cli::common::args::DurationArg;
use crate::cli::common::report::Reporter;
use crate::cli::common::signals;

/// The shortest and longest pause between two attempts; in between, a sixteenth of the time waited so far. An
/// attempt costs microseconds. A watch for new names (inotify) would cost more: when the process ends, the kernel
/// takes 15 ms to remove it, and seconds on a busy machine.
const PAUSES: (Duration, Duration) = (Duration::from_micros(500), Duration::from_millis(25));
const PAUSE_SHARE: u32 = 16;
/// A wait that is longer than this is noted.
const UNSAID: Duration = Duration::from_millis(200);

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Not at all.
    None,
    /// At most this long.
    Limited(Duration),
    /// Until a signal comes.
    Unlimited,
}

impl Patience {
    /// For a place in a ring: `--timeout` if given, otherwise no wait.
    pub fn of_place(timeout: Option<DurationArg>) -> Self {
        timeout.map_or(Patience::None, |DurationArg(limit)| Patience::Limited(limit))
    }
}

/// Why a wait ended without success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The time is over; this is how long the wait was.
    Expired(Duration),
    /// A signal came.
    Stopped,
}

/// The wait of a command that attaches, from its first attempt on.
pub struct Attempts<'a> {
    start: Instant,
    said: bool,
    report: &'a Reporter,
    stop: &'a StopFlag,
}

impl<'a> Attempts<'a> {
    pub fn new(report: &'a Reporter, stop: &'a StopFlag) -> Self {
        Attempts { start: Instant::now(), said: false, report, stop }
    }

    /// Pauses before the next attempt, and notes once what the command waits for.
    pub fn pause(&mut self, patience: Patience, what: impl Display) -> Result<(), Over> {
        let waited = self.start.elapsed();
        let mut pause = (waited / PAUSE_SHARE).clamp(PAUSES.0, PAUSES.1);
        match patience {
            Patience::None => return Err(Over::Expired(Duration::ZERO)),
            Patience::Limited(limit) if waited >= limit => return Err(Over::Expired(limit)),
            Patience::Limited(limit) => pause = pause.min(limit - waited),
            Patience::Unlimited => {}
        }
        if waited >= UNSAID && !self.said {
            self.report.note(format!("waiting for {what}"));
            self.said = true;
        }
        if signals::sleep(pause, self.stop) { Ok(()) } else { Err(Over::Stopped) }
    }
}
