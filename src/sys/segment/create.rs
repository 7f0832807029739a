//! Creates segments, so that no process ever sees an incomplete one.
//!
//! Normally the creator reserves and fills an unnamed file, and links it to its name when it is complete. A
//! creator that dies before that leaves nothing.
//!
//! Where the system has no unnamed files, or no /proc to link them through, the creator makes the file under its
//! name. Three rules then mark it as incomplete: the first word is zero until the last store; the creator holds
//! the [`CREATION`] lock until then, so that openers know whether to wait; and on any failure it removes the name.
//! A creator that is killed during this leaves a file that begins with zeros and has a mark by which another
//! process can remove it (see [`leftover`](super::leftover)).
use std::{
    fs::{File, OpenOptions, Permissions},
    io,
    mem::ManuallyDrop,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    },
    path::PathBuf,
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, AtFlags, OFlag, posix_fallocate},
    sys::{
        mman::{self, ProtFlags},
        resource::{Resource, getrlimit},
        stat::Mode,
        statvfs::statvfs,
    },
    unistd::linkat,
};

use super::{
    Access, DIRECTORY, IDENTITY_AT, MARK, MARK_AT, MIN_LEN, Mapped, Segment, directory::check_may_create,
    map::map, name_inode, path, unlink,
};
use crate::{
    Error, Result,
    sys::{
        liveness::{self, CREATION},
        memory_limit,
        name::RingName,
        random,
        size::Size,
    },
};

/// Reserves memory in pieces, so that a signal undoes only one piece (old kernels then return EINTR).
const CHUNK: u64 = 64 << 20;
const SMALLEST_CHUNK: u64 = 1 << 20;

/// Fills in the zeroed bytes of a new segment and returns its first word.
pub(super) type Init<'a> = &'a dyn Fn(NonNull<u8>, usize) -> Result<u64>;

impl Segment {
    /// Creates a segment and maps it. On success it is complete under its name; on an error nothing stays.
    ///
    /// Memory for all `len` bytes is reserved. The permission bits are exactly `mode`, whatever the umask.
    /// `init` gets the zeroed bytes and their length. It fills in all but the first eight, the identity
    /// ([`IDENTITY_AT`]) and the mark (the last 16 of the first [`MIN_LEN`] bytes), and returns the first eight as
    /// a word, the magic, which must not be zero; that word is stored last. Where the system cannot link unnamed
    /// files, `init` may run a second time, on new zeros.
    ///
    /// # Errors
    /// [`Error::Exists`] if any object has the name; [`Error::NoSpace`]; [`Error::MemoryLimit`];
    /// [`Error::NotFound`] if another process removed the new segment at once; [`Error::Options`] for less than
    /// [`MIN_LEN`] bytes; [`Error::Io`]; any error of `init`.
    pub fn create(
        name: &RingName,
        len: u64,
        mode: u32,
        init: impl Fn(NonNull<u8>, usize) -> Result<u64>,
    ) -> Result<Segment> {
        check_room(name, len)?;
        let file = match publish_unnamed(name, len, mode, &init)? {
            Some(file) => file,
            None => publish_named(name, len, mode, &init)?,
        };
        adopt(name, file)
    }
}

/// Checks for obstacles before it takes any memory.
fn check_room(name: &RingName, len: u64) -> Result<()> {
    if len < MIN_LEN {
        return Err(Error::Options(format!("a segment has at least {MIN_LEN} bytes, not {len}").into()));
    }
    check_may_create()?;
    if name_inode(name)?.is_some() {
        return Err(Error::Exists(name.as_str().into()));
    }
    let available = available();
    if len > available || isize::try_from(len).is_err() {
        return Err(Error::NoSpace { required: len, available });
    }
    check_file_limit(len)?;
    match memory_limit::exceeded_by(len) {
        None => Ok(()),
        Some(limit) => Err(Error::MemoryLimit {
            required: len,
            available: limit.left,
            limit: limit.bytes,
            file: limit.file.display().to_string().into(),
        }),
    }
}

/// Refuses a file longer than this process may make. Without the check, the attempt would end the process by
/// SIGXFSZ.
pub(in crate::sys) fn check_file_limit(len: u64) -> Result<()> {
    match getrlimit(Resource::RLIMIT_FSIZE) {
        Ok((limit, _)) if limit < len => Err(Error::io(
            format!(
                "{} of shared memory exceed the limit for files (ulimit -f) of {}",
                Size(len),
                Size(limit)
            ),
            Errno::EFBIG,
        )),
        _ => Ok(()),
    }
}

/// Free bytes of the shared-memory file system.
fn available() -> u64 {
    match statvfs(DIRECTORY) {
        // A tmpfs without a limit reports that it has no blocks at all.
        Ok(system) if system.blocks() > 0 => system.blocks_available().saturating_mul(system.fragment_size()),
        _ => isize::MAX as u64,
    }
}

