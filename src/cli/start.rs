//! How a command begins and how it ends.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;

use super::exit::{Failure, code};
use crate::Error;
use crate::sys::{signal, stdio, truncation};

/// Reads the command line, or answers with the exit code: of help and version, which go to standard
/// output, or of a usage error, which goes to standard error.
///
/// # Errors
/// The exit code.
pub fn parse<Options: Parser>(program: &str) -> Result<Options, ExitCode> {
    let error = match Options::try_parse() {
        Ok(options) => {
            // Whoever cannot survive it dies of it, as others do.
            let _ = truncation::survive_truncation();
            return Ok(options);
        }
        Err(error) => error,
    };
    if error.use_stderr() {
        // A standard error that takes nothing is nobody's loss.
        let _ = error.print();
        return Err(ExitCode::from(code::USAGE));
    }
    if !stdio::was_open(1) {
        Failure::closed("standard output").print(program);
        return Err(ExitCode::from(code::RUNTIME));
    }
    let text = error.render();
    let mut out = io::stdout();
    let text = if out.is_terminal() { text.ansi().to_string() } else { text.to_string() };
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Failure::io("standard output", &error).print(program);
            Err(ExitCode::from(code::RUNTIME))
        }
        _ => Err(ExitCode::from(code::DONE)),
    }
}

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is done.
    Done,
    /// A signal ended it, and it has put everything in order.
    Signal(i32),
}

/// Ends the command: with the code of its failure, which is printed first; by the signal that it was
/// ended by, so that a shell sees it; or with 0.
pub fn exit(program: &str, result: Result<End, Failure>) -> ExitCode {
    match result {
        // Whatever came of it, it is not what there was.
        Ok(_) if truncation::has_happened() => {
            let line = format!("{}", Error::Truncated);
            Failure::new(code::DAMAGED, line).print(program);
            ExitCode::from(code::DAMAGED)
        }
        Ok(End::Done) => ExitCode::from(code::DONE),
        Ok(End::Signal(number)) => signal::end_by(number),
        Err(failure) => {
            failure.print(program);
            ExitCode::from(failure.code)
        }
    }
}
