//! Starts a command (its command line) and ends it (its exit code).

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use nix::libc::SIGXFSZ;

use super::exit::{Failure, code};
use super::ui::Ui;
use super::{color, usage};
use crate::Error;
use crate::sys::command::{memory_was_lost, survive_truncation};
use crate::sys::command::{signal, stdio};

/// Reads the command line. Help and version go to standard output, a usage error to standard error; then this
/// returns the exit code.
///
/// # Errors
/// The exit code.
pub fn parse<Options: Parser>(program: &str) -> Result<Options, ExitCode> {
    // A write beyond the limit for files (ulimit -f) is then an ordinary error. If the system refuses this, such a
    // write ends the process.
    let _ = signal::survive(SIGXFSZ);
    let arguments = || std::env::args_os().skip(1);
    let mut command = Options::command();
    let error = match command.try_get_matches_from_mut(std::env::args_os()) {
        Ok(matches) => match Options::from_arg_matches(&matches) {
            Ok(options) => {
                color::set(matches.get_one("color").copied().unwrap_or_default());
                // If the system refuses this, a truncation ends the process by SIGBUS.
                let _ = survive_truncation();
                return Ok(options);
            }
            Err(error) => error.format(&mut command),
        },
        Err(error) => error,
    };
    color::set(color::among(arguments()));
    if error.use_stderr() {
        if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            // Errors of standard error are ignored.
            let _ = io::stderr().write_all(coloured(&error, color::is_on(&io::stderr())).as_bytes());
        } else {
            usage::failure(error, &command, arguments()).print(program);
        }
        return Err(ExitCode::from(code::USAGE));
    }
    if !stdio::was_open(1) {
        Failure::closed("standard output").print(program);
        return Err(ExitCode::from(code::RUNTIME));
    }
    let mut out = io::stdout();
    let text = coloured(&error, color::is_on(&out));
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Failure::io("standard output", &error).print(program);
            Err(ExitCode::from(code::RUNTIME))
        }
        _ => Err(ExitCode::from(code::DONE)),
    }
}

fn coloured(error: &clap::Error, in_colour: bool) -> String {
    let text = error.render();
    if in_colour { text.ansi().to_string() } else { text.to_string() }
}

/// How a command ended without a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is done.
    Done,
    /// It has reported on many rings. It succeeds even if another program truncated one of them.
    Surveyed,
    /// A signal ended it, in an orderly way.
    Signal(i32),
    /// The command that it ran ended with this code.
    Code(u8),
}

/// Runs a command of one verb: reads its command line, runs it, and returns its exit code.
pub fn run<Options: Parser>(
    program: &'static str,
    run: impl FnOnce(&Options, &Ui) -> Result<End, Failure>,
) -> ExitCode {
    match parse(program) {
        Ok(options) => {
            let ui = Ui::new(program);
            exit(&ui, run(&options, &ui))
        }
        Err(code) => code,
    }
}

/// Ends the command: with the code of its failure, which it prints first; by the signal that stopped it, so that a
/// shell sees that; or with 0.
pub fn exit(ui: &Ui, result: Result<End, Failure>) -> ExitCode {
    let program = ui.program();
    match result {
        Ok(End::Surveyed) => ExitCode::from(code::DONE),
        // What the command read may have been zeros instead of the ring's contents.
        Ok(_) if memory_was_lost() => {
            let line = format!("{}", Error::Truncated);
            Failure::new(code::DAMAGED, line).print(program);
            ExitCode::from(code::DAMAGED)
        }
        Ok(End::Done) => ExitCode::from(code::DONE),
        Ok(End::Signal(number)) => signal::end_by(number),
        Ok(End::Code(code)) => ExitCode::from(code),
        Err(failure) => {
            failure.print(program);
            ExitCode::from(failure.code)
        }
    }
}
