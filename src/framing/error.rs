//! What can be wrong with an input, one line each.
use std::io;

/// Why an input cannot be cut into items, or an item not be framed.
///
/// `item` counts from 1 within the input; `offset` is in bytes from the start of the input.
#[derive(Debug, thiserror::Error)]
pub enum FramingError {
    /// An item has more bytes than the limit.
    #[error(
        "item {item} (at byte {offset}) has {}{length} bytes; the limit is {limit}",
        if *.complete { "" } else { "at least " }
    )]
    TooLong {
        /// Number of the item.
        item: u64,
        /// Where the item starts.
        offset: u64,
        /// Length in bytes as far as it is known.
        length: u64,
        /// Whether `length` is the whole length: the end was seen, or the length was declared.
        complete: bool,
        /// The limit in bytes.
        limit: usize,
    },
    /// The input ends within a length prefix.
    #[error(
        "the input ends inside the length prefix of item {item} (at byte {offset}): expected {expected} bytes, found {found}"
    )]
    TruncatedPrefix {
        /// Number of the item.
        item: u64,
        /// Where the prefix starts.
        offset: u64,
        /// Length of a prefix in bytes.
        expected: usize,
        /// Bytes that were there.
        found: usize,
    },
    /// The input ends before the declared end of an item.
    #[error(
        "the input ends inside item {item} (at byte {offset}): expected {expected} bytes after the prefix, found {found}"
    )]
    TruncatedItem {
        /// Number of the item.
        item: u64,
        /// Where the item's prefix starts.
        offset: u64,
        /// The declared length in bytes.
        expected: usize,
        /// Bytes that were there.
        found: usize,
    },
    /// A length prefix cannot express the length of an item to be written.
    #[error("an item of {length} bytes is too long for a 4-byte length prefix; the limit is 4294967295")]
    NoPrefix {
        /// Length of the item in bytes.
        length: u64,
    },
    /// The input could not be read.
    #[error("cannot read after byte {offset}: {source}")]
    Read {
        /// Bytes that were read before.
        offset: u64,
        /// The system's answer.
        source: io::Error,
    },
}
