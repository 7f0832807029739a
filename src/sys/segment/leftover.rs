//! What can be said about an object without mapping it, and the removal of what is left of a segment.
use std::{
    fs::File,
    os::{
        fd::AsFd,
        unix::fs::{FileExt, MetadataExt},
    },
};

use nix::{fcntl::OFlag, sys::mman, sys::stat::Mode};

use super::{
    MARK, MARK_AT, incompatible,
    open::{check_object, open_by_name},
    unlink,
};
use crate::{
    Error, Result,
    sys::{
        liveness::{self, CREATION},
        name::RingName,
    },
};

/// The first eight bytes of what has this name, if that is a regular file that has so many and may be read.
///
/// It never waits: not for a FIFO, and not for a segment in the making, whose first word is zero.
pub fn first_word(name: &RingName) -> Option<u64> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = File::from(mman::shm_open(name.os_id().as_str(), flags, Mode::empty()).ok()?);
    if !file.metadata().is_ok_and(|found| found.is_file()) {
        return None;
    }
    read_word(&file)
}

fn read_word(file: &File) -> Option<u64> {
    let mut word = [0; 8];
    file.read_exact_at(&mut word, 0).ok()?;
    Some(u64::from_ne_bytes(word))
}

/// Removes the name of a segment that cannot be opened: one that begins with `magic` though its contents
/// are refused, or one whose creator died before it was finished. True if this call did it.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Incompatible`] for whatever else, which stays, also for a segment that a
/// living process is making; [`Error::Busy`] and [`Error::Io`] as in
/// [`Segment::unlink`](super::Segment::unlink).
pub fn remove_leftover(name: &RingName, magic: u64) -> Result<bool> {
    let file = open_by_name(name)?;
    check_object(name, &file)?;
    if liveness::is_locked(file.as_fd(), CREATION)? {
        return Err(incompatible(name, "its creator has not finished it"));
    }
    // After the look at the lock: the creator stores the first word and then lets go.
    let is_ours = match read_word(&file) {
        Some(0) => has_mark(&file),
        word => word == Some(magic),
    };
    if !is_ours {
        return Err(incompatible(name, "nothing says that it was ever one"));
    }
    let failed = |error| Error::io(format!("looking at ring {:?}", name.as_str()), error);
    let found = file.metadata().map_err(failed)?;
    unlink(name, &file, (found.dev(), found.ino()))
}

fn has_mark(file: &File) -> bool {
    let mut mark = [0; MARK.len()];
    file.read_exact_at(&mut mark, MARK_AT).is_ok() && mark == *MARK
}
