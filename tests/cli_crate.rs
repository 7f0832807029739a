//! The commands compile as a crate of their own, over the library's public names alone: this is that crate.
//!
//! `crate::` in src/cli means this file here, whose names are the library's public ones. Nothing runs:
//! `cargo clippy --test cli_crate`, which is part of `.ci/run`; `cargo test` leaves it out.
#![allow(dead_code, unused_imports)]

pub use ringpipe::internal::{framing, sys};
pub use ringpipe::*;

#[path = "../src/cli/mod.rs"]
pub mod cli;

fn main() {}
