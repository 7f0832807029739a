//! Facts about a history that its checker does not count: times, and what was in hand.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::testing::history::{Event, EventKind, HistoryError, Logs};

/// An item: its producer and its number there.
pub type Key = (u64, u64);

/// The most processes that are noted of an item.
const NOTED: usize = 3;

/// The processes that had to do with an item, in the order of time.
#[derive(Debug, Default)]
pub struct Involved {
    pub senders: Vec<u64>,
    pub receivers: Vec<u64>,
}

/// Deliveries of items after their first.
#[derive(Debug, Default)]
pub struct Again {
    pub count: u64,
    /// The items, in the order of their keys.
    pub keys: Vec<Key>,
}

impl Again {
    fn of(items: impl Iterator<Item = (Key, u64)>) -> Self {
        let mut again = Again::default();
        for (key, count) in items.filter(|(_, count)| *count > 0) {
            again.count += count;
            again.keys.push(key);
        }
        again.keys.sort_unstable();
        again
    }
}

/// What one pass over a history found.
#[derive(Debug, Default)]
pub struct Events {
    /// When each item was first sent and first received.
    items: HashMap<Key, (Option<u64>, Option<u64>)>,
    /// How often each item was delivered after its first delivery.
    repeated: HashMap<Key, u64>,
    /// What each process has received, and neither acknowledged nor given back.
    in_hand: HashMap<u64, HashSet<Key>>,
    /// How often each item was given back.
    returned: HashMap<Key, u64>,
    /// Of the items that are asked for.
    involved: HashMap<Key, Involved>,
    last: Option<u64>,
    /// The longest time between two events.
    pub longest_gap: Duration,
}

impl Events {
    /// Reads all events of these logs, and notes which processes had to do with the items of these keys.
    ///
    /// # Errors
    /// As [`Logs::next`].
    pub fn read(logs: &[PathBuf], keys: impl IntoIterator<Item = Key>) -> Result<Self, HistoryError> {
        let involved = keys.into_iter().map(|key| (key, Involved::default())).collect();
        let (mut logs, mut events) = (Logs::open(logs)?, Events { involved, ..Events::default() });
        while let Some((event, _)) = logs.next()? {
            events.take(&event);
        }
        Ok(events)
    }

    fn take(&mut self, event: &Event) {
        let key = (event.producer, event.sequence);
        if let Some(last) = self.last {
            self.longest_gap = self.longest_gap.max(Duration::from_nanos(event.time.saturating_sub(last)));
        }
        self.last = Some(event.time);
        if let Some(involved) = self.involved.get_mut(&key) {
            involved.take(event);
        }
        match event.kind {
            EventKind::Attempt => _ = self.items.entry(key).or_default().0.get_or_insert(event.time),
            EventKind::Got => {
                let received = &mut self.items.entry(key).or_default().1;
                if received.is_some() {
                    *self.repeated.entry(key).or_insert(0) += 1;
                }
                received.get_or_insert(event.time);
                self.in_hand.entry(event.process).or_default().insert(key);
            }
            EventKind::Acked | EventKind::Returning => {
                if event.kind == EventKind::Returning {
                    *self.returned.entry(key).or_insert(0) += 1;
                }
                if let Some(items) = self.in_hand.get_mut(&event.process) {
                    items.remove(&key);
                }
            }
            _ => {}
        }
    }

    /// The processes that had to do with an item that was asked for.
    pub fn involved(&self, key: Key) -> Option<&Involved> {
        self.involved.get(&key)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// The number of items that were received.
    pub fn received(&self) -> u64 {
        self.items.values().filter(|(_, received)| received.is_some()).count() as u64
    }

    /// Deliveries after an item's first.
    pub fn repeated(&self) -> Again {
        Again::of(self.repeated.iter().map(|(key, count)| (*key, *count)))
    }

    /// Deliveries after an item's first for which there is no reason: no process that was struck had the item in hand, and
    /// it was not given back.
    pub fn without_reason(&self, is_struck: impl Fn(u64) -> bool) -> Again {
        let struck: Vec<&HashSet<Key>> =
            self.in_hand.iter().filter(|(process, _)| is_struck(**process)).map(|(_, items)| items).collect();
        let reasons = |key: &Key| {
            let held = struck.iter().filter(|items| items.contains(key)).count() as u64;
            held + self.returned.get(key).copied().unwrap_or(0)
        };
        Again::of(self.repeated.iter().map(|(key, count)| (*key, count.saturating_sub(reasons(key)))))
    }

    /// The times from the first attempt to send to the first receipt, in ascending order.
    pub fn latencies(&self) -> Vec<Duration> {
        let times =
            self.items.values().filter_map(|(sent, received)| received.as_ref()?.checked_sub((*sent)?));
        let mut times: Vec<Duration> = times.map(Duration::from_nanos).collect();
        times.sort_unstable();
        times
    }
}

impl Involved {
    fn take(&mut self, event: &Event) {
        let processes = match event.kind {
            EventKind::Attempt | EventKind::Forwarding => &mut self.senders,
            EventKind::Got => &mut self.receivers,
            _ => return,
        };
        if processes.len() < NOTED && !processes.contains(&event.process) {
            processes.push(event.process);
        }
    }
}

/// The value that `percent` of these sorted values do not exceed.
pub fn percentile(values: &[Duration], percent: f64) -> Option<Duration> {
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values.get(rank.max(1) - 1).or(values.last()).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<Duration> = (1..=10).map(Duration::from_secs).collect();
        let at = |percent| percentile(&values, percent).unwrap().as_secs();
        assert_eq!([at(0.0), at(10.0), at(50.0), at(51.0), at(99.0), at(100.0)], [1, 1, 5, 6, 10, 10]);
        assert_eq!(percentile(&[], 50.0), None);
    }
}
