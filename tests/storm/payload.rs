//! Items that say who sent them and show any byte that went astray.

use crate::processes::mix;

/// Worker, count, length.
const HEADER: usize = 12;

/// Least bytes of a payload.
pub const LEAST: u64 = HEADER as u64;

/// The item that `worker` sends as its number `count`, `len` bytes long.
pub fn make(worker: u32, count: u32, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    bytes.extend(worker.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend((len as u32).to_le_bytes());
    let seed = (worker as u64) << 32 | count as u64;
    bytes.extend((HEADER..len).map(|at| mix(seed ^ (at as u64) << 50) as u8));
    bytes
}

/// Worker and count of an item, and whether it is whole.
pub fn check(bytes: &[u8]) -> (u32, u32, bool) {
    let word = |at: usize| bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes(b.try_into().unwrap()));
    let (worker, count, len) = (word(0), word(4), word(8) as usize);
    let whole = len == bytes.len() && len >= HEADER && make(worker, count, len) == bytes;
    (worker, count, whole)
}

/// FNV-1a.
pub fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ *byte as u64).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
