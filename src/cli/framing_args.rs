//! The options that say how items lie in a stream of bytes: the same for both sides.

use clap::Args;

use super::args::{DelimiterArg, FrameArg};
use crate::framing::Framing;

/// Bytes of a piece with `--raw`: some of them fit into the ring that a producer makes by itself.
const CHUNK: usize = 32 * 1024;

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
    /// Bytes as they are, in items of up to 32K: one after the other they are the input again
    #[arg(long)]
    raw: bool,
    /// len32: each item follows its length, 4 bytes, most significant first
    #[arg(long, value_name = "FORMAT")]
    frame: Option<FrameArg>,
    /// A file is an item, and is written as it is
    #[arg(long)]
    whole_file: bool,
}

impl FramingArgs {
    /// The framing that was chosen.
    pub fn framing(&self) -> Framing {
        match self {
            FramingArgs { null: true, .. } => Framing::Null,
            FramingArgs { delimiter: Some(DelimiterArg(byte)), .. } => Framing::Delimiter(*byte),
            FramingArgs { raw: true, .. } => Framing::Raw { chunk: CHUNK },
            FramingArgs { frame: Some(frame), .. } => (*frame).into(),
            FramingArgs { whole_file: true, .. } => Framing::WholeFile,
            _ => Framing::Lines,
        }
    }
}
