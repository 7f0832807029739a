//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::plan::Test;

/// Measures ringpipe beside the queues that people would pick instead.
///
/// Without a command: measures everything in interleaved rounds, which takes about 20 minutes, and writes
/// results.jsonl, results.md and the plots.
#[derive(Debug, Parser)]
#[command(version, name = "peers")]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub run: Run,
    /// Where the results go
    #[arg(long, global = true, value_name = "DIR", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    pub out: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Writes the tables and plots again from results.jsonl
    Report,
    /// Lists the carriers, and what each does otherwise
    List,
    /// Kills senders and receivers at random moments, and writes kills.md: what each queue lost, and when it was stuck
    Kills {
        /// How many processes are killed over each queue
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(crate::kills::MOST)))]
        kills: u32,
        /// Repeats the choices of a run; the moments differ
        #[arg(long)]
        seed: Option<u64>,
    },
    #[command(hide = true)]
    Worker { job: String },
}

#[derive(Debug, Args)]
pub struct Run {
    /// Only carriers whose name contains one of these
    #[arg(long, global = true, value_name = "NAME,...", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Only messages of these many bytes
    #[arg(long, value_name = "BYTES,...", value_delimiter = ',')]
    pub sizes: Vec<usize>,
    /// Only these tests
    #[arg(long, value_name = "TEST,...", value_delimiter = ',')]
    pub tests: Vec<Test>,
    /// Only this number of messages in a call
    #[arg(long, value_name = "MESSAGES")]
    pub batch: Option<usize>,
    /// Interleaved rounds, of which the median is taken
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Seconds of each measurement, after a third as much to warm up
    #[arg(long, default_value_t = 0.3)]
    pub seconds: f64,
    /// Three rounds of a tenth of a second: a first look in a few minutes
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    pub quick: bool,
}

impl Run {
    /// Rounds, and seconds of each measurement.
    pub fn rounds_and_seconds(&self) -> (usize, f64) {
        if self.quick { (3, 0.1) } else { (self.rounds.max(1), self.seconds.clamp(0.01, 60.0)) }
    }
}
