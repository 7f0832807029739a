//! Control groups with little memory: more than they allow is refused, not taken and then answered by SIGKILL.

use std::fs;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use crate::machines::{program, refused};
use crate::support::{Run, TestName, not_tested};

const MIB: u64 = 1 << 20;

/// A group with 64 MiB, and one below it without a limit of its own.
struct Group {
    path: PathBuf,
    limit: PathBuf,
}

impl Group {
    /// `None`: this user may make no groups here, or there are none.
    fn new(label: &str) -> Option<Self> {
        let name = format!("ringpipe-test-{label}-{}", std::process::id());
        // The first is of version 1, the others are of version 2.
        for root in ["/sys/fs/cgroup/memory", "/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new) {
            let path = root.join(&name);
            for file in ["memory.limit_in_bytes", "memory.max"] {
                let group = Group { limit: path.join(file), path: path.clone() };
                if !root.join("cgroup.procs").exists() || fs::create_dir_all(path.join("inner")).is_err() {
                    continue;
                }
                if group.limit.exists() && fs::write(&group.limit, (64 * MIB).to_string()).is_ok() {
                    return Some(group);
                }
            }
        }
        not_tested("this user cannot make control groups with limits of memory here");
        None
    }

    fn run(&self, line: &str) -> Run {
        let (name, arguments) = line.split_once(' ').unwrap();
        let script = r#"echo $$ > "$1" || exit 99; shift; exec "$@""#;
        let run = Run::new("sh").args(&["-c", script, "sh"]).arg(self.path.join("inner/cgroup.procs"));
        run.arg(program(name)).args(&arguments.split(' ').collect::<Vec<_>>())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.path.join("inner"));
        let _ = fs::remove_dir(&self.path);
    }
}

#[test]
fn more_memory_than_a_control_group_allows_is_refused_and_less_is_not() {
    let Some(group) = Group::new("group") else { return };
    let ring = TestName::new("group");
    let line = |line: &str| line.replace('R', &ring.name);
    for much in [
        "ringctl create R --capacity 65536 --slot-size 4K",
        "producer R --capacity 65536 --slot-size 4K --item x",
    ] {
        let ended = group.run(&line(much)).run();
        refused(much, &ended, "not enough memory: ");
        let limit = format!("left of the 64 MiB that {} allows\nhint: ", group.limit.display());
        assert!(ended.stderr.contains(&limit), "{}", ended.stderr);
        assert!(!ring.exists());
    }
    // Most of it, twice: what is given back is not in use.
    for _ in 0..2 {
        group.run(&line("ringctl create R --capacity 8192 --slot-size 6K")).run().with_code(0).quiet();
        let ended = group.run(&line("ringctl create R-2 --capacity 8192 --slot-size 6K")).run();
        refused("a second one", &ended, "not enough memory: ");
        group.run(&line("ringctl rm R")).run().with_code(0);
    }
}

#[test]
fn file_caches_do_not_count_as_used_memory() {
    let Some(group) = Group::new("cached") else { return };
    let ring = TestName::new("cached");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    if statfs(dir.path()).is_ok_and(|system| system.filesystem_type() == TMPFS_MAGIC) {
        return not_tested("the files of this build are in memory and not in a cache");
    }
    let file = dir.path().join("file");
    let fill = format!(
        "echo $$ > {}/inner/cgroup.procs; head -c 200M /dev/zero > {}; sync",
        group.path.display(),
        file.display()
    );
    let filled = Run::new("sh").args(&["-c", &fill]).run().with_code(0);
    filled.quiet();
    let create = format!("ringctl create {} --capacity 8192 --slot-size 6K", ring.name);
    group.run(&create).run().with_code(0).quiet();
    group.run(&format!("ringctl rm {}", ring.name)).run().with_code(0);
}
