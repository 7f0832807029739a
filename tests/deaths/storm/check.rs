//! What must be true of the logs of a storm, in one pass over them and one over the items, counted as in
//! Jepsen's total-queue checker (github.com/jepsen-io/jepsen, checker.clj).

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use ringpipe::ItemKey;

use crate::storm::log::{Event, Record};

/// Everything the logs say about one item.
#[derive(Debug, Default)]
struct Fate {
    hash: u32,
    slots: u16,
    /// When it was surely in, and from when on it may have left.
    sent_at: Option<u64>,
    leaving_at: Option<u64>,
    producer: u32,
    sequence: u32,
    attempted: bool,
    sent: bool,
    refused: bool,
    deliveries: Vec<Delivery>,
}

#[derive(Debug, Clone, Copy)]
struct Delivery {
    attempt: u8,
    acking: bool,
    acked: bool,
}

/// The outcome of one storm or of several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Items that a worker began to send.
    pub attempts: u64,
    /// Items whose `send` returned `Ok`.
    pub sent: u64,
    /// Items whose `ack` returned.
    pub acknowledged: u64,
    /// Delivered, though their producer was killed before it knew that they were sent.
    pub recovered: u64,
    /// Deliveries after an item's first.
    pub redelivered: u64,
    /// Acknowledged by a consumer that was killed before `ack` returned.
    pub unsure: u64,
    /// Sent, and neither acknowledged nor on the way to it in the last delivery.
    pub lost: u64,
    /// Delivered, though no worker sent them, or though the library had refused them.
    pub unexpected: u64,
    /// Delivered with other bytes, or under another number, than they were sent with.
    pub corrupted: u64,
    /// Delivered again after `ack` had returned.
    pub duplicated: u64,
    /// Acknowledged twice.
    pub acknowledged_twice: u64,
    /// Delivered twice under one attempt: held by two at once.
    pub held_twice: u64,
    /// First deliveries that came to one consumer in another order than they were sent in.
    pub inverted: u64,
    /// Moments at which the items that were surely in the ring filled more slots than it has.
    pub over_capacity: u64,
    /// Fixed items that came under two names, under that of another item, or under one that is earlier than that of an
    /// earlier item of the same producer.
    pub misnamed: u64,
}

impl Counts {
    const MANY: usize = 15;

    /// All of them, in the order in which they are declared.
    pub fn to_numbers(self) -> [u64; Self::MANY] {
        let Counts { attempts, sent, acknowledged, recovered, redelivered, unsure, lost, .. } = self;
        let Counts { unexpected, corrupted, duplicated, acknowledged_twice, held_twice, .. } = self;
        let good = [attempts, sent, acknowledged, recovered, redelivered, unsure];
        let bad = [lost, unexpected, corrupted, duplicated, acknowledged_twice, held_twice];
        let [a, b, c, d, e, f] = good;
        let [g, h, i, j, k, l] = bad;
        [a, b, c, d, e, f, g, h, i, j, k, l, self.inverted, self.over_capacity, self.misnamed]
    }

    pub fn from_numbers(numbers: &[u64]) -> Option<Counts> {
        let [attempts, sent, acknowledged, recovered, redelivered, unsure, lost, rest @ ..] = numbers else {
            return None;
        };
        let [unexpected, corrupted, duplicated, acknowledged_twice, rest @ ..] =
            *<&[u64; 8]>::try_from(rest).ok()?;
        let [held_twice, inverted, over_capacity, misnamed] = rest;
        let mut counts =
            Counts { unexpected, corrupted, duplicated, acknowledged_twice, ..Counts::default() };
        (counts.attempts, counts.sent, counts.acknowledged) = (*attempts, *sent, *acknowledged);
        (counts.recovered, counts.redelivered, counts.unsure) = (*recovered, *redelivered, *unsure);
        (counts.lost, counts.held_twice) = (*lost, held_twice);
        (counts.inverted, counts.over_capacity, counts.misnamed) = (inverted, over_capacity, misnamed);
        Some(counts)
    }

