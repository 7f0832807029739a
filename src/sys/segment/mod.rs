//! Named shared memory that appears complete or not at all.
//!
//! A segment is a regular file in [`DIRECTORY`], mapped by name through the `shared_memory` crate. This module
//! adds what that crate lacks: reserved memory (a full file system is an error at creation, not a SIGBUS later),
//! an exact mode, atomic appearance, refusal of objects that are not segments, and the proof that the mapping and
//! the descriptor kept here are the same object.
//!
//! This module fixes the first bytes of every segment; the rest belongs to the layout:
//!
//! | bytes | hold | written |
//! |---|---|---|
//! | 0..8 | a word that is not zero: the layout's magic | last, with release |
//! | 8..16 | free for the layout | by `init` |
//! | 16..32 | a random identity | first |
//! | 4080..4096 | a mark, in segments that were made under their name | before everything else |
#![allow(unsafe_code)]

mod create;
mod directory;
mod leftover;
mod map;
mod open;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io,
    mem::ManuallyDrop,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    ptr::NonNull,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering, fence},
    },
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::mman::{self, MmapAdvise},
    unistd::{self, AccessFlags},
};

pub use directory::check_directory;
pub use leftover::{first_word, remove_leftover};
use map::Mapped;
pub use open::Access;
#[cfg(feature = "cli")]
pub(super) use {create::check_file_limit, directory::check_may_create};

use super::{
    clock::Deadline,
    liveness::{self, REMOVAL},
    name::RingName,
    process,
};
use crate::{Error, Result};

/// Where the C library keeps shared-memory objects.
pub const DIRECTORY: &str = "/dev/shm";

/// The smallest segment, in bytes.
pub const MIN_LEN: u64 = 4096;

/// Where the random identity lies, 16 bytes long.
pub const IDENTITY_AT: usize = 16;

/// The place of the mark that identifies a segment made under its name. Its creator may die before the segment has
/// any other sign of its kind.
const MARK_AT: u64 = MIN_LEN - MARK.len() as u64;
const MARK: &[u8; 16] = b"ringpipe segment";

/// How long to wait for another process that is removing the name at this moment.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(1);

/// A segment of shared memory, mapped until this value is dropped.
///
/// It only keeps the mapping: no code makes references to its bytes, and dropping it never removes the name.
pub struct Segment {
    name: RingName,
    /// Used to ask the system about the object. Participants' locks are held through other descriptions.
    file: ManuallyDrop<File>,
    access: Access,
    mapped: Mapped,
}

// SAFETY: the mapping belongs to the process, not to a thread. This type only hands out its address and unmaps it
// once, when its only owner drops it.
unsafe impl Send for Segment {}
// SAFETY: as above; no method changes anything through a shared reference without the kernel's help.
unsafe impl Sync for Segment {}

/// What the name of a segment refers to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameState {
    /// This segment.
    Current,
    /// No object: the segment was removed.
    Unlinked,
    /// Another object: this segment was removed and the name is in use again.
    Replaced,
}

