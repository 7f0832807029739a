//! ringpipe beside its peers.

mod peer;

fn main() {}
