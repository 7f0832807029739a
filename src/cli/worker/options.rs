//! The options of a consumer that runs a command for each item.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, Args, ValueEnum};

use super::backoff::Backoff;
use super::halt::Halt;
use super::limits::LoadArg;
use super::verdict::OnExit;
use crate::cli::common::address::Address;
use crate::cli::common::args::{ByteSize, Count, DurationArg};
use crate::cli::common::end_args::{PaceArgs, ProcessArgs, WaitArgs};
use crate::cli::common::owner_args::OwnerArgs;
use crate::framing::Framing;

/// The headings of these options begin with this text.
const HEADING: &str = "With a COMMAND";

/// Makes an option of a worker require a command.
pub fn with_command(arg: Arg) -> Arg {
    match arg.get_help_heading().is_some_and(|heading| heading.starts_with(HEADING)) {
        true => arg.requires("command"),
        false => arg,
    }
}

/// How commands run, what becomes of their items, and where their output goes.
#[derive(Debug, Clone, Args)]
pub struct WorkArgs {
    /// How many commands run at the same time: a number, or N% of the processors [default: 1]
    #[arg(short, long, value_name = "JOBS", help_heading = "With a COMMAND: how it runs")]
    pub jobs: Option<JobCount>,
    /// Hold this many items more than commands run, so that the next is at hand; with --coprocess, for each of them
    /// [default: 0]
    #[arg(long, value_name = "COUNT", help_heading = "With a COMMAND: how it runs")]
    pub prefetch: Option<Count>,
    /// Run the command by /bin/sh; write {} without quotes: the item becomes one argument
    #[arg(long, help_heading = "With a COMMAND: how it runs")]
    pub shell: bool,
    /// Keep the command running, and send it one item after the other: by line, or each behind its length
    ///
    /// It answers each item, in order, with a line on its standard output: ok, retry TEXT, or dead TEXT. length: four
    /// bytes, the most significant first, before each item. With --prefetch K, each command gets up to K items more
    /// before it has answered. Its environment has RING_NAME and RING_SLOT. When it ends, another is started. It must
    /// neither wait for more input than an item nor buffer its answers: use sed -u, python3 -u or mawk -W
    /// interactive.
    #[arg(
        long,
        value_name = "FORM",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "line",
        conflicts_with_all = [
            "reply", "results", "keep_order", "line_buffer", "tag", "max_items", "meta_fd", "on_exit", "dry_run"
        ],
        help_heading = "With a COMMAND: how it runs"
    )]
    pub coprocess: Option<Coprocess>,
    /// Give each command a JSON object about its item on this descriptor, 3 to 255
    #[arg(
        long,
        value_name = "FD",
        value_parser = clap::value_parser!(i32).range(3..=255),
        help_heading = "With a COMMAND: how it runs"
    )]
    pub meta_fd: Option<i32>,
    /// Up to this many items for one command, acknowledged together: on its input one after the other, framed as chosen
    #[arg(long, value_name = "COUNT", help_heading = "With a COMMAND: how it runs")]
    pub max_items: Option<Count>,
    /// Wait at most this long for the second and later items of a command [default: 0s]
    #[arg(
        long,
        value_name = "DURATION",
        requires = "max_items",
        help_heading = "With a COMMAND: how it runs"
    )]
    pub max_wait: Option<DurationArg>,
    /// End a command that runs longer: TERM for its process group, KILL after 5 seconds; the item is retried
    #[arg(long, value_name = "DURATION", help_heading = "With a COMMAND: how it runs")]
    pub item_timeout: Option<DurationArg>,
    /// How long running commands may go on after INT or TERM, before they get TERM [default: 10s]
    #[arg(long, value_name = "DURATION", help_heading = "With a COMMAND: how it runs")]
    pub grace: Option<DurationArg>,
    /// Start no command while the load average is higher; N% of the processors
    #[arg(long, value_name = "LOAD", help_heading = "With a COMMAND: how it runs")]
    pub load: Option<LoadArg>,
    /// Start no command while less memory is available
    #[arg(long, value_name = "FREE", help_heading = "With a COMMAND: how it runs")]
    pub memfree: Option<ByteSize>,
    /// Print the command lines, run nothing, and give all items back
    #[arg(long, help_heading = "With a COMMAND: how it runs")]
    pub dry_run: bool,

    /// What an exit code means: 3=dead,4-6=retry,7=ack,*=retry [default: 0=ack,65=dead,*=retry]
    #[arg(long, value_name = "CODES", help_heading = "With a COMMAND: failures")]
    pub on_exit: Option<OnExit>,
    /// How often an item is tried again after a failure, by any worker [default: 3]
    #[arg(long, value_name = "RETRIES", help_heading = "With a COMMAND: failures")]
    pub retries: Option<u8>,
    /// How long a failed item waits for its next attempt: doubled each time from MIN to MAX; or one time for all [default: 1s..5m]
    #[arg(long, value_name = "MIN..MAX", help_heading = "With a COMMAND: failures")]
    pub backoff: Option<Backoff>,
    /// Send items that failed for good to ring RING2, with the reason; made when needed
    #[arg(long, value_name = "RING2", help_heading = "With a COMMAND: failures")]
    pub dead_letter: Option<Address>,
    /// Drop and count items that failed for good
    #[arg(long, conflicts_with = "dead_letter", help_heading = "With a COMMAND: failures")]
    pub drop_failed: bool,
    /// Stop after N items failed for good (fail=N, fail=N%) or N commands succeeded (done=N): soon lets running commands end, now ends them; or never
    #[arg(long, value_name = "WHEN", help_heading = "With a COMMAND: failures")]
    pub halt: Option<Halt>,

    /// Write the outputs in the order of the items
    #[arg(long, help_heading = "With a COMMAND: output")]
    pub keep_order: bool,
    /// Write each line as it comes, not each command's whole output at its end
    #[arg(long, conflicts_with_all = ["keep_order", "reply"], help_heading = "With a COMMAND: output")]
    pub line_buffer: bool,
    /// Write the item and a tab before each line
    #[arg(long, help_heading = "With a COMMAND: output")]
    pub tag: bool,
    /// Keep item, outputs and result of each command in files below DIR
    #[arg(long, value_name = "DIR", help_heading = "With a COMMAND: output")]
    pub results: Option<PathBuf>,
    /// Send each command's standard output to ring RING2 as an item with the key of the item; made when needed
    #[arg(long, value_name = "RING2", help_heading = "With a COMMAND: output")]
    pub reply: Option<Address>,
    /// Append a line per command to FILE, in the columns of GNU parallel and three more
    #[arg(long, value_name = "FILE", help_heading = "With a COMMAND: output")]
    pub joblog: Option<PathBuf>,
    /// Acknowledge without a command the items whose producer and sequence the joblog has as done: for the same input, sent again
    #[arg(long, requires = "joblog", help_heading = "With a COMMAND: output")]
    pub resume: bool,
}

