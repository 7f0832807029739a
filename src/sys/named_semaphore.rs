//! POSIX semaphores with a name: `sem_open`, as any program may call it.
//!
//! The C library keeps each in a small file among the shared-memory objects. Nothing tells such a file from
//! any other, and touching one that is too short would be a SIGBUS. So what has the name is looked at before it is
//! opened: its kind, its size, its owner, and then the word that says that it is shared.
#![allow(unsafe_code)]

use std::{
    ffi::CString,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    ptr::NonNull,
};

use nix::{
    sys::stat::{Mode, umask},
    unistd::geteuid,
};

use super::{
    name::RingName,
    segment::{DIRECTORY, trusted},
    semaphore::Semaphore,
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
    /// Makes a semaphore with `value` tokens and exactly these permission bits, whatever the umask. It appears
    /// whole, with its mode, or not at all.
    ///
    /// The umask is the process': to be called while there is one thread that makes files.
    ///
    /// # Errors
    /// [`Error::Exists`]; [`Error::Io`] when the system refuses, or for more than [`MOST`] tokens.
    pub fn create(name: &RingName, value: u32, mode: u32) -> Result<NamedSemaphore> {
        let id = os_id(name)?;
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

    /// Opens the semaphore of this name. Never makes one.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incompatible`] for what is no semaphore; [`Error::Io`] without permission.
    pub fn open(name: &RingName) -> Result<NamedSemaphore> {
        check(name)?;
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

    /// The semaphore itself, to be used while this lives.
    pub fn semaphore(&self) -> Semaphore {
        // SAFETY: the C library has mapped a page of its own for it, so that SEMAPHORE_BYTES bytes are
        // there, aligned; it stays mapped until `drop`, and nothing but semaphore calls touches it.
        unsafe { Semaphore::at(self.at.cast()) }
    }

    /// Removes the name. Those who have it open keep it.
    ///
    /// # Errors
    /// As [`open`](Self::open): what is no semaphore stays.
    pub fn unlink(name: &RingName) -> Result<()> {
        check(name)?;
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
        // SAFETY: opened by `sem_open`, closed once; `semaphore` says that its answers are not used after.
        unsafe { libc::sem_close(self.at.as_ptr()) };
    }
}

/// The file that holds the semaphore of this name.
pub fn path(name: &RingName) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{PREFIX}{}", name.as_str()))
}

/// Refuses what is no semaphore, or belongs to somebody whom we have no reason to trust.
fn check(name: &RingName) -> Result<()> {
    let found = match fs::symlink_metadata(path(name)) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
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
    if !trusted(geteuid().as_raw(), found.uid(), found.mode()) {
        let why = format!("it belongs to user {}, who did not share it", found.uid());
        return Err(incompatible(name, &why));
    }
    Ok(())
}

fn incompatible(name: &RingName, why: &str) -> Error {
    Error::Incompatible { name: name.as_str().into(), why: why.into() }
}

fn os_id(name: &RingName) -> Result<CString> {
    // A name has no NUL.
    CString::new(name.os_id()).map_err(|error| Error::io("naming a semaphore", io::Error::from(error)))
}
