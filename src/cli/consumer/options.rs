//! The command line of `consumer`.

use std::ffi::OsString;

use clap::{Parser, ValueEnum};

use crate::cli::common::address::Address;
use crate::cli::common::args::{Count, DurationArg};
use crate::cli::common::color::ColorArgs;
use crate::cli::common::end_args::{PaceArgs, ProcessArgs, WaitArgs, worded};
use crate::cli::common::framing_args::FramingArgs;
use crate::cli::common::owner_args::OwnerArgs;
use crate::cli::common::version;
use crate::cli::worker::{WorkArgs, WorkerOptions, with_command};

const ABOUT: &str = "Write the items of a ring in shared memory to standard output, each to one consumer
Or run a command for each item: consumer RING -- COMMAND";

const AFTER_HELP: &str = "\
The stream ends when all items were received and all producers have left or died. Before that, as
many producers must have come as the ring expects, at least one. If the ring does not exist, the
consumer waits for it, also after the end of an earlier ring of that name: --timeout bounds this
wait, --no-wait and --drain do not wait. A ring without a place for another consumer is an error;
with --timeout, the consumer waits for a place. If the stream ends because the ring was closed or
removed, a line says so.

Counts are decimal; durations are 250ms, 5s, 2m, 1h, or seconds.

A consumer takes up to 1024 items, or 256K, at a time; with --rate or --delay, one. If the output
is a pipe, an item is acknowledged when the reader has taken it out of the pipe; the consumer
holds no more than the reader takes in some milliseconds, and stays until the last item was taken.
Elsewhere, and with --ack write, an item is acknowledged after it was written. When a consumer
fails, ends or is killed, the items that it has not acknowledged go to another one. On the first
INT, TERM or HUP it takes no more items, writes the items that it holds, and leaves; a second
signal ends it at once. If the reader leaves, the consumer ends with 0.

