//! Named shared memory that appears whole or not at all.
//!
//! A segment is a regular file in [`DIRECTORY`], mapped by name through the `shared_memory` crate. This
//! module adds what that crate leaves open: reserved memory (a full file system is an error at creation, not
//! a SIGBUS later), an exact mode, atomic appearance, refusal of what is not a segment, and the proof that
//! the mapping and the descriptor kept here are the same object.
//!
//! The first bytes of every segment are fixed here; the rest is the layout's:
//!
//! | bytes | hold | written |
//! |---|---|---|
//! | 0..8 | a word that is not zero: the layout's magic | last, with release |
//! | 8..16 | what the layout likes | by `init` |
//! | 16..32 | a random identity | first |
//! | 4080..4096 | a mark, in segments that were made under their name | before all others |
#![allow(unsafe_code)]

mod create;
mod leftover;
mod open;
#[cfg(test)]
mod tests;

use std::{
    cell::Cell,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    ptr::NonNull,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering, fence},
    },
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::mman::{self, MmapAdvise},
};
use shared_memory::{Shmem, ShmemConf, ShmemError};

pub use leftover::{first_word, remove_leftover};
#[cfg(feature = "cli")]
pub(super) use open::trusted;

use super::{
    clock::Deadline,
    liveness::{self, REMOVAL},
    name::RingName,
    process,
    truncation::Watched,
};
use crate::{Error, Result};

/// Where the C library keeps shared-memory objects.
pub const DIRECTORY: &str = "/dev/shm";

/// The smallest segment, in bytes.
pub const MIN_LEN: u64 = 4096;

/// Where the random identity lies, 16 bytes long.
pub const IDENTITY_AT: usize = 16;

/// Where a segment that is made under its name is marked as ours, and with what: its creator may die before
/// there is anything else to know it by.
const MARK_AT: u64 = MIN_LEN - MARK.len() as u64;
const MARK: &[u8; 16] = b"ringpipe segment";

/// How long to wait for another process that is removing the name just now.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(1);

/// A segment of shared memory, mapped until this value is dropped.
///
/// It is a mapping and no more: nobody makes references to its bytes, and dropping it never removes the
/// name.
pub struct Segment {
    name: RingName,
    /// Kept to ask about the object. Participants' locks are not held through it.
    file: File,
    mapped: Mapped,
}

/// A mapping, and which object it is of.
struct Mapped {
    base: NonNull<u8>,
    len: usize,
    inode: (u64, u64),
    identity: [u8; 16],
    /// Dropped before the mapping.
    watched: Watched,
    /// Unmaps when dropped.
    _mapping: Shmem,
}

// SAFETY: the mapping belongs to the process, not to a thread. All that is done with it here is to hand out
// its address, and to unmap it once, when the only owner drops it.
unsafe impl Send for Segment {}
// SAFETY: as above; no method changes anything through a shared reference without the kernel's help.
unsafe impl Sync for Segment {}

/// What the name of a segment stands for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameState {
    /// This segment.
    Current,
    /// Nothing: it was removed.
    Unlinked,
    /// Another object: this one was removed and the name given anew.
    Replaced,
}

/// Whose a segment is, and who may use it.
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

    /// The name it was opened by.
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

    /// What the name stands for now.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses to say.
    pub fn name_state(&self) -> Result<NameState> {
        Ok(match name_inode(&self.name)? {
            None => NameState::Unlinked,
            Some(inode) if inode == self.mapped.inode => NameState::Current,
            Some(_) => NameState::Replaced,
        })
    }

    /// Removes the name if it stands for this segment; true if this call did it. Mappings stay.
    ///
    /// Of several processes that remove the same segment at once, one does; a newer segment of the same name
    /// is never removed.
    ///
    /// # Errors
    /// [`Error::Busy`] when another process has been in the middle of removing it for a second (stopped
    /// there); [`Error::Io`] without permission.
    pub fn unlink(&self) -> Result<bool> {
        unlink(&self.name, &self.file, self.mapped.inode)
    }

    /// A new open file description of this segment, close-on-exec, to hold a lock of its own.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses: too many open files, or the name is gone and there is no /proc.
    pub fn reopen(&self) -> Result<OwnedFd> {
        reopen(&self.name, &self.file, self.mapped.inode)
    }

    /// Refuses to go on where this process was forked since `epoch`, or has lost this mapping. What was read from
    /// it before this call was there, then, and so was what was written into.
    ///
    /// # Errors
    /// [`Error::Forked`], [`Error::Truncated`].
    #[inline]
    pub fn check(&self, epoch: &Cell<u64>) -> Result<()> {
        // Acquire: as in `Watched::is_lost`.
        fence(Ordering::Acquire);
        if process::is_epoch(epoch.get()) { Ok(()) } else { self.check_anew(epoch) }
    }

    #[cold]
    #[inline(never)]
    fn check_anew(&self, epoch: &Cell<u64>) -> Result<()> {
        let now = process::epoch();
        if process::generation_of(now) != process::generation_of(epoch.get()) {
            return Err(Error::Forked);
        }
        if self.is_lost() {
            return Err(Error::Truncated);
        }
        // It was another mapping.
        epoch.set(now);
        Ok(())
    }

    /// Whether the mapping was lost and is one of zeros now: see [`truncation`](super::truncation).
    pub fn is_lost(&self) -> bool {
        self.mapped.watched.is_lost()
    }

    /// Whether somebody cut the file shorter than the mapping: touching what is missing would be a SIGBUS.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses to say.
    pub fn truncated(&self) -> Result<bool> {
        Ok(self.metadata()?.len() < self.mapped.len as u64)
    }

    /// Whose it is and who may use it, as of now.
    ///
    /// # Errors
    /// [`Error::Io`] when the system refuses to say.
    pub fn attributes(&self) -> Result<Attributes> {
        let metadata = self.metadata()?;
        Ok(Attributes { mode: metadata.mode() & 0o7777, uid: metadata.uid(), gid: metadata.gid() })
    }

    /// Enters all pages in this process' page table, so that first touches are not page faults.
    ///
    /// False where the kernel is older than 5.14 or refuses; then nothing is lost but time.
    pub fn prefault(&self) -> bool {
        // SAFETY: the range is exactly the mapping, which lives as long as `self`; its bytes do not change.
        unsafe { mman::madvise(self.mapped.base.cast(), self.mapped.len, MmapAdvise::MADV_POPULATE_WRITE) }
            .is_ok()
    }

    fn metadata(&self) -> Result<fs::Metadata> {
        self.file
            .metadata()
            .map_err(|error| Error::io(format!("looking at ring {:?}", self.name.as_str()), error))
    }
}

