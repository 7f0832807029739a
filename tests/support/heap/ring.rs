//! A ring in heap memory, and handles to it that do what the public ones do with the slots.

use std::panic::Location;
use std::sync::Arc;
use std::sync::atomic::AtomicU64 as Plain;
use std::sync::atomic::Ordering::{self, AcqRel, Acquire, Relaxed};

use ringpipe::internal::protocol::memory::{Atom, LocalCursors, MOST_IN_ROW, Memory};
use ringpipe::internal::protocol::{Claim, NoItem, RingCore};

use super::faults::{Access, verdict};
use super::world::{AtomicU64, Cell};
use super::{life, trace};

/// A word of the ring, and what it is called when a story is told.
pub struct Word {
    atom: AtomicU64,
    name: (&'static str, u64),
}

impl Atom for Word {
    #[track_caller]
    fn load(&self, order: Ordering) -> u64 {
        life::step();
        let site = Location::caller();
        let value = self.atom.load(verdict(site, Access::Load, order).order);
        trace::tell(site, self.name, || format!("is {}", trace::word(value)));
        value
    }

    #[track_caller]
    fn store(&self, value: u64, order: Ordering) {
        life::step();
        let site = Location::caller();
        let verdict = verdict(site, Access::Store, order);
        if !verdict.left_out {
            self.atom.store(value, verdict.order);
        }
        trace::tell(site, self.name, || format!(":= {}", trace::word(value)));
    }

    #[track_caller]
    fn compare_exchange(&self, current: u64, new: u64, order: Ordering) -> Result<u64, u64> {
        life::step();
        let site = Location::caller();
        let verdict = verdict(site, Access::Exchange, order);
        let result = match verdict.left_out {
            true => Ok(current),
            false => self.atom.compare_exchange(current, new, verdict.order, Relaxed),
        };
        trace::tell(site, self.name, || match result {
            Ok(_) => format!("{} -> {}", trace::word(current), trace::word(new)),
            Err(now) => format!("is {}, not {}", trace::word(now), trace::word(current)),
        });
        result
    }

    #[track_caller]
    fn fetch_add(&self, value: u64, order: Ordering) -> u64 {
        life::step();
        let site = Location::caller();
        let verdict = verdict(site, Access::Add, order);
        let value = if verdict.left_out { 0 } else { value };
        let before = self.atom.fetch_add(value, verdict.order);
        trace::tell(site, self.name, || format!("{before} + {value}"));
        before
    }
}

/// The bytes of a slot: their owner is checked at each access, and by loom also that the accesses before it
/// happened before it.
struct Payload {
    guard: Cell,
    item: Plain,
    /// The position at which the item was sent, for the checks only.
    sent_at: Plain,
}

/// What the handles share.
pub struct Shared {
    capacity: u64,
    exclusive: bool,
    most_in_row: u64,
    words: Vec<Word>,
    tail: Word,
    head: Word,
    returned: Word,
    /// Spans, in the headers: none in rings whose items have a slot each.
    spans: Vec<AtomicU64>,
    payload: Vec<Payload>,
    /// The names of items that producers have stepped over: none in rings whose items have headers.
    names: Vec<Word>,
    /// The number that may die, and whether its lock is gone.
    dead: Option<(u32, AtomicU64)>,
}

/// The memory of one handle.
pub struct Heap {
    shared: Arc<Shared>,
    local_cursors: LocalCursors,
}

impl Memory for Heap {
    type Atom = Word;

    fn capacity(&self) -> u64 {
        self.shared.capacity
    }
    fn is_exclusive(&self) -> bool {
        self.shared.exclusive
    }
    fn most_in_row(&self) -> u64 {
        self.shared.most_in_row
    }
    fn word(&self, slot: u64) -> &Word {
        &self.shared.words[slot as usize]
    }
    fn words(&self, slot: u64, count: u64) -> &[Word] {
        let words = &self.shared.words[slot as usize..];
        &words[..words.len().min(count as usize)]
    }
    fn tail(&self) -> &Word {
        &self.shared.tail
    }
    fn head(&self) -> &Word {
        &self.shared.head
    }
    fn returned(&self) -> &Word {
        &self.shared.returned
    }
    fn local_cursors(&self) -> &LocalCursors {
        &self.local_cursors
    }
    fn name(&self, slot: u64) -> Option<&Word> {
        self.shared.names.get(slot as usize)
    }
    fn span(&self, slot: u64) -> u64 {
        // Relaxed, as in a segment: the claim's E1 or E3 ordered it.
        self.shared.spans.get(slot as usize).map_or(1, |span| span.load(Relaxed))
    }
    fn is_dead(&self, number: u32) -> bool {
        match &self.shared.dead {
            // The kernel's lock: a thread that finds it free comes after all that its holder did.
            // It takes a lock of its own to look: what it answers is true at that moment.
            Some((mortal, gone)) if *mortal == number => gone.fetch_add(0, AcqRel) != 0,
            _ => false,
        }
    }
}

/// An item: its number, and how many slots it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    pub id: u64,
    pub span: u64,
}

