//! The command line that runs for an item, and what it is told about the item.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use serde::Serialize;

use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};
use crate::cli::common::no_producer;
use crate::cli::common::program::{self, find};

const SHELL: &str = "/bin/sh";
/// What stands in a shell's text for the items: its arguments, each as one word, whatever bytes it has. Unlike a quoted
/// item in the text, this is not executed inside other quotes either.
const ALL_ARGUMENTS: &[u8] = b"\"$@\"";

/// A command line with placeholders: `{}` for the item, `{#}` for the number of the job, `{%}` for the number of the
/// slot.
///
/// An argument with `{}` becomes one argument per item of a batch.
#[derive(Debug, Clone)]
pub struct Template {
    /// The executable file.
    program: PathBuf,
    /// The program as it was given.
    name: OsString,
    arguments: Vec<Argument>,
}

/// An argument, cut at its placeholders.
type Argument = Vec<Piece>;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Item,
    Job,
    Slot,
}

impl Template {
    /// The template of `command`: a program and its arguments; with `shell`, the words of a text for `/bin/sh -c`,
    /// joined by spaces. There, `{}` becomes `"$@"`, and the items become the arguments of the shell.
    ///
    /// # Errors
    /// A [`Failure`] with the exit code 127 if the program does not exist, or 126 if it cannot be executed; with 2 if
    /// there is no command, or if its program depends on the item.
    pub fn new(command: &[OsString], shell: bool) -> Result<Self, Failure> {
        let Some((name, arguments)) = command.split_first() else {
            return Err(Failure::new(code::USAGE, "there is no command; expected -- COMMAND [ARG]..."));
        };
        if shell {
            return Self::of_shell(command);
        }
        if pieces(name.as_bytes()).iter().any(|piece| !matches!(piece, Piece::Text(_))) {
            let line =
                format!("command {name:?} depends on the item; expected a program, whose arguments may");
            return Err(Failure::new(code::USAGE, line).hint("-- sh -c {} runs the items as commands"));
        }
        let program = find(name, env::var_os("PATH").as_deref(), "--shell")?;
        let arguments = arguments.iter().map(|argument| pieces(argument.as_bytes())).collect();
        Ok(Template { program, name: name.clone(), arguments })
    }

    fn of_shell(command: &[OsString]) -> Result<Self, Failure> {
        let program = find(OsStr::new(SHELL), None, "--shell")?;
        let given = command.join(OsStr::new(" "));
        let has = |part: &[u8]| memchr::memmem::find(given.as_bytes(), part).is_some();
        if has(b"'{}'") || has(b"\"{}\"") {
            let line = "--shell: {} within quotes; expected {} alone, which becomes one argument";
            return Err(Failure::new(code::USAGE, line));
        }
        let mut text = pieces(given.as_bytes());
        let uses_item = text.contains(&Piece::Item);
        for piece in text.iter_mut().filter(|piece| **piece == Piece::Item) {
            *piece = Piece::Text(ALL_ARGUMENTS.to_vec());
        }
        let mut arguments = vec![pieces(b"-c"), text];
        if uses_item {
            // The first argument after the text is the shell's name in its messages.
            arguments.extend([pieces(b"sh"), vec![Piece::Item]]);
        }
        Ok(Template { program, name: SHELL.into(), arguments })
    }

    /// Whether the item is in the arguments. Then it is not on standard input.
    pub fn uses_item(&self) -> bool {
        self.arguments.iter().flatten().any(|piece| *piece == Piece::Item)
    }

    /// Whether the command differs from job to job.
    pub fn depends_on_job(&self) -> bool {
        self.arguments.iter().flatten().any(|piece| matches!(piece, Piece::Item | Piece::Job))
    }

    /// The command for `items`, which is job `job` in slot `slot`. The system may still refuse it, because the
    /// arguments are too long.
    ///
    /// # Errors
    /// Why no command can take these items: one has a NUL byte and would be an argument.
    pub fn command(&self, items: &[&[u8]], job: u64, slot: usize) -> Result<Command, String> {
        if self.uses_item() && items.iter().any(|item| item.contains(&0)) {
            return Err("the item has a NUL byte, which an argument cannot have".into());
        }
        let mut command = Command::new(&self.program);
        command.arg0(&self.name).args(self.arguments(items, job, slot).map(OsString::from_vec));
        Ok(command)
    }

    /// The program as it was given.
    pub fn name(&self) -> &OsStr {
        &self.name
    }

