//! The folder for the logs of a run.
use std::fs;
use std::io;
use std::path::Path;

use crate::cli::common::exit::{Failure, code};
use crate::cli::ctl::check::{self, CheckReport};
use crate::testing::history::Checker;

/// Makes the folder if it is missing. Fails if it has files: those of another run would be checked as part of this one.
pub fn make(folder: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::io(format!("log folder {folder:?}"), &error);
    fs::create_dir_all(folder).map_err(failed)?;
    match fs::read_dir(folder).map_err(failed)?.next() {
        None => Ok(()),
        Some(_) => {
            let line = format!("log folder {folder:?} is not empty; expected an empty folder, or a new one");
            Err(Failure::new(code::RUNTIME, line))
        }
    }
}

/// Checks the logs of a run through a ring of `slots` slots.
pub fn judge(folder: &Path, slots: u64) -> Result<CheckReport, Failure> {
    check::judge(&[folder.to_path_buf()], Checker::new().capacity(slots))
}
