//! Counts items by the logs of all processes, while they are written.

use std::collections::{HashMap, HashSet};

use crate::testing::history::{Event, EventKind};

/// The last digits of the number of a process in a log are its id.
const IDS: u64 = 10_000_000;
/// An item counts as lost when it is missing in this number of observations in a row: a slot that changes while it is read
/// shows no item.
const LOST_AFTER: u32 = 3;

/// An item's identity in the logs: producer and sequence.
pub type Key = (u64, u64);

/// An item that is not known to be sent and acknowledged.
#[derive(Debug, Clone, Copy, Default)]
struct Item {
    /// Its producer has logged it as sent.
    is_logged: bool,
    /// It is counted: sent, or received from a producer that died before it could log that.
    is_sent: bool,
    is_done: bool,
    /// The last delivery, and whether its consumer has begun to acknowledge it.
    attempt: u8,
    is_ending: bool,
    holder: Option<u32>,
}

impl Item {
    fn is_open(&self) -> bool {
        self.is_sent && !self.is_ending && !self.is_done
    }
}

/// An item that a killed process held, with the process that has it next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handover {
    pub sequence: u64,
    /// The process ids.
    pub from: u32,
    pub to: u32,
    /// Nanoseconds from the kill to the delivery.
    pub after: u64,
}

/// The counts so far.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Items that were sent.
    pub sent: u64,
    /// Items that were acknowledged.
    pub done: u64,
    /// Deliveries after an item's first.
    pub again: u64,
    /// When each process was killed.
    kills: HashMap<u32, u64>,
    items: HashMap<Key, Item>,
    /// In how many observations in a row an item was missing.
    missing: HashMap<Key, u32>,
}

impl Ledger {
    /// Records that the process `pid` is killed at `time`.
    pub fn kill(&mut self, pid: u32, time: u64) {
        self.kills.insert(pid, time);
    }

    /// Takes the events of one reading of all logs, in the order of their times.
    pub fn take(&mut self, mut events: Vec<Event>) -> Vec<Handover> {
        events.sort_by_key(|event| (event.time, !event.kind.is_before_its_call()));
        events.iter().filter_map(|event| self.event(event)).collect()
    }

    fn event(&mut self, event: &Event) -> Option<Handover> {
        let key = (event.producer, event.sequence);
        let mut item = self.items.get(&key).copied().unwrap_or_default();
        let mut handover = None;
        match event.kind {
            EventKind::Sent => item.is_logged = true,
            EventKind::Got if event.attempt > item.attempt => {
                let to = (event.process % IDS) as u32;
                handover = item.holder.and_then(|from| {
                    let killed = *self.kills.get(&from)?;
                    let after = event.time.checked_sub(killed)?;
                    Some(Handover { sequence: event.sequence, from, to, after })
                });
                self.again += u64::from(event.attempt > 1);
                (item.attempt, item.is_ending, item.holder) = (event.attempt, false, Some(to));
            }
            EventKind::Acking if event.attempt == item.attempt => item.is_ending = true,
            EventKind::Acked => {
                self.done += u64::from(!item.is_done);
                item.is_done = true;
            }
            _ => return None,
        }
        self.sent += u64::from(!item.is_sent);
        item.is_sent = true;
        match item.is_logged && item.is_done {
            true => self.items.remove(&key),
            false => self.items.insert(key, item),
        };
        handover
    }

    /// The items that are sent and not acknowledged.
    pub fn open(&self) -> HashSet<Key> {
        self.items.iter().filter(|(_, item)| item.is_open()).map(|(key, _)| *key).collect()
    }

    /// Whether the process `pid` has an item.
    pub fn has_item(&self, pid: u32) -> bool {
        self.items.values().any(|item| item.is_open() && item.holder == Some(pid))
    }

    /// Compares with an observation of the ring: an item that was open before it and is open after it was in the ring
    /// all the time.
    pub fn compare(&mut self, open_before: &HashSet<Key>, in_ring: &HashSet<Key>) {
        let missing = |key: &Key| self.items.get(key).is_some_and(Item::is_open) && !in_ring.contains(key);
        let times = |key: &Key| self.missing.get(key).copied().unwrap_or(0).saturating_add(1);
        self.missing = open_before.iter().filter(|key| missing(key)).map(|key| (*key, times(key))).collect();
    }

