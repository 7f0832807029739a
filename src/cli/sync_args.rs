//! How the two sides of a new ring wait for each other.

use clap::{Args, ValueEnum};

use super::args::Count;
use super::exit::{Failure, code};
use crate::{Discipline, Thresholds};

/// The discipline of a ring to be made.
#[derive(Debug, Clone, Default, Args)]
pub struct SyncArgs {
    /// How its producers and consumers wait for each other: adaptive, semaphore, polling or monitor
    /// [default: adaptive]
    ///
    /// adaptive: look, spin a little, then sleep. semaphore: the counting semaphores room and items, and a
    /// mutex. polling: look, sched_yield, look again; waiting takes a whole core. monitor: a condition
    /// variable. All who attach follow it; the promises are the same.
    #[arg(long, value_name = "DISCIPLINE", value_enum, hide_possible_values = true)]
    sync: Option<SyncArg>,
    /// With --sync monitor: consumers that found nothing go on when so many slots wait [default: 1]
    #[arg(long, value_name = "SLOTS")]
    wake_at: Option<Count>,
    /// With --sync monitor: producers that filled --wake-at slots go on when no more than so many wait
    #[arg(long, value_name = "SLOTS")]
    resume_at: Option<Count>,
    /// The order in which items are handed out: fifo
    #[arg(long, value_name = "ORDER", value_enum, hide = true)]
    order: Option<OrderArg>,
}

/// The values of `--sync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SyncArg {
    /// Look, spin a little, then sleep
    Adaptive,
    /// Semaphores room and items that count, and a mutex
    Semaphore,
    /// Look, give the processor away, look again
    Polling,
    /// A condition variable
    Monitor,
}

/// The values of `--order`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OrderArg {
    Fifo,
    Lifo,
}

impl From<SyncArg> for Discipline {
    fn from(sync: SyncArg) -> Self {
        match sync {
            SyncArg::Adaptive => Discipline::Adaptive,
            SyncArg::Semaphore => Discipline::Semaphore,
            SyncArg::Polling => Discipline::Polling,
            SyncArg::Monitor => Discipline::Monitor(Thresholds::default()),
        }
    }
}

impl SyncArgs {
    /// What was asked for; `None`: nothing.
    ///
    /// # Errors
    /// A usage error for thresholds of what is no monitor, and for an order that no ring has.
    pub fn discipline(&self) -> Result<Option<Discipline>, Failure> {
        if self.order == Some(OrderArg::Lifo) {
            let line = "--order lifo: a ring hands its items out first in, first out; expected fifo";
            let hint = "last in, first out would let old items wait for ever, and both sides meet at one slot: \
                        docs/CLASSICS.md";
            return Err(Failure::new(code::USAGE, line).hint(hint));
        }
        let discipline = self.sync.map(Discipline::from);
        if self.wake_at.is_none() && self.resume_at.is_none() {
            return Ok(discipline);
        }
        if !matches!(discipline, Some(Discipline::Monitor(_))) {
            let line =
                "--wake-at and --resume-at are thresholds of a monitor; expected --sync monitor with them";
            return Err(Failure::new(code::USAGE, line));
        }
        let slots = |given: Option<Count>| given.map(|Count(slots)| slots);
        let wake_at = slots(self.wake_at).unwrap_or(Thresholds::default().wake_at);
        Ok(Some(Discipline::Monitor(Thresholds { wake_at, resume_at: slots(self.resume_at) })))
    }
}

/// A discipline as people write it: its name, and the thresholds of a monitor that has some.
pub fn describe(discipline: Discipline) -> String {
    let Some(Thresholds { wake_at, resume_at }) = discipline.thresholds() else {
        return discipline.to_string();
    };
    let resume = resume_at.map(|slots| format!(", resumes at {slots}")).unwrap_or_default();
    format!("{discipline}, wakes at {wake_at}{resume}")
}