    pub fn add(&mut self, more: &Counts) {
        let sum = |to: &mut u64, more: u64| *to += more;
        sum(&mut self.attempts, more.attempts);
        sum(&mut self.sent, more.sent);
        sum(&mut self.acknowledged, more.acknowledged);
        sum(&mut self.recovered, more.recovered);
        sum(&mut self.redelivered, more.redelivered);
        sum(&mut self.unsure, more.unsure);
        sum(&mut self.lost, more.lost);
        sum(&mut self.unexpected, more.unexpected);
        sum(&mut self.corrupted, more.corrupted);
        sum(&mut self.duplicated, more.duplicated);
        sum(&mut self.acknowledged_twice, more.acknowledged_twice);
        sum(&mut self.held_twice, more.held_twice);
        sum(&mut self.inverted, more.inverted);
        sum(&mut self.over_capacity, more.over_capacity);
        sum(&mut self.misnamed, more.misnamed);
    }

    /// Whether nothing went wrong.
    pub fn clean(&self) -> bool {
        let Counts {
            lost,
            unexpected,
            corrupted,
            duplicated,
            acknowledged_twice,
            held_twice,
            inverted,
            over_capacity,
            misnamed,
            ..
        } = *self;
        let items = lost + unexpected + corrupted + duplicated + acknowledged_twice + held_twice;
        items + inverted + over_capacity + misnamed == 0
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} attempts, {} sent, {} acknowledged, {} recovered, {} redelivered, {} unsure; \
             {} lost, {} acknowledged twice, {} duplicated, {} held twice, {} unexpected, {} corrupted, \
             {} inverted, {} over capacity, {} misnamed",
            self.attempts,
            self.sent,
            self.acknowledged,
            self.recovered,
            self.redelivered,
            self.unsure,
            self.lost,
            self.acknowledged_twice,
            self.duplicated,
            self.held_twice,
            self.unexpected,
            self.corrupted,
            self.inverted,
            self.over_capacity,
            self.misnamed
        )
    }
}

/// Counts what the logs tell; each is in the order of one worker and its successors. The texts
/// say what went wrong with which item. `capacity` is the ring's, in slots.
pub fn check(logs: &[Vec<Record>], capacity: u64) -> (Counts, Vec<String>) {
    let mut counts = Counts::default();
    let mut wrong = Vec::new();
    let mut items: HashMap<(u32, u32), Fate> = HashMap::new();
    for log in logs {
        inversions(log, &mut counts, &mut wrong);
        for record in log {
            items.entry((record.worker, record.count)).or_default().take(record);
        }
    }
    // What came out is compared with what went in once all of both is known.
    for record in logs.iter().flatten() {
        let fate = &items[&(record.worker, record.count)];
        let received = matches!(record.event, Event::Got | Event::Corrupt);
        // What names a fixed item is known once it was delivered.
        let numbered = record.producer == ItemKey::NO_PRODUCER || record.sequence == fate.sequence;
        let same = (record.hash, record.producer) == (fate.hash, fate.producer) && numbered;
        if received && (record.event == Event::Corrupt || (fate.attempted && !same)) {
            counts.corrupted += 1;
            wrong.push(format!("corrupted: {record:?} of {fate:?}"));
        }
    }
    for (item, fate) in &mut items {
        fate.judge(item, &mut counts, &mut wrong);
    }
    fullness(items.values(), capacity, &mut counts, &mut wrong);
    names(logs, &mut counts, &mut wrong);
    (counts, wrong)
}

/// Looks at the names under which fixed items came: their positions, each for one item of the ring's life. One producer
/// claims them in order, also for an item that is published late.
fn names(logs: &[Vec<Record>], counts: &mut Counts, wrong: &mut Vec<String>) {
    let (mut by_item, mut by_name) = (BTreeMap::new(), HashMap::new());
    for record in logs.iter().flatten() {
        if record.event != Event::Got || record.producer != ItemKey::NO_PRODUCER {
            continue;
        }
        let item = (record.worker, record.count);
        let name = *by_item.entry(item).or_insert(record.sequence);
        let owner = *by_name.entry(record.sequence).or_insert(item);
        if name != record.sequence || owner != item {
            counts.misnamed += 1;
            wrong.push(format!("misnamed: {record:?}, first under {name}; that name was of {owner:?}"));
        }
    }
    for ((before, name), (item, next)) in by_item.iter().zip(by_item.iter().skip(1)) {
        if before.0 == item.0 && name >= next {
            counts.misnamed += 1;
            wrong.push(format!("misnamed: {before:?} is {name}, and the later {item:?} is {next}"));
        }
    }
}

