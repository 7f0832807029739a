//! Whatever is typed: every option of every command with values that it cannot have, names that no ring can
//! have, environments, each exit code, and the parsers by themselves. The commands and their options are those
//! that the parser of arguments knows, so a new one is tested automatically.
//!
//! A share runs in `cargo test`. In full, with a given number of random command lines:
//! `RINGPIPE_INPUTS=20000 cargo test --test commands inputs:: -- --nocapture`

mod codes;
pub mod commands;
mod environment;
mod names;
mod options;
mod parsers;
mod random;
mod verdict;
