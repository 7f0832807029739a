//! The file of `--joblog`: a line for each job that has ended; `--resume` reads it back.
//!
//! The columns are those of GNU parallel's option `--joblog` (its manual page), and after them the item's sequence,
//! producer and attempt.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg};

use super::verdict::{Ending, OnExit, Verdict};
use crate::cli::common::escape;
use crate::cli::common::exit::Failure;
use crate::cli::common::no_producer;

const HEADER: &str = concat!(
    "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\t",
    "Sequence\tProducer\tAttempt\n"
);

/// One job that has ended, for one of its items.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The number of the job, from 1.
    pub job: u64,
    /// When its command started.
    pub started: SystemTime,
    /// How long it ran.
    pub runtime: Duration,
    /// Bytes written to its standard input.
    pub sent: u64,
    /// Bytes read from its standard output.
    pub received: u64,
    /// How it ended.
    pub ending: &'a Ending,
    /// Its command line.
    pub command: &'a str,
    /// The item's sequence.
    pub sequence: u64,
    /// The item's producer.
    pub producer: u32,
    /// The number of this attempt, from 1.
    pub attempt: u32,
}

/// A job log, open for appending. Several workers can share one file: each line is one write to its end.
#[derive(Debug)]
pub struct JobLog {
    file: File,
    /// Whether the last write was incomplete, so that the next line must begin with a newline.
    is_cut: bool,
}

impl JobLog {
    /// Opens `path`, or creates it. Writes the header to an empty file, and a newline after a line that a killed
    /// worker did not complete.
    ///
    /// # Errors
    /// A [`Failure`] if the file cannot be opened or written.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::io(format!("job log {}", path.display()), &error);
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        Self::begin(file).map_err(failed)
    }

    fn begin(file: File) -> io::Result<Self> {
        // Of workers that open an empty file at the same time, one writes the header. A file system without locks
        // may show it twice, which readers skip.
        let lock = Flock::lock(file.try_clone()?, FlockArg::LockExclusive);
        let facts = file.metadata()?;
        let mut log = JobLog { file, is_cut: false };
        if facts.len() == 0 {
            log.write(HEADER.to_string())?;
        } else if facts.is_file() {
            let mut last = [0];
            log.file.read_exact_at(&mut last, facts.len() - 1)?;
            log.is_cut = last != *b"\n";
        }
        if log.is_cut {
            log.write(String::new())?;
        }
        drop(lock);
        Ok(log)
    }

    /// Appends a line.
    ///
    /// # Errors
    /// The error of the system, and [`io::ErrorKind::WriteZero`] if it took only a part of the line, as on a full
    /// disk.
    pub fn append(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        self.write(line(entry))
    }

    /// One write, so that lines of several workers do not mix.
    fn write(&mut self, mut line: String) -> io::Result<()> {
        if self.is_cut {
            line.insert(0, '\n');
        }
        let written = loop {
            match self.file.write(line.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if written == line.len() {
            self.is_cut = false;
            return Ok(());
        }
        // If no byte was written, the end of the file is as before.
        self.is_cut = if written == 0 { self.is_cut } else { !line[..written].ends_with('\n') };
        Err(io::Error::new(io::ErrorKind::WriteZero, "only a part of a line could be written"))
    }
}

fn line(entry: &Entry<'_>) -> String {
    let Entry { job, sent, received, sequence, producer, attempt, .. } = entry;
    let started = entry.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let runtime = entry.runtime.as_secs_f64();
    let (exit, signal) = entry.ending.codes();
    let producer = no_producer::text(*producer);
    // The escaped text has no tab and no newline.
    let command = escape::text(entry.command);
    format!(
        "{job}\t:\t{started:.3}\t{runtime:10.3}\t{sent}\t{received}\t{exit}\t{signal}\t{command}\t\
         {sequence}\t{producer}\t{attempt}\n"
    )
}

/// The items that a job log has as done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Done(HashSet<(u32, u64)>);

impl Done {
    /// Reads `path`. `on_exit` says which exit codes mean that an item is done. A file that does not exist
    /// has no items. Skips incomplete lines, and lines without the columns of an item.
    ///
    /// # Errors
    /// A [`Failure`] if the file cannot be read.
    pub fn read(path: &Path, on_exit: &OnExit) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::io(format!("job log {}", path.display()), &error);
        match File::open(path) {
            Ok(file) => Self::read_from(BufReader::new(file), on_exit).map_err(failed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Done::default()),
            Err(error) => Err(failed(error)),
        }
    }

    fn read_from(mut log: impl BufRead, on_exit: &OnExit) -> io::Result<Self> {
        let (mut done, mut line) = (HashSet::new(), Vec::new());
        while log.read_until(b'\n', &mut line)? > 0 {
            done.extend(done_item(&line, on_exit));
            line.clear();
        }
        Ok(Done(done))
    }

    /// Whether the item of this producer and sequence is done.
    pub fn contains(&self, producer: u32, sequence: u64) -> bool {
        self.0.contains(&(producer, sequence))
    }
}