/// The owner and the permissions of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits, such as 0o600.
    pub mode: u32,
    /// User id of the owner.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Segment {
    /// The first byte, page-aligned.
    pub fn base(&self) -> NonNull<u8> {
        self.mapped.base
    }

    /// The length in bytes: exactly what the creator asked for.
    #[allow(clippy::len_without_is_empty)] // It has at least MIN_LEN bytes.
    pub fn len(&self) -> usize {
        self.mapped.len
    }

    /// The name by which it was opened.
    pub fn name(&self) -> &RingName {
        &self.name
    }

    /// The random identity, as it was when the segment was mapped.
    pub fn identity(&self) -> [u8; 16] {
        self.mapped.identity
    }

    /// Device and inode number: equal for two segments that are one object.
    pub fn inode(&self) -> (u64, u64) {
        self.mapped.inode
    }

    /// What the name refers to now.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses to answer.
    pub fn name_state(&self) -> Result<NameState> {
        Ok(match name_inode(&self.name)? {
            None => NameState::Unlinked,
            Some(inode) if inode == self.mapped.inode => NameState::Current,
            Some(_) => NameState::Replaced,
        })
    }

    /// Removes the name if it refers to this segment; true if this call removed it. Mappings stay.
    ///
    /// If several processes remove the same segment at once, one of them succeeds. A newer segment of the same
    /// name is never removed.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process has been removing it for a second (stopped in the middle);
    /// [`Error::Io`] without permission.
    pub fn unlink(&self) -> Result<bool> {
        unlink(&self.name, &self.file, self.mapped.inode)
    }

    /// Whether this process may remove the name, as far as can be known without removing it. It may if it may write
    /// to the directory; in a sticky directory it must also own the segment or the directory, or have the right to
    /// act for any owner.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses to answer.
    pub fn may_unlink(&self) -> Result<bool> {
        let failed = |error| Error::io(format!("looking at {DIRECTORY}"), error);
        let directory = fs::metadata(DIRECTORY).map_err(failed)?;
        if unistd::eaccess(DIRECTORY, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
            return Ok(false);
        }
        let me = unistd::geteuid().as_raw();
        let sticky = directory.mode() & 0o1000 != 0;
        Ok(!sticky || me == self.metadata()?.uid() || me == directory.uid() || process::may_act_for_owners())
    }

    /// Runs `act` while no process is between its decision to remove this segment and the removal of the name.
    ///
    /// # Errors
    /// As [`unlink`](Self::unlink).
    pub fn between_removals<T>(&self, act: impl FnOnce() -> T) -> Result<T> {
        with_removal_lock(&self.name, &self.file, || Ok(act()))
    }

    /// Removes the name as [`unlink`](Self::unlink) does, if `decide` returns true. If the system then refuses, it
    /// calls `undo`. No other process removes the segment in between.
    /// # Errors
    /// As [`unlink`](Self::unlink).
    pub fn unlink_if(&self, decide: impl FnOnce() -> bool, undo: impl FnOnce()) -> Result<bool> {
        with_removal_lock(&self.name, &self.file, || {
            if !decide() {
                return Ok(false);
            }
            unlink_locked(&self.name, self.mapped.inode).inspect_err(|_| undo())
        })
    }

    /// Whether a living process holds a participant number, asked through the descriptor of this segment. Unlike the
    /// answer of an [`Observer`](liveness::Observer), it is wrong if other code of the program has closed that.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses.
    pub fn is_taken(&self, number: u32) -> Result<bool> {
        liveness::is_taken(self.file.as_fd(), number)
    }

    /// A new open file description of this segment, close-on-exec, for a lock of its own.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses: too many open files, or the name is gone and there is no /proc.
    pub fn reopen(&self) -> Result<OwnedFd> {
        reopen(self)
    }

    /// Fails if this process was forked since `epoch`, or has lost this mapping. On success, what was read from
    /// the mapping or written to it before this call was really in the segment.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Truncated`]; [`Error::Evicted`] of a handle whose epoch is
    /// [`NO_EPOCH`](process::NO_EPOCH).
    #[inline]
    pub fn check(&self, epoch: &AtomicU64) -> Result<()> {
        // Acquire: as in `Watched::is_lost`. Relaxed, here and below: this thread sees another thread's finding
        // eventually, and the finding alone changes nothing.
        fence(Ordering::Acquire);
        if process::is_epoch(epoch.load(Ordering::Relaxed)) { Ok(()) } else { self.check_anew(epoch) }
    }

    #[cold]
    #[inline(never)]
    fn check_anew(&self, epoch: &AtomicU64) -> Result<()> {
        let before = epoch.load(Ordering::Relaxed);
        if before == process::NO_EPOCH {
            return Err(Error::Evicted);
        }
        let now = process::epoch();
        if process::generation_of(now) != process::generation_of(before) {
            return Err(Error::Forked);
        }
        if self.is_lost() {
            return Err(Error::Truncated);
        }
        // Another mapping was lost. Relaxed: a failed exchange keeps what another thread has found.
        let _ = epoch.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the mapping was lost and is all zeros now: see [`truncation`](super::truncation).
    pub fn is_lost(&self) -> bool {
        self.mapped.watched.is_lost()
    }

    /// Whether the file was truncated below the mapping's length: access to the missing part would be a SIGBUS.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses to answer.
    pub fn truncated(&self) -> Result<bool> {
        Ok(self.metadata()?.len() < self.mapped.len as u64)
    }

    /// The owner and permissions, as of now.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses to answer.
    pub fn attributes(&self) -> Result<Attributes> {
        let metadata = self.metadata()?;
        Ok(Attributes { mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid() })
    }

    /// Enters all pages in this process's page table, so that first accesses are not page faults.
    ///
    /// False where the kernel is older than 5.14 or refuses; then first accesses are only slower.
    pub fn prefault(&self) -> bool {
        // SAFETY: the range is exactly the mapping, which lives as long as `self`; its bytes do not change.
        unsafe { mman::madvise(self.mapped.base.cast(), self.mapped.len, MmapAdvise::MADV_POPULATE_WRITE) }
            .is_ok()
    }

    fn metadata(&self) -> Result<fs::Metadata> {
        let found =
            self.file.metadata().and_then(|found| match (found.dev(), found.ino()) == self.mapped.inode {
                true => Ok(found),
                // Other code of the program closed the descriptor, and its number means another file now.
                false => Err(Errno::EBADF.into()),
            });
        found.map_err(|error| Error::io(format!("looking at ring {:?}", self.name.as_str()), error))
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // If other code of this process closed the descriptor, its number belongs to that code.
        if self.metadata().is_ok() {
            // SAFETY: dropped here and nowhere else, and not used any more.
            unsafe { ManuallyDrop::drop(&mut self.file) }
        }
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment")
            .field("name", &self.name)
            .field("len", &self.mapped.len)
            .finish_non_exhaustive()
    }
}

