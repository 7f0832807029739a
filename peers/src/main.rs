//! ringpipe beside its peers.

mod links;
mod peer;

fn main() {}
