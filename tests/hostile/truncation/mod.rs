//! A ring in use is truncated: a process that asked to survive this gets an error and acknowledges nothing more;
//! another dies by SIGBUS, a death like any other.

#[cfg(feature = "cli")]
mod commands;
mod handles;

use ringpipe::internal::layout::geometry::Geometry;
use ringpipe::internal::sys::truncation::page_size;

/// A number of participants with which the items' bytes, in slots of a page, begin a page, and where that is: a file
/// that is cut there has its slots' words, and none of the bytes.
fn cut_before_items(capacity: u64) -> (u32, u64) {
    let payload = |most| Geometry::new(capacity, page_size() as u64, most, 1, 0).unwrap().payload;
    let mut numbers = (1..=32).rev().map(|entries| (32 * entries, payload(32 * entries)));
    numbers.find(|(_, payload)| payload.is_multiple_of(page_size() as u64)).unwrap()
}

/// Cuts the file of a segment to `len` bytes.
fn cut(name: &str, len: u64) {
    let file = std::fs::File::options().write(true).open(format!("/dev/shm/{name}")).unwrap();
    file.set_len(len).unwrap();
}