impl Mapped {
    /// Maps by name; `None` if what was mapped, or what the name stands for now, is not `file`.
    fn by_name(name: &RingName, file: &File) -> Result<Option<Mapped>> {
        let failed = |error: io::Error| Error::io(format!("mapping ring {:?}", name.as_str()), error);
        let metadata = file.metadata().map_err(failed)?;
        let inode = (metadata.dev(), metadata.ino());
        let mut mapping = match ShmemConf::new().os_id(name.os_id()).open() {
            Ok(mapping) => mapping,
            // Whatever has the name now need not be something that can be mapped.
            Err(_) if name_inode(name)? != Some(inode) => return Ok(None),
            Err(ShmemError::MapOpenFailed(errno)) => {
                return Err(failed(io::Error::from_raw_os_error(errno as i32)));
            }
            Err(error) => return Err(failed(io::Error::other(error))),
        };
        // An owner would remove the name when dropped.
        mapping.set_owner(false);
        let len = mapping.len();
        let Some(base) = NonNull::new(mapping.as_ptr()) else { return Ok(None) };
        if len as u64 != metadata.len() || metadata.len() < MIN_LEN {
            return Ok(None);
        }
        let watched = Watched::new(base, len);
        // Equal random identities prove that both are one object; the name's inode says so even of objects
        // that are not rings.
        let mut identity = [0; 16];
        match file.read_exact_at(&mut identity, IDENTITY_AT as u64) {
            // Cut short at this moment.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            result => result.map_err(failed)?,
        }
        let word = |at| {
            // SAFETY: the mapping is page-aligned and at least MIN_LEN long, so an aligned word lies here;
            // shared words are only accessed atomically. It outlives the reference: `mapping` is kept.
            unsafe { AtomicU64::from_ptr(base.as_ptr().add(at).cast()) }
        };
        // Acquire: pairs with the release store of the first word in `create::fill`.
        let made = word(0).load(Ordering::Acquire) != 0;
        // Relaxed: never written after the first word.
        let low = word(IDENTITY_AT).load(Ordering::Relaxed).to_ne_bytes();
        let high = word(IDENTITY_AT + 8).load(Ordering::Relaxed).to_ne_bytes();
        if !made || identity[..8] != low || identity[8..] != high || name_inode(name)? != Some(inode) {
            return Ok(None);
        }
        Ok(Some(Mapped { base, len, inode, identity, watched, _mapping: mapping }))
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

/// The names of all regular files among the shared-memory objects, sorted. Most need not be rings.
///
/// # Errors
/// [`Error::Io`] when [`DIRECTORY`] cannot be read.
pub fn list_names() -> Result<Vec<RingName>> {
    let failed = |error| Error::io(format!("reading {DIRECTORY}"), error);
    let mut names = Vec::new();
    for entry in fs::read_dir(DIRECTORY).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let file_name = entry.file_name();
        // Programs hide what is theirs alone behind a dot.
        let Some(name) = file_name.to_str().filter(|name| !name.starts_with('.')) else { continue };
        // With the slash in front, a name that begins with "shm:" is not taken for the other spelling.
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

/// Device and inode number of what the name stands for.
fn name_inode(name: &RingName) -> Result<Option<(u64, u64)>> {
    match fs::symlink_metadata(path(name)) {
        Ok(metadata) => Ok(Some((metadata.dev(), metadata.ino()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(format!("looking at ring {:?}", name.as_str()), error)),
    }
}

fn reopen(name: &RingName, file: &File, inode: (u64, u64)) -> Result<OwnedFd> {
    if let Ok(fresh) = open::open_by_name(name)
        && fresh.metadata().is_ok_and(|found| (found.dev(), found.ino()) == inode)
    {
        return Ok(fresh.into());
    }
    let flags = OFlag::O_NONBLOCK.bits();
    match fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(create::proc_path(file)) {
        Ok(fresh) => Ok(fresh.into()),
        Err(error) => Err(Error::io(format!("opening ring {:?} once more", name.as_str()), error)),
    }
}

fn unlink(name: &RingName, file: &File, inode: (u64, u64)) -> Result<bool> {
    if name_inode(name)? != Some(inode) {
        return Ok(false);
    }
    // Between the look and the removal the name could go to a new segment, if somebody else removed this
    // one. Whoever removes a segment therefore holds a lock on it, and the process' other threads back.
    static REMOVING: Mutex<()> = Mutex::new(());
    let _removing = REMOVING.lock().unwrap_or_else(PoisonError::into_inner);
    let patience = Deadline::after(REMOVAL_PATIENCE);
    while !liveness::try_lock(file.as_fd(), REMOVAL)? {
        if patience.passed() {
            let text = format!("another process is removing ring {:?}, and does not get on", name.as_str());
            return Err(Error::Busy(text.into()));
        }
        std::thread::sleep(POLL);
    }
    let result = unlink_locked(name, inode);
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
