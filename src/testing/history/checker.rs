//! Checks what must be true of a history, in one pass over its events in the order of their times and one over the
//! items.
//!
//! The counts are those of Jepsen's total-queue checker (github.com/jepsen-io/jepsen, checker.clj), and of
//! deliveries that are held, acknowledged and given back. The entries before and after a call bound the moment at
//! which it took effect. A history has a fault only if no such moment explains it.
use std::collections::HashMap;

use super::event::{Event, EventKind};
use super::logs::Place;
use super::report::{Fault, Found, Report};

/// The state that is kept of an item: 8 bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Item {
    /// The item's hash, folded.
    hash: u32,
    /// The highest delivered attempt.
    attempt: u8,
    flags: u16,
}

const ATTEMPTED: u16 = 1;
const SENT: u16 = 1 << 1;
const REFUSED: u16 = 1 << 2;
const HASHED: u16 = 1 << 3;
/// The last delivery is being acknowledged, or was.
const ACKING: u16 = 1 << 4;
/// Some delivery was acknowledged.
const ACKED: u16 = 1 << 5;
/// The last delivery was given back.
const RETURNED: u16 = 1 << 6;
/// Certainly in the ring.
const INSIDE: u16 = 1 << 7;
/// Possibly no longer in the ring.
const OUTSIDE: u16 = 1 << 8;
const RECEIVED: u16 = 1 << 9;
/// It may have been sent more than once under this key, so the key does not identify one item.
const FORWARDED: u16 = 1 << 10;

/// Items of one producer with consecutive numbers. Small, so that numbers far apart cost little.
const PAGE: u64 = 128;

#[derive(Debug)]
struct Page {
    producer: u64,
    first: u64,
    items: Box<[Item; PAGE as usize]>,
}

/// The limit of counted attempts.
const MOST_ATTEMPTS: u8 = u8::MAX;

/// Checks the events of a history, one after the other.
#[derive(Debug)]
pub struct Checker {
    capacity: Option<u64>,
    /// The number of faults to describe.
    describe: usize,
    pages: Vec<Page>,
    places: HashMap<(u64, u64), u32>,
    /// The page that was used last: the next event is often about a nearby item.
    recent: u32,
    /// The last item that each process received for the first time from each producer.
    last: HashMap<(u64, u64), u64>,
    inside: u64,
    report: Report,
}

impl Default for Checker {
    fn default() -> Self {
        Checker::new()
    }
}

impl Checker {
    /// A checker that describes 10 faults, and does not check how many items are in the ring at once.
    pub fn new() -> Self {
        Checker {
            capacity: None,
            describe: 10,
            pages: Vec::new(),
            places: HashMap::new(),
            recent: 0,
            last: HashMap::new(),
            inside: 0,
            report: Report::default(),
        }
    }

    /// Also checks that no more than `items` items are in the ring at once.
    pub fn capacity(mut self, items: u64) -> Self {
        self.capacity = Some(items);
        self
    }

    /// Describes the first `faults` faults; all are counted.
    pub fn describe(mut self, faults: usize) -> Self {
        self.describe = faults;
        self
    }

    /// Checks the next event.
    pub fn take(&mut self, event: &Event, place: Place) {
        self.report.counts.events += 1;
        let at = self.locate(event.producer, event.sequence);
        // A copy, so that faults can be recorded meanwhile.
        let mut item = self.pages[at.0].items[at.1];
        match event.kind {
            EventKind::Forwarding => item.flags |= FORWARDED,
            _ if item.flags & FORWARDED != 0 => self.forwarded(&mut item, event),
            EventKind::Attempt => self.attempt(&mut item, event, place),
            EventKind::Sent | EventKind::Refused => self.outcome(&mut item, event, place),
            EventKind::Got => self.got(&mut item, event, place),
            EventKind::Acking | EventKind::Acked | EventKind::Returning => {
                self.done_with(&mut item, event, place)
            }
            EventKind::Dropping | EventKind::Dropped => self.dropped(&mut item, event, place),
        }
        self.pages[at.0].items[at.1] = item;
    }

    fn locate(&mut self, producer: u64, sequence: u64) -> (usize, usize) {
        let (first, inner) = (sequence - sequence % PAGE, (sequence % PAGE) as usize);
        let recent = self.pages.get(self.recent as usize);
        if recent.is_none_or(|page| (page.producer, page.first) != (producer, first)) {
            self.recent = *self.places.entry((producer, first)).or_insert_with(|| {
                self.pages.push(Page { producer, first, items: Box::new([Item::default(); PAGE as usize]) });
                (self.pages.len() - 1) as u32
            });
        }
        (self.recent as usize, inner)
    }

