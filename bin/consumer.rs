//! The `consumer` command.

use std::process::ExitCode;

use ringpipe::internal::cli::{common::start, consumer};

fn main() -> ExitCode {
    start::run("consumer", consumer::run)
}