/// Goes through the moments at which items were surely in, and those from which on they may have left.
fn fullness<'f>(
    items: impl Iterator<Item = &'f Fate>,
    capacity: u64,
    counts: &mut Counts,
    wrong: &mut Vec<String>,
) {
    let mut moments = Vec::new();
    for fate in items {
        // A sender killed in between has no record of the time: such an item is left out.
        if let (Some(sent), Some(leaving)) = (fate.sent_at, fate.leaving_at)
            && sent < leaving
        {
            moments.push((sent, fate.slots as i64));
            moments.push((leaving, -(fate.slots as i64)));
        }
    }
    moments.sort_unstable();
    let mut there = 0;
    for (time, slots) in moments {
        there += slots;
        if slots > 0 && there > capacity as i64 {
            counts.over_capacity += 1;
            wrong.push(format!("over capacity: {there} slots of {capacity} at {time}"));
        }
    }
}

/// Looks for first deliveries of one producer's items that came in another order than they were sent.
fn inversions(log: &[Record], counts: &mut Counts, wrong: &mut Vec<String>) {
    let mut last: HashMap<u32, u32> = HashMap::new();
    for record in log.iter().filter(|record| record.event == Event::Got && record.attempt == 1) {
        let before = last.insert(record.worker, record.count).unwrap_or(0);
        if before >= record.count {
            counts.inverted += 1;
            wrong.push(format!("inverted: number {before} came before {record:?}"));
        }
    }
}

impl Fate {
    fn take(&mut self, record: &Record) {
        match record.event {
            Event::Attempt => {
                self.attempted = true;
                (self.hash, self.producer, self.sequence) = (record.hash, record.producer, record.sequence);
                self.slots = record.slots;
            }
            Event::Sent => {
                self.sent = true;
                self.sent_at = Some(record.time);
            }
            Event::Refused => self.refused = true,
            Event::Got | Event::Corrupt => {
                self.deliveries.push(Delivery { attempt: record.attempt, acking: false, acked: false });
            }
            Event::Acking => {
                self.delivery(record).acking = true;
                self.leaving_at = Some(self.leaving_at.map_or(record.time, |time| time.min(record.time)));
            }
            Event::Acked => self.delivery(record).acked = true,
        }
    }

    fn delivery(&mut self, record: &Record) -> &mut Delivery {
        let found = self.deliveries.iter_mut().rev().find(|delivery| delivery.attempt == record.attempt);
        found.expect("a log says that an item came before it says more about it")
    }

    fn judge(&mut self, item: &(u32, u32), counts: &mut Counts, wrong: &mut Vec<String>) {
        // Attempts number the deliveries: the order in which they happened, whichever was logged first.
        self.deliveries.sort_by_key(|delivery| delivery.attempt);
        let mut note = |what: &str, count: &mut u64, times: usize| {
            *count += times as u64;
            if times > 0 {
                wrong.push(format!("{what}: item {item:?}, {self:?}"));
            }
        };
        let acks = self.deliveries.iter().filter(|delivery| delivery.acked).count();
        let last = self.deliveries.last();
        let settled = last.is_some_and(|delivery| delivery.acking);
        let after_ack = self.deliveries.iter().rev().skip(1).filter(|delivery| delivery.acked).count();
        let twins = self.deliveries.windows(2).filter(|pair| pair[0].attempt == pair[1].attempt).count();
        let delivered = !self.deliveries.is_empty();
        let unexpected = delivered && (!self.attempted || self.refused);
        note("lost", &mut counts.lost, (self.sent && !settled) as usize);
        // Half delivered: a received item must be delivered until it is acknowledged.
        note("lost after delivery", &mut counts.lost, (!self.sent && delivered && !settled) as usize);
        note("unexpected", &mut counts.unexpected, unexpected as usize);
        note("duplicated", &mut counts.duplicated, after_ack);
        note("acknowledged twice", &mut counts.acknowledged_twice, acks.saturating_sub(1));
        note("held twice", &mut counts.held_twice, twins);
        counts.attempts += self.attempted as u64;
        counts.sent += self.sent as u64;
        counts.acknowledged += (acks > 0) as u64;
        counts.recovered += (delivered && self.attempted && !self.sent && !self.refused) as u64;
        counts.redelivered += self.deliveries.len().saturating_sub(1) as u64;
        counts.unsure += last.is_some_and(|delivery| delivery.acking && !delivery.acked) as u64;
    }
}

/// A checker that finds nothing may look at nothing: each kind of fault is shown to it once.
#[cfg(test)]
mod tests {
    use super::*;

    fn record(event: Event, attempt: u8, count: u32) -> Record {
        let hash = 5;
        Record { event, attempt, slots: 1, worker: 1, count, producer: 9, sequence: count, hash, time: 0 }
    }

