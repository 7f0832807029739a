//! Collects the output of a command: in memory, and beyond a bound in a temporary file.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::libc::{O_EXCL, O_TMPFILE};
use nix::sys::resource::{Resource, getrlimit};

/// How many bytes are kept in memory; also the size of the pieces in which a file is read.
const IN_MEMORY: usize = 64 << 10;
/// How many names are tried for a temporary file.
const NAMES: u32 = 100;

/// The temporary files that are open now.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// Whether too many spools have a file for further outputs to wait. The bound is a quarter of the descriptors
/// that this process may have: the commands that run need the others.
pub fn is_crowded() -> bool {
    // Relaxed: a bound that is exceeded by a few does no harm.
    OPEN.load(Ordering::Relaxed) >= most_files()
}

/// The most spools with a file.
pub fn most_files() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
    usize::try_from(limit / 4).unwrap_or(usize::MAX).max(1)
}

/// A temporary file, counted as long as it is open.
#[derive(Debug)]
struct Temporary(File);

impl Temporary {
    fn new(file: File) -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Temporary(file)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes in the order in which they were pushed. The first 64 KiB are in memory, all others in a temporary file
/// in `$TMPDIR` or `/tmp`. The file has no name, so the system removes it also when the process is killed.
#[derive(Debug, Default)]
pub struct Spool {
    head: Vec<u8>,
    /// What follows `head`.
    file: Option<Temporary>,
    /// Bytes in `file`. An incomplete write can leave more there, which the next write replaces.
    in_file: u64,
    /// A buffer for reading the file.
    piece: Vec<u8>,
}

impl Spool {
    /// An empty spool. It opens a file when it needs one.
    pub fn new() -> Self {
        Spool::default()
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// The error of the system if the temporary file cannot be made or written. Then the spool has the first
    /// part of `bytes`, or nothing of them; it can still be read.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (head, rest) = bytes.split_at(bytes.len().min(IN_MEMORY - self.head.len()));
        self.head.extend_from_slice(head);
        if rest.is_empty() {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(Temporary::new(temporary(&env::temp_dir())?)),
        };
        file.0.write_all_at(rest, self.in_file)?;
        self.in_file += rest.len() as u64;
        Ok(())
    }

