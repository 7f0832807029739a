//! The bytes of a segment: their places, their meaning, and the one mapping that turns them into atomics.
//!
//! For each word, one file has its offset, what a reader may rely on, and its encoding: `head` (the fixed
//! part), `entry` (a participant), `header` (an item), `stream_state`, `preamble` and `discipline`, `named`
//! (the objects of `sync`). The slots' own words are in `protocol::word`. A change of any byte raises a
//! version: see tests/library/golden.

pub mod discipline;
pub mod entry;
pub mod geometry;
pub mod head;
pub mod header;
pub mod mapping;
pub mod named;
pub mod preamble;
pub(crate) mod role;
pub(crate) mod stream_state;
