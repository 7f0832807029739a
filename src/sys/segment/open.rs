//! Opens segments: checks what must be true of an object before its bytes are accessed.
use std::{
    fs::{self, File},
    io,
    mem::ManuallyDrop,
    os::{
        fd::AsFd,
        unix::fs::{FileExt, FileTypeExt, MetadataExt},
    },
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::{mman, stat::Mode, statfs},
};

use super::{MIN_LEN, Mapped, POLL, Segment, directory::check_exists, incompatible, path};
use crate::{
    Error, Result,
    sys::{
        clock::Deadline,
        liveness::{self, CREATION},
        name::RingName,
        owners::Owners,
    },
};

/// How long an opener waits for a living creator to finish.
const CREATION_PATIENCE: Duration = Duration::from_secs(5);
/// How long an empty file may stay empty: its creator is about to lock it.
const EMPTY_PATIENCE: Duration = Duration::from_millis(100);
/// How often an opener starts over when the name changes to another object meanwhile.
const OPEN_ATTEMPTS: u32 = 16;

/// What a mapping allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading and writing.
    ReadWrite,
    /// Reading only: a write ends the process.
    ReadOnly,
}

impl Segment {
    /// Maps the segment of this name, for reading and writing. Never creates one.
    ///
    /// If a living process is creating it at this moment, waits up to 5 s for it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incompatible`] if the object is not a complete, fully reserved segment;
    /// [`Error::Untrusted`] if `owners` do not include its owner; [`Error::Io`] without permission.
    pub fn open(name: &RingName, owners: Owners) -> Result<Segment> {
        Segment::open_to(name, Access::ReadWrite, owners)
    }

    /// As [`open`](Self::open), for reading only, and for any owner. Needs only permission to read.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn observe(name: &RingName) -> Result<Segment> {
        Segment::open_to(name, Access::ReadOnly, Owners::Any)
    }

    fn open_to(name: &RingName, access: Access, owners: Owners) -> Result<Segment> {
        for _ in 0..OPEN_ATTEMPTS {
            let file = open_by_name(name, access)?;
            check_object(name, &file, owners)?;
            wait_until_made(name, &file)?;
            let mapped = match access {
                Access::ReadWrite => Mapped::by_name(name, &file)?,
                Access::ReadOnly => Mapped::read_only(name, &file)?,
            };
            if let Some(mapped) = mapped {
                return Ok(Segment { name: name.clone(), file: ManuallyDrop::new(file), access, mapped });
            }
        }
        Err(incompatible(name, "it is replaced faster than it can be opened"))
    }
}

pub(super) fn open_by_name(name: &RingName, access: Access) -> Result<File> {
    let access = match access {
        Access::ReadWrite => OFlag::O_RDWR,
        Access::ReadOnly => OFlag::O_RDONLY,
    };
    // O_NONBLOCK: a FIFO or a device under this name must not make this call wait.
    let flags = access | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    match mman::shm_open(name.os_id().as_str(), flags, Mode::empty()) {
        Ok(fd) => Ok(File::from(fd)),
        // A name has no slash, so this error means the object or the directory.
        Err(Errno::ENOENT | Errno::ENOTDIR) => {
            check_exists()?;
            Err(Error::NotFound(name.as_str().into()))
        }
        Err(Errno::ELOOP) => Err(incompatible(name, "it is a symbolic link")),
        // glibc reports a directory by EINVAL.
        Err(Errno::EISDIR | Errno::EINVAL | Errno::ENXIO) => {
            Err(incompatible(name, "it is not a regular file"))
        }
        Err(errno @ (Errno::EACCES | Errno::EPERM)) => {
            let whose = fs::symlink_metadata(path(name))
                .map(|found| format!(" (owned by user {}, mode {:o})", found.uid(), found.mode() & 0o7777))
                .unwrap_or_default();
            Err(Error::io(format!("no permission to open ring {:?}{whose}", name.as_str()), errno))
        }
        Err(errno) => Err(Error::io(format!("opening ring {:?}", name.as_str()), errno)),
    }
}

/// Refuses an object that is not a regular file, or whose owner is not accepted.
pub(super) fn check_object(name: &RingName, file: &File, owners: Owners) -> Result<()> {
    let metadata =
        file.metadata().map_err(|error| Error::io(format!("looking at ring {:?}", name.as_str()), error))?;
    let kind = metadata.file_type();
    if !kind.is_file() {
        let what = if kind.is_fifo() { "it is a FIFO" } else { "it is not a regular file" };
        return Err(incompatible(name, what));
    }
    match metadata.uid() {
        owner if owners.accept(owner) => Ok(()),
        owner => Err(Error::Untrusted { name: name.as_str().into(), owner }),
    }
}

/// Waits for a creator that works under the name (see `create`); refuses an incomplete file that no process is
/// creating.
fn wait_until_made(name: &RingName, file: &File) -> Result<()> {
    let failed = |error: io::Error| Error::io(format!("looking at ring {:?}", name.as_str()), error);
    let (creation, empty) = (Deadline::after(CREATION_PATIENCE), Deadline::after(EMPTY_PATIENCE));
    loop {
        // Checked before the first word is read: the creator stores that word and then releases the lock.
        let being_made = liveness::is_locked(file.as_fd(), CREATION)?;
        let len = file.metadata().map_err(failed)?.len();
        let mut first_word = [0; 8];
        if len >= MIN_LEN {
            match file.read_exact_at(&mut first_word, 0) {
                // Truncated at this moment: read again.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
                result => result.map_err(failed)?,
            }
            if first_word != [0; 8] && !being_made {
                return check_reserved(name, file);
            }
        }
        let patience = if being_made { creation } else { empty };
        if patience.passed() || !(being_made || len == 0) {
            let why = match len {
                _ if being_made => "its creator has not finished it",
                0 => "it is empty",
                _ if len < MIN_LEN => "it is too short",
                _ => "it begins with zeros; if its creator died, remove it",
            };
            return Err(incompatible(name, why));
        }
        std::thread::sleep(POLL);
    }
}

/// Refuses a file with holes: access to a hole when the file system is full would be a SIGBUS.
fn check_reserved(name: &RingName, file: &File) -> Result<()> {
    let failed = |error: io::Error| Error::io(format!("looking at ring {:?}", name.as_str()), error);
    // Other file systems count blocks differently.
    let tmpfs = statfs::fstatfs(file).is_ok_and(|system| system.filesystem_type() == statfs::TMPFS_MAGIC);
    let metadata = file.metadata().map_err(failed)?;
    if tmpfs && metadata.blocks().saturating_mul(512) < metadata.len() {
        return Err(incompatible(name, "its memory is not reserved"));
    }
    Ok(())
}
