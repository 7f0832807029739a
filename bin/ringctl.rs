//! The `ringctl` command.

fn main() {}
