//! What was seen of a ring: one look, those before it as far as they matter, and what came of it.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::changes::{self, Tally};
use crate::sys::segment::NameState;
use crate::{Liveness, ParticipantInfo, Result, Ring, Role, Slot, SlotItem, SlotState, Snapshot};

/// Bytes of an item that are looked at.
const BEGINNING: u64 = 64;
/// Slots that are looked at one by one; a larger ring is seen as this many buckets of slots.
pub const MOST_SLOTS: u64 = 1024;
/// The rates are of so long a time.
const RATE_SPAN: Duration = Duration::from_secs(4);
/// The counters are kept no more often than this.
const RATE_STEP: Duration = Duration::from_millis(100);
/// Sentences that are kept.
const MOST_EVENTS: usize = 5_000;
/// All states, in the order in which they are counted and explained.
pub const STATES: [SlotState; 8] = [
    SlotState::Free,
    SlotState::Writing,
    SlotState::Ready,
    SlotState::Reading,
    SlotState::Redeliver,
    SlotState::Late,
    SlotState::Abandoned,
    SlotState::Damaged,
];

/// Slots in each of the [`STATES`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census([u64; STATES.len()]);

impl Census {
    pub fn add(&mut self, state: SlotState, slots: u64) {
        self.0[state as usize] += slots;
    }

    pub fn of(&self, state: SlotState) -> u64 {
        self.0[state as usize]
    }

    pub fn join(&mut self, other: &Census) {
        STATES.iter().for_each(|&state| self.add(state, other.of(state)));
    }

    pub fn used(&self) -> u64 {
        self.0.iter().sum::<u64>() - self.of(SlotState::Free)
    }
}

/// A slot, and the item that begins in it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub slot: Slot,
    pub item: Option<SlotItem>,
}

impl Seen {
    /// Producer and count of the item: what it is called by, wherever it is.
    pub fn id(&self) -> Option<(u32, u64)> {
        self.item.as_ref().map(|item| (item.producer, item.sequence))
    }
}

/// The ring at one moment, as far as it stood still.
#[derive(Debug)]
pub struct Look {
    pub at: Instant,
    pub snapshot: Snapshot,
    /// Each slot, in rings that are small enough.
    pub slots: Vec<Seen>,
    /// As many slots in each as make [`MOST_SLOTS`] of them: one, in a small ring.
    pub buckets: Vec<Census>,
    pub census: Census,
}

impl Look {
    fn new(ring: &Ring) -> Result<Self> {
        let snapshot = ring.snapshot()?;
        let in_bucket = snapshot.capacity.div_ceil(MOST_SLOTS);
        let (mut slots, mut buckets, mut census) = (Vec::new(), Vec::new(), Census::default());
        for slot in ring.slots() {
            if slot.number % in_bucket == 0 {
                buckets.push(Census::default());
            }
            buckets.iter_mut().last().into_iter().chain([&mut census]).for_each(|one| one.add(slot.state, 1));
            if in_bucket == 1 {
                slots.push(Seen { item: ring.slot_item(&slot, BEGINNING), slot });
            }
        }
        Ok(Look { at: Instant::now(), snapshot, slots, buckets, census })
    }

    /// The slots in which something begins.
    pub fn firsts(&self) -> impl Iterator<Item = &Seen> {
        self.slots.iter().filter(|seen| seen.slot.part == 0)
    }

    /// The slot of a position.
    pub fn slot_of(&self, position: u64) -> u64 {
        position % self.snapshot.capacity
    }

    /// The participant of this number.
    pub fn participant(&self, number: u32) -> Option<&ParticipantInfo> {
        self.snapshot.participants.iter().find(|one| one.number == number)
    }
}

/// A participant as sentences name it, also after it has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who {
    pub role: Role,
    pub pid: u32,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.role, self.pid)
    }
}

/// How a sentence is meant, and thereby its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Somebody comes, leaves, or waits.
    Note,
    /// A producer writes.
    Write,
    /// An item is ready.
    Ready,
    /// A consumer takes.
    Take,
    /// An item is done, a slot is free.
    Done,
    /// Somebody died, an item comes again.
    Alarm,
}

/// A sentence about what changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Since watching began.
    pub at: Duration,
    pub mood: Mood,
    pub text: String,
}

/// Items in and out per second: of all, and of each participant by its serial number.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    pub sent: f64,
    pub received: f64,
    pub of: HashMap<u32, f64>,
}

/// Counters at some moment.
#[derive(Debug)]
struct Counted {
    at: Instant,
    sent: u64,
    received: u64,
    of: Vec<(u32, u64)>,
}

impl Counted {
    fn new(look: &Look) -> Self {
        let count = |one: &ParticipantInfo| (one.serial, items_of(one));
        Counted {
            at: look.at,
            sent: look.snapshot.totals.sent,
            received: look.snapshot.totals.received,
            of: look.snapshot.participants.iter().map(count).collect(),
        }
    }
}

