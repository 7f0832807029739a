//! What a process has written, in a file that grows.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A file that a process writes: its standard output, its standard error, or a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output(PathBuf);

impl Output {
    /// The file at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Output(path.into())
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// How many bytes were written so far. A missing file is empty.
    ///
    /// # Errors
    /// The error of the system.
    pub fn size(&self) -> io::Result<u64> {
        match std::fs::metadata(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            about => Ok(about?.len()),
        }
    }

    /// What was written so far, with replacement characters for bytes that are not UTF-8. A missing file is empty.
    ///
    /// # Errors
    /// The error of the system.
    pub fn text(&self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&self.bytes()?).into_owned())
    }

    /// What was written so far. A missing file is empty.
    ///
    /// # Errors
    /// The error of the system.
    pub fn bytes(&self) -> io::Result<Vec<u8>> {
        match std::fs::read(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            read => read,
        }
    }

    /// The last lines that were written: at most this many, and at most the last 16 KiB. A missing file has none.
    ///
    /// # Errors
    /// The error of the system.
    pub fn last_lines(&self, most: usize) -> io::Result<Vec<String>> {
        let mut file = match File::open(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened?,
        };
        let skipped = file.metadata()?.len().saturating_sub(LAST);
        file.seek(SeekFrom::Start(skipped))?;
        let mut bytes = Vec::new();
        file.take(LAST).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        Ok(lines[lines.len().saturating_sub(most)..].iter().map(|line| line.to_string()).collect())
    }

    /// Follows the file from its beginning.
    pub fn follow(&self) -> Follow {
        Follow { path: self.0.clone(), offset: 0, rest: Vec::new() }
    }
}

/// The bytes at the end of a file among which its last lines are found.
const LAST: u64 = 16 << 10;

/// Reads a file line by line while it grows.
#[derive(Debug, Clone)]
pub struct Follow {
    path: PathBuf,
    offset: u64,
    /// The beginning of a line that is not complete.
    rest: Vec<u8>,
}

/// The most bytes that one call of [`Follow::next_lines`] reads.
const MOST: u64 = 1 << 20;
/// The longest line that is kept whole, in bytes.
const LONGEST: usize = 16 << 20;

impl Follow {
    /// The lines that were completed since the last call, without their ends: about a mebibyte at most, then the next call
    /// has more. A missing file has none, and a file that has become shorter is read from its beginning. Of a line that is
    /// longer than 16 MiB, only an end is returned.
    ///
    /// # Errors
    /// The error of the system.
    pub fn lines(&mut self) -> io::Result<Vec<String>> {
        loop {
            match self.next_lines()? {
                Some(lines) if lines.is_empty() => {}
                lines => return Ok(lines.unwrap_or_default()),
            }
        }
    }

    /// The lines that the next mebibyte completes, without their ends: none, if it has no end of a line. `None`: nothing
    /// more was written. Otherwise as [`lines`](Self::lines), which goes on until a line is complete.
    ///
    /// # Errors
    /// The error of the system.
    pub fn next_lines(&mut self) -> io::Result<Option<Vec<String>>> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        if file.metadata()?.len() < self.offset {
            self.offset = 0;
            self.rest.clear();
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let old = self.rest.len();
        let read = file.take(MOST).read_to_end(&mut self.rest)?;
        self.offset += read as u64;
        let Some(end) = self.rest[old..].iter().rposition(|&byte| byte == b'\n') else {
            if self.rest.len() > LONGEST {
                self.rest.drain(..self.rest.len() / 2);
            }
            return Ok((read > 0).then(Vec::new));
        };
        let end = old + end;
        let rest = self.rest.split_off(end + 1);
        let complete = std::mem::replace(&mut self.rest, rest);
        let lines = complete[..end].split(|&byte| byte == b'\n');
        Ok(Some(lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_line_is_followed_once_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(folder.path().join("output"));
        let mut follow = output.follow();
        assert_eq!((follow.lines().unwrap(), output.bytes().unwrap()), (vec![], vec![]), "a missing file");
        let mut file = File::create(output.path()).unwrap();
        let mut after = |text: &[u8]| {
            file.write_all(text).unwrap();
            follow.lines().unwrap()
        };
        assert_eq!(after(b"a\n\nb"), ["a", ""]);
        assert!(after(b"c").is_empty());
        assert_eq!(after(b"\n\xff\n"), ["bc", "\u{fffd}"]);
        assert!(after(b"").is_empty());
        file.set_len(0).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(b"d\n").unwrap();
        assert_eq!(follow.lines().unwrap(), ["d"], "a file that was written anew");
        assert_eq!(output.text().unwrap(), "d\n");
    }

    #[test]
    fn a_line_without_end_is_read_in_parts() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(folder.path().join("output"));
        let mut follow = output.follow();
        assert_eq!(follow.next_lines().unwrap(), None, "a missing file");
        std::fs::write(output.path(), vec![b'x'; 2 << 20]).unwrap();
        for part in [Some(vec![]), Some(vec![]), None, None] {
            assert_eq!(follow.next_lines().unwrap(), part);
        }
        assert!(follow.lines().unwrap().is_empty());
        std::fs::OpenOptions::new().append(true).open(output.path()).unwrap().write_all(b"y\nz").unwrap();
        assert_eq!(follow.next_lines().unwrap(), Some(vec!["x".repeat(2 << 20) + "y"]));
    }

    #[test]
    fn the_last_lines_are_found_in_a_large_file() {
        let folder = tempfile::tempdir().unwrap();
        let output = Output::new(folder.path().join("output"));
        assert!(output.last_lines(3).unwrap().is_empty(), "a missing file");
        assert_eq!(output.size().unwrap(), 0);
        let text: String = (1..=100_000).map(|line| format!("{line}\n")).collect();
        std::fs::write(output.path(), text + "\u{ff}\nno end").unwrap();
        assert_eq!(output.last_lines(3).unwrap(), ["100000", "\u{ff}", "no end"]);
        assert_eq!(output.last_lines(0).unwrap(), [""; 0]);
        std::fs::write(output.path(), vec![b'x'; 1 << 20]).unwrap();
        assert_eq!(output.last_lines(3).unwrap(), ["x".repeat(16 << 10)]);
        assert_eq!(output.size().unwrap(), 1 << 20);
    }
}
