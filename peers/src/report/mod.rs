//! What is written about a run: its records, tables, and plots.

pub mod json;

use std::fs;
use std::io;
use std::path::Path;

/// Makes the tables and the plots from the records in `folder`.
pub fn write(folder: &Path) -> io::Result<()> {
    let run = json::Run::read(&folder.join("results.jsonl"))?;
    fs::write(folder.join("results.md"), table::tables(&run))?;
    plot::plots(&run, folder)
}

mod curve;
mod plot;
mod series;
mod summary;
mod table;