    /// The number of bytes.
    pub fn len(&self) -> u64 {
        self.head.len() as u64 + self.in_file
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// The last bytes, at most `most`.
    ///
    /// # Errors
    /// The error of the system if the temporary file cannot be read.
    pub fn tail(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let from_file = self.in_file.min(most as u64);
        let from_head = (most - from_file as usize).min(self.head.len());
        let mut bytes = self.head[self.head.len() - from_head..].to_vec();
        bytes.resize(from_head + from_file as usize, 0);
        if let Some(file) = &self.file {
            file.0.read_exact_at(&mut bytes[from_head..], self.in_file - from_file)?;
        }
        Ok(bytes)
    }

    /// All bytes.
    ///
    /// # Errors
    /// As [`tail`](Self::tail); and [`io::ErrorKind::OutOfMemory`] for more bytes than memory can hold.
    pub fn read_all(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let len = usize::try_from(self.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.try_reserve_exact(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.copy_to(&mut |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            io::Result::Ok(())
        })?;
        Ok(bytes)
    }

    /// Passes all bytes to `sink`, in pieces of at most 64 KiB.
    ///
    /// # Errors
    /// The first error of `sink`; and the error of the system if the temporary file cannot be read.
    pub fn copy_to<E: From<io::Error>>(
        &mut self,
        sink: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.head.is_empty() {
            sink(&self.head)?;
        }
        let Some(file) = &self.file else { return Ok(()) };
        let mut at = 0;
        while at < self.in_file {
            let len = (self.in_file - at).min(IN_MEMORY as u64);
            self.piece.resize(len as usize, 0);
            file.0.read_exact_at(&mut self.piece, at)?;
            sink(&self.piece)?;
            at += len;
        }
        Ok(())
    }
}

/// Opens a file without a name in `folder`.
fn temporary(folder: &Path) -> io::Result<File> {
    // O_EXCL: no other process can give it a name.
    let unnamed =
        OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(O_TMPFILE | O_EXCL).open(folder);
    match unnamed {
        Err(error) if is_unsupported(&error) => unlinked(folder),
        result => result,
    }
}

/// Whether the file system, or a system call filter, does not have O_TMPFILE.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EOPNOTSUPP | Errno::EISDIR | Errno::EINVAL | Errno::ENOSYS)
    )
}

/// Creates a file in `folder` and removes its name.
fn unlinked(folder: &Path) -> io::Result<File> {
    let mut last = io::ErrorKind::AlreadyExists.into();
    for _ in 0..NAMES {
        let path = folder.join(format!("ringpipe-{:016x}", fastrand::u64(..)));
        match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes whose position can be told from their values.
    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i % 251) as u8).collect()
    }

    fn filled(bytes: &[u8], piece: usize) -> Spool {
        let mut spool = Spool::new();
        bytes.chunks(piece).for_each(|piece| spool.push(piece).unwrap());
        spool
    }

    #[test]
    fn what_was_pushed_is_read_in_the_same_order_on_both_sides_of_the_bound() {
        for len in [0, 1, IN_MEMORY - 1, IN_MEMORY, IN_MEMORY + 1, 3 * IN_MEMORY + 7] {
            let bytes = sample(len);
            let mut spool = filled(&bytes, 1000);
            assert_eq!((spool.len(), spool.is_empty()), (len as u64, len == 0));
            assert_eq!(spool.file.is_some(), len > IN_MEMORY);
            assert!(spool.read_all().unwrap() == bytes, "{len}");
            for most in [0, 1, 1000, IN_MEMORY, 2 * IN_MEMORY, 9 * IN_MEMORY] {
                let expected = &bytes[len.saturating_sub(most)..];
                assert!(spool.tail(most).unwrap() == expected, "the last {most} of {len}");
            }
        }
    }

    #[test]
    fn a_copy_is_made_of_bounded_pieces_and_ends_with_the_first_error() {
        let bytes = sample(3 * IN_MEMORY + 7);
        let mut spool = filled(&bytes, bytes.len());
        let (mut copy, mut pieces) = (Vec::new(), 0);
        spool
            .copy_to(&mut |piece: &[u8]| {
                assert!(piece.len() <= IN_MEMORY);
                copy.extend_from_slice(piece);
                pieces += 1;
                io::Result::Ok(())
            })
            .unwrap();
        assert!(copy == bytes && pieces == 4);
        let mut calls = 0;
        let result = spool.copy_to(&mut |_: &[u8]| {
            calls += 1;
            Err(io::Error::other("full"))
        });
        assert_eq!((result.unwrap_err().to_string(), calls), ("full".into(), 1));
    }

    #[test]
    fn a_temporary_file_has_no_name_and_is_private_however_it_was_made() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        for make in [temporary, unlinked] {
            let file = make(folder.path()).unwrap();
            file.write_all_at(b"x", 0).unwrap();
            let facts = file.metadata().unwrap();
            assert_eq!((facts.nlink(), facts.mode() & 0o777), (0, 0o600));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
        assert_eq!(temporary(&folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn after_a_refused_write_the_spool_has_what_it_had() {
        let bytes = sample(IN_MEMORY + 10);
        let mut spool = filled(&bytes, bytes.len());
        // A descriptor for reading alone stands for a full disk.
        let file = spool.file.take().unwrap();
        let read_only = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file.0));
        spool.file = Some(Temporary::new(File::open(read_only).unwrap()));
        assert!(spool.push(b"more").is_err());
        assert!(spool.read_all().unwrap() == bytes);
    }
}