    /// Why the system did not start the command, although its program was executable when the worker began.
    pub fn not_started(&self, error: &io::Error) -> Failure {
        program::not_started(&self.name, error)
    }

    /// The same command as a line for a shell.
    pub fn display(&self, items: &[&[u8]], job: u64, slot: usize) -> String {
        self.arguments(items, job, slot).fold(escape::word(self.name.as_bytes()), |mut line, argument| {
            line.push(' ');
            line += &escape::word(&argument);
            line
        })
    }

    fn arguments(&self, items: &[&[u8]], job: u64, slot: usize) -> impl Iterator<Item = Vec<u8>> {
        self.arguments.iter().flat_map(move |argument| {
            let filled = |item: &[u8]| {
                argument.iter().fold(Vec::new(), |mut bytes, piece| {
                    match piece {
                        Piece::Text(text) => bytes.extend_from_slice(text),
                        Piece::Item => bytes.extend_from_slice(item),
                        Piece::Job => bytes.extend_from_slice(job.to_string().as_bytes()),
                        Piece::Slot => bytes.extend_from_slice(slot.to_string().as_bytes()),
                    }
                    bytes
                })
            };
            match argument.contains(&Piece::Item) {
                true => items.iter().map(|item| filled(item)).collect(),
                false => vec![filled(&[])],
            }
        })
    }
}

/// Cuts an argument at its placeholders.
fn pieces(argument: &[u8]) -> Argument {
    let (mut pieces, mut text, mut rest) = (Vec::new(), Vec::new(), argument);
    while let Some((first, after)) = rest.split_first() {
        let (piece, len) = match rest {
            [b'{', b'}', ..] => (Piece::Item, 2),
            [b'{', b'#', b'}', ..] => (Piece::Job, 3),
            [b'{', b'%', b'}', ..] => (Piece::Slot, 3),
            _ => {
                text.push(*first);
                rest = after;
                continue;
            }
        };
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(piece);
        rest = &rest[len..];
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    pieces
}

/// What a command is told about its item, in its environment and as JSON. In a batch, key and attempt are those of the
/// first item.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Facts<'a> {
    /// The ring's name.
    pub ring: &'a str,
    /// The item's producer, or null.
    #[serde(with = "no_producer")]
    pub producer: u32,
    /// The item's sequence. Together with the producer, it identifies the item.
    pub sequence: u64,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// The number of the job in its worker, from 1.
    pub job: u64,
    /// The number of the slot in which it runs, from 1.
    pub slot: usize,
    /// The number of items.
    pub items: usize,
}

/// One item of a batch, for [`meta_json`].
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Member {
    /// The item's producer, or null.
    #[serde(with = "no_producer")]
    pub producer: u32,
    /// The item's sequence.
    pub sequence: u64,
    /// The number of this attempt, from 1.
    pub attempt: u32,
}

/// Sets the variables `RING_NAME`, `RING_SEQ`, `RING_PRODUCER`, `RING_ATTEMPT`, `RING_JOB`, `RING_SLOT` and
/// `RING_ITEMS`.
pub fn environment(command: &mut Command, facts: &Facts<'_>) {
    let Facts { ring, producer, sequence, attempt, job, slot, items } = facts;
    command
        .env("RING_NAME", ring)
        .env("RING_SEQ", sequence.to_string())
        .env("RING_PRODUCER", no_producer::text(*producer))
        .env("RING_ATTEMPT", attempt.to_string())
        .env("RING_JOB", job.to_string())
        .env("RING_SLOT", slot.to_string())
        .env("RING_ITEMS", items.to_string());
}

/// Removes the variables about an item: a worker that is itself the command of another worker has them.
pub fn without_item(command: &mut Command) {
    for name in ["RING_SEQ", "RING_PRODUCER", "RING_ATTEMPT", "RING_JOB", "RING_ITEMS"] {
        command.env_remove(name);
    }
}

/// The facts as a JSON object on one line, with its newline. `batch` has the items of a batch; it is left out for a
/// single item, for which it is empty.
pub fn meta_json(facts: &Facts<'_>, batch: &[Member]) -> String {
    #[derive(Serialize)]
    struct Meta<'a> {
        /// Name and version of this format.
        schema: &'static str,
        #[serde(flatten)]
        facts: &'a Facts<'a>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        batch: &'a [Member],
    }
    // Numbers and a valid string, which JSON can always express.
    let json = serde_json::to_string(&Meta { schema: "ringpipe.job/1", facts, batch });
    escape::json(json.unwrap_or_default()) + "\n"
}

#[cfg(test)]
mod tests;
