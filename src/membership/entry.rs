//! The words of a ring participant's entry.

use std::sync::atomic::Ordering::Relaxed;

pub use crate::layout::entry::Activity;
pub(crate) use crate::layout::entry::{Counter, WAITING_WITH_ITEMS, role_of, state_of};
use crate::layout::mapping::Mapping;
use crate::layout::{entry, head};
use crate::sys::{clock, process};

/// Writes all words of a new participant's entry except the state.
pub(super) fn write(mapping: &Mapping, number: u32) {
    let pid = process::id();
    let set = |offset, value| mapping.entry_word(number, offset).store(value, Relaxed); // Relaxed: for display.
    set(entry::PID, pid as u64);
    set(entry::START_TIME, process::start_time(pid).unwrap_or(0));
    let [low, high] = entry::command_words(process::command_name());
    set(entry::COMMAND, low);
    set(entry::COMMAND + 8, high);
    set(entry::ATTACHED_AT, clock::realtime_ns());
    set(entry::ACTIVITY, 0);
    set(entry::HELD_SINCE, 0);
    for counter in 0..head::TOTALS_LEN {
        set(entry::COUNTERS + counter * 8, 0);
    }
}

/// Reads a participant's counters.
pub(super) fn counters(mapping: &Mapping, number: u32) -> [u64; head::TOTALS_LEN as usize] {
    // Relaxed: statistics.
    std::array::from_fn(|n| mapping.entry_word(number, entry::COUNTERS + n as u64 * 8).load(Relaxed))
}

/// Adds a participant's counters to the ring's totals.
pub(super) fn fold_counters(mapping: &Mapping, counters: [u64; head::TOTALS_LEN as usize]) {
    for (n, more) in counters.into_iter().enumerate() {
        mapping.head_word(head::TOTALS + n as u64 * 8).fetch_add(more, Relaxed); // Relaxed: statistics.
    }
}