    /// The items that are sent, not acknowledged, and not in the ring.
    pub fn lost(&self) -> u64 {
        self.missing.values().filter(|times| **times >= LOST_AFTER).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(time: u64, pid: u64, kind: EventKind, sequence: u64, attempt: u8) -> Event {
        Event { time, process: 7 * IDS + pid, kind, producer: 1, sequence, attempt, hash: None }
    }

    #[test]
    fn an_item_is_counted_once_in_any_order_of_the_logs() {
        use EventKind::*;
        let producer = [event(1, 10, Attempt, 0, 0), event(2, 10, Sent, 0, 0)];
        let consumer = [event(3, 20, Got, 0, 1), event(4, 20, Acking, 0, 1), event(5, 20, Acked, 0, 1)];
        let both = [&producer[..], &consumer[..]];
        let readings: [&[&[Event]]; 4] =
            [&both, &[both[1], both[0]], &[&[], &both.concat()], &[&both.concat()]];
        for reading in readings {
            let mut ledger = Ledger::default();
            reading.iter().for_each(|events| assert_eq!(ledger.take(events.to_vec()), []));
            assert_eq!((ledger.sent, ledger.done, ledger.again), (1, 1, 0), "{reading:?}");
            assert!(ledger.open().is_empty() && ledger.items.is_empty());
        }
    }

    #[test]
    fn the_next_process_of_a_killed_one_is_known_with_the_time_since_the_kill() {
        use EventKind::*;
        let mut ledger = Ledger::default();
        ledger.take(vec![event(1, 10, Sent, 5, 0), event(2, 20, Got, 5, 1)]);
        assert!(ledger.has_item(20) && !ledger.has_item(21));
        ledger.kill(20, 1000);
        let handed = ledger.take(vec![event(1412, 21, Got, 5, 2)]);
        assert_eq!(handed, [Handover { sequence: 5, from: 20, to: 21, after: 412 }]);
        assert!(ledger.has_item(21) && !ledger.has_item(20));
        // A process that gave the item back was not killed.
        let handed = ledger.take(vec![event(1500, 22, Got, 5, 3)]);
        assert_eq!((handed, ledger.again, ledger.sent, ledger.done), (vec![], 2, 1, 0));
    }

    #[test]
    fn an_acknowledgement_that_a_kill_cut_off_may_come_to_nothing() {
        use EventKind::*;
        let mut ledger = Ledger::default();
        ledger.take(vec![event(1, 10, Sent, 5, 0), event(2, 20, Got, 5, 1), event(3, 20, Acking, 5, 1)]);
        assert!(ledger.open().is_empty());
        ledger.take(vec![event(4, 21, Got, 5, 2)]);
        assert_eq!(ledger.open().len(), 1);
        ledger.take(vec![event(5, 21, Acking, 5, 2), event(6, 21, Acked, 5, 2)]);
        assert_eq!((ledger.sent, ledger.done), (1, 1));
    }

    #[test]
    fn an_item_that_is_in_no_slot_is_lost() {
        let mut ledger = Ledger::default();
        ledger.take((0..2).map(|n| event(n, 10, EventKind::Sent, n, 0)).collect());
        let in_ring: HashSet<Key> = [(1, 0)].into();
        for round in 1..=LOST_AFTER {
            let before = ledger.open();
            ledger.compare(&before, &in_ring);
            assert_eq!(ledger.lost(), u64::from(round == LOST_AFTER));
        }
        // It was seen again: a slot had changed while it was read.
        let before = ledger.open();
        ledger.compare(&before, &[(1, 0), (1, 1)].into());
        assert_eq!(ledger.lost(), 0);
        // An item that was sent after the last reading can be missing.
        ledger.take(vec![event(9, 10, EventKind::Sent, 9, 0)]);
        ledger.compare(&before, &[(1, 0), (1, 1)].into());
        assert!(ledger.missing.is_empty());
    }
}
