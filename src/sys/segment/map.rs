//! Maps a segment, and proves that the mapping is of the object that was opened.
use std::{
    fs::File,
    io,
    num::NonZeroUsize,
    os::unix::fs::{FileExt, MetadataExt},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::{
    errno::Errno,
    sys::mman::{self, MapFlags, ProtFlags},
};
use shared_memory::{Shmem, ShmemConf, ShmemError};

use super::{IDENTITY_AT, MIN_LEN, name_inode};
use crate::{
    Error, Result,
    sys::{name::RingName, truncation::Watched},
};

/// A mapping, and the object that it maps.
pub(super) struct Mapped {
    pub base: NonNull<u8>,
    pub len: usize,
    pub inode: (u64, u64),
    pub identity: [u8; 16],
    /// Dropped before the mapping.
    pub watched: Watched,
    /// Unmaps when dropped.
    _backing: Backing,
}

enum Backing {
    /// For reading and writing.
    Shared(#[allow(dead_code)] Shmem),
    /// For reading only: any write ends the process by SIGSEGV.
    ReadOnly(Pages),
}

impl Backing {
    fn range(&self) -> (Option<NonNull<u8>>, usize) {
        match self {
            Backing::Shared(shared) => (NonNull::new(shared.as_ptr()), shared.len()),
            Backing::ReadOnly(pages) => (Some(pages.base), pages.len),
        }
    }
}

impl Mapped {
    /// Maps by name, for reading and writing. `None` if the mapping, or what the name refers to now, is not
    /// `file`.
    pub fn by_name(name: &RingName, file: &File) -> Result<Option<Mapped>> {
        let inode = inode_of(file).map_err(|error| failed(name, error))?;
        let mut backing = match ShmemConf::new().os_id(name.os_id()).open() {
            Ok(backing) => backing,
            // The name may by now refer to an object that cannot be mapped.
            Err(_) if name_inode(name)? != Some(inode) => return Ok(None),
            Err(ShmemError::MapOpenFailed(errno)) => {
                return Err(failed(name, io::Error::from_raw_os_error(errno as i32)));
            }
            Err(error) => return Err(failed(name, io::Error::other(error))),
        };
        // An owner would remove the name on drop.
        backing.set_owner(false);
        Mapped::checked(name, file, Backing::Shared(backing))
    }

    /// Maps `file`, which was opened by name, for reading only; `None` as in [`by_name`](Self::by_name).
    ///
    /// The atomic loads of the modules above, relaxed and acquire, are plain loads on both supported processors,
    /// and write nothing.
    pub fn read_only(name: &RingName, file: &File) -> Result<Option<Mapped>> {
        let len = file.metadata().map_err(|error| failed(name, error))?.len();
        if len < MIN_LEN {
            return Ok(None);
        }
        let pages = map(file, len, ProtFlags::PROT_READ).map_err(|error| failed(name, error))?;
        Mapped::checked(name, file, Backing::ReadOnly(pages))
    }

    fn checked(name: &RingName, file: &File, backing: Backing) -> Result<Option<Mapped>> {
        let metadata = file.metadata().map_err(|error| failed(name, error))?;
        let inode = (metadata.dev(), metadata.ino());
        let (Some(base), len) = backing.range() else { return Ok(None) };
        if len as u64 != metadata.len() || metadata.len() < MIN_LEN {
            return Ok(None);
        }
        let watched = Watched::new(base, len);
        // Equal random identities prove that both are one object; the name's inode proves it even for objects that
        // are not rings.
        let mut identity = [0; 16];
        match file.read_exact_at(&mut identity, IDENTITY_AT as u64) {
            // Truncated at this moment.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            result => result.map_err(|error| failed(name, error))?,
        }
        let word = |at| {
            // SAFETY: the mapping is page-aligned and at least MIN_LEN long, so an aligned word lies here;
            // shared words are only accessed atomically. It outlives the reference: `backing` is kept.
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
        Ok(Some(Mapped { base, len, inode, identity, watched, _backing: backing }))
    }
}

fn failed(name: &RingName, error: io::Error) -> Error {
    Error::io(format!("mapping ring {:?}", name.as_str()), error)
}

fn inode_of(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|found| (found.dev(), found.ino()))
}

/// Pages of a file, mapped until this is dropped.
pub(super) struct Pages {
    pub base: NonNull<u8>,
    pub len: usize,
}

/// Maps the first `len` bytes of a file, shared.
pub(super) fn map(file: &File, len: u64, access: ProtFlags) -> io::Result<Pages> {
    let len = usize::try_from(len).ok().and_then(NonZeroUsize::new).ok_or(Errno::EFBIG)?;
    // SAFETY: a new mapping at an address that the kernel chooses; nothing else is touched.
    let base = unsafe { mman::mmap(None, len, access, MapFlags::MAP_SHARED, file, 0) }?;
    Ok(Pages { base: base.cast(), len: len.get() })
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: exactly the range that was mapped, and no address into it is kept. With a valid range
        // it cannot fail.
        let _ = unsafe { mman::munmap(self.base.cast(), self.len) };
    }
}
