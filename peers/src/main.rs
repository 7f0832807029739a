//! ringpipe beside its peers.

#[expect(dead_code, reason = "nothing drives the carriers yet")]
mod links;
#[allow(dead_code)]
mod peer;

fn main() {}
