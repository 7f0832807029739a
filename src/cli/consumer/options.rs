//! The command line of `consumer`.

use std::ffi::OsString;

use clap::{Parser, ValueEnum};

use crate::RingName;
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
The stream ends when everything was received, a producer (or as many as the ring expects) was
there, and none is left. A ring that does not exist yet is waited for, also by one that comes after
the end of a ring that is gone: --timeout bounds that, --no-wait and --drain do not wait for it. A
ring that has no place for another consumer is an error; with --timeout, a place is waited for. An
end because the ring was closed or removed is said in a line.

Counts are decimal; durations are 250ms, 5s, 2m, 1h, or seconds.

Up to 1024 items, or 256K, are taken at a time; with --rate or --delay, one. What goes to a pipe is
acknowledged when the reader has taken it out of the pipe, and the consumer holds no more than the
reader takes in some milliseconds, and stays until the last item was taken; elsewhere, and with
--ack write, an item is acknowledged after it was written. What a consumer that fails, ends or is
killed has not acknowledged goes to another one. The first INT, TERM or HUP stops taking, writes
what is in hand, and leaves; a second one ends at once. When the reader leaves, that is a clean end.

With -- COMMAND, a command runs for each item: on its standard input, or in place of {} in an
argument ({#} is the job's number, {%} its slot). Exit code 0 acknowledges the item, 65 makes it fail
for good, any other code or a signal makes it fail, to be tried again. An item belongs to its worker
for as long as the worker lives, however long the command runs; if the worker is killed, its commands
are killed and its items go to other consumers. INT and TERM stop taking items, give the commands
10 seconds (--grace), then end them and give their items back. The environment of the command has
RING_NAME, RING_PRODUCER, RING_SEQ, RING_ATTEMPT, RING_JOB, RING_SLOT, RING_ITEMS. What a failed
attempt wrote to standard output is dropped if another one follows. See docs/WORKERS.md.

With --hold, a script works on an item in two steps. A background process (ringpipe-hold in ps) holds
the item until ringctl done, fail or release settles it. If the script or that process is killed, the
item goes to another consumer at once; no time limit takes it away. In $(...), a command list and some
shells' functions run in a subshell, which ends too early: --hold-for $$ names the script itself.

Exit codes:
  0      the stream ended, or -n items were written, or nothing was left (--drain), or nothing came
         (--idle-exit), or nobody reads the output any more
  1      runtime error: the output could not be written; no item is lost by that
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
    ("no_wait", "Never wait, neither for the ring nor for an item: take what is there"),
    ("rate", "Take at most this many items per time: 1000, 1000/s, 90/m, 0.5/h"),
    (
        "delay",
        "Wait between items: a duration, or MIN..MAX for a random one; nothing is held meanwhile but what the reader has not taken",
    ),
];

/// The command line of `consumer`.
#[derive(Debug, Parser)]
#[command(name = "consumer", version, long_version = version::long(), about = ABOUT)]
#[command(after_help = "--help tells more, with exit codes and examples.")]
#[command(after_long_help = AFTER_HELP, max_term_width = 100, mut_args(|arg| with_command(worded(arg, &WORDS))))]
pub struct Options {
    /// The ring: NAME, /NAME or shm:NAME
    pub(super) ring: RingName,
    /// Run this command for each item, and acknowledge the item if it succeeds
    #[arg(last = true, value_name = "COMMAND", conflicts_with_all = ["ack", "json"])]
    pub(super) command: Vec<OsString>,

    #[command(flatten)]
    pub(super) framing: FramingArgs,
    /// A JSON object per line, with the bytes as text, or as base64 if they are not UTF-8
    ///
    /// Its fields: schema (ringpipe.item/1), sequence (the producer's count, from 0), producer (its
    /// number in this ring), attempt (1 at first), redelivered, time, time_of (sent, where the ring has
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
    /// before it could acknowledge. Covers what this process has received since it started, not what other consumers or
    /// earlier runs had, nor with -j an item that comes while a command runs for the same one. Of items that
    /// failed for good, none is dropped, so that ringctl requeue can bring them back. Keys are those of the
    /// first ring: items that came from several rings may have the same key. Remembers a million runs
    /// of consecutive sequences, and forgets the lowest first. --stats counts dropped items as duplicates.
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
    /// Stop when the ring is empty; a ring that does not exist is not waited for (exit code 3)
    #[arg(long, help_heading = "When to stop (default: at the end of the stream)")]
    pub(super) drain: bool,
    /// Stop when no item has come for so long, once there is a ring
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

    /// Keep the item in hand for a script, in a background process, and print a token for it first
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

/// Whether this is the command line of a worker on `ring` each of whose items, unless a command of its own works on it,
/// waits for one: not one with standing commands, or one that keeps finished items (`--keep-order`).
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
