//! Outputs that are full, closed, or that nobody reads, of every command that prints something: what was not
//! written is not taken for written, and the exit code tells.
//!
//! What a consumer does about its output beyond that is in tests/cli_consumer_output.rs.
#![cfg(feature = "cli")]
#![allow(missing_docs)]

#[path = "../inputs/commands.rs"]
#[allow(dead_code)]
mod commands;
#[path = "../common/mod.rs"]
mod common;

mod consumers;
mod printing;