/// An item of one slot.
pub const fn one(id: u64) -> Item {
    Item { id, span: 1 }
}

/// An item of two slots.
pub const fn wide(id: u64) -> Item {
    Item { id, span: 2 }
}

/// Makes a ring.
#[derive(Clone, Copy)]
pub struct Shape {
    pub capacity: u64,
    pub exclusive: bool,
    /// The most items in a published row.
    pub most_in_row: u64,
    /// Whether some items have several slots.
    pub wide: bool,
    /// Whether items are named by their positions.
    pub named: bool,
    /// The position where it begins.
    pub base: u64,
    /// Whether all words are as old as the inner word of an item of several slots ever gets.
    pub aged: bool,
    /// The participant that may die.
    pub mortal: Option<u32>,
}

impl Shape {
    pub const MANY: Shape = Shape {
        capacity: 2,
        exclusive: false,
        most_in_row: MOST_IN_ROW,
        wide: false,
        named: false,
        base: 0,
        aged: false,
        mortal: None,
    };

    pub fn ring(self) -> Ring {
        let word = |name, at, value| Word { atom: AtomicU64::new(value), name: (name, at) };
        let count = self.capacity as usize;
        let codec = ringpipe::internal::protocol::word::Codec::new(self.capacity);
        // Slots before the base are a lap ahead.
        let lap = |slot: u64| {
            let position = self.base - codec.slot(self.base) + slot;
            let next = if position < self.base { position + self.capacity } else { position };
            if self.aged { next - ringpipe::internal::protocol::word::REFRESH_PERIOD } else { next }
        };
        let shared = Shared {
            capacity: self.capacity,
            exclusive: self.exclusive,
            most_in_row: self.most_in_row,
            words: (0..self.capacity).map(|slot| word("w", slot, codec.free(lap(slot)).0)).collect(),
            tail: word("tail", 0, self.base),
            head: word("head", 0, self.base),
            returned: word("returned", 0, 0),
            spans: (0..if self.wide { count } else { 0 }).map(|_| AtomicU64::new(1)).collect(),
            payload: (0..count)
                .map(|_| Payload { guard: Cell::new(), item: Plain::new(0), sent_at: Plain::new(0) })
                .collect(),
            names: (0..if self.named { self.capacity } else { 0 })
                .map(|slot| word("name", slot, 0))
                .collect(),
            dead: self.mortal.map(|number| (number, AtomicU64::new(0))),
        };
        Ring { shared: Arc::new(shared), base: self.base }
    }
}

/// A ring that handles are made to.
pub struct Ring {
    shared: Arc<Shared>,
    base: u64,
}

impl Ring {
    /// A handle that has seen nothing.
    pub fn handle(&self, number: u32) -> Handle {
        let (tail, head) = (Plain::new(self.base), Plain::new(self.base));
        let memory = Heap { shared: self.shared.clone(), local_cursors: LocalCursors { tail, head } };
        Handle { slots: RingCore::new(memory), number, events: std::cell::Cell::new(0) }
    }
}

/// One participant.
pub struct Handle {
    pub slots: RingCore<Heap>,
    pub number: u32,
    events: std::cell::Cell<u64>,
}

/// Items that a handle holds.
#[derive(Debug)]
pub struct Taken {
    pub claim: Claim,
    pub items: Vec<Item>,
}

impl Taken {
    /// Their numbers.
    pub fn ids(&self) -> Vec<u64> {
        self.items.iter().map(|item| item.id).collect()
    }

    fn spans(&self) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.items.iter().map(|item| item.span)
    }
}

