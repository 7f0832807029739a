//! Locks, barriers and events of `ringpipe::sync`, from the command line: their options, and what failed.

use crate::cli::common::args::{DurationArg, ModeArg};
use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code_of, plain, way_out_of};
use crate::cli::common::owner_args::OwnerArgs;
use crate::sync::ObjectOptions;
use crate::sys::command::DIRECTORY;
use crate::{Error, ErrorKind, RingName};

/// How the object is opened or made.
#[derive(Debug, clap::Args)]
pub struct ObjectArgs {
    /// Permissions in octal if it is made, whatever the umask; using it needs both read and write [default:
    /// 600]
    #[arg(long, value_name = "MODE")]
    mode: Option<ModeArg>,
    #[command(flatten)]
    owner: OwnerArgs,
}

impl ObjectArgs {
    /// The options in the library's type.
    pub fn options(&self) -> ObjectOptions {
        let mode = self.mode.map_or(0o600, |ModeArg(mode)| mode);
        ObjectOptions::new().mode(mode).owners(self.owner.owners())
    }
}

/// How long to wait.
#[derive(Debug, clap::Args)]
pub struct TimeoutArg {
    /// Give up after this time, such as 250ms or 5s; a bare number is seconds
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<DurationArg>,
}

/// A library error about the object `name`, which is a `kind`.
pub fn failure(kind: &str, name: &RingName, error: &Error) -> Failure {
    let text = name.as_str();
    let line = match error {
        Error::Untrusted { .. } => {
            let Failure { line, hint, code } = Failure::of_ring(text, error);
            return Failure { line: line.replacen("ring", kind, 1), hint, code };
        }
        Error::NotFound(_) | Error::Exists(_) | Error::Incompatible { .. } => format!("{kind} {error}"),
        // These errors contain the name.
        Error::Options(_) | Error::Busy(_) | Error::Name { .. } => error.to_string(),
        Error::Io { what, source } => format!("{kind} {text:?}: {what}: {}", plain(source)),
        _ => format!("{kind} {text:?}: {error}"),
    };
    let failure = Failure::new(code_of(error.kind()), line);
    match error.kind() {
        ErrorKind::Incompatible | ErrorKind::Damaged | ErrorKind::Truncated => {
            let path = escape::argument(&format!("{DIRECTORY}/{text}"));
            failure.hint(format!("if it is yours and of no use: rm {path}"))
        }
        _ => match way_out_of(error) {
            Some(hint) => failure.hint(hint),
            None => failure,
        },
    }
}
