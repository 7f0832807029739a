//! Outputs that are full, closed, or without a reader, of every command that prints something: what was not
//! written is not taken for written, and the exit code tells.
//!
//! What a consumer does about its output beyond that is in tests/commands/consumer_output.rs.

mod consumers;
mod printing;