    fn attempt(&mut self, item: &mut Item, event: &Event, place: Place) {
        // A refused item may be sent again under its number.
        let again = item.flags & (REFUSED | RECEIVED) == REFUSED;
        if item.flags & ATTEMPTED != 0 && !again {
            self.note(Fault::Renamed, event, "a second item with this number", place);
        }
        self.report.counts.attempts += 1;
        if again {
            *item = Item::default();
        }
        item.flags |= ATTEMPTED;
        self.hash(item, event, place);
    }

    fn outcome(&mut self, item: &mut Item, event: &Event, place: Place) {
        match () {
            _ if item.flags & ATTEMPTED == 0 => {
                self.note(Fault::Unexpected, event, "no producer tried to send it", place);
            }
            _ if item.flags & (SENT | REFUSED) != 0 => {
                self.note(Fault::Renamed, event, "this attempt had ended already", place);
            }
            _ if event.kind == EventKind::Refused && item.flags & RECEIVED != 0 => {
                self.note(Fault::Unexpected, event, "received although it was refused", place);
            }
            _ => {}
        }
        if event.kind == EventKind::Refused {
            self.report.counts.refused += 1;
            item.flags |= REFUSED;
            return;
        }
        self.report.counts.sent += (item.flags & SENT == 0) as u64;
        item.flags |= SENT;
        self.hash(item, event, place);
        self.enter(item, event, place);
    }

    fn got(&mut self, item: &mut Item, event: &Event, place: Place) {
        if event.attempt == 1 {
            self.order(event, place);
        }
        self.report.counts.redelivered += (item.flags & RECEIVED != 0) as u64;
        self.receive(item, event, place);
    }

    /// A consumer has an item, or a producer that will drop it.
    fn receive(&mut self, item: &mut Item, event: &Event, place: Place) {
        if item.flags & ATTEMPTED == 0 {
            self.note(Fault::Unexpected, event, "received, but no producer tried to send it", place);
        } else if item.flags & REFUSED != 0 {
            self.note(Fault::Unexpected, event, "received although it was refused", place);
        }
        if item.flags & ACKED != 0 {
            self.note(Fault::Duplicated, event, "received after it was acknowledged", place);
        } else if event.attempt < item.attempt
            || (event.attempt == item.attempt && item.attempt < MOST_ATTEMPTS)
        {
            let text = format!("attempt {} received after attempt {}", event.attempt, item.attempt);
            self.note(Fault::HeldTwice, event, &text, place);
        }
        self.hash(item, event, place);
        item.attempt = item.attempt.max(event.attempt);
        item.flags = item.flags & !(ACKING | RETURNED) | RECEIVED;
        self.enter(item, event, place);
    }

    /// Handles an event of an item that may have been sent several times. Checks only that the item is
    /// received and acknowledged at all.
    fn forwarded(&mut self, item: &mut Item, event: &Event) {
        match event.kind {
            EventKind::Sent => {
                self.report.counts.forwarded += 1;
                item.flags |= SENT;
            }
            EventKind::Got => item.flags |= RECEIVED,
            EventKind::Acking | EventKind::Dropping => {
                item.flags |= ACKING;
                self.leave(item);
            }
            EventKind::Acked => {
                self.report.counts.acknowledged += (item.flags & ACKED == 0) as u64;
                item.flags |= ACKED;
            }
            EventKind::Dropped => {
                self.report.counts.dropped += (item.flags & ACKED == 0) as u64;
                item.flags |= ACKED;
            }
            EventKind::Attempt | EventKind::Refused | EventKind::Forwarding | EventKind::Returning => {}
        }
    }

    /// A producer drops an item: it receives and acknowledges it.
    fn dropped(&mut self, item: &mut Item, event: &Event, place: Place) {
        if event.kind == EventKind::Dropping {
            self.receive(item, event, place);
            self.done_with(item, &Event { kind: EventKind::Acking, ..*event }, place);
            return;
        }
        let before = self.report.counts.acknowledged;
        self.done_with(item, &Event { kind: EventKind::Acked, ..*event }, place);
        self.report.counts.dropped += self.report.counts.acknowledged - before;
        self.report.counts.acknowledged = before;
    }

