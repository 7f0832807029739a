//! Converts bytes to items and back.
//!
//! [`Splitter`] splits an input into items. [`Framing`] says how, and what to write around an item so that a
//! splitter of the same framing finds it again. Bytes are not changed: nothing here interprets text.
#![forbid(unsafe_code)]

mod error;
mod record;
mod separators;
mod split;
#[cfg(test)]
mod tests;

pub use error::FramingError;
pub use record::Recorded;
pub use split::{Fill, Items, Splitter};

use std::fmt;

/// Length in bytes of the prefix of [`Framing::Len32`].
pub(crate) const PREFIX: usize = 4;

/// How items are separated in a stream of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Each item ends with `\n`, which is not part of it; `\r` is. Empty lines are items. A last line
    /// without `\n` is an item too.
    #[default]
    Lines,
    /// As [`Framing::Lines`], with a NUL byte instead of `\n`.
    Null,
    /// As [`Framing::Lines`], with this byte instead of `\n`.
    Delimiter(u8),
    /// Each read is split into pieces of at most `chunk` bytes, never empty. The concatenated items are the input,
    /// byte for byte.
    Raw {
        /// The largest piece in bytes; 0 counts as 1. The splitter's limit applies as well.
        chunk: usize,
    },
    /// Each block has as many whole lines as a read returned, up to `size` bytes; a longer line is a block of its
    /// own. The concatenated items are the input, byte for byte.
    Blocks {
        /// The largest block in bytes. The splitter's limit applies as well.
        size: usize,
    },
    /// Each item follows its length in bytes: 4 bytes, most significant first (network order, as in
    /// tokio's `LengthDelimitedCodec` and Erlang's `{packet, 4}`).
    Len32,
    /// The whole input is one item, even if it is empty.
    WholeFile,
}

impl Framing {
    /// The byte to write after each item, if there is one.
    ///
    /// An item that contains this byte is written as it is, and a reader sees more than one item.
    pub fn separator(self) -> Option<u8> {
        match self {
            Framing::Lines => Some(b'\n'),
            Framing::Null => Some(0),
            Framing::Delimiter(byte) => Some(byte),
            Framing::Raw { .. } | Framing::Blocks { .. } | Framing::Len32 | Framing::WholeFile => None,
        }
    }

    /// Bytes that each item needs besides its own: its separator, or its prefix.
    pub fn extra_bytes(self) -> u64 {
        let prefix = if self == Framing::Len32 { PREFIX } else { 0 };
        prefix as u64 + u64::from(self.separator().is_some())
    }

    /// The bytes to write before an item of `len` bytes, if there are any.
    ///
    /// # Errors
    /// [`FramingError::NoPrefix`] when [`Framing::Len32`] cannot express `len`: from 4 GiB on.
    pub fn prefix(self, len: usize) -> Result<Option<[u8; PREFIX]>, FramingError> {
        match self {
            Framing::Len32 => match u32::try_from(len) {
                Ok(len) => Ok(Some(len.to_be_bytes())),
                Err(_) => Err(FramingError::NoPrefix { length: len as u64 }),
            },
            _ => Ok(None),
        }
    }

    /// Appends the framed `item` to `out`.
    ///
    /// # Errors
    /// As [`Framing::prefix`]; `out` is then unchanged.
    ///
    /// ```
    /// use ringpipe::internal::framing::Framing;
    /// let mut out = Vec::new();
    /// Framing::Lines.frame_into(b"one", &mut out)?;
    /// Framing::Len32.frame_into(b"two", &mut out)?;
    /// assert_eq!(out, b"one\n\0\0\0\x03two");
    /// # Ok::<(), ringpipe::internal::framing::FramingError>(())
    /// ```
    pub fn frame_into(self, item: &[u8], out: &mut Vec<u8>) -> Result<(), FramingError> {
        if let Some(prefix) = self.prefix(item.len())? {
            out.extend_from_slice(&prefix);
        }
        out.extend_from_slice(item);
        out.extend(self.separator());
        Ok(())
    }
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Framing::Lines => f.write_str("lines"),
            Framing::Null => f.write_str("null"),
            Framing::Delimiter(byte) => write!(f, "delimiter '{}'", byte.escape_ascii()),
            Framing::Raw { .. } => f.write_str("raw"),
            Framing::Blocks { .. } => f.write_str("blocks"),
            Framing::Len32 => f.write_str("len32"),
            Framing::WholeFile => f.write_str("whole-file"),
        }
    }
}
