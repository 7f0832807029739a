//! Rings of fixed items: each way to send and to receive, and the names of items, which have no headers.

mod faces;
mod names;

use ringpipe::{ItemKey, Ring};

use crate::support::{TestName, options};

/// A ring of this many items of `bytes` bytes.
fn ring(what: &str, bytes: u64, capacity: u64, exclusive: bool) -> (TestName, Ring) {
    let name = TestName::new(what);
    let ring = options().capacity(capacity).fixed(bytes).exclusive(exclusive).create(&name).unwrap();
    assert_eq!((ring.fixed(), ring.is_exclusive()), (Some(bytes), exclusive));
    (name, ring)
}

/// The key of the item that was sent at this position.
fn key(position: u64) -> ItemKey {
    ItemKey { producer: ItemKey::NO_PRODUCER, sequence: position }
}

/// An item of this length, different for each number where that is possible.
fn item(number: u64, bytes: u64) -> Vec<u8> {
    (0..bytes).map(|at| (number.wrapping_mul(31) >> (at % 3)) as u8 ^ at as u8).collect()
}
