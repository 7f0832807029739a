//! The histories that the programs of a run have written themselves.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::cli::common::exit::Failure;
use crate::cli::ctl::test::beside::beside;
use crate::cli::ctl::test::run::stage::Stage;

/// The most bytes that are read at once of a file without line breaks.
const LONGEST: u64 = 4096;

/// The files of the histories, those of descriptors in the order of their times. A file to which nothing was written does
/// not count.
///
/// # Errors
/// A file cannot be read or written.
pub fn own(stage: &Stage<'_>) -> Result<Vec<PathBuf>, Failure> {
    for log in stage.instances.iter().filter_map(|one| one.process.log()).filter(|log| log.path().exists()) {
        let path = log.path().to_owned();
        let sorted = beside(stage.stop, move || put_in_order(&path)).and_then(|sorted| sorted);
        sorted.map_err(|error| Failure::io(format!("{:?}", log.path()), &error))?;
    }
    let entries = fs::read_dir(stage.history()).into_iter().flatten().flatten();
    let has_bytes = |path: &PathBuf| fs::metadata(path).is_ok_and(|about| about.is_file() && about.len() > 0);
    let mut logs: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(has_bytes).collect();
    logs.sort();
    Ok(logs)
}

/// Sorts the lines of a file by their times. Several processes write to a descriptor, so a line may follow a later one.
fn put_in_order(path: &Path) -> io::Result<()> {
    if is_in_order(path)? {
        return Ok(());
    }
    let bytes = fs::read(path)?;
    let mut last = 0;
    let timed = |line| {
        // What has no time stays behind the line before it, and an incomplete last line the last.
        last = time_of(line).unwrap_or(last);
        (if line.ends_with(b"\n") { last } else { u64::MAX }, line)
    };
    let mut lines: Vec<(u64, &[u8])> = bytes.split_inclusive(|byte| *byte == b'\n').map(timed).collect();
    lines.sort_by_key(|(time, _)| *time);
    let sorted = path.with_extension("sorted");
    let mut file = BufWriter::new(File::create(&sorted)?);
    lines.iter().try_for_each(|(_, line)| file.write_all(line))?;
    file.flush()?;
    fs::rename(sorted, path)
}

fn is_in_order(path: &Path) -> io::Result<bool> {
    let (mut reader, mut line, mut last) = (BufReader::new(File::open(path)?), Vec::new(), 0);
    loop {
        line.clear();
        if (&mut reader).take(LONGEST).read_until(b'\n', &mut line)? == 0 {
            return Ok(true);
        }
        let time = time_of(&line).unwrap_or(last);
        if time < last {
            return Ok(false);
        }
        last = time;
    }
}

/// The time of a line.
fn time_of(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| *byte == b' ').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sorted_by_their_times_and_others_stay_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x-1.fd.log");
        let sorted = |text: &str| {
            fs::write(&path, text).unwrap();
            put_in_order(&path).unwrap();
            assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
            fs::read_to_string(&path).unwrap()
        };
        assert_eq!(sorted(""), "");
        assert_eq!(sorted("1 a\n1 b\n\n2"), "1 a\n1 b\n\n2");
        assert_eq!(sorted("10 a\n9 b\n10 c\n# d\n2 e\n1"), "2 e\n9 b\n10 a\n10 c\n# d\n1");
    }
}
