//! Reads the events of a history, and merges several files in the order of their times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use super::event::{Event, FORM, LONGEST_LINE};

/// Large enough that reading costs little, small enough for hundreds of files.
const BUFFER: usize = 256 * 1024;

/// Why a history cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {wrong}{}", file.display(), at(*line), expected.map_or(String::new(), |form| format!("; expected {form}")))]
#[non_exhaustive]
pub struct HistoryError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; `None` if the file could not be read.
    pub line: Option<u64>,
    /// What was wrong.
    pub wrong: Box<str>,
    /// What a line must have, if a line was wrong.
    pub expected: Option<&'static str>,
    /// The error of the system, if the file could not be read.
    pub source: Option<io::Error>,
}

fn at(line: Option<u64>) -> String {
    line.map_or(String::new(), |line| format!(", line {line}"))
}

impl HistoryError {
    fn unreadable(file: &Path, error: io::Error) -> Self {
        let wrong = error.to_string().into();
        HistoryError { file: file.into(), line: None, wrong, expected: None, source: Some(error) }
    }
}

/// The place of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The file, counted from 0 in the order in which [`Logs`] opened them.
    pub file: u32,
    /// The line, from 1.
    pub line: u64,
}

/// One file, positioned at its next event.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    reader: BufReader<File>,
    bytes: Vec<u8>,
    line: u64,
    time: u64,
    truncated: bool,
}

impl Source {
    fn open(path: PathBuf) -> Result<Self, HistoryError> {
        let file = File::open(&path).map_err(|error| HistoryError::unreadable(&path, error))?;
        let reader = BufReader::with_capacity(BUFFER, file);
        Ok(Source { path, reader, bytes: Vec::new(), line: 0, time: 0, truncated: false })
    }

    /// The next event; `None` at the end.
    fn next(&mut self) -> Result<Option<Event>, HistoryError> {
        loop {
            self.bytes.clear();
            let read = (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', &mut self.bytes);
            let read = read.map_err(|error| HistoryError::unreadable(&self.path, error))?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            let Some((b'\n', text)) = self.bytes.split_last() else {
                if read as u64 == LONGEST_LINE {
                    return Err(self.garbage(&format!("a line of {LONGEST_LINE} bytes or more")));
                }
                // Its writer was killed; the numbers on this line may be incomplete.
                self.truncated = true;
                return Ok(None);
            };
            if text.is_empty() || text[0] == b'#' {
                continue;
            }
            let event = Event::parse(text).map_err(|wrong| self.garbage(&wrong))?;
            if event.time < self.time {
                let wrong =
                    format!("time {} after {}, and times never go back in a file", event.time, self.time);
                return Err(self.garbage(&wrong));
            }
            self.time = event.time;
            return Ok(Some(event));
        }
    }

    fn garbage(&self, wrong: &str) -> HistoryError {
        let (file, line, wrong) = (self.path.clone(), Some(self.line), wrong.into());
        HistoryError { file, line, wrong, expected: Some(FORM), source: None }
    }
}

/// The files of a path: itself, or if it is a folder, the files in it by their names.
fn files_of(path: &Path) -> Result<Vec<PathBuf>, HistoryError> {
    let unreadable = |error| HistoryError::unreadable(path, error);
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if fs::metadata(&file).map_err(|error| HistoryError::unreadable(&file, error))?.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(unreadable(io::Error::new(io::ErrorKind::NotFound, "a folder without files")));
    }
    files.sort();
    Ok(files)
}

/// Several files as one history.
#[derive(Debug)]
pub struct Logs {
    sources: Vec<Source>,
    next: Vec<Option<Event>>,
    /// The order of the files by their next event. Of two events at the same time, one written before a call comes
    /// before one written after it: a correct history can have that order.
    order: BinaryHeap<Reverse<(u64, bool, u32)>>,
}

impl Logs {
    /// Opens all of them, and reads the first event of each. A folder stands for the files in it, but not for
    /// the files in its folders.
    ///
    /// # Errors
    /// [`HistoryError`] for a file that cannot be read, a folder without files, or a first line that is not an event.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Self, HistoryError> {
        let mut sources = Vec::new();
        for path in paths {
            for file in files_of(path.as_ref())? {
                sources.push(Source::open(file)?);
            }
        }
        let mut all = Logs { next: vec![None; sources.len()], sources, order: BinaryHeap::new() };
        for file in 0..all.sources.len() {
            all.next[file] = all.sources[file].next()?;
            all.order.extend(all.key(file as u32));
        }
        Ok(all)
    }

    fn key(&self, file: u32) -> Option<Reverse<(u64, bool, u32)>> {
        let event = self.next[file as usize]?;
        Some(Reverse((event.time, !event.kind.is_before_its_call(), file)))
    }

    /// The next event in the order of time, and its place; `None` at the end of all files.
    ///
    /// # Errors
    /// [`HistoryError`] for a file that cannot be read, or a line that is not an event.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<(Event, Place)>, HistoryError> {
        let Some(Reverse((_, _, file))) = self.order.pop() else { return Ok(None) };
        let source = &mut self.sources[file as usize];
        let place = Place { file, line: source.line };
        let event = std::mem::replace(&mut self.next[file as usize], source.next()?);
        self.order.extend(self.key(file));
        Ok(event.map(|event| (event, place)))
    }

    /// The files, in the order of [`Place::file`].
    pub fn into_files(self) -> Vec<PathBuf> {
        self.sources.into_iter().map(|source| source.path).collect()
    }

    /// The number of files that were found to end in the middle of a line.
    pub fn truncated(&self) -> u64 {
        self.sources.iter().filter(|source| source.truncated).count() as u64
    }
}
