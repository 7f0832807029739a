//! How a segment comes to be: nobody ever sees half of one.
//!
//! The usual way: an unnamed file, reserved and filled, is linked to its name when it is complete. A creator
//! that dies on the way leaves nothing.
//!
//! Where the system has no unnamed files, or no /proc to link them through, the file is made under its name,
//! and these three tell half a segment from a whole one: the first word is zero until the last store; the
//! creator holds the [`CREATION`] lock until then, so that openers know whether to wait; and whatever fails,
//! the name is removed. A creator that is killed on that way leaves a file that begins with zeros and has
//! a mark by which it can be removed (see [`leftover`](super::leftover)).
use std::{
    fs::{File, OpenOptions, Permissions},
    io,
    num::NonZeroUsize,
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
        mman::{self, MapFlags, ProtFlags},
        resource::{Resource, getrlimit},
        stat::Mode,
        statvfs::statvfs,
    },
    unistd::linkat,
};

use super::{DIRECTORY, IDENTITY_AT, MARK, MARK_AT, MIN_LEN, Mapped, Segment, name_inode, path, unlink};
use crate::{
    Error, Result,
    sys::{
        liveness::{self, CREATION},
        name::RingName,
        random,
    },
};

/// Memory is reserved in pieces, so that a signal undoes no more than one (old kernels then answer EINTR).
const CHUNK: u64 = 64 << 20;
const SMALLEST_CHUNK: u64 = 1 << 20;

/// Fills in the zeroed bytes of a new segment and returns its first word.
pub(super) type Init<'a> = &'a dyn Fn(NonNull<u8>, usize) -> Result<u64>;

impl Segment {
    /// Makes a segment and maps it: complete under its name, or an error and nothing stays.
    ///
    /// Memory for all `len` bytes is reserved. The permission bits are exactly `mode`, whatever the umask.
    /// `init` gets the zeroed bytes and their length, fills in all but the first eight, the identity
    /// ([`IDENTITY_AT`]) and the mark (the last 16 of the first [`MIN_LEN`] bytes), and returns the first eight as a word, the magic, which must not be zero; that is
    /// stored last. Where the system cannot link unnamed files, `init` may run a second time, on new zeros.
    ///
    /// # Errors
    /// [`Error::Exists`] if the name is taken, by whatever; [`Error::NoSpace`]; [`Error::NotFound`] if
    /// somebody removed the new segment at once; [`Error::Options`] for less than [`MIN_LEN`] bytes;
    /// [`Error::Io`]; whatever `init` answers.
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

/// Finds what stands against it before any memory is taken.
fn check_room(name: &RingName, len: u64) -> Result<()> {
    if len < MIN_LEN {
        return Err(Error::Options(format!("a segment has at least {MIN_LEN} bytes, not {len}").into()));
    }
    if name_inode(name)?.is_some() {
        return Err(Error::Exists(name.as_str().into()));
    }
    let available = available();
    if len > available || isize::try_from(len).is_err() {
        return Err(Error::NoSpace { required: len, available });
    }
    // To exceed this limit is not only refused, it ends the process by SIGXFSZ.
    match getrlimit(Resource::RLIMIT_FSIZE) {
        Ok((limit, _)) if limit < len => Err(Error::io(
            format!("{len} bytes exceed the limit for files (ulimit -f) of {limit} bytes"),
            Errno::EFBIG,
        )),
        _ => Ok(()),
    }
}

/// Free bytes of the shared-memory file system.
fn available() -> u64 {
    match statvfs(DIRECTORY) {
        // A tmpfs without a limit says that it has no blocks at all.
        Ok(system) if system.blocks() > 0 => system.blocks_available().saturating_mul(system.fragment_size()),
        _ => isize::MAX as u64,
    }
}

/// Makes the segment without a name and links it to its name; `None` if this system cannot.
pub(super) fn publish_unnamed(name: &RingName, len: u64, mode: u32, init: Init<'_>) -> Result<Option<File>> {
    // Why it cannot does not matter: if it is more than that, the other way meets the same reason.
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

/// Makes the segment under its name, the first word last.
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

/// Marks an empty file as a segment of ours, so that it can be removed if its creator dies.
pub(super) fn mark(file: &File, len: u64) -> Result<()> {
    match file.write_all_at(MARK, MARK_AT) {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => {
            Err(Error::NoSpace { required: len, available: available() })
        }
        Err(error) => Err(Error::io("preparing shared memory", error)),
    }
}

/// Maps a new segment by its name, like everybody else.
pub(super) fn adopt(name: &RingName, file: File) -> Result<Segment> {
    let unfinished = Unfinished { name, file: &file };
    match Mapped::by_name(name, &file)? {
        Some(mapped) => {
            std::mem::forget(unfinished);
            Ok(Segment { name: name.clone(), file, mapped })
        }
        None => Err(Error::NotFound(name.as_str().into())),
    }
}

/// Removes the name, if it still stands for this file, unless the segment got finished.
struct Unfinished<'a> {
    name: &'a RingName,
    file: &'a File,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        // What failed before is what the caller hears of.
        if let Ok(metadata) = self.file.metadata() {
            let _ = unlink(self.name, self.file, (metadata.dev(), metadata.ino()));
        }
    }
}

