//! The command line of `producer`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};

use super::progress_file::{ProgressFile, ProgressFileArgs};
use crate::OnFull;
use crate::cli::common::address::Address;
use crate::cli::common::args::Count;
use crate::cli::common::color::ColorArgs;
use crate::cli::common::create_args::CreateArgs;
use crate::cli::common::end_args::{PaceArgs, ProcessArgs, WaitArgs, worded};
use crate::cli::common::exit::Failure;
use crate::cli::common::framing_args::FramingArgs;
use crate::cli::common::input::{self, Input};
use crate::cli::common::progress::Goal;
use crate::cli::common::version;

const ABOUT: &str = "Send items to a ring in shared memory: each line of standard input, or of FILEs";

const AFTER_HELP: &str = "\
A missing ring is made, and removed by the last process that leaves it once everything was
received. A producer may send and leave before any consumer comes: the items stay in the ring.

Sizes are bytes, or K, M, G of 1024; counts are decimal; durations are 250ms, 5s, 2m, 1h, or
seconds.

An item that was sent is delivered, whatever process is killed afterwards. On the first INT, TERM
or HUP a producer stops reading, sends the items that it has already read while there is room
(with --rate or --delay: none), and leaves; a second signal ends it at once.

A producer that waits for input, its pace or room ends soon after its ring was closed or removed.
If standard input is a file, the producer leaves its position behind the last item sent, so that
the next command reads on from there, except after kill -9 or a second signal.

With --progress-file, run the same command with --resume after a kill, until it exits with 0: no
item is lost, and each kill doubles one item at most (with --raw and --block, a piece). Items are
then sent one by one. The file is JSON: offset is where the next item begins, complete says that
all is sent. After a power cut the ring is gone, too: begin again, without --resume.

Exit codes:
  0      the input was sent (or -n items of it; or, with --on-full drop-*, sent or dropped)
  1      runtime error: a file could not be read, an item is larger than the ring takes or does not
         have the length of its fixed items, no memory, no place in the ring for another producer
  2      usage
  3      the ring does not exist (--no-create)
  4      the ring is full (--on-full fail, --no-wait), or was full, or had no place, for too long
         (--timeout)
  5      the ring is closed, or was removed before all was received; or consumers came, and all have
         left (--until-consumers-gone)
  6      the ring is damaged or of another version
  128+n  ended by signal n

Examples:
  seq 1 1000000 | producer jobs
  producer jobs --item 'a single item'
  find . -type f -print0 | producer -0 jobs
  producer --raw backup backup.tar          (then: consumer --raw backup > copy.tar)
  producer --raw --fixed 16 readings sensor.bin
  producer --capacity 64 --on-full fail --stats jobs todo.txt
  producer --rate 10/s --producers 3 jobs more.txt
  producer --progress-file sent --resume jobs huge.txt
  yes | producer --until-consumers-gone jobs";

/// The help of the shared options for a producer.
const WORDS: [(&str, &str); 3] = [
    ("timeout", "Wait at most this long, each time: for a place in the ring, and for room"),
    ("no_wait", "Never wait for room"),
    ("rate", "Send at most this many items per time: 1000, 1000/s, 90/m, 0.5/h"),
];

/// The command line of `producer`.
#[derive(Debug, Parser)]
#[command(name = "producer", version, long_version = version::long(), about = ABOUT)]
#[command(after_help = "--help tells more, with exit codes and examples.")]
#[command(after_long_help = AFTER_HELP, max_term_width = 100, mut_args(|arg| worded(arg, &WORDS)))]
pub struct Options {
    /// The ring: NAME, /NAME or shm:NAME; or a stream of a NATS server: nats://HOST:PORT/NAME
    pub(super) ring: Address,
    /// Files to read instead of standard input, in order; - is standard input
    #[arg(value_name = "FILE")]
    pub(super) files: Vec<PathBuf>,
    /// Send TEXT as an item, before any FILE and instead of standard input; may be repeated
    #[arg(long = "item", value_name = "TEXT", allow_hyphen_values = true)]
    pub(super) items: Vec<OsString>,
    /// Send at most COUNT items
    #[arg(short = 'n', long, value_name = "COUNT")]
    pub(super) count: Option<Count>,
    /// Stop with exit code 5 when consumers came and all have left, or died
    #[arg(long)]
    pub(super) until_consumers_gone: bool,

    #[command(flatten)]
    pub(super) framing: FramingArgs,
    #[command(flatten)]
    pub(super) create: CreateArgs,

    /// What to do with an item when the ring is full
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = OnFullArg::Block, help_heading = "Full ring")]
    pub(super) on_full: OnFullArg,
    #[command(flatten, next_help_heading = "Full ring")]
    pub(super) wait: WaitArgs,
    #[command(flatten)]
    pub(super) pace: PaceArgs,

    #[command(flatten)]
    pub(super) progress_file: ProgressFileArgs,
    #[command(flatten)]
    pub(super) process: ProcessArgs,
    /// Statistics as a JSON object (schema ringpipe.producer/1) on standard error
    #[arg(long, help_heading = "Reports (all on standard error)")]
    pub(super) json: bool,
    #[command(flatten)]
    _color: ColorArgs,
}

/// The values of `--on-full`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OnFullArg {
    /// Wait for room
    Block,
    /// Stop with exit code 4
    Fail,
    /// Drop the item, and count it
    DropNewest,
    /// Drop the oldest item in the ring that no consumer holds, and count it
    DropOldest,
}

impl Options {
    pub(super) fn inputs(&self) -> impl Iterator<Item = &Path> {
        let stdin = self.files.is_empty() && self.items.is_empty();
        self.files.iter().map(PathBuf::as_path).chain(stdin.then_some(Path::new("-")))
    }

    /// The progress file, if one was requested.
    pub(super) fn progress_file(&self, input: Option<&mut Input>) -> Result<Option<ProgressFile>, Failure> {
        match input {
            Some(input) if self.files.len() <= 1 => {
                ProgressFile::open(&self.progress_file, input, self.framing.framing())
            }
            _ => self.progress_file.refuse_many(),
        }
    }

    /// The goal of the progress display.
    pub(super) fn goal(&self, first: Option<&Input>) -> Goal {
        let framing = self.framing.framing().extra_bytes();
        let items = self.items.iter().map(|item| Some(item.len() as u64 + framing));
        let inputs = first.map(Input::left).into_iter().chain(self.inputs().skip(1).map(input::size));
        let bytes = items.chain(inputs).sum::<Option<u64>>();
        let items = self.count.map(|Count(count)| count);
        Goal { items, bytes: bytes.filter(|&sum| sum > 0), framing, ..Goal::default() }
    }

    pub(super) fn policy(&self) -> OnFull {
        match self.on_full {
            OnFullArg::Block if self.wait.no_wait => OnFull::Fail,
            OnFullArg::Block => OnFull::Block,
            OnFullArg::Fail => OnFull::Fail,
            OnFullArg::DropNewest => OnFull::DropNewest,
            OnFullArg::DropOldest => OnFull::DropOldest,
        }
    }
}
