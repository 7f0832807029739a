//! Which file a system call works on.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::{self, Path, PathBuf},
};

use libc::c_long;
use nix::unistd::Pid;

use super::request::Call;

/// Where a call has its file: the index of an argument, or of two.
#[derive(Debug, Clone, Copy)]
enum Operand {
    /// An open descriptor.
    Fd(usize),
    /// A path from the working directory.
    Path(usize),
    /// A path from the directory of a descriptor.
    At(usize, usize),
}

/// The file of a call that changes or uses one. Of two files it is the one that is written or made.
fn operand(number: c_long) -> Option<Operand> {
    use Operand::*;
    Some(match number {
        libc::SYS_read | libc::SYS_pread64 | libc::SYS_readv | libc::SYS_preadv | libc::SYS_preadv2 => Fd(0),
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev | libc::SYS_pwritev | libc::SYS_pwritev2 => {
            Fd(0)
        }
        libc::SYS_close | libc::SYS_lseek | libc::SYS_flock | libc::SYS_fcntl | libc::SYS_ioctl => Fd(0),
        libc::SYS_fsync | libc::SYS_fdatasync | libc::SYS_syncfs | libc::SYS_sync_file_range => Fd(0),
        libc::SYS_ftruncate | libc::SYS_fallocate | libc::SYS_fchmod | libc::SYS_fchown => Fd(0),
        libc::SYS_fstat | libc::SYS_fstatfs | libc::SYS_getdents64 | libc::SYS_sendfile => Fd(0),
        libc::SYS_copy_file_range | libc::SYS_splice => Fd(2),
        libc::SYS_mmap => Fd(4),
        libc::SYS_openat | libc::SYS_openat2 | libc::SYS_mkdirat | libc::SYS_mknodat => At(0, 1),
        libc::SYS_unlinkat | libc::SYS_newfstatat | libc::SYS_statx | libc::SYS_readlinkat => At(0, 1),
        libc::SYS_faccessat | libc::SYS_faccessat2 | libc::SYS_fchmodat | libc::SYS_fchownat => At(0, 1),
        libc::SYS_utimensat | libc::SYS_execveat => At(0, 1),
        libc::SYS_symlinkat => At(1, 2),
        libc::SYS_linkat | libc::SYS_renameat | libc::SYS_renameat2 => At(2, 3),
        libc::SYS_truncate | libc::SYS_statfs | libc::SYS_chdir | libc::SYS_execve => Path(0),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open | libc::SYS_creat | libc::SYS_mkdir | libc::SYS_mknod | libc::SYS_rmdir => Path(0),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_unlink | libc::SYS_stat | libc::SYS_lstat | libc::SYS_access | libc::SYS_readlink => {
            Path(0)
        }
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chmod | libc::SYS_chown | libc::SYS_lchown => Path(0),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_rename | libc::SYS_link | libc::SYS_symlink => Path(1),
        _ => return None,
    })
}

/// Whether a call works on a file in this folder, or below it.
pub fn is_below(thread: Pid, call: &Call, folder: &Path) -> bool {
    file(thread, call).is_some_and(|file| file.starts_with(folder))
}

/// Whether a call needs room on a disk: it writes to a regular file, or makes a file.
pub fn needs_room(thread: Pid, call: &Call) -> bool {
    let is_on_disk = |path: &PathBuf| !["/dev", "/proc", "/sys"].iter().any(|tree| path.starts_with(tree));
    let Some(path) = file(thread, call).filter(is_on_disk) else { return false };
    let is_new = || !path.exists();
    let opens = |flags: u64| {
        let flags = flags as i32;
        flags & libc::O_TMPFILE == libc::O_TMPFILE || (flags & libc::O_CREAT != 0 && is_new())
    };
    match call.number {
        libc::SYS_write | libc::SYS_pwrite64 | libc::SYS_writev | libc::SYS_pwritev | libc::SYS_pwritev2 => {
            is_regular(thread, call.arguments[0])
        }
        libc::SYS_fallocate | libc::SYS_sendfile => is_regular(thread, call.arguments[0]),
        libc::SYS_copy_file_range | libc::SYS_splice => is_regular(thread, call.arguments[2]),
        libc::SYS_openat => opens(call.arguments[2]),
        libc::SYS_openat2 => word(thread, call.arguments[2]).is_ok_and(opens),
        libc::SYS_mkdirat | libc::SYS_mknodat | libc::SYS_symlinkat | libc::SYS_linkat => is_new(),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => opens(call.arguments[1]),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_creat | libc::SYS_mkdir | libc::SYS_mknod | libc::SYS_symlink | libc::SYS_link => is_new(),
        _ => false,
    }
}

