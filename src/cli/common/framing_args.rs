//! The framing options, the same for producers and consumers.

use clap::Args;

use super::args::{ByteSize, DelimiterArg, FrameArg};
use crate::framing::Framing;

/// The largest piece in bytes with `--raw`: docs/PERFORMANCE.md has the figures of other sizes.
pub const RAW_PIECE: usize = 128 * 1024;

/// At most one framing; lines without.
#[derive(Debug, Clone, Args)]
#[group(id = "framing", multiple = false)]
#[command(next_help_heading = "Framing (default: an item per line)")]
pub struct FramingArgs {
    /// An item ends with a NUL byte, not a newline
    #[arg(short = '0', long)]
    null: bool,
    /// An item ends with this byte: a character, or \t, \n, \r, \0, \\, \xNN
    #[arg(short, long, value_name = "BYTE")]
    delimiter: Option<DelimiterArg>,
    /// Bytes without framing, in items of up to 128K: together, in order, they are the input again
    #[arg(long)]
    raw: bool,
    /// An item is as many whole lines as fit into SIZE, unchanged: for many short lines
    #[arg(long, value_name = "SIZE")]
    block: Option<ByteSize>,
    /// len32: each item follows its length, 4 bytes, most significant first
    #[arg(long, value_name = "FORMAT")]
    frame: Option<FrameArg>,
    /// A file is an item, and is written unchanged
    #[arg(long)]
    whole_file: bool,
}

impl FramingArgs {
    /// Whether bytes pass through without framing.
    pub fn is_raw(&self) -> bool {
        self.raw
    }

    /// Whether items are blocks of lines.
    pub fn is_in_blocks(&self) -> bool {
        self.block.is_some()
    }

    /// Whether items are large pieces of a stream.
    pub fn is_in_pieces(&self) -> bool {
        self.raw || self.block.is_some()
    }

    /// The framing that was chosen.
    pub fn framing(&self) -> Framing {
        match self {
            FramingArgs { null: true, .. } => Framing::Null,
            FramingArgs { delimiter: Some(DelimiterArg(byte)), .. } => Framing::Delimiter(*byte),
            FramingArgs { raw: true, .. } => Framing::Raw { chunk: RAW_PIECE },
            FramingArgs { block: Some(ByteSize(size)), .. } => {
                Framing::Blocks { size: usize::try_from(*size).unwrap_or(usize::MAX) }
            }
            FramingArgs { frame: Some(frame), .. } => (*frame).into(),
            FramingArgs { whole_file: true, .. } => Framing::WholeFile,
            _ => Framing::Lines,
        }
    }
}