impl Handle {
    fn shared(&self) -> &Shared {
        &self.slots.memory().shared
    }

    fn slot(&self, position: u64) -> usize {
        self.slots.codec().slot(position) as usize
    }

    /// Claims room for the first of `items`, and for as many more as fit; how many they are.
    pub fn claim(&self, items: &[Item]) -> Option<(Claim, usize)> {
        let most: u64 = items.iter().map(|item| item.span).sum();
        let most = most.min(self.slots.codec().max_run());
        let claim = self.slots.claim_room(self.number, items[0].span, most, |free| {
            fitting(items, free).iter().map(|item| item.span).sum()
        });
        let claim = claim.ok()?;
        Some((claim, fitting(items, self.slots.run(claim)).len()))
    }

    /// Writes items into a claim.
    pub fn write(&self, claim: Claim, items: &[Item]) {
        let mut position = claim.position;
        for item in items {
            if let Some(span) = self.shared().spans.get(self.slot(position)) {
                span.store(item.span, Relaxed);
            }
            for part in 0..item.span {
                let payload = &self.shared().payload[self.slot(position + part)];
                payload.guard.write(|| payload.item.store(item.id, Relaxed));
                payload.sent_at.store(position, Relaxed);
            }
            position += item.span;
        }
    }

    /// Publishes what was written into a claim.
    pub fn publish(&self, claim: Claim, items: &[Item]) -> bool {
        match items.iter().all(|item| item.span == 1) {
            true => self.slots.publish_singles(claim),
            false => self.slots.publish(claim, items.iter().map(|item| item.span)),
        }
    }

    /// Sends as many of the items as there is room for, and says how many.
    pub fn send(&self, items: &[Item]) -> usize {
        let Some((claim, count)) = self.claim(items) else { return 0 };
        self.write(claim, &items[..count]);
        self.publish(claim, &items[..count]);
        count
    }

    /// Takes up to `most` items at head.
    pub fn take(&self, most: usize) -> Result<Taken, NoItem> {
        let claim = self.slots.claim_items(self.number, most, self.slots.codec().max_run())?;
        Ok(self.read(claim))
    }

    /// Takes an item that was returned.
    pub fn take_returned(&self) -> Option<Taken> {
        self.slots.claim_returned(self.number, None).map(|claim| self.read(claim))
    }

    /// The same, searched for from a slot on.
    pub fn take_returned_from(&self, slot: u64) -> Option<Taken> {
        self.slots.claim_returned(self.number, Some(slot)).map(|claim| self.read(claim))
    }

    /// Whether items were returned since it was last asked.
    pub fn has_events(&self) -> bool {
        let events = self.slots.memory().returned().load(Acquire); // E9, as in `handles/receive/scan.rs`.
        self.events.replace(events) != events
    }

    /// Looks once as the library does, and acknowledges what it finds: behind head only if items were returned since
    /// its last look.
    pub fn look(&self) -> Vec<u64> {
        let returned = if self.has_events() { self.take_returned() } else { None };
        let taken = returned.or_else(|| self.take(1).ok());
        taken.map(|taken| self.acknowledge(taken)).unwrap_or_default()
    }

    fn read(&self, claim: Claim) -> Taken {
        let end = claim.position + self.slots.run(claim);
        let mut position = claim.position;
        let mut items = Vec::new();
        while position < end {
            let span = self.slots.memory().span(self.slot(position) as u64);
            assert!((1..=end - position).contains(&span), "a header says {span} slots");
            let parts: Vec<u64> = (0..span)
                .map(|part| {
                    let payload = &self.shared().payload[self.slot(position + part)];
                    payload.guard.read(|| payload.item.load(Relaxed))
                })
                .collect();
            assert!(parts.iter().all(|id| *id == parts[0]), "an item torn into {parts:?}");
            if !self.shared().names.is_empty() {
                let sent_at = self.shared().payload[self.slot(position)].sent_at.load(Relaxed);
                assert_eq!(self.slots.name_of(position, claim.word), sent_at, "the name of {}", parts[0]);
            }
            items.push(Item { id: parts[0], span });
            position += span;
        }
        Taken { claim, items }
    }

    /// Acknowledges all, and returns their numbers.
    pub fn acknowledge(&self, taken: Taken) -> Vec<u64> {
        match (taken.items.len(), taken.spans().all(|span| span == 1)) {
            (1, _) => self.slots.acknowledge_one(taken.claim),
            (_, true) => self.slots.acknowledge_singles(taken.claim),
            _ => self.slots.acknowledge_all(taken.claim, taken.spans()),
        }
        taken.ids()
    }