/// Creates the segment without a name and links it to its name; `None` if this system cannot do that.
pub(super) fn publish_unnamed(name: &RingName, len: u64, mode: u32, init: Init<'_>) -> Result<Option<File>> {
    // The reason does not matter: if it is a general one, the other way fails with it too.
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(OFlag::O_TMPFILE.bits()).mode(0o600);
    let Ok(file) = options.open(DIRECTORY) else { return Ok(None) };
    fill(&file, len, mode, init)?;
    match linkat(AT_FDCWD, &proc_path(&file), AT_FDCWD, &path(name), AtFlags::AT_SYMLINK_FOLLOW) {
        Ok(()) => Ok(Some(file)),
        Err(Errno::EEXIST) => Err(Error::Exists(name.as_str().into())),
        Err(_) => Ok(None),
    }
}

/// Creates the segment under its name; writes the first word last.
pub(super) fn publish_named(name: &RingName, len: u64, mode: u32, init: Init<'_>) -> Result<File> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let file = match mman::shm_open(name.os_id().as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR) {
        Ok(fd) => File::from(fd),
        Err(Errno::EEXIST) => return Err(Error::Exists(name.as_str().into())),
        Err(errno) => return Err(Error::io(format!("making ring {:?}", name.as_str()), errno)),
    };
    let unfinished = Unfinished { name, file: &file };
    liveness::try_lock(file.as_fd(), CREATION)?;
    mark(&file, len)?;
    fill(&file, len, mode, init)?;
    liveness::unlock(file.as_fd(), CREATION)?;
    std::mem::forget(unfinished);
    Ok(file)
}

/// Marks an empty file as a segment of this library, so that another process can remove it if its creator dies.
pub(super) fn mark(file: &File, len: u64) -> Result<()> {
    match file.write_all_at(MARK, MARK_AT) {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
            Err(Error::NoSpace { required: len, available: available() })
        }
        Err(error) => Err(Error::io("preparing shared memory", error)),
    }
}

/// Maps a new segment by its name, as every other process does.
pub(super) fn adopt(name: &RingName, file: File) -> Result<Segment> {
    let unfinished = Unfinished { name, file: &file };
    match Mapped::by_name(name, &file)? {
        Some(mapped) => {
            std::mem::forget(unfinished);
            Ok(Segment {
                name: name.clone(),
                file: ManuallyDrop::new(file),
                access: Access::ReadWrite,
                mapped,
            })
        }
        None => Err(Error::NotFound(name.as_str().into())),
    }
}

/// Removes the name on drop, if it still refers to this file, unless the segment was completed.
struct Unfinished<'a> {
    name: &'a RingName,
    file: &'a File,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // Ignores errors here: the caller gets the earlier error.
        if let Ok(metadata) = self.file.metadata() {
            let _ = unlink(self.name, self.file, (metadata.dev(), metadata.ino()));
        }
    }
}

/// Sets a new, empty file's mode, memory and contents.
fn fill(file: &File, len: u64, mode: u32, init: Init<'_>) -> Result<()> {
    let failed = |error: io::Error| Error::io("preparing shared memory", error);
    // The umask would cut a mode given at opening.
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    reserve(file, len)?;
    let pages = map(file, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE).map_err(failed)?;
    let (base, len) = (pages.base, pages.len);
    let identity = random::id()?;
    // SAFETY: the mapping is writable and longer than this, and no other process writes there: the file has no
    // name yet, or its first word keeps others away.
    unsafe { base.add(IDENTITY_AT).copy_from(NonNull::from(&identity).cast(), identity.len()) };
    let first_word = init(base, len)?;
    debug_assert_ne!(first_word, 0, "zero means unfinished");
    // SAFETY: page-aligned and mapped; others access this word only atomically.
    let word = unsafe { AtomicU64::from_ptr(base.as_ptr().cast()) };
    // Release: hands the contents to any process that reads the word with acquire, in `Mapped::checked`.
    word.store(first_word, Ordering::Release);
    drop(pages);
    Ok(())
}

/// Reserves memory for the whole file, or for none of it.
pub(super) fn reserve(file: &File, len: u64) -> Result<()> {
    let (mut done, mut chunk) = (0, CHUNK);
    while done < len {
        let piece = chunk.min(len - done);
        match posix_fallocate(file, done as libc::off_t, piece as libc::off_t) {
            Ok(()) => done += piece,
            Err(Errno::EINTR) => chunk = (chunk / 2).max(SMALLEST_CHUNK),
            Err(Errno::ENOSPC | Errno::EFBIG) => {
                // Frees what was reserved so far first, so that the error counts it as available.
                let _ = file.set_len(0);
                return Err(Error::NoSpace { required: len, available: available() });
            }
            Err(errno) => {
                return Err(Error::io(format!("reserving {} of shared memory", Size(len)), errno));
            }
        }
    }
    Ok(())
}

/// A path to an open file, whether it has a name or not.
pub(super) fn proc_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
