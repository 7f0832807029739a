//! The options that `producer` and `consumer` share. Each command flattens them, and [`worded`] gives them the
//! command's own help texts.

use clap::{Arg, Args};

use super::affinity::AffinityArgs;
use super::args::{DelayArg, DurationArg, RateArg};
use super::report::ReportArgs;
use super::run_log::LogArgs;

/// How long to wait; the heading is the command's.
#[derive(Debug, Clone, Copy, Args)]
pub struct WaitArgs {
    /// Wait at most this long, each time
    #[arg(long, value_name = "DURATION", conflicts_with = "no_wait")]
    pub timeout: Option<DurationArg>,
    /// Never wait
    #[arg(long)]
    pub no_wait: bool,
}

/// How fast items go.
#[derive(Debug, Clone, Copy, Args)]
#[command(next_help_heading = "Pace")]
pub struct PaceArgs {
    /// At most this many items per time: 1000, 1000/s, 90/m, 0.5/h
    #[arg(long, value_name = "RATE")]
    pub rate: Option<RateArg>,
    /// Wait between items: a duration, or MIN..MAX for a random one
    #[arg(long, value_name = "DURATION")]
    pub delay: Option<DelayArg>,
}

/// Where the process runs, and what it reports.
#[derive(Debug, Clone, Args)]
pub struct ProcessArgs {
    /// Where the process runs.
    #[command(flatten)]
    pub affinity: AffinityArgs,
    /// What the process reports.
    #[command(flatten)]
    pub report: ReportArgs,
    /// Where the process logs what happens to items.
    #[command(flatten)]
    pub log: LogArgs,
}

/// Replaces the help of a shared option by the command's own, if `words` has one.
pub fn worded(arg: Arg, words: &[(&str, &'static str)]) -> Arg {
    match words.iter().find(|(id, _)| arg.get_id() == id) {
        Some((_, help)) => arg.help(*help),
        None => arg,
    }
}
