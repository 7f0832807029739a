//! The `producer` command.

use std::process::ExitCode;

use ringpipe::cli::{producer, start};

fn main() -> ExitCode {
    match start::parse("producer") {
        Ok(options) => start::exit("producer", producer::run(&options)),
        Err(code) => code,
    }
}
