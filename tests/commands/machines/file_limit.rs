//! A limit for files (`ulimit -f`), which shared memory counts against, too.

use nix::sys::resource::Resource;
use ringpipe::internal::sys::size::Size;

use crate::machines::{command, refused};
use crate::support::{TestName, producer};

#[test]
fn exceeding_the_file_size_limit_is_one_line_and_leaves_nothing() {
    let ring = TestName::new("fsize");
    let semaphore = TestName::named(format!("sem.{}", ring.name));
    let before = temporary_files();
    for limit in [0, 16, 31, 1024, 100_000] {
        let under = |line: &str| {
            let line = line.replace('R', &ring.name);
            let ended = command(&line).limited(Resource::RLIMIT_FSIZE, limit).run();
            (line, ended)
        };
        let mut refusals =
            vec![under("ringctl create R"), under("producer R --item x"), under("ringctl run Cargo.toml")];
        let (line, made) = under("ringctl sem create R");
        if limit < 32 {
            refusals.push((line, made));
        } else {
            made.with_code(0).quiet();
            under("ringctl sem rm R").1.with_code(0);
        }
        for (line, ended) in refusals {
            refused(&line, &ended, &format!("exceed the limit for files (ulimit -f) of {}", Size(limit)));
            assert!(!ring.exists() && !semaphore.exists(), "{line}");
        }
    }
    let left: Vec<_> = temporary_files().into_iter().filter(|name| !before.contains(name)).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// What the C library makes a semaphore under, before it has its name: of a test that runs at this moment, perhaps.
fn temporary_files() -> Vec<String> {
    let is_temporary = |name: &String| name.len() == "sem.XXXXXX".len() && name.starts_with("sem.");
    crate::machines::objects().into_iter().filter(is_temporary).collect()
}

#[test]
fn a_message_beyond_the_file_size_limit_is_lost_and_changes_nothing_else() {
    let ring = TestName::new("messages");
    let dir = tempfile::tempdir().unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let attach = producer(&ring, &["-v", "--item", "x"]).stderr(log);
    // The ring needs more than that.
    command(&format!("ringctl create {}", ring.name)).run().with_code(0);
    attach.limited(Resource::RLIMIT_FSIZE, 0).run().with_code(0);
    command(&format!("consumer {} -n 1", ring.name)).run().with_code(0);
    command(&format!("ringctl rm {}", ring.name)).run().with_code(0);
}
