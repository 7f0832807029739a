//! Machines without /dev/shm, or where nothing can be made there.

use std::process::Command;

use crate::machines::{command, objects, program, refused};
use crate::support::{Run, namespace};

/// What needs a place to make something in.
const MAKES: [&str; 5] = [
    "producer r --item x",
    "ringctl create r",
    "ringctl sem create s",
    "ringctl run Cargo.toml",
    "ringctl bench --only start",
];
/// What needs one that others could make something in.
const WAITS: [&str; 2] = ["consumer r", "consumer r --timeout 10s"];
/// What needs a ring or a semaphore.
const LOOKS: [&str; 13] = [
    "ringctl list",
    "ringctl clean",
    "ringctl inspect r",
    "ringctl watch r --events",
    "ringctl peek r",
    "ringctl wait r --until exists",
    "ringctl close r",
    "ringctl repair r",
    "ringctl rm r",
    "ringctl sem post s",
    "ringctl sem wait s",
    "ringctl sem value s",
    "ringctl sem rm s",
];

/// A /dev without `shm`, or with this in its place.
fn bare_dev(instead: &str) -> String {
    format!(
        "mount -t tmpfs none /mnt && touch /mnt/null /mnt/urandom && mount --bind /dev/null /mnt/null && \
         mount --bind /dev/urandom /mnt/urandom && {instead} && mount --rbind /mnt /dev"
    )
}

#[test]
fn without_shared_memory_each_command_says_so() {
    if !namespace::is_inside() {
        namespace::run_inside(namespace::this_test!(), &bare_dev("true"));
        return;
    }
    for line in MAKES.iter().chain(&WAITS).chain(&LOOKS) {
        let ended = command(line).run();
        refused(line, &ended, "/dev/shm");
        assert!(
            ended.stderr.contains("No such file or directory\nhint: as root: mkdir -p /dev/shm"),
            "{line}"
        );
    }
}

#[test]
fn a_file_in_the_place_of_shared_memory_is_named_by_each_command() {
    if !namespace::is_inside() {
        namespace::run_inside(namespace::this_test!(), &bare_dev("touch /mnt/shm"));
        return;
    }
    for line in MAKES.iter().chain(&WAITS).chain(&LOOKS) {
        let ended = command(line).run();
        refused(line, &ended, "/dev/shm");
        assert!(ended.stderr.contains("Not a directory"), "{line}: {}", ended.stderr);
    }
}

#[test]
fn with_read_only_shared_memory_nothing_is_created_or_waited_for() {
    if !namespace::is_inside() {
        namespace::run_inside(namespace::this_test!(), "mount -t tmpfs none /dev/shm");
        return;
    }
    let remount = |how: &str| {
        let mut mount = Command::new("mount");
        assert!(mount.args(["-o", how, "/dev/shm"]).status().unwrap().success());
    };
    for made in [&[][..], &["ringctl create r", "producer r --item x", "ringctl sem create s"]] {
        made.iter().for_each(|line| drop(command(line).run().with_code(0)));
        let before = objects();
        remount("remount,ro");
        for line in MAKES.iter().chain(&WAITS) {
            let ended = command(line).run();
            refused(line, &ended, "Read-only file system");
            assert!(ended.stderr.contains("hint: as root: mount -o remount,rw /dev/shm"), "{line}");
        }
        remount("remount,rw");
        assert_eq!(objects(), before);
    }
}

#[test]
fn without_write_permission_the_error_names_the_directorys_owner() {
    if !namespace::is_inside() {
        namespace::run_inside(namespace::this_test!(), "mount -t tmpfs -o mode=555 none /dev/shm");
        return;
    }
    for line in MAKES {
        let (name, arguments) = line.split_once(' ').unwrap();
        // Root writes everywhere, unless this is taken from it.
        let run = Run::new("setpriv").args(&["--bounding-set=-dac_override", program(name)]);
        let ended = run.args(&arguments.split(' ').collect::<Vec<_>>()).run();
        refused(
            line,
            &ended,
            "no permission to make a file in /dev/shm (owned by user 0, mode 555, expected 1777)",
        );
    }
}

#[test]
fn a_file_system_without_free_inodes_is_told_apart_from_a_full_one() {
    if !namespace::is_inside() {
        namespace::run_inside(namespace::this_test!(), "mount -t tmpfs -o nr_inodes=1 none /dev/shm");
        return;
    }
    for line in MAKES {
        let ended = command(line).run();
        refused(line, &ended, "No space left on device");
        assert!(ended.stderr.contains("hint: df -i /dev/shm"), "{line}: {}", ended.stderr);
    }
    assert!(objects().is_empty());
}
