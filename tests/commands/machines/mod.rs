//! The three programs on machines that withhold something: files of some size, descriptors, threads, shared memory. Each
//! command does its work, or ends with one line that names what is missing, and leaves nothing behind.

mod descriptors;
mod file_limit;
mod memory_group;
mod shared_memory;
mod threads;

use crate::support::{Ended, Run};

/// The program that a command line begins with, with its arguments.
fn command(line: &str) -> Run {
    let mut words = line.split(' ');
    Run::new(program(words.next().unwrap())).args(&words.collect::<Vec<_>>())
}

fn program(name: &str) -> &'static str {
    match name {
        "producer" => env!("CARGO_BIN_EXE_producer"),
        "consumer" => env!("CARGO_BIN_EXE_consumer"),
        _ => env!("CARGO_BIN_EXE_ringctl"),
    }
}

/// Has failed as the system does, with one line, and perhaps a hint.
#[track_caller]
fn refused(what: &str, ended: &Ended, reason: &str) {
    assert_eq!((ended.code, ended.signal), (Some(1), None), "{what}: {}", ended.stderr);
    let mut lines = ended.stderr.lines();
    assert!(lines.next().is_some_and(|line| line.contains(reason)), "{what}: {}", ended.stderr);
    assert!(lines.all(|line| line.starts_with("hint: ")), "{what}: {}", ended.stderr);
}

/// The names of all shared-memory objects.
fn objects() -> Vec<String> {
    let entries = std::fs::read_dir("/dev/shm").unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
