//! Scenario files as a whole: every error, the meaning of every key, the schema.

mod errors_expectations;
mod errors_faults;
mod errors_files;
mod errors_rings;
mod files;
mod keys;
mod meaning;
mod page;
mod schema;

use std::path::Path;

use super::Scenario;
use super::read::parse;
use super::wrong::Wrong;
use crate::cli::common::exit::Failure;

/// The text of a file, the line of its error without the file's name, and the hint, or nothing.
type Row = (&'static str, &'static str, &'static str);

const FILE: &str = "scenarios/s.toml";

/// The scenario of a text.
fn parsed(text: &str) -> Result<Scenario, Failure> {
    parse(text, Path::new(FILE)).map_err(|wrong: Wrong| wrong.failure(Path::new(FILE), text))
}

/// The scenario of a text that is right.
#[track_caller]
fn right(text: &str) -> Scenario {
    parsed(text).unwrap_or_else(|failure| panic!("{}\n{text}", failure.line))
}

/// Each text, behind the same beginning, is refused with this line and hint.
fn refuses(beginning: &str, rows: &[Row]) {
    for &(text, line, hint) in rows {
        let text = format!("{beginning}{text}");
        match parsed(&text) {
            Ok(_) => panic!("this is accepted:\n{text}"),
            Err(failure) => {
                assert_eq!(failure.line, format!("{FILE}:{line}"), "\n{text}");
                assert_eq!(failure.hint.unwrap_or_default(), hint, "\n{text}");
                assert_eq!(failure.code, 2, "\n{text}");
                assert!(!failure.line.contains('\n'), "{}", failure.line);
                assert!(
                    failure.line.contains("expected")
                        || failure.line.contains("cannot be used")
                        || failure.line.contains("required"),
                    "{}",
                    failure.line
                );
            }
        }
    }
}
