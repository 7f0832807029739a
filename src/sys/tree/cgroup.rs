//! A control group for the processes of a tree, where this process may make one. Its members are killed at once, and
//! cannot leave it without privileges.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::unistd::Pid;

/// A group of version 2.
#[derive(Debug)]
pub(super) struct Cgroup {
    folder: PathBuf,
    /// A process that writes 0 becomes a member.
    members: File,
    /// A write of 1 kills all members.
    kill: File,
}

impl Cgroup {
    /// Makes a group below this process's own. `None`: there is no such hierarchy, or this process may not.
    pub(super) fn new(name: &str) -> Option<Self> {
        let text = |path: &str| fs::read_to_string(path).ok();
        let parent = own_group(&text("/proc/self/cgroup")?, &text("/proc/self/mountinfo")?)?;
        let folder = parent.join(name);
        fs::create_dir(&folder).ok()?;
        let open = |file: &str| OpenOptions::new().write(true).open(folder.join(file));
        match (open("cgroup.procs"), open("cgroup.kill")) {
            (Ok(members), Ok(kill)) => Some(Cgroup { members, kill, folder }),
            _ => {
                let _ = fs::remove_dir(&folder);
                None
            }
        }
    }

    pub(super) fn members(&self) -> BorrowedFd<'_> {
        self.members.as_fd()
    }

    pub(super) fn killer(&self) -> BorrowedFd<'_> {
        self.kill.as_fd()
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its members.
    pub(super) fn processes(&self) -> Vec<Pid> {
        let ids = fs::read_to_string(self.folder.join("cgroup.procs")).unwrap_or_default();
        ids.lines().filter_map(|id| id.parse().ok()).map(Pid::from_raw).collect()
    }

    pub(super) fn kill(&self) {
        // Fails only if the group is gone.
        let _ = (&self.kill).write_all(b"1");
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Until its last member is reaped, the group is busy.
        for _ in 0..50 {
            if fs::remove_dir(&self.folder).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The folder of the group in which this process is, in the hierarchy of version 2.
fn own_group(groups: &str, mounts: &str) -> Option<PathBuf> {
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        let mut fields = mount.split(' ');
        let (root, place) = (fields.nth(3)?, fields.next()?);
        let below = Path::new(path).strip_prefix(root).ok()?;
        rest.starts_with("cgroup2 ").then(|| Path::new(place).join(below))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_below_its_mount() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n\
                      31 24 0:27 /a /mnt rw - cgroup2 none rw\n";
        let group = |groups| own_group(groups, mounts);
        assert_eq!(group("0::/user.slice/x\n"), Some("/sys/fs/cgroup/user.slice/x".into()));
        assert_eq!(group("5:cpu:/b\n0::/\n"), Some("/sys/fs/cgroup/".into()));
        assert_eq!(own_group("0::/a/b\n", mounts.lines().nth(1).unwrap()), Some("/mnt/b".into()));
        assert_eq!(own_group("0::/b\n", mounts.lines().nth(1).unwrap()), None);
        assert_eq!(group("5:cpu:/b\n"), None);
        assert_eq!(own_group("0::/\n", "1 1 0:1 / /sys rw - sysfs sysfs rw\n"), None);
    }
}
