//! The `ringctl` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringpipe::internal::cli::ctl::main()
}
