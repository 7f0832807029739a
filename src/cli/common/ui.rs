//! The output of every command and verb: its program's name, colours, and the two standard outputs.

use std::io::{self, ErrorKind, Write};

use serde::Serialize;

use super::exit::{Failure, code};
use super::paint::Paint;
use super::{color, escape};
use crate::sys::command::stdio;

/// The program's name in messages, and its ways to write.
#[derive(Debug, Clone, Copy)]
pub struct Ui {
    program: &'static str,
}

impl Ui {
    /// The interface of the program of this name.
    pub fn new(program: &'static str) -> Self {
        Ui { program }
    }

    /// The program's name, with which its messages begin.
    pub fn program(self) -> &'static str {
        self.program
    }

    /// Colours for standard output, as `--color`, the terminal and the environment set them.
    pub fn paint(self) -> Paint {
        Paint::new(color::is_on(&io::stdout()))
    }

    /// Writes `bytes` to standard output and flushes it. If the reader has left, that is not an error.
    ///
    /// # Errors
    /// A [`Failure`] if standard output was closed when the command was started and there are bytes to write, or if
    /// the system refuses the write.
    pub fn emit(self, bytes: &[u8]) -> Result<(), Failure> {
        if !stdio::was_open(1) && !bytes.is_empty() {
            return Err(Failure::closed("standard output"));
        }
        emit_to(&mut io::stdout().lock(), bytes)
    }

    /// As [`emit`](Self::emit), to standard error.
    ///
    /// # Errors
    /// As [`emit`](Self::emit).
    pub fn emit_aside(self, bytes: &[u8]) -> Result<(), Failure> {
        if !stdio::was_open(2) && !bytes.is_empty() {
            return Err(Failure::closed("standard error"));
        }
        emit_to(&mut io::stderr(), bytes)
    }

    /// Writes one JSON object, on a line of its own, to standard output.
    ///
    /// # Errors
    /// As [`emit`](Self::emit) and [`json_line`].
    pub fn emit_json(self, value: &impl Serialize) -> Result<(), Failure> {
        self.emit(json_line(value)?.as_bytes())
    }

    /// Writes a note, which is neither a failure nor data, to standard error. Ignores errors of standard
    /// error.
    pub fn note(self, text: &str) {
        let _ = io::stderr().write_all(format!("{}: {}\n", self.program, escape::text(text)).as_bytes());
    }
}

fn emit_to(out: &mut impl Write, bytes: &[u8]) -> Result<(), Failure> {
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::io("writing the output", &error)),
        _ => Ok(()),
    }
}

/// One JSON object as a line.
///
/// # Errors
/// A [`Failure`] for a value that JSON cannot express.
pub fn json_line(value: &impl Serialize) -> Result<String, Failure> {
    match serde_json::to_string(value) {
        Ok(text) => Ok(escape::json(text) + "\n"),
        Err(error) => Err(Failure::new(code::RUNTIME, format!("writing JSON: {error}"))),
    }
}
