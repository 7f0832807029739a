//! Writes the events of one process.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::event::{Event, EventKind, LONGEST_LINE, hash_of};
use crate::sys::clock;

/// The events of one process, in a file that no other process writes meanwhile.
///
/// Each call writes the whole lines of its events by one `write` to the file's end, so a kill at any moment
/// leaves a log that can be checked. Write `attempt` and the events in -ing before the call that they
/// describe (a send, an acknowledgement, a return), and make that call only if the event was written. Write
/// the other events after their call has returned. After a failed write, the file may end within a line: all
/// further calls then fail.
#[derive(Debug)]
pub struct Log {
    file: File,
    /// Keeps other processes from writing the file.
    _lock: Option<Flock<File>>,
    path: PathBuf,
    process: u64,
    /// The time of the last event.
    time: u64,
    lines: Vec<u8>,
    failed: Option<Errno>,
}

/// An item in an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The item's producer.
    pub producer: u64,
    /// The item's number at its producer.
    pub sequence: u64,
    /// The number of the delivery; 0 in a producer's events.
    pub attempt: u8,
    /// The hash of the item's bytes: [`hash_of`].
    pub hash: Option<u64>,
}

impl Log {
    /// Opens a log, or makes a new one, for events of [`process_number`]. New events go to its end; a last line that a
    /// killed process left unfinished is cut off.
    ///
    /// # Errors
    /// The error of the system; [`ErrorKind::WouldBlock`] if another process writes the file;
    /// [`ErrorKind::InvalidData`] if its last line has no end and is not the beginning of an event.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
        Self::of_file(file, path.as_ref())
    }

    /// Makes a new log in a folder, `NAME-PID.log` with the id of this process. If that exists, because an earlier process
    /// had the same id, `NAME-PID-2.log` and so on.
    ///
    /// # Errors
    /// The error of the system.
    pub fn create_in(folder: impl AsRef<Path>, name: &str) -> io::Result<Self> {
        let pid = std::process::id();
        for number in 1.. {
            let more = if number == 1 { String::new() } else { format!("-{number}") };
            let path = folder.as_ref().join(OsString::from(format!("{name}-{pid}{more}.log")));
            match OpenOptions::new().read(true).append(true).create_new(true).open(&path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                result => return Self::of_file(result?, &path),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    fn of_file(file: File, path: &Path) -> io::Result<Self> {
        let mut lock = None;
        // A device or a pipe may have several writers.
        if file.metadata()?.is_file() {
            let locked = Flock::lock(file.try_clone()?, FlockArg::LockExclusiveNonblock);
            lock = Some(locked.map_err(|(_, error)| io::Error::from(error))?);
            cut_torn_line(&file)?;
        }
        let (path, process) = (path.to_path_buf(), process_number());
        Ok(Log { file, _lock: lock, path, process, time: 0, lines: Vec::new(), failed: None })
    }

    /// Writes events of another process number from now on.
    pub fn set_process(&mut self, process: u64) {
        self.process = process;
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// An item is about to be sent.
    ///
    /// # Errors
    /// The error of the system, here and in all functions that write; the event then counts as not written.
    pub fn attempt(&mut self, producer: u64, sequence: u64, bytes: &[u8]) -> io::Result<()> {
        let hash = Some(hash_of(bytes));
        self.write(EventKind::Attempt, [Entry { producer, sequence, attempt: 0, hash }])
    }

    /// The item was sent.
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt).
    pub fn sent(&mut self, producer: u64, sequence: u64) -> io::Result<()> {
        self.write(EventKind::Sent, [Entry { producer, sequence, attempt: 0, hash: None }])
    }

    /// The item was not sent, and will not be received; its number may be used again.
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt).
    pub fn refused(&mut self, producer: u64, sequence: u64) -> io::Result<()> {
        self.write(EventKind::Refused, [Entry { producer, sequence, attempt: 0, hash: None }])
    }

    /// An item is about to be sent under this key of another one.
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt).
    pub fn forwarding(&mut self, producer: u64, sequence: u64) -> io::Result<()> {
        self.write(EventKind::Forwarding, [Entry { producer, sequence, attempt: 0, hash: None }])
    }

    /// An item was received.
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt).
    pub fn got(&mut self, producer: u64, sequence: u64, attempt: u8, bytes: &[u8]) -> io::Result<()> {
        let hash = Some(hash_of(bytes));
        self.write(EventKind::Got, [Entry { producer, sequence, attempt, hash }])
    }

    /// An item is about to be acknowledged.
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt).
    pub fn acking(&mut self, producer: u64, sequence: u64, attempt: u8) -> io::Result<()> {
        self.write(EventKind::Acking, [Entry { producer, sequence, attempt, hash: None }])
    }

    /// The item was acknowledged.
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt).
    pub fn acked(&mut self, producer: u64, sequence: u64, attempt: u8) -> io::Result<()> {
        self.write(EventKind::Acked, [Entry { producer, sequence, attempt, hash: None }])
    }

    /// An item is about to be given back.
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt).
    pub fn returning(&mut self, producer: u64, sequence: u64, attempt: u8) -> io::Result<()> {
        self.write(EventKind::Returning, [Entry { producer, sequence, attempt, hash: None }])
    }

    /// This item is about to be dropped to make room: see [`DropObserver`](crate::DropObserver).
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt).
    pub fn dropping(&mut self, producer: u64, sequence: u64, attempt: u8) -> io::Result<()> {
        self.write(EventKind::Dropping, [Entry { producer, sequence, attempt, hash: None }])
    }

    /// The item was dropped.
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt).
    pub fn dropped(&mut self, producer: u64, sequence: u64, attempt: u8) -> io::Result<()> {
        self.write(EventKind::Dropped, [Entry { producer, sequence, attempt, hash: None }])
    }

    /// The same event of several items, at one time, by one `write`.
    ///
    /// # Errors
    /// As [`attempt`](Self::attempt). The first lines may have been written.
    pub fn write(&mut self, kind: EventKind, items: impl IntoIterator<Item = Entry>) -> io::Result<()> {
        if let Some(error) = self.failed {
            return Err(error.into());
        }
        self.time = clock::monotonic_ns().max(self.time);
        self.lines.clear();
        for Entry { producer, sequence, attempt, hash } in items {
            let (time, process) = (self.time, self.process);
            Event { time, process, kind, producer, sequence, attempt, hash }.append_to(&mut self.lines);
        }
        let written = self.file.write_all(&self.lines);
        written.map_err(|error| {
            let number = Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32));
            self.failed = Some(number);
            number.into()
        })
    }

    /// The error of the first failed write.
    pub fn failure(&self) -> Option<io::Error> {
        self.failed.map(io::Error::from)
    }
}

