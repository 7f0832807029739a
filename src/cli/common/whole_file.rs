//! Replaces a file as a whole: its name leads to what was there before, or to all of what is new.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// How many bytes of a name are in its temporary name: a name of 255 bytes, the most, has one too.
const KEPT: usize = 200;
/// The bits of a mode that are kept: a new file with another owner must not get the right to act as that owner.
const MODE: u32 = 0o777;

/// The temporary name beside `path`; two processes have different ones.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let mut temporary = b".".to_vec();
    temporary.extend(&name[..name.len().min(KEPT)]);
    temporary.extend(format!(".{}", std::process::id()).bytes());
    path.with_file_name(OsStr::from_bytes(&temporary))
}

/// Makes the file of a temporary name. What has the name already is from a process that ended early, or a link to a file
/// that must not be written.
fn create(temporary: &Path) -> io::Result<File> {
    match File::create_new(temporary) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(temporary)?;
            File::create_new(temporary)
        }
        created => created,
    }
}

/// Gives `file` the mode of the file that it is to replace.
fn take_mode(file: &File, path: &Path) -> io::Result<()> {
    let Ok(replaced) = fs::metadata(path) else { return Ok(()) };
    let mode = replaced.permissions().mode() & MODE;
    // Some file systems have one mode for all files, and refuse to set it.
    if file.metadata()?.permissions().mode() & MODE == mode {
        return Ok(());
    }
    file.set_permissions(Permissions::from_mode(mode))
}

/// Writes a file under a temporary name, and renames it when it is complete. A file that is replaced keeps its mode.
///
/// # Errors
/// The first error of the system. Then the file is as it was.
pub fn put(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let temporary = temporary(path);
    let mut file = create(&temporary)?;
    // The mode first: what is written must not be readable to more users meanwhile.
    let written = take_mode(&file, path).and_then(|()| write(&mut file));
    let result = written.and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Whether [`put`] can begin: makes the file of the temporary name, and removes it.
///
/// # Errors
/// The error of the system.
pub fn check(path: &Path) -> io::Result<()> {
    let temporary = temporary(path);
    create(&temporary).and_then(|_| fs::remove_file(&temporary))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_replaced_as_a_whole_or_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        check(&path).unwrap();
        assert!(!path.exists());
        put(&path, |file| file.write_all(b"one")).unwrap();
        let failed = put(&path, |file| file.write_all(b"tw").and(Err(io::Error::other("no more"))));
        assert_eq!(failed.unwrap_err().to_string(), "no more");
        assert_eq!(fs::read(&path).unwrap(), b"one");
        put(&path, |file| file.write_all(b"two")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        check(&path.join("below")).unwrap_err();
    }

    #[test]
    fn a_file_that_is_replaced_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for mode in [0o600, 0o640, 0o666, 0o400] {
            fs::write(&path, "one").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            put(&path, |file| file.write_all(b"two")).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"two");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode, "{mode:o}");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn what_has_the_temporary_name_is_removed_and_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("file"), folder.path().join("other"));
        fs::write(&other, "before").unwrap();
        symlink(&other, temporary(&path)).unwrap();
        put(&path, |file| file.write_all(b"after")).unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"before");
        assert_eq!(fs::read(&path).unwrap(), b"after");
        assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
        symlink(&other, temporary(&path)).unwrap();
        check(&path).unwrap();
        fs::create_dir(temporary(&path)).unwrap();
        put(&path, |file| file.write_all(b"never")).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"after");
    }

    #[test]
    fn the_longest_names_have_a_temporary_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a".repeat(254), "a".repeat(255), "é".repeat(127)] {
            let path = folder.path().join(name);
            check(&path).unwrap();
            put(&path, |file| file.write_all(b"one")).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"one");
        }
    }
}
