//! Checks the directory of all segments: reasons why none can be created or opened.
use std::{fs, io, os::unix::fs::MetadataExt};

use nix::{
    errno::Errno,
    sys::statvfs::{FsFlags, statvfs},
    unistd::{AccessFlags, eaccess},
};

use super::DIRECTORY;
use crate::{Error, Result};

/// Refuses a directory in which no segment can be opened: it is missing, or mounted read-only.
///
/// # Errors
/// [`Error::Io`].
pub fn check_directory() -> Result<()> {
    check_exists()?;
    match statvfs(DIRECTORY) {
        Ok(system) if system.flags().contains(FsFlags::ST_RDONLY) => Err(unusable(Errno::EROFS)),
        _ => Ok(()),
    }
}

/// Refuses a directory that is missing.
pub(super) fn check_exists() -> Result<()> {
    match fs::metadata(DIRECTORY) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(unusable(Errno::ENOTDIR)),
        Err(error) => Err(unusable(error)),
    }
}

/// Refuses a directory in which this process may not create files.
pub(in crate::sys) fn check_may_create() -> Result<()> {
    check_directory()?;
    let Err(errno @ (Errno::EACCES | Errno::EPERM)) =
        eaccess(DIRECTORY, AccessFlags::W_OK | AccessFlags::X_OK)
    else {
        return Ok(());
    };
    let whose = fs::metadata(DIRECTORY)
        .map(|found| {
            format!(" (owned by user {}, mode {:o}, expected 1777)", found.uid(), found.mode() & 0o7777)
        })
        .unwrap_or_default();
    Err(Error::io(format!("no permission to make a file in {DIRECTORY}{whose}"), errno))
}

fn unusable(why: impl Into<io::Error>) -> Error {
    Error::io(format!("{DIRECTORY}, which holds all shared memory, cannot be used"), why)
}
