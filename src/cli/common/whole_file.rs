//! Replaces a file as a whole: its name leads to what was there before, or to all of what is new.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The temporary name beside `path`; two processes have different ones.
fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}", std::process::id()))
}

/// Writes a file under a temporary name, and renames it when it is complete.
///
/// # Errors
/// The first error of the system. Then the file is as it was.
pub fn put(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let temporary = temporary(path);
    let written = File::create(&temporary).and_then(|mut file| write(&mut file));
    let result = written.and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // It may not exist; the error that matters is the first one.
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
    File::create(&temporary).and_then(|_| fs::remove_file(&temporary))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

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
}