    /// Acknowledges one after the other.
    pub fn acknowledge_each(&self, taken: Taken) -> Vec<u64> {
        let mut rest = Some(taken.claim);
        for item in &taken.items {
            rest = self.slots.acknowledge_first(rest.expect("more items"), item.span);
        }
        assert!(rest.is_none());
        taken.ids()
    }

    /// Gives all back.
    pub fn give_back(&self, taken: Taken) {
        self.slots.give_back(taken.claim, taken.spans());
    }

    /// Takes once, at head or else behind it, and acknowledges; returns their numbers.
    pub fn consume(&self, most: usize) -> Vec<u64> {
        match self.take(most).ok().or_else(|| self.take_returned()) {
            Some(taken) => self.acknowledge(taken),
            None => Vec::new(),
        }
    }

    /// Says that the participant that may die is dead: the kernel lets go of its lock.
    pub fn let_go(&self) {
        let (_, gone) = self.shared().dead.as_ref().expect("some participant that may die");
        gone.fetch_add(1, AcqRel);
    }

    /// Its number is granted again, to this handle.
    pub fn comes_to_life(&self) {
        let (_, gone) = self.shared().dead.as_ref().expect("some participant that may die");
        gone.fetch_add(u64::MAX, AcqRel);
    }

    /// The bytes of a slot, without a claim.
    pub fn peek(&self, slot: u64) -> u64 {
        let payload = &self.shared().payload[slot as usize];
        payload.guard.read(|| payload.item.load(Relaxed))
    }
}

/// The first of `items` that fit into `free` slots.
fn fitting(items: &[Item], free: u64) -> &[Item] {
    let mut sum = 0;
    let fit = items.iter().take_while(|item| {
        sum += item.span;
        sum <= free
    });
    &items[..fit.count()]
}

/// What all processes together did.
#[derive(Default, Debug)]
pub struct Story {
    /// Items whose send returned.
    pub sent: Vec<u64>,
    /// Items that a thread was sending when it died.
    pub perhaps_sent: Vec<u64>,
    /// Items that were acknowledged.
    pub acknowledged: Vec<u64>,
    /// Items that a thread was acknowledging when it died.
    pub perhaps_acknowledged: Vec<u64>,
}

impl Ring {
    /// At the end of a story: recovers the dead, drains the ring, and checks that nothing was lost or doubled, and
    /// that all of the ring can be used.
    pub fn settle(&self, story: Story) {
        // In an exclusive ring a consumer that follows has the number of the one before it.
        let last = self.handle(9);
        if let Some((number, _)) = &self.shared.dead {
            // Of the living it changes nothing.
            last.slots.recover(*number);
        }
        if self.shared.exclusive {
            last.slots.resume_tail();
        }
        let mut delivered = story.acknowledged.clone();
        delivered.extend(last.drain());
        delivered.sort_unstable();
        for pair in delivered.windows(2) {
            assert_ne!(pair[0], pair[1], "an item came twice: {story:?}, {delivered:?}");
        }
        for id in &delivered {
            let known = story.sent.contains(id) || story.perhaps_sent.contains(id);
            assert!(known, "item {id} was never sent: {story:?}, {delivered:?}");
        }
        for id in &story.sent {
            let there = delivered.contains(id) || story.perhaps_acknowledged.contains(id);
            assert!(there, "item {id} is lost: {story:?}, {delivered:?}");
        }
        for id in 0..self.shared.capacity {
            assert_eq!(last.send(&[one(1000 + id)]), 1, "room for {id} of {}", self.shared.capacity);
        }
        assert_eq!(last.send(&[one(2000)]), 0, "more room than slots");
        assert_eq!(last.drain(), (1000..1000 + self.shared.capacity).collect::<Vec<_>>());
    }
}

impl Handle {
    /// Takes and acknowledges all there is.
    fn drain(&self) -> Vec<u64> {
        let mut ids = Vec::new();
        loop {
            let taken = self.take(1).ok().or_else(|| self.take_returned());
            match taken {
                Some(taken) => ids.extend(self.acknowledge(taken)),
                None => return ids,
            }
        }
    }
}
