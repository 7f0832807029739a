//! Reads a scenario file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::keys::FILE;
use super::kind::Kind;
use super::node::Node;
use super::wrong::Wrong;
use super::{Scenario, expectations, faults, programs, values};
use crate::cli::common::exit::{Failure, code};

/// The most bytes of a file.
const LARGEST: u64 = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(60);

/// Reads the scenario of a file.
///
/// # Errors
/// The file cannot be read (code 1); or it is wrong (code 2): then the line is `FILE:LINE:COLUMN: what is wrong`.
pub fn read(path: &Path) -> Result<Scenario, Failure> {
    let bytes = contents(path).map_err(|error| {
        Failure::io(format!("reading {path:?}"), &error).hint("ringctl test --init FILE writes an example")
    })?;
    if bytes.len() as u64 > LARGEST {
        let line = format!("{path:?} is larger than {LARGEST} bytes; expected a scenario file");
        return Err(Failure::new(code::USAGE, line));
    }
    match String::from_utf8(bytes) {
        Ok(text) => parse(&text, path).map_err(|wrong| wrong.failure(path, &text)),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(&error.as_bytes()[..at]).into_owned();
            Err(Wrong::new(at, "this byte is not UTF-8", "text in UTF-8").failure(path, &text))
        }
    }
}

/// The bytes of a file, up to one more than a scenario may have.
fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The scenario of a text.
///
/// # Errors
/// The first fault: of the syntax, of keys and types, then of what they mean together.
pub fn parse(text: &str, path: &Path) -> Result<Scenario, Wrong> {
    let parsed = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        match message.split_once(", expected ") {
            Some((problem, expected)) => Wrong::new(at, problem, expected),
            None if message == "duplicate key" => Wrong::new(at, message, "each key once"),
            None => Wrong::new(at, message, "TOML as on toml.io"),
        }
    })?;
    let root = DeValue::Table(parsed.into_inner());
    let root = Node::root(&root);
    Kind::Table(&FILE).check(root)?;
    let file = programs::file(root)?;
    let names = programs::names(&file)?;
    let rings = programs::read_rings(&file, &names)?;
    let programs = programs::read_programs(&file, &names)?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(Scenario {
        name: file.read("name", values::word)?.unwrap_or(stem),
        path: path.into(),
        about: file.read("about", values::text)?,
        timeout: file.read("timeout", values::positive)?.unwrap_or(TIMEOUT),
        needs: file.read("needs", |node| values::each(node, values::word))?.unwrap_or_default(),
        fails: expectations::read_fails(&file)?,
        rings,
        faults: faults::read_faults(&file, text, &names, &programs)?,
        history: expectations::read_history(&file, &names)?,
        expect: expectations::read_expect(&file, &names)?,
        programs,
    })
}
