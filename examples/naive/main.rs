//! The texts' algorithms as they are written, beside ringpipe's of the same discipline: each naive one fails, and
//! ringpipe's does not.
//!
//! `cargo run --example naive` runs all experiments, `cargo run --example naive -- lost-items` one of them. Each
//! starts real processes on the texts' buffer in raw shared memory (`src/sys/command/textbook.rs`) and then the same
//! ones on a ring. The example exits with 0 only if each naive version failed as claimed here and no ring failed.
//! Where chance decides, the naive version has a few rounds to fail.

#[path = "../common/mod.rs"]
mod common;
mod condition;
mod kills;
mod lifo;
mod ours;
mod polling;
mod wrong_signal;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use common::{Part, Result, perform, say, wait_until};
use ringpipe::internal::sys::command::textbook;

/// Where the texts' algorithms fail, and ringpipe does not
#[derive(Parser)]
struct Options {
    /// The experiment to run; all of them if none is named
    experiment: Option<Experiment>,
    /// How long the naive version may stand still before that counts as for ever
    #[arg(long, value_name = "DUR", default_value = "1s", value_parser = humantime::parse_duration)]
    patience: Duration,
    #[command(flatten)]
    part: Part,
}

/// The experiments.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Experiment {
    /// 001: the consumer signals items where room is meant
    WrongSignal,
    /// 000, 001: polling with two producers
    LostItems,
    /// 000, 001: kill -9 while a process holds the mutex
    KilledWithMutex,
    /// 000, 001: kill -9 between wait(room) and signal(items), again and again
    LostCapacity,
    /// 000, 001: kill -9 of a busy producer at random moments
    RandomKills,
    /// 002: the lock is held while something is produced
    LockWhileProducing,
    /// 002: waiting without a loop
    IfNotWhile,
    /// 000: last in, first out
    Lifo,
}

/// The results of the naive version and of ringpipe.
struct Verdict {
    naive: String,
    /// The naive version failed as claimed.
    failed: bool,
    ours: String,
    /// On the ring, no item was lost or doubled, and no process kept waiting.
    held: bool,
}

/// The longest wait for a process to begin.
const START: Duration = Duration::from_secs(30);
/// Rounds in which the naive version may fail, where chance decides.
const ROUNDS: usize = 8;

impl Experiment {
    fn run(self, patience: Duration) -> Result<Verdict> {
        match self {
            Experiment::WrongSignal => wrong_signal::run(patience),
            Experiment::LostItems => polling::run(),
            Experiment::KilledWithMutex => kills::with_mutex(patience),
            Experiment::LostCapacity => kills::capacity(patience),
            Experiment::RandomKills => kills::random(patience),
            Experiment::LockWhileProducing => condition::starving(),
            Experiment::IfNotWhile => condition::negative(),
            Experiment::Lifo => lifo::run(),
        }
    }

    /// Its name and its help text.
    fn about(self) -> String {
        let value = self.to_possible_value().unwrap_or_else(|| unreachable!("none is hidden"));
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        format!("{} - {help}", value.get_name())
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    perform(&options.part, |part| match part.role().split_once(' ') {
        None => direct(&options),
        Some(("ours", role)) => ours::play(role, part),
        Some(("wrong-signal", role)) => wrong_signal::play(role, part),
        Some(("polling", role)) => polling::play(role, part),
        Some(("kills", role)) => kills::play(role, part),
        Some(("condition", role)) => condition::play(role, part),
        Some((_, role)) => lifo::play(role, part),
    })
}

fn direct(options: &Options) -> Result {
    let wanted = match &options.experiment {
        Some(one) => std::slice::from_ref(one),
        None => Experiment::value_variants(),
    };
    let mut unexpected = Vec::new();
    for (experiment, n) in wanted.iter().zip(0..) {
        if n > 0 {
            say("");
        }
        say(experiment.about());
        let Verdict { naive, failed, ours, held } = experiment.run(options.patience)?;
        say(format_args!("  naive:    {naive}"));
        say(format_args!("  ringpipe: {ours}"));
        if !failed || !held {
            let who = if held { "the naive version did not fail" } else { "ringpipe failed" };
            say(format_args!("  NOT AS CLAIMED: {who}"));
            unexpected.push(experiment.about());
        }
    }
    match unexpected.is_empty() {
        true => Ok(()),
        false => Err(format!("not as claimed: {}", unexpected.join("; ")).into()),
    }
}

/// Waits until `progress` has not changed for this time.
fn until_still(patience: Duration, mut progress: impl FnMut() -> u64) -> Result<u64> {
    let (mut last, mut since) = (progress(), std::time::Instant::now());
    wait_until("standing still", Duration::from_secs(60), || {
        let now = progress();
        if now != std::mem::replace(&mut last, now) {
            since = std::time::Instant::now();
        }
        Ok(since.elapsed() >= patience)
    })?;
    Ok(last)
}
