//! Whatever is typed: every option of every command with values that it cannot have, names that no ring can
//! have, environments, each exit code, and the parsers by themselves. The commands and their options are those
//! that the parser of arguments knows, so a new one is tested without anybody remembering it.
//!
//! A share runs in `cargo test`. At length, with so many random command lines:
//! `RINGPIPE_INPUTS=20000 cargo test --test inputs -- --nocapture`
#![cfg(feature = "cli")]
#![allow(missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod codes;
mod commands;
mod environment;
mod names;
mod options;
mod parsers;
mod random;
mod verdict;