/// The names of all regular files among the shared-memory objects, sorted. Most of them may not be rings.
///
/// # Errors
/// [`Error::Io`] when [`DIRECTORY`] cannot be read.
pub fn list_names() -> Result<Vec<RingName>> {
    let failed = |error| Error::io(format!("reading {DIRECTORY}"), error);
    let mut names = Vec::new();
    for entry in fs::read_dir(DIRECTORY).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let file_name = entry.file_name();
        // A name with a dot in front is private to the program that made it.
        let Some(name) = file_name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        // With the slash in front, a name that begins with "shm:" is not read as the other spelling.
        let Ok(name) = RingName::parse(&format!("/{name}")) else { continue };
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn path(name: &RingName) -> PathBuf {
    Path::new(DIRECTORY).join(name.as_str())
}

fn incompatible(name: &RingName, why: &str) -> Error {
    Error::Incompatible { name: name.as_str().into(), why: why.into() }
}

/// Device and inode number of the object that the name refers to.
fn name_inode(name: &RingName) -> Result<Option<(u64, u64)>> {
    match fs::symlink_metadata(path(name)) {
        Ok(metadata) => Ok(Some((metadata.dev(), metadata.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("looking at ring {:?}", name.as_str()), error)),
    }
}

fn reopen(segment: &Segment) -> Result<OwnedFd> {
    let Segment { name, file, access, mapped } = segment;
    let inode = mapped.inode;
    if let Ok(fresh) = open::open_by_name(name, *access)
        && fresh.metadata().is_ok_and(|found| (found.dev(), found.ino()) == inode)
    {
        return Ok(fresh.into());
    }
    let writes = *access == Access::ReadWrite;
    let flags = OFlag::O_NONBLOCK.bits();
    match fs::OpenOptions::new().read(true).write(writes).custom_flags(flags).open(create::proc_path(file)) {
        Ok(fresh) if fresh.metadata().is_ok_and(|found| (found.dev(), found.ino()) == inode) => {
            Ok(fresh.into())
        }
        // Other code of the program closed the descriptor, and its number means another file now.
        Ok(_) => Err(Error::io(format!("opening ring {:?} once more", name.as_str()), Errno::EBADF)),
        Err(error) => Err(Error::io(format!("opening ring {:?} once more", name.as_str()), error)),
    }
}

fn unlink(name: &RingName, file: &File, inode: (u64, u64)) -> Result<bool> {
    if name_inode(name)? != Some(inode) {
        return Ok(false);
    }
    with_removal_lock(name, file, || unlink_locked(name, inode))
}

/// Keeps the other threads of this process from removing a segment.
pub(super) fn one_removal() -> MutexGuard<'static, ()> {
    static REMOVING: Mutex<()> = Mutex::new(());
    REMOVING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn with_removal_lock<T>(name: &RingName, file: &File, act: impl FnOnce() -> Result<T>) -> Result<T> {
    // Between the check and the removal, another process could remove this segment and create a new one of the
    // same name. So a process that removes a segment holds a lock on it, and keeps its own other threads out.
    let _removing = one_removal();
    let patience = Deadline::after(REMOVAL_PATIENCE);
    while !liveness::try_lock(file.as_fd(), REMOVAL)? {
        if patience.passed() {
            let text = format!(
                "another process is removing ring {:?}, and has not finished for a second",
                name.as_str()
            );
            return Err(Error::Busy(text.into()));
        }
        std::thread::sleep(POLL);
    }
    let result = act();
    liveness::unlock(file.as_fd(), REMOVAL)?;
    result
}

fn unlink_locked(name: &RingName, inode: (u64, u64)) -> Result<bool> {
    if name_inode(name)? != Some(inode) {
        return Ok(false);
    }
    match mman::shm_unlink(name.os_id().as_str()) {
        Ok(()) => Ok(true),
        Err(Errno::ENOENT) => Ok(false),
        Err(errno) => Err(Error::io(format!("removing ring {:?}", name.as_str()), errno)),
    }
}
