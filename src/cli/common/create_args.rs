//! The options of `producer` for a ring that it creates.

use clap::Args;

use super::args::{ByteSize, Count, FixedArg, ModeArg};
use super::owner_args::OwnerArgs;
use super::sync_args::SyncArgs;
use crate::RingOptions;

/// How the ring is made if it is missing.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "A ring that does not exist yet is made with")]
pub struct CreateArgs {
    /// Slots, 2 to 16777216, rounded up to a power of two [default: 8192; for --raw and --block 1024]
    #[arg(long, value_name = "COUNT")]
    pub capacity: Option<Count>,
    /// Bytes in a slot, rounded up to a multiple of 8; longer items span several slots, up to half of
    /// them [default: 64; for --raw and --block 1K]
    #[arg(long, value_name = "SIZE")]
    pub slot_size: Option<ByteSize>,
    /// Items of exactly SIZE bytes each, without headers: faster for short ones
    ///
    /// An item of another length is an error. With --raw, the input is cut into items of SIZE bytes, and must end with
    /// a whole one. Items have no producers and times: see docs/COMMANDS.md.
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["slot_size", "timestamps", "block"])]
    pub fixed: Option<FixedArg>,
    /// Permissions in octal: attaching needs write permission [default: 600]
    #[arg(long, value_name = "MODE")]
    pub mode: Option<ModeArg>,
    /// One producer and one consumer at a time, which is faster
    #[arg(long)]
    pub exclusive: bool,
    /// How processes wait.
    #[command(flatten)]
    pub sync: SyncArgs,
    /// Record the time of sending in each item
    #[arg(long)]
    pub timestamps: bool,
    /// Do not end the stream before N producers have attached [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub producers: Option<u32>,
    /// Make no ring: a missing one is an error (exit code 3)
    #[arg(long)]
    pub no_create: bool,
    /// Whose rings are accepted.
    #[command(flatten)]
    pub owner: OwnerArgs,
}

/// `options` with the given number of slots, size of slots or of all items, and permissions.
pub fn shaped(
    mut options: RingOptions,
    capacity: Option<Count>,
    slot_size: Option<ByteSize>,
    fixed: Option<FixedArg>,
    mode: Option<ModeArg>,
) -> RingOptions {
    if let Some(Count(slots)) = capacity {
        options = options.capacity(slots);
    }
    if let Some(ByteSize(bytes)) = slot_size {
        options = options.slot_size(bytes);
    }
    if let Some(FixedArg(bytes)) = fixed {
        options = options.fixed(bytes);
    }
    if let Some(ModeArg(mode)) = mode {
        options = options.mode(mode);
    }
    options
}
