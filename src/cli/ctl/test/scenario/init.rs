//! `ringctl test --init`: a commented example that runs.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use crate::cli::common::escape;
use crate::cli::common::exit::{Failure, code};

/// The example.
pub const EXAMPLE: &str = include_str!("example.toml");

/// Writes the example to a new file.
///
/// # Errors
/// The file exists, or cannot be written.
pub fn write(path: &Path) -> Result<(), Failure> {
    let made = OpenOptions::new().write(true).create_new(true).open(path);
    match made.and_then(|mut file| file.write_all(EXAMPLE.as_bytes())) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let line = format!("{path:?} exists; expected the name of a new file");
            let word = escape::word(path.as_os_str().as_encoded_bytes());
            Err(Failure::new(code::RUNTIME, line).hint(format!("ringctl test {word} runs it")))
        }
        Err(error) => Err(Failure::io(format!("writing {path:?}"), &error)),
    }
}