With -- COMMAND, a command runs for each item: the item is its standard input, or replaces {} in
an argument ({#} is the job's number, {%} its slot). Exit code 0 acknowledges the item, 65 makes
it fail for good, any other code or a signal makes it fail, to be tried again. A worker keeps its
items as long as it lives, however long the command runs; if the worker is killed, its commands
are killed and its items go to other consumers. On INT or TERM a worker takes no more items, gives
the commands 10 seconds (--grace), then ends them and gives their items back. The environment of
the command has RING_NAME, RING_PRODUCER, RING_SEQ, RING_ATTEMPT, RING_JOB, RING_SLOT, RING_ITEMS.
The standard output of a failed attempt is dropped if another attempt follows. See
docs/WORKERS.md.

With --hold, a script works on an item in two steps. A background process (ringpipe-hold in ps)
holds the item until ringctl done, fail or release settles it. If the script or that process is
killed, the item goes to another consumer at once; no time limit takes it away. In $(...), a
command list and some shells' functions run in a subshell, which ends too early: --hold-for $$
names the script itself.

Exit codes:
  0      the stream ended, or -n items were written, or nothing was left (--drain), or nothing came
         (--idle-exit), or the reader of the output has left
  1      runtime error: the output could not be written; no item is lost by this
  2      usage
  3      -n was not reached; or with --no-wait or --drain: no ring; or with --no-wait: no item
  4      waited too long (--timeout); or with --drain: items lie behind one that a living producer
         has not finished for 1 second (or --timeout)
  6      the ring is damaged or of another version
  123    with a COMMAND: items failed for good
  126    with a COMMAND: it cannot be executed
  127    with a COMMAND: it was not found
  128+n  ended by signal n

Examples:
  consumer jobs > lines.txt
  consumer jobs -n 10 --timeout 5s
  consumer -0 jobs | xargs -0 ls -l
  consumer --json jobs | jq -r 'select(.redelivered) | .text'
  consumer --follow jobs >> log.txt
  consumer --delay 10ms..50ms --stats jobs
  consumer urls -j 8 --dead-letter failed -- curl -fsSO {}
  consumer jobs -j 100% --item-timeout 5m -- ./work
  { read -r token; item=$(cat); } < <(consumer jobs --hold --hold-for $$)
  ./work \"$item\" && ringctl done \"$token\" || ringctl fail \"$token\"";

/// The help of the shared options for a consumer.
const WORDS: [(&str, &str); 4] = [
    ("timeout", "Wait at most this long, each time: for the ring and a place in it, and for an item"),
    ("no_wait", "Never wait, neither for the ring nor for an item: take the items that there are"),
    ("rate", "Take at most this many items per time: 1000, 1000/s, 90/m, 0.5/h"),
    (
        "delay",
        "Wait between items: a duration, or MIN..MAX for a random one; meanwhile, hold only items that the reader has not taken",
    ),
];

/// The command line of `consumer`.
#[derive(Debug, Parser)]
#[command(name = "consumer", version, long_version = version::long(), about = ABOUT)]
#[command(after_help = "--help tells more, with exit codes and examples.")]
#[command(after_long_help = AFTER_HELP, max_term_width = 100, mut_args(|arg| with_command(worded(arg, &WORDS))))]
pub struct Options {
    /// The ring: NAME, /NAME or shm:NAME; or a stream of a NATS server: nats://HOST:PORT/NAME
    pub(super) ring: Address,
    /// Run this command for each item, and acknowledge the item if it succeeds
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["ack", "json"])]
    pub(super) command: Vec<OsString>,

    #[command(flatten)]
    pub(super) framing: FramingArgs,
    /// A JSON object per line, with the bytes as text, or as base64 if they are not UTF-8
    ///
    /// Its fields: schema (ringpipe.item/1), sequence (the producer's count, from 0), producer (its
    /// number in this ring; null in a ring of fixed items, where sequence is the item's position), attempt (1 at first), redelivered, time, time_of (sent, where the ring has
    /// timestamps, or received), text or base64. With --stats the statistics are such an object too
    /// (ringpipe.consumer/1).
    #[arg(long, conflicts_with = "framing", help_heading = "Framing (default: an item per line)")]
    pub(super) json: bool,

    /// When an item is acknowledged, so that it is not delivered again [default: read for a pipe, else write]
    #[arg(long, value_name = "WHEN", value_enum, help_heading = "Output")]
    pub(super) ack: Option<AckArg>,

    /// Drop items that this process has acknowledged already: same producer, same sequence
    ///
    /// For items that were sent twice under one key, such as an answer (--reply) of a worker that was killed
    /// before it could acknowledge. Only items that this process has acknowledged since it started count: not
    /// the items of other consumers or earlier runs, nor, with -j, an item whose command still runs. Items
    /// that failed for good are not dropped, so that ringctl requeue can bring them back. Keys are those of
    /// the first ring: items that came from several rings may have the same key. The consumer remembers a
    /// million runs of consecutive sequences, and forgets the lowest first. --stats counts dropped items as
    /// duplicates.
    #[arg(long, help_heading = "Output")]
    pub(super) dedup: bool,

    /// Stop after COUNT items
    #[arg(
        short = 'n',
        long,
        value_name = "COUNT",
        help_heading = "When to stop (default: at the end of the stream)"
    )]
    pub(super) count: Option<Count>,
    /// Stop when the ring is empty; do not wait for a ring that does not exist (exit code 3)
    #[arg(long, help_heading = "When to stop (default: at the end of the stream)")]
    pub(super) drain: bool,
    /// Stop when no item has come for this long, once there is a ring
    #[arg(long, value_name = "DURATION", help_heading = "When to stop (default: at the end of the stream)")]
    pub(super) idle_exit: Option<DurationArg>,
    /// Do not stop when every producer has left: only when the ring is closed or removed, or by a signal
    #[arg(long, help_heading = "When to stop (default: at the end of the stream)")]
    pub(super) follow: bool,

    #[command(flatten, next_help_heading = "Waiting")]
    pub(super) wait: WaitArgs,
    #[command(flatten)]
    pub(super) pace: PaceArgs,

    #[command(flatten)]
    pub(super) owner: OwnerArgs,
    #[command(flatten)]
    pub(super) process: ProcessArgs,
    #[command(flatten)]
    _color: ColorArgs,

    /// Hold one item for a script in a background process, and print its token, then the item
    ///
    /// Takes one item. The first line is the token, the rest is the item, framed as chosen; with --json, the
    /// token is a field of the object. `ringctl done TOKEN` acknowledges the item, `ringctl fail TOKEN` counts a
    /// failure and gives it back, `ringctl release TOKEN` gives it back. The item is also given back when the
    /// process that started this command ends: a script, or a subshell.
    #[arg(
        long,
        conflicts_with_all = ["ack", "dedup", "drain", "idle_exit", "rate", "delay", "progress", "stats", "command"],
        help_heading = "Two steps"
    )]
    pub(super) hold: bool,
    /// With --hold: give the item back when process PID ends [default: the process that started this command]
    #[arg(
        long,
        value_name = "PID",
        requires = "hold",
        value_parser = clap::value_parser!(i32).range(1..),
        help_heading = "Two steps"
    )]
    pub(super) hold_for: Option<i32>,

    #[command(flatten)]
    work: WorkArgs,
}

impl Options {
    /// The options of a consumer that runs a command for each item.
    pub(super) fn of_worker(&self) -> WorkerOptions<'_> {
        WorkerOptions {
            ring: &self.ring,
            command: &self.command,
            work: &self.work,
            framing: self.framing.framing(),
            dedup: self.dedup,
            count: self.count.map(|Count(count)| count),
            drain: self.drain,
            idle_exit: self.idle_exit,
            follow: self.follow,
            wait: &self.wait,
            pace: &self.pace,
            owner: &self.owner,
            process: &self.process,
        }
    }
}

/// Whether this command line starts a worker on `ring` that runs a command for each job, so that an item
/// without a running command waits for one. False with standing commands, and with `--keep-order`, which
/// keeps finished items.
pub fn starts_a_command_for_each_job(line: &[OsString], ring: &str) -> bool {
    let Ok(options) = Options::try_parse_from(line) else { return false };
    let WorkArgs { coprocess, keep_order, dry_run, .. } = options.work;
    let is_worker = !options.command.is_empty() && options.ring.as_str() == ring;
    is_worker && coprocess.is_none() && !keep_order && !dry_run
}

/// The values of `--ack`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AckArg {
    /// The reader has taken it out of the pipe
    Read,
    /// It was written
    Write,
}
