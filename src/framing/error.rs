//! The errors of an input that cannot be split into items.
use std::io;

use crate::sys::size::Size;

/// Why an input cannot be split into items, or an item cannot be framed.
///
/// `item` counts from 1 within the input; `offset` is in bytes from the start of the input.
#[derive(Debug, thiserror::Error)]
pub enum FramingError {
    /// An item has more bytes than the limit.
    #[error(
        "item {item} (at byte {offset}) has {}{}; the limit is {}",
        if *.complete { "" } else { "at least " },
        Size(*.length),
        Size(*.limit as u64)
    )]
    TooLong {
        /// Number of the item.
        item: u64,
        /// Where the item starts.
        offset: u64,
        /// Length in bytes, as far as it is known.
        length: u64,
        /// Whether `length` is the whole length: the end was read, or the length was declared.
        complete: bool,
        /// The limit in bytes.
        limit: usize,
    },
    /// An item does not have the length that all items must have.
    #[error(
        "item {item} (at byte {offset}) has {}{length} byte{}; expected exactly {expected}",
        if *.complete { "" } else { "at least " },
        if *.length == 1 { "" } else { "s" }
    )]
    OtherLength {
        /// Number of the item.
        item: u64,
        /// Where the item starts.
        offset: u64,
        /// Length in bytes, as far as it is known.
        length: u64,
        /// Whether `length` is the whole length: the end was read, or the length was declared.
        complete: bool,
        /// The length in bytes of every item.
        expected: usize,
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
        /// Bytes that the input had.
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
        /// Bytes that the input had.
        found: usize,
    },
    /// A length prefix cannot express the length of an item to be written.
    #[error("an item of {} is too long for a 4-byte length prefix, which takes up to 4 GiB - 1", Size(*.length))]
    NoPrefix {
        /// Length of the item in bytes.
        length: u64,
    },
    /// The input could not be read.
    #[error("cannot read after byte {offset}: {source}")]
    Read {
        /// Bytes that were read before.
        offset: u64,
        /// The error of the system.
        source: io::Error,
    },
}