/// Gives a new, empty file its mode, memory and contents.
fn fill(file: &File, len: u64, mode: u32, init: Init<'_>) -> Result<()> {
    let failed = |error: io::Error| Error::io("preparing shared memory", error);
    // The mode given at opening would be cut by the umask.
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    reserve(file, len)?;
    let (base, len) = map_temporarily(file, len).map_err(failed)?;
    let mapped = Temporary { base, len };
    let identity = random::id()?;
    // SAFETY: the mapping is writable and longer than this, and nobody else writes there: the file has no
    // name yet, or its first word keeps others away.
    unsafe { base.add(IDENTITY_AT).copy_from(NonNull::from(&identity).cast(), identity.len()) };
    let first_word = init(base, len)?;
    debug_assert_ne!(first_word, 0, "zero means unfinished");
    // SAFETY: page-aligned and mapped; others access this word only atomically.
    let word = unsafe { AtomicU64::from_ptr(base.as_ptr().cast()) };
    // Release: hands all that was filled in to whoever finds the word with acquire, in `Mapped::by_name`.
    word.store(first_word, Ordering::Release);
    drop(mapped);
    Ok(())
}

/// Takes memory for the whole file, or for nothing.
pub(super) fn reserve(file: &File, len: u64) -> Result<()> {
    let (mut done, mut chunk) = (0, CHUNK);
    while done < len {
        let piece = chunk.min(len - done);
        match posix_fallocate(file, done as libc::off_t, piece as libc::off_t) {
            Ok(()) => done += piece,
            Err(Errno::EINTR) => chunk = (chunk / 2).max(SMALLEST_CHUNK),
            Err(Errno::ENOSPC | Errno::EFBIG) => {
                // What was taken so far goes back first, so that the answer counts it as available.
                let _ = file.set_len(0);
                return Err(Error::NoSpace { required: len, available: available() });
            }
            Err(errno) => {
                return Err(Error::io(format!("reserving {len} bytes of shared memory"), errno));
            }
        }
    }
    Ok(())
}

/// A mapping for the time of filling in.
struct Temporary {
    base: NonNull<u8>,
    len: usize,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // SAFETY: exactly the range that was mapped, and nobody keeps an address into it. With a valid range
        // it cannot fail.
        let _ = unsafe { mman::munmap(self.base.cast(), self.len) };
    }
}

fn map_temporarily(file: &File, len: u64) -> io::Result<(NonNull<u8>, usize)> {
    let len = usize::try_from(len).ok().and_then(NonZeroUsize::new).ok_or(Errno::EFBIG)?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses; nothing else is touched.
    let base = unsafe { mman::mmap(None, len, access, MapFlags::MAP_SHARED, file, 0) }?;
    Ok((base.cast(), len.get()))
}

/// A path to an open file, whether it has a name or not.
pub(super) fn proc_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}