fn is_regular(thread: Pid, fd: u64) -> bool {
    fs::metadata(format!("/proc/{thread}/fd/{}", fd as i32)).is_ok_and(|found| found.is_file())
}

/// The file of a call, with the symbolic links of its folder resolved. `None`: it has none, or it cannot be read.
fn file(thread: Pid, call: &Call) -> Option<PathBuf> {
    let path = match operand(call.number)? {
        Operand::Fd(at) => return descriptor(thread, call.arguments[at]),
        Operand::Path(at) => working_directory(thread)?.join(text(thread, call.arguments[at]).ok()?),
        Operand::At(directory, at) => {
            let path = text(thread, call.arguments[at]).ok()?;
            let directory = call.arguments[directory];
            match directory as i32 {
                // Joining an absolute path replaces the base.
                _ if path.is_absolute() => path,
                libc::AT_FDCWD => working_directory(thread)?.join(path),
                _ => descriptor(thread, directory)?.join(path),
            }
        }
    };
    // The file itself may be a link that is made or removed.
    Some(match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => resolved(folder).join(name),
        _ => path,
    })
}

/// The absolute path, with the symbolic links resolved in the part of it that exists.
pub fn resolved(path: &Path) -> PathBuf {
    let path = path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let resolve = |part: &Path| Some(fs::canonicalize(part).ok()?.join(path.strip_prefix(part).ok()?));
    path.ancestors().find_map(resolve).unwrap_or_else(|| path.clone())
}

fn working_directory(thread: Pid) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{thread}/cwd")).ok()
}

fn descriptor(thread: Pid, fd: u64) -> Option<PathBuf> {
    let path = fs::read_link(format!("/proc/{thread}/fd/{}", fd as i32)).ok()?;
    // Pipes and sockets have a name like `pipe:[17]`.
    path.is_absolute().then_some(path)
}

/// The text at an address of a stopped thread's process, to the first zero.
fn text(thread: Pid, address: u64) -> io::Result<PathBuf> {
    let mut bytes = [0; libc::PATH_MAX as usize];
    let read = memory(thread)?.read_at(&mut bytes, address)?;
    let end = bytes[..read].iter().position(|byte| *byte == 0).ok_or(io::ErrorKind::InvalidData)?;
    Ok(PathBuf::from(OsStr::from_bytes(&bytes[..end])))
}

/// The word at an address of a stopped thread's process.
pub fn word(thread: Pid, address: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    memory(thread)?.read_exact_at(&mut bytes, address)?;
    Ok(u64::from_ne_bytes(bytes))
}

fn memory(thread: Pid) -> io::Result<File> {
    File::open(format!("/proc/{thread}/mem"))
}

/// A place of code as `libc.so.6+0x1234`: the name of the mapped file, and the offset in it.
pub fn place(thread: Pid, address: u64) -> Option<String> {
    let maps = fs::read_to_string(format!("/proc/{thread}/maps")).ok()?;
    maps.lines().find_map(|line| {
        // `start-end rights offset device inode   path`
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let (start, end, offset) = (hex(start)?, hex(end)?, hex(fields.nth(1)?)?);
        let path = fields.nth(2).unwrap_or("[anonymous]");
        let name = path.rsplit('/').next().unwrap_or(path);
        (start..end).contains(&address).then(|| format!("{name}+{:#x}", address - start + offset))
    })
}
