//! POSIX semaphores with a name: `sem_open`, as any program may call it.
//!
//! The C library keeps each in a small file among the shared-memory objects. Such a file has no mark that
//! identifies it, and access to one that is too short would be a SIGBUS. So this module checks the object before
//! it opens it: its kind, its size, its owner, and then the word that says that it is shared.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    ptr::NonNull,
};

use nix::sys::stat::{Mode, umask};

pub use super::super::semaphore::{RawSemaphore, Wake};
use super::super::{
    name::RingName,
    owners::Owners,
    segment::{DIRECTORY, check_directory, check_file_limit, check_may_create},
};
use crate::{Error, Result};

/// Most tokens that a semaphore can have.
pub const MOST: u32 = i32::MAX as u32;

/// What the C library puts before the name.
const PREFIX: &str = if cfg!(target_env = "gnu") { "sem." } else { "" };

/// A semaphore with a name, open until this is dropped.
#[derive(Debug)]
pub struct NamedSemaphore {
    at: NonNull<libc::sem_t>,
}

impl NamedSemaphore {
    /// Creates a semaphore with `value` tokens and exactly these permission bits, whatever the umask. It appears
    /// complete, with its mode, or not at all.
    ///
    /// The umask belongs to the process: call this while only one thread creates files.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::Io`] when the system refuses, or for more than [`MOST`] tokens.
    pub fn create(name: &RingName, value: u32, mode: u32) -> Result<NamedSemaphore> {
        let id = os_id(name)?;
        check_may_create()?;
        // glibc removes its temporary file after a failed write, but reports a partial write with an old errno.
        check_file_limit(size_of::<libc::sem_t>() as u64)?;
        let before = umask(Mode::empty());
        // SAFETY: `id` ends with a zero; the other arguments are the numbers that O_CREAT asks for.
        let at = unsafe { libc::sem_open(id.as_ptr(), libc::O_CREAT | libc::O_EXCL, mode, value) };
        let error = io::Error::last_os_error();
        umask(before);
        match error.raw_os_error() {
            _ if at != libc::SEM_FAILED => NamedSemaphore::new(name, at),
            Some(libc::EEXIST) => Err(Error::Exists(name.as_str().into())),
            _ => Err(Error::io(format!("making semaphore {:?}", name.as_str()), error)),
        }
    }

    /// Opens the semaphore of this name. Never creates one.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incompatible`] if the object is not a semaphore; [`Error::Untrusted`] if
    /// `owners` do not include its owner; [`Error::Io`] without permission.
    pub fn open(name: &RingName, owners: Owners) -> Result<NamedSemaphore> {
        check(name, owners)?;
        let id = os_id(name)?;
        // SAFETY: `id` ends with a zero; without O_CREAT there are no other arguments.
        let at = unsafe { libc::sem_open(id.as_ptr(), 0) };
        if at != libc::SEM_FAILED {
            return NamedSemaphore::new(name, at);
        }
        let error = io::Error::last_os_error();
        Err(match error.raw_os_error() {
            Some(libc::ENOENT) => Error::NotFound(name.as_str().into()),
            _ => Error::io(format!("opening semaphore {:?}", name.as_str()), error),
        })
    }

    fn new(name: &RingName, at: *mut libc::sem_t) -> Result<NamedSemaphore> {
        let Some(at) = NonNull::new(at) else { return Err(Error::NotFound(name.as_str().into())) };
        let opened = NamedSemaphore { at };
        match opened.semaphore().check_shared() {
            Err(Error::Damaged(_)) => Err(incompatible(name, "its bytes are not those of a semaphore")),
            result => result.map(|()| opened),
        }
    }

    /// The semaphore itself, usable while this value lives.
    pub fn semaphore(&self) -> RawSemaphore<'_> {
        // SAFETY: the C library has mapped a page of its own for it, so that SEMAPHORE_BYTES bytes are
        // there, aligned; it stays mapped until `drop`, and nothing but semaphore calls touches it.
        unsafe { RawSemaphore::at(self.at.cast()) }
    }

    /// Removes the name. Processes that have the semaphore open keep it.
    ///
    /// # Errors
    /// As [`open`](Self::open): an object that is not a semaphore stays.
    pub fn unlink(name: &RingName) -> Result<()> {
        // As for any file, the system decides who may remove it.
        check(name, Owners::Any)?;
        let id = os_id(name)?;
        // SAFETY: `id` ends with a zero.
        if unsafe { libc::sem_unlink(id.as_ptr()) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        Err(match error.raw_os_error() {
            Some(libc::ENOENT) => Error::NotFound(name.as_str().into()),
            _ => Error::io(format!("removing semaphore {:?}", name.as_str()), error),
        })
    }
}

impl Drop for NamedSemaphore {
    fn drop(&mut self) {
        // SAFETY: opened by `sem_open` and closed once; the lifetime of `semaphore` ends before this.
        unsafe { libc::sem_close(self.at.as_ptr()) };
    }
}

/// The file that holds the semaphore of this name.
pub fn path(name: &RingName) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{PREFIX}{}", name.as_str()))
}

/// Refuses an object that is not a semaphore, or whose owner is not accepted.
fn check(name: &RingName, owners: Owners) -> Result<()> {
    let found = match fs::symlink_metadata(path(name)) {
        Ok(found) => found,
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
            check_directory()?;
            return Err(Error::NotFound(name.as_str().into()));
        }
        Err(error) => return Err(Error::io(format!("looking at semaphore {:?}", name.as_str()), error)),
    };
    let expected = size_of::<libc::sem_t>() as u64;
    if !found.is_file() {
        return Err(incompatible(name, "it is not a regular file"));
    }
    if found.len() != expected {
        return Err(incompatible(name, &format!("it has {} bytes, a semaphore {expected}", found.len())));
    }
    match found.uid() {
        owner if owners.accept(owner) => Ok(()),
        owner => Err(Error::Untrusted { name: name.as_str().into(), owner }),
    }
}

fn incompatible(name: &RingName, why: &str) -> Error {
    Error::Incompatible { name: name.as_str().into(), why: why.into() }
}

fn os_id(name: &RingName) -> Result<CString> {
    // A name has no NUL.
    CString::new(name.os_id()).map_err(|error| Error::io("naming a semaphore", io::Error::from(error)))
}
