//! The `producer` command.

use std::process::ExitCode;

use ringpipe::internal::cli::{common::start, producer};

fn main() -> ExitCode {
    start::run("producer", producer::run)
}
