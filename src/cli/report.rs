//! What the commands say on standard error besides errors: notes, progress, statistics.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde::Serialize;

use super::exit::Failure;
use crate::sys::stdio;

/// How often progress is shown where it cannot be redrawn.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// How often it is redrawn at most.
const REDRAW_EVERY: Duration = Duration::from_millis(100);

/// What is to be said.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Reports (all on standard error)")]
pub struct ReportArgs {
    /// Show how many items went through: redrawn on a terminal, a line per second elsewhere
    #[arg(long)]
    pub progress: bool,
    /// End with a line of statistics
    #[arg(long)]
    pub stats: bool,
    /// Say nothing but errors, and what was asked for
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more: what was made or found, and what is waited for
    #[arg(short, long)]
    pub verbose: bool,
}

/// Says things on standard error. A standard error that takes nothing is nobody's loss.
#[derive(Debug, Clone)]
pub struct Report {
    program: &'static str,
    args: ReportArgs,
}

impl Report {
    /// What `program` says as `args` have it.
    pub fn new(program: &'static str, args: &ReportArgs) -> Self {
        Report { program, args: args.clone() }
    }

    /// Something to know, unless -q.
    pub fn note(&self, text: impl Display) {
        if !self.args.quiet {
            self.line(text);
        }
    }

    /// Something to know with -v.
    pub fn detail(&self, text: impl Display) {
        if self.args.verbose {
            self.line(text);
        }
    }

    /// Whether somebody wants to know that the command waits: with -v, or at a terminal without -q.
    pub fn tells_waits(&self) -> bool {
        self.args.verbose || !self.args.quiet && io::stderr().is_terminal()
    }

    /// The line of statistics, which was asked for; as one JSON object with `json`.
    ///
    /// # Errors
    /// The [`Failure`] of a standard error that does not take them, unless nobody reads it any more.
    pub fn stats(&self, stats: &Stats<'_>, json: bool) -> Result<(), Failure> {
        let text = match json {
            // Numbers and a valid string: nothing that JSON cannot express.
            true => serde_json::to_string(stats).unwrap_or_default() + "\n",
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

    /// Progress from here on, if it was asked for.
    pub fn progress(&self, ring: &str) -> Progress {
        let prefix = format!("{}: ring {ring:?}", self.program);
        let bar = self.args.progress.then(|| {
            if !io::stderr().is_terminal() {
                return None;
            }
            let style = ProgressStyle::with_template("{prefix}: {human_pos} items, {rate}, {elapsed}");
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            // The template is a constant; were it wrong, the default style would serve.
            let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
            bar.set_style(style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{:.0} items/s", state.per_sec());
            }));
            bar.set_prefix(prefix.clone());
            bar.enable_steady_tick(PROGRESS_EVERY);
            Some(bar)
        });
        Progress { bar, prefix, due: Instant::now() + REDRAW_EVERY }
    }

    fn line(&self, text: impl Display) {
        let _ = io::stderr().write_all(format!("{}: {text}\n", self.program).as_bytes());
    }
}

/// Shows how many items went through.
#[derive(Debug)]
pub struct Progress {
    /// `None`: not asked for. `Some(None)`: lines.
    bar: Option<Option<ProgressBar>>,
    prefix: String,
    due: Instant,
}

impl Progress {
    /// `items` went through so far; to be called often, it decides itself when to show it.
    pub fn update(&mut self, items: u64) {
        let Some(bar) = &self.bar else { return };
        let now = Instant::now();
        if now < self.due {
            return;
        }
        match bar {
            Some(bar) => bar.set_position(items),
            None => drop(io::stderr().write_all(format!("{}: {items} items\n", self.prefix).as_bytes())),
        }
        self.due = now + if bar.is_some() { REDRAW_EVERY } else { PROGRESS_EVERY };
    }

    /// The last count.
    pub fn finish(&mut self, items: u64) {
        self.due = Instant::now();
        self.update(items);
        if let Some(Some(bar)) = &self.bar {
            bar.abandon();
        }
        self.bar = None;
    }
}

/// What a producer or a consumer has done.
#[derive(Debug, Clone, Serialize)]
pub struct Stats<'a> {
    /// Name and version of the form of this object.
    pub schema: &'static str,
    /// The ring.
    pub ring: &'a str,
    /// Items sent, or written and acknowledged.
    pub items: u64,
    /// Bytes of these items, without framing.
    pub bytes: u64,
    /// Time since it attached.
    pub seconds: f64,
    /// What else is to be counted.
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
        /// Items among those received that were delivered before.
        redelivered: u64,
        /// Items that were received and given back.
        returned: u64,
    },
}

impl Display for Stats<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Stats { ring, items, bytes, seconds, .. } = self;
        let verb = if matches!(self.more, More::Producer { .. }) { "sent" } else { "received" };
        let rate = if *seconds > 0.0 { *items as f64 / seconds } else { 0.0 };
        write!(f, "ring {ring:?}: {verb} {items} items, {bytes} bytes in {seconds:.3} s, {rate:.0} items/s")?;
        let mut count = |number, what| if number > 0 { write!(f, ", {number} {what}") } else { Ok(()) };
        match self.more {
            More::Producer { dropped_newest, dropped_oldest } => {
                count(dropped_newest, "dropped as newest")?;
                count(dropped_oldest, "dropped as oldest")
            }
            More::Consumer { redelivered, returned } => {
                count(redelivered, "redelivered")?;
                count(returned, "given back")
            }
        }
    }
}
