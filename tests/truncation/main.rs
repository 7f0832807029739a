//! Somebody truncates a ring that is in use: who asked to survive it gets an error and acknowledges nothing more;
//! who did not dies by SIGBUS, a death like any other.

#[path = "../common/mod.rs"]
mod common;
#[path = "../processes/mod.rs"]
mod processes;

mod commands;
mod handles;

/// Not a test: what the puppets run, which do not ask to survive.
#[test]
fn puppet() {
    processes::puppet::run_if_told();
}

/// Cuts the file of a segment to `len` bytes.
fn cut(name: &str, len: u64) {
    let file = std::fs::File::options().write(true).open(format!("/dev/shm/{name}")).unwrap();
    file.set_len(len).unwrap();
}
