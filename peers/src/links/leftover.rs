//! What a link leaves in the file system.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A file or a folder that is removed when this is dropped.
pub struct Leftover(PathBuf);

impl Leftover {
    /// What a link keeps in shared memory, whichever end creates it.
    pub fn shared(name: &str) -> Leftover {
        Leftover(shared_path(name))
    }

    /// A socket, or a file that only says where the other end is.
    pub fn meeting(name: &str) -> Leftover {
        Leftover(meeting_path(name))
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        // What was never made, or is gone already, needs no removing.
        let _ = fs::remove_file(&self.0).or_else(|_| fs::remove_dir_all(&self.0));
    }
}

/// Where a link's memory lies: in memory, so that no carrier pays for a disk.
pub fn shared_path(name: &str) -> PathBuf {
    Path::new("/dev/shm").join(name)
}

/// Where the ends of a link find each other.
pub fn meeting_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(name)
}

/// An empty file for a link's memory.
pub fn new_shared(name: &str) -> (Leftover, File) {
    let file = File::options().read(true).write(true).create_new(true).open(shared_path(name));
    (Leftover::shared(name), file.expect("the link's name is free"))
}

/// The file that the host made.
pub fn open_shared(name: &str) -> File {
    File::options().read(true).write(true).open(shared_path(name)).expect("the host made the file")
}
