//! Maintains the file of `--progress-file`: how much of the input was sent, for `--resume`.
//!
//! The file has one record of fixed size, a line of JSON. After each item, the producer overwrites the offset of
//! the next item in place, by one write within a page, which a kill cannot split. The file is not synced: the ring
//! is in memory too, so a power cut loses both.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use clap::Args;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use serde::{Deserialize, Serialize};

use crate::cli::common::exit::{Failure, code};
use crate::cli::common::input::Input;
use crate::framing::Framing;

/// Bytes of the record.
const SIZE: usize = 512;
const SCHEMA: &str = "ringpipe.progress/1";
/// The position of the offset within the record.
const OFFSET_AT: u64 = 41;
/// Digits of the offset, padded with spaces.
const DIGITS: usize = 20;
/// The maximum number of bytes at an input's beginning that identify it.
const BEGINNING: u64 = 4096;

/// The options.
#[derive(Debug, Clone, Args)]
pub struct ProgressFileArgs {
    /// Record in FILE, after each item, how far the input is sent, for --resume; the input is one regular file
    #[arg(long, value_name = "FILE", conflicts_with = "items", help_heading = "After a kill")]
    progress_file: Option<PathBuf>,
    /// Continue where the producer that wrote the progress file stopped; without a record, from the beginning
    #[arg(long, requires = "progress_file", help_heading = "After a kill")]
    resume: bool,
}

impl ProgressFileArgs {
    /// Handles a progress file for several inputs, which is not possible.
    ///
    /// # Errors
    /// A [`Failure`] if one was requested.
    pub(super) fn refuse_many(&self) -> Result<Option<ProgressFile>, Failure> {
        match self.progress_file {
            Some(_) => Err(Failure::new(code::USAGE, "--progress-file is for one input; expected one FILE")),
            None => Ok(None),
        }
    }
}

/// The part of the record that does not change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Source {
    framing: String,
    device: u64,
    inode: u64,
    /// The number of bytes at the input's beginning, and their checksum.
    beginning: u64,
    checksum: u32,
    /// The ring's identity, in hexadecimal.
    ring: String,
}

#[derive(Debug, Deserialize)]
struct Record {
    schema: String,
    offset: u64,
    complete: bool,
    #[serde(flatten)]
    source: Source,
}

/// An open progress file, locked against other producers.
#[derive(Debug)]
pub(super) struct ProgressFile {
    file: Flock<File>,
    /// Its name in messages.
    name: String,
    source: Source,
    offset: u64,
    complete: bool,
    /// The whole input is one item.
    whole: bool,
}

