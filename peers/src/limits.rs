//! What one core does with memory, without any queue.

use std::hint::black_box;
use std::time::{Duration, Instant};

use crate::plan::MEMORY;
use crate::report::json::Record;
use crate::worker;

/// The name of copying memory among the carriers.
pub const COPY: &str = "memcpy";
/// The name of reading it.
pub const READ: &str = "memory read";

/// Copies and reads memory of several sizes for a while each.
pub fn memory(round: usize, time: Duration) -> Vec<Record> {
    // On a thread of its own: this one stays where the system puts it.
    let work = move || {
        worker::pin(worker::two_cores()[1]);
        MEMORY.iter().flat_map(|&size| sized(size, round, time)).collect()
    };
    std::thread::spawn(work).join().unwrap_or_default()
}

fn sized(size: usize, round: usize, time: Duration) -> [Record; 2] {
    let from = vec![1u64; size / 8];
    let mut to = vec![0u64; size / 8];
    let copies = rate(time, || {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
    });
    let reads = rate(time, || {
        black_box(black_box(&from).iter().fold(0u64, |sum, word| sum.wrapping_add(*word)));
    });
    [Record::memory(COPY, size, round, copies), Record::memory(READ, size, round, reads)]
}

/// How often a second `work` can be done.
fn rate(time: Duration, mut work: impl FnMut()) -> f64 {
    work();
    let (start, mut count) = (Instant::now(), 0u64);
    while start.elapsed() < time {
        (0..16).for_each(|_| work());
        count += 16;
    }
    count as f64 / start.elapsed().as_secs_f64()
}