/// Items that a participant sent or received.
pub fn items_of(one: &ParticipantInfo) -> u64 {
    match one.role {
        Role::Producer => one.totals.sent,
        Role::Consumer => one.totals.received,
    }
}

/// All that is known of a ring that is watched.
#[derive(Debug)]
pub struct Model {
    pub ring: Ring,
    pub look: Look,
    pub events: VecDeque<Event>,
    /// Sentences so far, those included that are not kept any more.
    pub told: u64,
    pub looks: u64,
    is_gone: bool,
    pub began: Instant,
    /// By serial number.
    pub known: HashMap<u32, Who>,
    history: VecDeque<Counted>,
    tally: Tally,
}

impl Model {
    /// The first look.
    ///
    /// # Errors
    /// As [`Ring::snapshot`].
    pub fn new(ring: Ring) -> Result<Self> {
        let look = Look::new(&ring)?;
        let began = look.at;
        let history = VecDeque::from([Counted::new(&look)]);
        let (known, tally) = (HashMap::new(), Tally::new(&look));
        let events = VecDeque::new();
        let mut model =
            Model { ring, look, events, told: 0, looks: 1, is_gone: false, began, known, history, tally };
        model.get_to_know();
        for (mood, text) in changes::at_first(&model) {
            model.tell(mood, text);
        }
        Ok(model)
    }

    /// Another look, and what changed since the last one. False: it was the last, the ring is gone.
    ///
    /// # Errors
    /// As [`Ring::snapshot`].
    pub fn look_again(&mut self) -> Result<bool> {
        // Asked before the look, so that what came before the end is told.
        let gone = self.why_gone()?;
        let before = std::mem::replace(&mut self.look, Look::new(&self.ring)?);
        self.looks += 1;
        self.get_to_know();
        let mut tally = std::mem::take(&mut self.tally);
        for (mood, text) in changes::between(&before, self, &mut tally) {
            self.tell(mood, text);
        }
        self.tally = tally;
        self.count();
        if let Some(why) = gone {
            self.tell(Mood::Alarm, why.into());
            self.is_gone = true;
        }
        Ok(gone.is_none())
    }

    fn why_gone(&self) -> Result<Option<&'static str>> {
        Ok(match self.ring.name_state()? {
            NameState::Replaced => Some("the ring was removed, and another one has its name"),
            NameState::Current if !self.ring.is_over() => None,
            _ => Some("the ring was removed"),
        })
    }

    /// `open`, `closed`, or `removed`.
    pub fn state(&self) -> &'static str {
        match (self.is_gone, self.look.snapshot.closed) {
            (true, _) => "removed",
            (false, true) => "closed",
            (false, false) => "open",
        }
    }

    fn get_to_know(&mut self) {
        for one in &self.look.snapshot.participants {
            self.known.insert(one.serial, Who { role: one.role, pid: one.pid });
        }
    }

    /// Adds a sentence.
    pub fn tell(&mut self, mood: Mood, text: String) {
        if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Event { at: self.look.at - self.began, mood, text });
        self.told += 1;
    }

    /// The sentences after the first `known` of all that were told, as far as they are kept.
    pub fn events_after(&self, known: u64) -> impl Iterator<Item = &Event> {
        let new = (self.told - known).min(self.events.len() as u64) as usize;
        self.events.iter().skip(self.events.len() - new)
    }

    fn count(&mut self) {
        let now = self.look.at;
        if self.history.back().is_none_or(|last| now - last.at >= RATE_STEP) {
            self.history.push_back(Counted::new(&self.look));
        }
        // One that is older than the span is kept: the rates begin there.
        while self.history.get(1).is_some_and(|second| now - second.at >= RATE_SPAN) {
            self.history.pop_front();
        }
    }

    /// The rates of the last seconds; none after the first look.
    pub fn rates(&self) -> Option<Rates> {
        let first = self.history.front()?;
        let time = Some((self.look.at - first.at).as_secs_f64()).filter(|time| *time > 0.0)?;
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / time;
        let before = |serial: u32| first.of.iter().find(|(one, _)| *one == serial).map_or(0, |(_, n)| *n);
        let totals = &self.look.snapshot.totals;
        let participants = self.look.snapshot.participants.iter();
        Some(Rates {
            sent: rate(totals.sent, first.sent),
            received: rate(totals.received, first.received),
            of: participants.map(|one| (one.serial, rate(items_of(one), before(one.serial)))).collect(),
        })
    }

    /// Whether there is just one living participant of a role, and which.
    pub fn only(&self, role: Role) -> Option<Who> {
        let alive = |one: &&ParticipantInfo| one.role == role && one.liveness != Liveness::Dead;
        let mut all = self.look.snapshot.participants.iter().filter(alive);
        let one = all.next().filter(|_| all.next().is_none())?;
        self.known.get(&one.serial).copied()
    }
}
