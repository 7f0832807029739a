//! What the handles promise, between threads and between real processes, under every discipline.
//!
//! `RINGPIPE_TEST_SYNC=monitor cargo test --test library` runs it under one of them.

use processes::{DISCIPLINES, SYNC};

#[path = "../processes/mod.rs"]
mod processes;

mod attaching;
mod creating;
mod ending;
mod hostile;
mod receiving;
mod sending;
mod stopped;

/// Not a test: what the puppets run.
#[test]
fn puppet() {
    processes::puppet::run_if_told();
}

/// This binary again, on rings of the other disciplines.
#[test]
fn the_same_holds_under_every_discipline() {
    if std::env::var_os(SYNC).is_some() {
        return;
    }
    for (name, _) in DISCIPLINES {
        let this = std::env::current_exe().expect("the test binary has a path");
        let run = std::process::Command::new(this).env(SYNC, name).output().expect("it runs");
        let (out, err) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "under {name}:\n{out}\n{err}");
        let passed = out.lines().find(|line| line.starts_with("test result")).unwrap_or_default();
        processes::report(&format!("library, {name}: {passed}"));
    }
}