    /// A consumer acknowledges an item or gives it back.
    fn done_with(&mut self, item: &mut Item, event: &Event, place: Place) {
        if item.flags & RECEIVED == 0 || event.attempt > item.attempt {
            self.note(Fault::Unexpected, event, "no consumer received it in this attempt", place);
        } else if event.attempt < item.attempt {
            let text = format!("attempt {} was still held when attempt {} was", event.attempt, item.attempt);
            self.note(Fault::HeldTwice, event, &text, place);
        } else if item.flags & RETURNED != 0
            || (event.kind == EventKind::Returning && item.flags & ACKING != 0)
        {
            self.note(Fault::HeldTwice, event, "this attempt had been acknowledged or given back", place);
        }
        match event.kind {
            EventKind::Returning => item.flags |= RETURNED,
            EventKind::Acking => {
                if item.flags & ACKING != 0 {
                    self.note(
                        Fault::AcknowledgedTwice,
                        event,
                        "this attempt was acknowledged already",
                        place,
                    );
                }
                item.flags |= ACKING;
                self.leave(item);
            }
            _ => {
                if item.flags & ACKED != 0 {
                    self.note(Fault::AcknowledgedTwice, event, "it was acknowledged already", place);
                }
                self.report.counts.acknowledged += (item.flags & ACKED == 0) as u64;
                item.flags |= ACKING | ACKED;
                self.leave(item);
            }
        }
    }

    fn hash(&mut self, item: &mut Item, event: &Event, place: Place) {
        let Some(hash) = event.hash else { return };
        let hash = (hash ^ hash >> 32) as u32;
        if item.flags & HASHED == 0 {
            (item.hash, item.flags) = (hash, item.flags | HASHED);
        } else if item.hash != hash {
            self.note(Fault::Corrupted, event, "another hash than before", place);
        }
    }

    /// Checks that each process gets first deliveries in the order in which the producer sent the items.
    fn order(&mut self, event: &Event, place: Place) {
        let last = self.last.entry((event.process, event.producer)).or_insert(event.sequence);
        let before = std::mem::replace(last, event.sequence);
        if before > event.sequence {
            let text = format!("process {} had received item {before} before it", event.process);
            self.note(Fault::OutOfOrder, event, &text, place);
        }
    }

    /// Records that the item was in the ring at this moment. If its acknowledgement had begun, it may already
    /// have left.
    fn enter(&mut self, item: &mut Item, event: &Event, place: Place) {
        if item.flags & (INSIDE | OUTSIDE) != 0 {
            return;
        }
        item.flags |= INSIDE;
        self.inside += 1;
        self.report.counts.most_at_once = self.report.counts.most_at_once.max(self.inside);
        if self.capacity.is_some_and(|capacity| self.inside > capacity) {
            let text = format!("{} items in the ring with it", self.inside - 1);
            self.note(Fault::OverCapacity, event, &text, place);
        }
    }

    fn leave(&mut self, item: &mut Item) {
        self.inside -= (item.flags & INSIDE != 0) as u64;
        item.flags = item.flags & !INSIDE | OUTSIDE;
    }

    fn note(&mut self, fault: Fault, event: &Event, text: &str, place: Place) {
        self.add(fault, event.producer, event.sequence, || text.into(), Some(place));
    }

    fn add(
        &mut self,
        fault: Fault,
        producer: u64,
        sequence: u64,
        text: impl Fn() -> String,
        place: Option<Place>,
    ) {
        self.report.faults[fault as usize] += 1;
        if self.report.found.len() < self.describe {
            self.report.found.push(Found { fault, producer, sequence, text: text(), place });
        }
    }

    /// Ends the history: items that are not acknowledged by now are lost.
    pub fn finish(mut self) -> Report {
        for page in std::mem::take(&mut self.pages) {
            for (sequence, item) in (page.first..).zip(page.items.iter()) {
                self.judge(page.producer, sequence, item);
            }
        }
        self.report
    }

    fn judge(&mut self, producer: u64, sequence: u64, item: &Item) {
        let has = |flag| item.flags & flag != 0;
        if (has(SENT) || has(RECEIVED)) && !has(ACKING) && !has(ACKED) {
            let text = || match (has(RECEIVED), item.attempt) {
                (true, attempt) => format!("received in attempt {attempt}, and never acknowledged"),
                (false, _) => "sent, and never received".into(),
            };
            self.add(Fault::Lost, producer, sequence, text, None);
        }
        if has(FORWARDED) {
            return;
        }
        self.report.counts.recovered +=
            (has(RECEIVED) && has(ATTEMPTED) && !has(SENT) && !has(REFUSED)) as u64;
        self.report.counts.unsure += (has(ACKING) && !has(ACKED)) as u64;
    }
}
