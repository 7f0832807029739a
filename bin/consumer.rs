//! The `consumer` command.

use std::process::ExitCode;

use ringpipe::cli::{consumer, start};

fn main() -> ExitCode {
    match start::parse("consumer") {
        Ok(options) => start::exit("consumer", consumer::run(&options)),
        Err(code) => code,
    }
}