impl ProgressFile {
    /// Opens the file, and moves `input` to the offset from which to send. `None`: no file was requested.
    ///
    /// # Errors
    /// A [`Failure`] for an input that cannot be read again; with `--resume`, for an input that is not the
    /// recorded one; for a file of another kind, or one that another producer uses.
    pub fn open(
        args: &ProgressFileArgs,
        input: &mut Input,
        framing: Framing,
    ) -> Result<Option<Self>, Failure> {
        let Some(path) = &args.progress_file else { return Ok(None) };
        let name = path.display().to_string();
        let source = Source::of(input, framing)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).custom_flags(libc::O_NONBLOCK);
        let file = options.open(path);
        let file = file.map_err(|error| Failure::io(&name, &error))?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
            Errno::EWOULDBLOCK => {
                Failure::new(code::RUNTIME, format!("{name} is in use by another producer"))
            }
            error => Failure::io(&name, &error.into()),
        })?;
        let record = Record::read(&file, &name)?;
        let whole = framing == Framing::WholeFile;
        let mut progress =
            ProgressFile { file, name, source, offset: input.position(), complete: false, whole };
        match record.filter(|_| args.resume) {
            Some(record) => {
                record.check(input, &progress.source, &progress.name)?;
                input.go_to(record.offset)?;
                progress.offset = record.offset;
                progress.complete = record.complete;
                progress.source.ring = record.source.ring;
            }
            // From here on, the record of an earlier producer is gone.
            None => progress.file.set_len(0).map_err(|error| progress.failed(&error))?,
        }
        Ok(Some(progress))
    }

    /// Begins to record what is sent to this ring. Returns a note if the recorded ring was another one.
    ///
    /// # Errors
    /// A [`Failure`] if the file cannot be written.
    pub fn begin(&mut self, ring: [u8; 16]) -> Result<Option<String>, Failure> {
        let ring = format!("{:032x}", u128::from_be_bytes(ring));
        let before = std::mem::replace(&mut self.source.ring, ring);
        let is_other = !before.is_empty() && before != self.source.ring && self.offset > 0;
        self.write()?;
        Ok(is_other.then(|| {
            let sent = self.offset;
            format!("the first {sent} bytes were sent to an earlier ring, and are not sent again")
        }))
    }

    /// Whether everything was sent, including what may have been appended to the input.
    pub fn is_done(&self) -> bool {
        self.whole && self.complete
    }

    /// Records that the input was sent up to `offset`.
    ///
    /// # Errors
    /// A [`Failure`] if the file cannot be written.
    pub fn sent(&mut self, offset: u64) -> Result<(), Failure> {
        self.offset = offset;
        if self.whole {
            return self.complete();
        }
        let mut digits = [0; DIGITS];
        let written = write!(&mut digits[..], "{offset:>DIGITS$}");
        debug_assert!(written.is_ok(), "20 digits are enough for 64 bits");
        self.file.write_all_at(&digits, OFFSET_AT).map_err(|error| self.failed(&error))
    }

    /// Records that the input was sent to its end.
    ///
    /// # Errors
    /// A [`Failure`] if the file cannot be written.
    pub fn complete(&mut self) -> Result<(), Failure> {
        self.complete = true;
        self.write()
    }

    fn write(&self) -> Result<(), Failure> {
        // Strings and numbers, which JSON can always express.
        let source = serde_json::to_string(&self.source).unwrap_or_default();
        let (offset, complete) = (self.offset, self.complete);
        let head = format!("{{\"schema\":\"{SCHEMA}\",\"offset\":");
        debug_assert_eq!(head.len() as u64, OFFSET_AT);
        let text = format!("{head}{offset:>DIGITS$},\"complete\":{complete:<5},{}", &source[1..]);
        let text = format!("{text:<width$}\n", width = SIZE - 1);
        self.file.write_all_at(text.as_bytes(), 0).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Failure {
        Failure::io(&self.name, error)
    }
}

impl Source {
    fn of(input: &Input, framing: Framing) -> Result<Self, Failure> {
        let about = input.about()?;
        if !about.is_file() {
            let line = format!("{} is not a regular file; expected one with --progress-file", input.name);
            return Err(
                Failure::new(code::USAGE, line).hint("a pipe cannot be read again: write it to a file first")
            );
        }
        let beginning = about.len().min(BEGINNING);
        let (device, inode) = (about.dev(), about.ino());
        let checksum = checksum(input, beginning)?;
        Ok(Source { framing: framing.to_string(), device, inode, beginning, checksum, ring: String::new() })
    }
}

/// FNV-1a of the first bytes of an input.
fn checksum(input: &Input, bytes: u64) -> Result<u32, Failure> {
    let beginning = input.first_bytes(bytes)?;
    Ok(beginning.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)))
}

impl Record {
    /// The record in a file. `None`: the file is empty.
    fn read(file: &File, name: &str) -> Result<Option<Self>, Failure> {
        let failed = |error: io::Error| Failure::io(name, &error);
        let no_record = || {
            let expected = "expected a new name, or a file that producer --progress-file wrote";
            Failure::new(code::USAGE, format!("{name} is not a progress file; {expected}"))
        };
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() || !matches!(about.len() as usize, 0 | SIZE) {
            return Err(no_record());
        }
        let mut bytes = vec![0; about.len() as usize];
        file.read_exact_at(&mut bytes, 0).map_err(failed)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        match serde_json::from_slice::<Record>(&bytes) {
            Ok(record) if record.schema == SCHEMA => Ok(Some(record)),
            _ => Err(no_record()),
        }
    }

    /// Refuses an input that is not the recorded one.
    fn check(&self, input: &Input, found: &Source, name: &str) -> Result<(), Failure> {
        let was = &self.source;
        let why = if (was.device, was.inode) != (found.device, found.inode) {
            "it is another file".to_string()
        } else if input.about()?.len() < self.offset {
            format!("it is shorter than the {} bytes that were sent", self.offset)
        } else if was.checksum != checksum(input, was.beginning)? {
            "its beginning has changed".to_string()
        } else if was.framing != found.framing {
            format!("it was cut into items as {}, not as {}", was.framing, found.framing)
        } else {
            return Ok(());
        };
        let line = format!("{} is not what {name} is about: {why}", input.name);
        Err(Failure::new(code::RUNTIME, line).hint("without --resume it is sent from its beginning"))
    }
}
