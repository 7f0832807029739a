//! Messages on standard error besides failures: notes, progress, statistics.

use std::cell::OnceCell;
use std::fmt::Display;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Instant;

use clap::Args;
use indicatif::{BinaryBytes, HumanCount, ProgressBar};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use serde::Serialize;

use super::escape;
use super::exit::Failure;
use super::progress::{Fill, Goal, Progress, Subject};
use crate::sys::command::{signal, stdio};

/// The longest wait for room in standard error without a check for a signal, in milliseconds.
const ROOM: u8 = 50;

/// Which messages are printed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Reports (all on standard error)")]
pub struct ReportArgs {
    /// Show how much went through and how fast, the time left if the size is known, how full the ring is and
    /// which side is slow
    ///
    /// Redrawn on a terminal. Elsewhere a line after a second, and again whenever the command has run for a tenth
    /// longer: at least a second, at most a minute apart. Rates are of the last 3 seconds. `consumer
    /// RING -- COMMAND` also shows how many items have failed for good or are delayed until their next attempt, and
    /// how many commands run; its rates are of the last 10 items, if these took longer.
    #[arg(long)]
    pub progress: bool,
    /// End with a line of statistics
    #[arg(long)]
    pub stats: bool,
    /// Print only errors, and what other options request
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Print more: which ring was made or found, and what the command waits for
    #[arg(short, long)]
    pub verbose: bool,
}

/// Writes messages to standard error. Ignores errors of standard error.
#[derive(Debug, Clone)]
pub struct Reporter {
    program: &'static str,
    args: ReportArgs,
    /// The bar on the terminal.
    bar: OnceCell<ProgressBar>,
}

impl Reporter {
    /// The messages of `program`, as `args` choose them.
    pub fn new(program: &'static str, args: &ReportArgs) -> Self {
        Reporter { program, args: args.clone(), bar: OnceCell::new() }
    }

    /// Writes a note, except with -q.
    pub fn note(&self, text: impl Display) {
        if !self.args.quiet {
            self.line(text);
        }
    }

    /// Writes a note, even with -q.
    pub fn warn(&self, text: impl Display) {
        self.line(text);
    }

    /// Writes a note with -v.
    pub fn detail(&self, text: impl Display) {
        if self.args.verbose {
            self.line(text);
        }
    }

    /// Whether details are written.
    pub fn is_verbose(&self) -> bool {
        self.args.verbose
    }

    /// Whether notes are written.
    pub fn tells_notes(&self) -> bool {
        !self.args.quiet
    }

    /// Writes the requested line of statistics; as one JSON object with `json`.
    ///
    /// # Errors
    /// The [`Failure`] if standard error does not accept them, unless its reader has left.
    pub fn stats(&self, stats: &Stats<'_>, json: bool) -> Result<(), Failure> {
        let text = match json {
            // Numbers and a valid string, which JSON can always express.
            true => escape::json(serde_json::to_string(stats).unwrap_or_default()) + "\n",
            false => format!("{}: {stats}\n", self.program),
        };
        if !stdio::was_open(2) {
            return Err(Failure::closed("standard error"));
        }
        match io::stderr().write_all(text.as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::io("standard error", &error))
            }
            _ => Ok(()),
        }
    }

    /// Starts the progress display, if it was requested.
    pub fn progress(
        &self,
        ring: &str,
        subject: Subject,
        look: impl Fn() -> Option<Fill> + Send + 'static,
        goal: Goal,
    ) -> Progress {
        if !self.args.progress {
            return Progress::hidden();
        }
        let prefix = format!("{}: ring {:?}", self.program, ring);
        let progress = Progress::start(&prefix, subject, look, goal, Instant::now());
        if let Some(bar) = progress.bar() {
            // A command has only one progress display.
            let _ = self.bar.set(bar.clone());
        }
        progress
    }

    fn line(&self, text: impl Display) {
        let text = format!("{}: {}\n", self.program, escape::text(&text.to_string()));
        let write = || {
            if waits_for_room() {
                drop(io::stderr().write_all(text.as_bytes()));
            }
        };
        match self.bar.get() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

/// Waits until standard error has room for a note. False: it has none, and a signal has come. A reader that
/// does not read must not delay the command's end.
fn waits_for_room() -> bool {
    let stderr = io::stderr();
    loop {
        let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut fds, ROOM) {
            Ok(0) if signal::first().is_some() => return false,
            Ok(0) | Err(Errno::EINTR) => {}
            // If there is an error, the write reports it.
            Ok(_) | Err(_) => return true,
        }
    }
}

/// The totals of a producer or a consumer.
#[derive(Debug, Clone, Serialize)]
pub struct Stats<'a> {
    /// Name and version of this object's format.
    pub schema: &'static str,
    /// The ring.
    pub ring: &'a str,
    /// Items sent, or written and acknowledged.
    pub items: u64,
    /// Bytes of these items, without framing.
    pub bytes: u64,
    /// Time since it attached.
    pub seconds: f64,
    /// The counts of one side only.
    #[serde(flatten)]
    pub more: More,
}

/// The counts that only one side has.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum More {
    /// Of a producer.
    Producer {
        /// Items that were dropped instead of being sent.
        dropped_newest: u64,
        /// Items that were taken out of the ring to make room.
        dropped_oldest: u64,
    },
    /// Of a consumer.
    Consumer {
        /// Received items that had been delivered before.
        redelivered: u64,
        /// Items that were received and given back.
        returned: u64,
        /// With `--dedup`: items that were not written, as they were written before.
        #[serde(skip_serializing_if = "Option::is_none")]
        duplicates: Option<u64>,
    },
    /// Of a consumer that runs a command for each item.
    Worker {
        /// Attempts that failed and were followed by another one.
        retried: u64,
        /// Items that failed for good.
        failed: u64,
        /// Items that needed no command.
        skipped: u64,
        /// With `--dedup`: items without a command, as they were done before.
        #[serde(skip_serializing_if = "Option::is_none")]
        duplicates: Option<u64>,
    },
}

impl Display for Stats<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Stats { ring, items, bytes, seconds, .. } = self;
        let verb = match self.more {
            More::Producer { .. } => "sent",
            More::Consumer { .. } => "received",
            More::Worker { .. } => "done",
        };
        let rate = if *seconds > 0.0 { *items as f64 / seconds } else { 0.0 };
        let (items, bytes, rate) = (HumanCount(*items), BinaryBytes(*bytes), HumanCount(rate as u64));
        write!(f, "ring {ring:?}: {verb} {items} items, {bytes} in {seconds:.3} s, {rate} items/s")?;
        let mut count =
            |number, what| if number > 0 { write!(f, ", {} {what}", HumanCount(number)) } else { Ok(()) };
        match self.more {
            More::Producer { dropped_newest, dropped_oldest } => {
                count(dropped_newest, "dropped as newest")?;
                count(dropped_oldest, "dropped as oldest")
            }
            More::Consumer { redelivered, returned, duplicates } => {
                count(redelivered, "redelivered")?;
                count(returned, "given back")?;
                count(duplicates.unwrap_or(0), "dropped as duplicates")
            }
            More::Worker { retried, failed, skipped, duplicates } => {
                count(retried, "retried")?;
                count(failed, "failed for good")?;
                count(skipped, "skipped")?;
                count(duplicates.unwrap_or(0), "dropped as duplicates")
            }
        }
    }
}