/// All options of a worker: its own, and the ones that every consumer has.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions<'o> {
    /// The ring.
    pub ring: &'o Address,
    /// The command and its arguments.
    pub command: &'o [OsString],
    /// The worker's own options.
    pub work: &'o WorkArgs,
    /// How several items for one command are framed.
    pub framing: Framing,
    /// Drop items that were done already.
    pub dedup: bool,
    /// The number of items to take.
    pub count: Option<u64>,
    /// Stop when the ring is empty.
    pub drain: bool,
    /// Stop when no item has come for so long.
    pub idle_exit: Option<DurationArg>,
    /// Go on when every producer has left.
    pub follow: bool,
    /// How long to wait.
    pub wait: &'o WaitArgs,
    /// How fast to take items.
    pub pace: &'o PaceArgs,
    /// Whose rings are accepted.
    pub owner: &'o OwnerArgs,
    /// Where the process runs, and what it reports.
    pub process: &'o ProcessArgs,
}

/// The value of `--jobs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobCount(pub usize);

/// The most commands that run at the same time.
pub const MAX_JOBS: usize = 4096;

impl std::str::FromStr for JobCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected 1 to {MAX_JOBS}, or a share of the processors such as 100%");
        let number = |digits: &str| digits.parse::<usize>().map_err(|_| wrong());
        let jobs = match text.strip_suffix('%') {
            Some(share) => {
                let processors = std::thread::available_parallelism().map_or(1, |n| n.get());
                let share = number(share)?;
                if share == 0 {
                    return Err(wrong());
                }
                (processors.saturating_mul(share) / 100).clamp(1, MAX_JOBS)
            }
            None => number(text)?,
        };
        if (1..=MAX_JOBS).contains(&jobs) { Ok(JobCount(jobs)) } else { Err(wrong()) }
    }
}

/// The forms in which a standing command gets its items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Coprocess {
    /// An item per line
    Line,
    /// Each item behind its length: four bytes, the most significant first
    Length,
}
