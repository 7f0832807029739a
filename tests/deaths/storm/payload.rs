//! Items that name their sender and show any wrong byte.

use crate::support::mix;

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
    while bytes.len() < len {
        // Eight at a time: workers shall die in the library, not here.
        let word = mix(seed ^ (bytes.len() as u64) << 50).to_le_bytes();
        bytes.extend(&word[..word.len().min(len - bytes.len())]);
    }
    bytes
}

/// Worker and count of an item, as it says.
pub fn item(bytes: &[u8]) -> (u32, u32) {
    (word(bytes, 0), word(bytes, 4))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes(b.try_into().unwrap()))
}

/// Worker and count of an item, and whether it is whole.
pub fn check(bytes: &[u8]) -> (u32, u32, bool) {
    let ((worker, count), len) = (item(bytes), word(bytes, 8) as usize);
    let whole = len == bytes.len() && len >= HEADER && make(worker, count, len) == bytes;
    (worker, count, whole)
}

/// FNV-1a, by words.
pub fn hash(bytes: &[u8]) -> u32 {
    let step = |hash: u64, part: &[u8]| {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        (hash ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3)
    };
    let hash = bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, step);
    (hash ^ hash >> 32) as u32
}
