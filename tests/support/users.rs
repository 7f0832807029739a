//! Processes of several users.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::{TestName, copy_program};

pub const OWNER: u32 = 61_001;
pub const SECOND: u32 = 61_002;
pub const THIRD: u32 = 61_003;

/// The commands, where every user can run them, and the name of a ring and of a semaphore; all is gone in the end.
pub struct Place {
    pub commands: TempDir,
    pub ring: TestName,
    _semaphore: TestName,
}

impl Place {
    /// `None`, with the reason, where processes of other users cannot be started.
    pub fn new(what: &str) -> Option<Place> {
        if !nix::unistd::geteuid().is_root() {
            super::not_tested("only root can start processes of other users");
            return None;
        }
        let ring = TestName::new(&format!("owners-{what}")).stays();
        let semaphore = TestName::semaphore(ring.name.clone()).stays();
        let place = Place { commands: tempfile::tempdir().unwrap(), ring, _semaphore: semaphore };
        fs::set_permissions(place.commands.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let commands = [
            ("producer", env!("CARGO_BIN_EXE_producer")),
            ("consumer", env!("CARGO_BIN_EXE_consumer")),
            ("ringctl", env!("CARGO_BIN_EXE_ringctl")),
        ];
        for (name, from) in commands {
            copy_program(from, place.commands.path().join(name));
        }
        Some(place)
    }

    pub fn run(&self, uid: u32, line: &str) -> Output {
        let line = line.replace("R", &self.ring);
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("PATH={}:$PATH; umask 0; {line}", self.commands.path().display()));
        command.uid(uid).gid(uid).current_dir("/").stdin(Stdio::null()).output().unwrap()
    }

    #[track_caller]
    pub fn says(&self, uid: u32, line: &str) -> String {
        let output = self.run(uid, line);
        assert!(output.status.success(), "{uid}: {line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn path(&self) -> PathBuf {
        self.ring.path()
    }
}

pub fn is_sticky() -> bool {
    fs::metadata("/dev/shm").unwrap().permissions().mode() & 0o1000 != 0
}
