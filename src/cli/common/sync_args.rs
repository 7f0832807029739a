//! The options that choose how a new ring's producers and consumers wait for each other.

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use super::args::Count;
use super::exit::{Failure, code};
use crate::{Discipline, Thresholds};

/// The discipline of a ring to be made.
#[derive(Debug, Clone, Default, Args)]
pub struct SyncArgs {
    #[arg(long, value_name = "DISCIPLINE", value_parser = parser(), hide_possible_values = true)]
    #[arg(help = help(), long_help = long_help())]
    sync: Option<Discipline>,
    /// With --sync monitor: wake waiting consumers when SLOTS slots have items [default: 1]
    #[arg(long, value_name = "SLOTS")]
    wake_at: Option<Count>,
    /// With --sync monitor: producers that filled --wake-at slots continue when at most SLOTS have items
    #[arg(long, value_name = "SLOTS")]
    resume_at: Option<Count>,
    /// The order in which items are handed out: fifo
    #[arg(long, value_name = "ORDER", value_enum, hide = true)]
    order: Option<OrderArg>,
}

/// The disciplines by name, for an option that takes one.
pub fn parser() -> impl TypedValueParser<Value = Discipline> {
    PossibleValuesParser::new(Discipline::ALL.iter().map(|discipline| discipline.name()))
        .map(|name| named(&name).expect("a name of the list"))
}

/// The discipline of this name; for a monitor, with the default thresholds.
pub fn named(name: &str) -> Option<Discipline> {
    Discipline::ALL.iter().copied().find(|discipline| discipline.name() == name)
}

/// The names of all disciplines as a sentence lists them, followed by `more`.
pub fn names(more: &[&str]) -> String {
    let all: Vec<&str> =
        Discipline::ALL.iter().map(|discipline| discipline.name()).chain(more.iter().copied()).collect();
    let (last, others) = all.split_last().expect("there are disciplines");
    format!("{} or {last}", others.join(", "))
}

fn help() -> String {
    let default = Discipline::default();
    format!("How its producers and consumers wait for each other: {} [default: {default}]", names(&[]))
}

fn long_help() -> String {
    let of_each =
        Discipline::ALL.iter().map(|discipline| format!("{discipline}: {}. ", discipline.summary()));
    let help = help();
    format!(
        "{help}\n\n{}Every process that attaches uses it; the promises are the same.",
        of_each.collect::<String>()
    )
}

/// The values of `--order`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OrderArg {
    Fifo,
    Lifo,
}

impl SyncArgs {
    /// The chosen discipline; `None` if none was given.
    ///
    /// # Errors
    /// A usage error for thresholds without a monitor, and for an order that no ring has.
    pub fn discipline(&self) -> Result<Option<Discipline>, Failure> {
        if self.order == Some(OrderArg::Lifo) {
            let line = "--order lifo: a ring hands its items out first in, first out; expected fifo";
            let hint = "last in, first out would let old items wait for ever, and both sides meet at one slot: \
                        docs/CLASSICS.md";
            return Err(Failure::new(code::USAGE, line).hint(hint));
        }
        let discipline = self.sync;
        if self.wake_at.is_none() && self.resume_at.is_none() {
            return Ok(discipline);
        }
        if discipline.and_then(Discipline::thresholds).is_none() {
            let line =
                "--wake-at and --resume-at are thresholds of a monitor; expected --sync monitor with them";
            return Err(Failure::new(code::USAGE, line));
        }
        let slots = |given: Option<Count>| given.map(|Count(slots)| slots);
        let wake_at = slots(self.wake_at).unwrap_or(Thresholds::default().wake_at);
        Ok(Some(Discipline::Monitor(Thresholds { wake_at, resume_at: slots(self.resume_at) })))
    }
}

/// A discipline in words: its name, and the thresholds of a monitor.
pub fn describe(discipline: Discipline) -> String {
    let Some(Thresholds { wake_at, resume_at }) = discipline.thresholds() else {
        return discipline.to_string();
    };
    let resume = resume_at.map(|slots| format!(", resumes at {slots}")).unwrap_or_default();
    format!("{discipline}, wakes at {wake_at}{resume}")
}
