//! The `ringctl` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringpipe::cli::ctl::main()
}