/// Producer and sequence of the item, if `line` is complete and says that it is done.
fn done_item(line: &[u8], on_exit: &OnExit) -> Option<(u32, u64)> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let columns = line.split('\t').collect::<Vec<_>>();
    let [_, _, _, _, _, _, exit, "0", _, sequence, producer, attempt] = columns[..] else { return None };
    if on_exit.verdict(&Ending::Exited(exit.parse().ok()?)) != Verdict::Done {
        return None;
    }
    // A line that was cut, and ended by the next worker, may have an empty last column.
    attempt.parse::<u32>().ok()?;
    Some((no_producer::parse(producer)?, sequence.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const OK: Ending = Ending::Exited(0);

    fn entry<'a>(sequence: u64, ending: &'a Ending, command: &'a str) -> Entry<'a> {
        Entry {
            job: sequence + 1,
            started: UNIX_EPOCH + Duration::from_millis(1_700_000_000_250),
            runtime: Duration::from_millis(1234),
            sent: 10,
            received: 20,
            ending,
            command,
            sequence,
            producer: 7,
            attempt: 1,
        }
    }

    fn text(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn the_header_is_written_once_and_lines_have_the_columns_of_parallel_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut first = JobLog::open(&path).unwrap();
        let mut second = JobLog::open(&path).unwrap();
        first.append(&entry(0, &OK, "gzip a")).unwrap();
        second.append(&entry(1, &Ending::Signalled(9), "a\tb\nc")).unwrap();
        first.append(&entry(2, &Ending::TimedOut, "sleep 9")).unwrap();
        let expected = format!(
            "{HEADER}\
             1\t:\t1700000000.250\t     1.234\t10\t20\t0\t0\tgzip a\t0\t7\t1\n\
             2\t:\t1700000000.250\t     1.234\t10\t20\t0\t9\ta\\tb\\nc\t1\t7\t1\n\
             3\t:\t1700000000.250\t     1.234\t10\t20\t-1\t0\tsleep 9\t2\t7\t1\n"
        );
        assert_eq!(text(&path), expected);
        assert_eq!(HEADER.split('\t').count(), line(&entry(0, &OK, "x")).split('\t').count());
    }

    #[test]
    fn only_items_with_a_complete_line_of_success_are_done() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(Done::read(&path, &OnExit::default()).unwrap(), Done::default());
        let mut log = JobLog::open(&path).unwrap();
        for (sequence, ending) in [(0, &OK), (1, &Ending::Exited(1)), (2, &Ending::Signalled(9)), (3, &OK)] {
            log.append(&entry(sequence, ending, "x")).unwrap();
        }
        // An item that failed first, and one that was done first.
        log.append(&entry(1, &OK, "x")).unwrap();
        log.append(&entry(3, &Ending::Exited(1), "x")).unwrap();
        let done = Done::read(&path, &OnExit::default()).unwrap();
        assert_eq!(done.0.len(), 3);
        assert!([0, 1, 3].into_iter().all(|sequence| done.contains(7, sequence)));
        assert!(!done.contains(7, 2) && !done.contains(6, 0));
    }

    #[test]
    fn a_line_that_was_cut_anywhere_is_no_success_and_the_next_worker_ends_it() {
        let whole = line(&entry(123, &OK, "gzip ü"));
        for cut in 1..whole.len() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("log");
            fs::write(&path, [HEADER.as_bytes(), &whole.as_bytes()[..cut]].concat()).unwrap();
            assert!(Done::read(&path, &OnExit::default()).unwrap().0.is_empty(), "{cut}");
            JobLog::open(&path).unwrap().append(&entry(5, &OK, "x")).unwrap();
            let done = Done::read(&path, &OnExit::default()).unwrap();
            assert!(done.contains(7, 5), "{cut}");
            // The key of a line that was cut in its last column is complete.
            let is_known = cut == whole.len() - 1;
            assert_eq!(done.0.len(), 1 + usize::from(is_known), "{cut}");
            assert_eq!(done.contains(7, 123), is_known, "{cut}");
        }
    }

    #[test]
    fn lines_of_parallel_and_other_texts_are_skipped() {
        let log = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n\
                   1\t:\t1700000000.250\t     1.234\t0\t2\t0\t0\techo 1\n\
                   2\t:\t1700000000.250\t     1.234\t0\t2\t0\t0\techo\t1\tx\t2\n\
                   \n\tx\n\u{0}\n";
        let mut bytes = log.as_bytes().to_vec();
        bytes.extend_from_slice(b"\xff\t\n3\t:\t1.0\t1.0\t0\t0\t0\t0\ttrue\t9\t7\t2\n");
        assert_eq!(Done::read_from(&bytes[..], &OnExit::default()).unwrap(), Done([(7, 9)].into()));
    }

    #[test]
    fn a_full_disk_is_an_error_at_once_and_a_folder_too() {
        let failure = JobLog::open(Path::new("/dev/full")).unwrap_err();
        assert!(failure.line.starts_with("job log /dev/full: No space left"), "{}", failure.line);
        assert!(JobLog::open(Path::new("/")).unwrap_err().line.contains("Is a directory"));
    }
}
