//! How a segment is opened: what must be true of an object before its bytes are touched.
use std::{
    fs::{self, File},
    io,
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
    unistd::geteuid,
};

use super::{MIN_LEN, Mapped, POLL, Segment, incompatible, path};
use crate::{
    Error, Result,
    sys::{
        clock::Deadline,
        liveness::{self, CREATION},
        name::RingName,
    },
};

/// How long an opener waits for a living creator to finish.
const CREATION_PATIENCE: Duration = Duration::from_secs(5);
/// How long an empty file may stay empty: its creator is about to lock it.
const EMPTY_PATIENCE: Duration = Duration::from_millis(100);
/// How often an opener starts over when the name changes hands under it.
const OPEN_ATTEMPTS: u32 = 16;

impl Segment {
    /// Maps the segment of this name, for reading and writing. Never makes one.
    ///
    /// If a living process is making it just now, waits up to 5 s for that.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incompatible`] if the name belongs to something else than a finished,
    /// fully reserved segment, or to a user whom one has no reason to trust (neither oneself nor root, and
    /// not opened to others by its mode); [`Error::Io`] without permission.
    pub fn open(name: &RingName) -> Result<Segment> {
        for _ in 0..OPEN_ATTEMPTS {
            let file = open_by_name(name)?;
            check_object(name, &file)?;
            wait_until_made(name, &file)?;
            if let Some(mapped) = Mapped::by_name(name, &file)? {
                return Ok(Segment { name: name.clone(), file, mapped });
            }
        }
        Err(incompatible(name, "it is replaced faster than it can be opened"))
    }
}

pub(super) fn open_by_name(name: &RingName) -> Result<File> {
    // O_NONBLOCK: a FIFO or a device in this place must not keep us waiting.
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    match mman::shm_open(name.os_id().as_str(), flags, Mode::empty()) {
        Ok(fd) => Ok(File::from(fd)),
        Err(Errno::ENOENT) => Err(Error::NotFound(name.as_str().into())),
        Err(Errno::ELOOP) => Err(incompatible(name, "it is a symbolic link")),
        // glibc tells of a directory by EINVAL.
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

/// Refuses what is not a regular file, or belongs to somebody whom we have no reason to trust.
pub(super) fn check_object(name: &RingName, file: &File) -> Result<()> {
    let metadata =
        file.metadata().map_err(|error| Error::io(format!("looking at ring {:?}", name.as_str()), error))?;
    let kind = metadata.file_type();
    if !kind.is_file() {
        let what = if kind.is_fifo() { "it is a FIFO" } else { "it is not a regular file" };
        return Err(incompatible(name, what));
    }
    if !trusted(geteuid().as_raw(), metadata.uid(), metadata.mode()) {
        return Err(incompatible(
            name,
            &format!("it belongs to user {}, who did not share it", metadata.uid()),
        ));
    }
    Ok(())
}

/// Root opens all; others open their own, root's, and what its owner opened to a group or to all for writing.
pub(in crate::sys) fn trusted(us: u32, owner: u32, mode: u32) -> bool {
    us == 0 || owner == us || owner == 0 || mode & 0o022 != 0
}

/// Waits for a creator that works under the name (see `create`), and refuses what nobody is making.
fn wait_until_made(name: &RingName, file: &File) -> Result<()> {
    let failed = |error: io::Error| Error::io(format!("looking at ring {:?}", name.as_str()), error);
    let (creation, empty) = (Deadline::after(CREATION_PATIENCE), Deadline::after(EMPTY_PATIENCE));
    loop {
        // Asked before the look: the creator stores the first word and then lets go.
        let being_made = liveness::is_locked(file.as_fd(), CREATION)?;
        let len = file.metadata().map_err(failed)?.len();
        let mut first_word = [0; 8];
        if len >= MIN_LEN {
            match file.read_exact_at(&mut first_word, 0) {
                // Cut short at this moment: look again.
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

/// Refuses a file with holes: touching one when the file system is full would be a SIGBUS.
fn check_reserved(name: &RingName, file: &File) -> Result<()> {
    let failed = |error: io::Error| Error::io(format!("looking at ring {:?}", name.as_str()), error);
    // Other file systems count blocks in their own ways.
    let tmpfs = statfs::fstatfs(file).is_ok_and(|system| system.filesystem_type() == statfs::TMPFS_MAGIC);
    let metadata = file.metadata().map_err(failed)?;
    if tmpfs && metadata.blocks().saturating_mul(512) < metadata.len() {
        return Err(incompatible(name, "its memory is not reserved"));
    }
    Ok(())
}