/// Cuts off the beginning of an event that a killed process wrote last.
fn cut_torn_line(mut file: &File) -> io::Result<()> {
    let begin = file.metadata()?.len().saturating_sub(LONGEST_LINE);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(begin))?;
    file.read_to_end(&mut tail)?;
    let end = memchr::memrchr(b'\n', &tail).map_or(0, |at| at + 1);
    let torn = &tail[end..];
    let is_event = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_lowercase() || *byte == b' ';
    match torn.first() {
        None => Ok(()),
        Some(first) if first.is_ascii_digit() && torn.iter().all(is_event) && (end > 0 || begin == 0) => {
            file.set_len(begin + end as u64)
        }
        Some(_) => Err(io::Error::new(
            ErrorKind::InvalidData,
            "it ends with a line that is not an event and has no newline",
        )),
    }
}

/// A number for this process that no other one of a run has: its last seven digits are the process id, the others tell
/// the time.
pub fn process_number() -> u64 {
    const IDS: u64 = 10_000_000;
    const TIMES: u64 = 1_000_000_000_000;
    // At the same microsecond no two processes have one id.
    clock::monotonic_ns() / 1000 % TIMES * IDS + u64::from(std::process::id()) % IDS
}

/// A number for a producer that no producer of another ring has: its last ten digits are the producer's number in its
/// ring, the others tell the ring, by its [`id`](crate::RingObserver::id).
pub fn producer_in_ring(ring: [u8; 16], producer: u32) -> u64 {
    const PRODUCERS: u64 = 10_000_000_000;
    hash_of(&ring) % (u64::MAX / PRODUCERS) * PRODUCERS + u64::from(producer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_unfinished_event_is_cut_off_and_other_text_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        for (before, after) in [
            ("", Some("")),
            ("1 1 sent 1 1\n", Some("1 1 sent 1 1\n")),
            ("1 1 sent 1 1\n2 1 acki", Some("1 1 sent 1 1\n")),
            ("2", Some("")),
            ("1 1 sent 1 1\nhello", None),
            ("no line", None),
        ] {
            fs::write(&path, before).unwrap();
            let opened = Log::open(&path).map(drop);
            assert_eq!(opened.is_ok(), after.is_some(), "{before:?}: {opened:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), after.unwrap_or(before));
        }
        let long = "1".repeat(1000);
        fs::write(&path, &long).unwrap();
        assert_eq!(Log::open(&path).unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_log_has_one_writer_and_a_folder_many_logs() {
        let folder = tempfile::tempdir().unwrap();
        let first = Log::create_in(folder.path(), "x").unwrap();
        let second = Log::create_in(folder.path(), "x").unwrap();
        assert_ne!(first.path(), second.path());
        assert_eq!(Log::open(first.path()).unwrap_err().kind(), ErrorKind::WouldBlock);
        let path = first.path().to_path_buf();
        drop(first);
        Log::open(path).unwrap();
    }

    #[test]
    fn a_log_that_failed_once_writes_nothing_more() {
        let mut log = Log::open("/dev/full").unwrap();
        assert!(log.failure().is_none());
        for _ in 0..2 {
            let error = log.sent(1, 1).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::ENOSPC as i32));
        }
        assert!(log.failure().is_some());
    }

    #[test]
    fn producers_of_different_rings_have_different_numbers() {
        let (a, b) = ([1; 16], [2; 16]);
        assert_ne!(producer_in_ring(a, 1), producer_in_ring(b, 1));
        assert_eq!(producer_in_ring(a, u32::MAX) % 10_000_000_000, u64::from(u32::MAX));
        assert_eq!(process_number() % 10_000_000, u64::from(std::process::id()));
    }
}