    fn sent(count: u32) -> Vec<Record> {
        vec![record(Event::Attempt, 0, count), record(Event::Sent, 0, count)]
    }

    fn taken(attempt: u8, count: u32) -> Vec<Record> {
        [Event::Got, Event::Acking, Event::Acked].map(|event| record(event, attempt, count)).to_vec()
    }

    fn found(logs: &[Vec<Record>]) -> Counts {
        let (counts, wrong) = check(logs, 2);
        assert_eq!(counts.clean(), wrong.is_empty());
        counts
    }

    #[test]
    fn the_checker_accepts_right_histories() {
        let died_acking = vec![record(Event::Got, 1, 1), record(Event::Acking, 1, 1)];
        assert!(found(&[sent(1), taken(1, 1)]).clean());
        assert_eq!(found(&[sent(1), died_acking.clone()]).unsure, 1);
        assert_eq!(found(&[sent(1), died_acking, taken(2, 1)]).redelivered, 1);
        assert_eq!(found(&[vec![record(Event::Attempt, 0, 1)], taken(1, 1)]).recovered, 1);
    }

    #[test]
    fn the_checker_finds_each_kind_of_fault() {
        let refused = vec![record(Event::Attempt, 0, 1), record(Event::Refused, 0, 1)];
        let other = vec![Record { hash: 6, ..record(Event::Got, 1, 1) }, record(Event::Acking, 1, 1)];
        assert_eq!(found(&[sent(1)]).lost, 1);
        assert_eq!(found(&[sent(1), vec![record(Event::Got, 1, 1)]]).lost, 1);
        assert_eq!(found(&[taken(1, 1)]).unexpected, 1);
        assert_eq!(found(&[refused, taken(1, 1)]).unexpected, 1);
        assert_eq!(found(&[sent(1), other]).corrupted, 1);
        assert_eq!(found(&[sent(1), taken(1, 1), taken(2, 1)]).acknowledged_twice, 1);
        assert_eq!(found(&[sent(1), taken(1, 1), taken(2, 1)]).duplicated, 1);
        assert_eq!(found(&[sent(1), taken(1, 1), taken(1, 1)]).held_twice, 1);
        let order = [taken(1, 2), taken(1, 1)].concat();
        assert_eq!(found(&[sent(1), sent(2), order]).inverted, 1);
    }

    #[test]
    fn the_checker_finds_more_items_than_there_is_room_for() {
        let at = |time, records: Vec<Record>| -> Vec<Record> {
            records.into_iter().map(|record| Record { time, ..record }).collect()
        };
        let first = || [at(1, sent(1)), at(1, sent(2))].concat();
        let taken = || [at(5, taken(1, 1)), at(6, taken(1, 2)), at(7, taken(1, 3))].concat();
        // The third comes when one of two may have left, and before that.
        assert!(found(&[first(), at(6, sent(3)), taken()]).clean());
        assert_eq!(found(&[first(), at(4, sent(3)), taken()]).over_capacity, 1);
    }

    #[test]
    fn the_checker_finds_an_item_under_two_names_and_two_items_under_one() {
        let named = |sequence, records: Vec<Record>| -> Vec<Record> {
            let producer = ItemKey::NO_PRODUCER;
            records.into_iter().map(|record| Record { producer, sequence, ..record }).collect()
        };
        let first = || named(0, [sent(1), sent(2)].concat());
        let returned = || named(7, vec![record(Event::Got, 1, 1)]);
        assert!(found(&[first(), returned(), named(7, taken(2, 1)), named(9, taken(1, 2))]).clean());
        let renamed = found(&[first(), returned(), named(8, taken(2, 1)), named(9, taken(1, 2))]);
        assert_eq!((renamed.misnamed, renamed.corrupted), (1, 0));
        // One for the name that is used again, one since it is not later than the one before.
        assert_eq!(found(&[first(), named(7, taken(1, 1)), named(7, taken(1, 2))]).misnamed, 2);
        assert_eq!(found(&[first(), named(7, taken(1, 1)), named(6, taken(1, 2))]).misnamed, 1);
    }

    #[test]
    fn counts_are_read_back_as_they_were_written() {
        let numbers = std::array::from_fn(|n| n as u64 + 1);
        assert_eq!(Counts::from_numbers(&numbers).map(Counts::to_numbers), Some(numbers));
    }
}
