//! Few descriptors (`ulimit -n`).

use nix::sys::resource::Resource;
use ringpipe::RingOptions;

use crate::machines::{command, objects, refused};
use crate::support::namespace;
use crate::support::scale::is_ci;

/// What is tried where there is neither ring nor semaphore, with the exit code and the objects that it ends with where
/// it has enough.
const ALONE: [(&str, i32, &[&str]); 9] = [
    ("producer r --item x", 0, &["r"]),
    ("producer r Cargo.toml", 0, &["r"]),
    ("consumer r --timeout 20ms", 4, &[]),
    ("ringctl create r", 0, &["r"]),
    ("ringctl sem create s", 0, &["sem.s"]),
    ("ringctl list", 0, &[]),
    ("ringctl clean", 0, &[]),
    ("ringctl run Cargo.toml", 0, &[]),
    ("ringctl run -p 2 -c 2 Cargo.toml", 0, &[]),
];

/// And where a ring with an item and a semaphore without a token are.
const WITH_RING: [(&str, i32, &[&str]); 19] = [
    ("producer r --item y", 0, BOTH),
    ("consumer r -n 1", 0, BOTH),
    ("consumer r -n 2", 3, BOTH),
    ("consumer r --drain", 0, BOTH),
    ("ringctl create r", 1, BOTH),
    ("ringctl list", 0, BOTH),
    ("ringctl list --json", 0, BOTH),
    ("ringctl clean", 0, BOTH),
    ("ringctl inspect r", 0, BOTH),
    ("ringctl peek r", 0, BOTH),
    ("ringctl wait r --until empty --timeout 20ms", 4, BOTH),
    ("ringctl wait r --until exists", 0, BOTH),
    ("ringctl repair r", 0, BOTH),
    ("ringctl close r", 0, BOTH),
    ("ringctl rm r", 0, &["sem.s"]),
    ("ringctl sem post s", 0, BOTH),
    ("ringctl sem wait s --timeout 20ms", 4, BOTH),
    ("ringctl sem value s", 0, BOTH),
    ("ringctl sem rm s", 0, &["r"]),
];
const BOTH: &[&str] = &["r", "sem.s"];

#[test]
fn with_few_descriptors_each_command_works_or_reports_the_shortage() {
    if !namespace::is_inside() {
        namespace::run_inside(namespace::this_test!(), "mount -t tmpfs none /dev/shm");
        return;
    }
    for (line, code, left) in ALONE {
        under_limits(line, code, left, || {});
    }
    command("ringctl sem create s").run().with_code(0);
    let semaphore = std::fs::read("/dev/shm/sem.s").unwrap();
    std::fs::remove_file("/dev/shm/sem.s").unwrap();
    for (line, code, left) in WITH_RING {
        under_limits(line, code, left, || {
            let ring = RingOptions::new().create("r").unwrap();
            ring.producer().unwrap().send(b"x").unwrap();
            std::fs::write("/dev/shm/sem.s", &semaphore).unwrap();
        });
    }
}

/// Tries the command with 4 to 30 descriptors: with 3, there is none to load the C library with. Every other
/// number; at the scale of the gate, all of them.
fn under_limits(line: &str, code: i32, left: &[&str], prepare: impl Fn()) {
    let mut enough = false;
    for limit in (4..=30).step_by(if is_ci() { 1 } else { 2 }) {
        prepare();
        let before = objects();
        let what = format!("{line}, {limit} descriptors");
        let ended = command(line).limited(Resource::RLIMIT_NOFILE, limit).run();
        assert!(!ended.stderr.contains("error while loading shared libraries"), "{what}: {}", ended.stderr);
        if ended.stderr.contains("Too many open files") {
            refused(&what, &ended, "Too many open files");
            assert!(ended.stdout.is_empty(), "{what}: half of an answer");
            assert_eq!(objects(), before, "{what}");
            assert!(!enough, "{what}: fewer were enough");
        } else {
            assert_eq!(ended.code, Some(code), "{what}: {}", ended.stderr);
            assert_eq!(objects(), left, "{what}");
            enough = true;
        }
        for name in objects() {
            std::fs::remove_file(format!("/dev/shm/{name}")).unwrap();
        }
    }
    assert!(enough, "{line}: 30 descriptors are too few");
}
