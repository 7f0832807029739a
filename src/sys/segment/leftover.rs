//! Inspects an object without mapping it, and removes what is left of a segment.
use std::{
    fs::File,
    os::{
        fd::AsFd,
        unix::fs::{FileExt, MetadataExt},
    },
};

use nix::{errno::Errno, fcntl::OFlag, sys::mman, sys::stat::Mode};

use super::{
    Access, MARK, MARK_AT, incompatible,
    open::{check_object, open_by_name},
    unlink,
};
use crate::{
    Error, Result,
    sys::{
        liveness::{self, CREATION},
        name::RingName,
        owners::Owners,
    },
};

/// The first eight bytes of the object with this name, if it is a readable regular file of at least that length.
///
/// Never waits: not for a FIFO, and not for an incomplete segment, whose first word is zero.
///
/// # Errors
/// [`Error::Io`] if the process has no more descriptors or memory, so that the object is unknown.
pub fn first_word(name: &RingName) -> Result<Option<u64>> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match mman::shm_open(name.os_id().as_str(), flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(errno @ (Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM)) => {
            return Err(Error::io(format!("looking at ring {:?}", name.as_str()), errno));
        }
        Err(_) => return Ok(None),
    };
    let is_file = file.metadata().is_ok_and(|found| found.is_file());
    Ok(if is_file { read_word(&file) } else { None })
}

fn read_word(file: &File) -> Option<u64> {
    let mut word = [0; 8];
    file.read_exact_at(&mut word, 0).ok()?;
    Some(u64::from_ne_bytes(word))
}

/// Removes the name of a segment that cannot be opened: it begins with `magic` though its contents are refused, or
/// its creator died before it was complete. True if this call removed it.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Incompatible`] for any other object, which stays, also for a segment that a
/// living process is creating; [`Error::Busy`] and [`Error::Io`] as in
/// [`Segment::unlink`](super::Segment::unlink).
pub fn remove_leftover(name: &RingName, magic: u64) -> Result<bool> {
    let file = open_by_name(name, Access::ReadWrite)?;
    // As for any file, the system decides who may remove it.
    check_object(name, &file, Owners::Any)?;
    if liveness::is_locked(file.as_fd(), CREATION)? {
        return Err(incompatible(name, "its creator has not finished it"));
    }
    // Read after the lock was checked: the creator stores the first word and then releases the lock.
    let is_ours = match read_word(&file) {
        Some(0) => has_mark(&file),
        word => word == Some(magic),
    };
    if !is_ours {
        return Err(incompatible(name, "it is an object of another kind"));
    }
    let failed = |error| Error::io(format!("looking at ring {:?}", name.as_str()), error);
    let found = file.metadata().map_err(failed)?;
    unlink(name, &file, (found.dev(), found.ino()))
}

fn has_mark(file: &File) -> bool {
    let mut mark = [0; MARK.len()];
    file.read_exact_at(&mut mark, MARK_AT).is_ok() && mark == *MARK
}
