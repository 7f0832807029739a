//! A ring as it was observed: its slots and items at one moment, and the names of its participants.

use std::collections::HashMap;
use std::time::Instant;

use crate::{ParticipantInfo, Result, RingObserver, Role, Slot, SlotItem, SlotState, Snapshot};

/// The number of an item's bytes that are read.
const BEGINNING: u64 = 64;
/// The maximum number of slots that are observed one by one; a larger ring is shown as this many buckets of slots.
pub const MOST_SLOTS: u64 = 1024;
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

/// An item's identity: its producer's serial number and count.
pub type ItemId = (u32, u64);

/// A slot, and the item that begins in it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub slot: Slot,
    pub item: Option<SlotItem>,
}

impl Seen {
    /// The item, if there is one.
    pub fn id(&self) -> Option<ItemId> {
        self.item.as_ref().map(|item| (item.producer, item.sequence))
    }
}

/// The ring at one moment, as far as it stood still.
#[derive(Debug)]
pub struct Observation {
    pub at: Instant,
    pub snapshot: Snapshot,
    /// Each slot, if the ring is small enough.
    pub slots: Vec<Seen>,
    /// The slots in [`MOST_SLOTS`] buckets; in a small ring, each bucket is one slot.
    pub buckets: Vec<Census>,
    pub census: Census,
}

/// How often a ring is read again in which a slot belongs to a participant that came while it was read.
const AGAIN: usize = 3;

impl Observation {
    pub fn new(ring: &RingObserver) -> Result<Self> {
        let mut look = Self::read(ring)?;
        for _ in 0..AGAIN {
            if look.knows_all_owners() {
                break;
            }
            look = Self::read(ring)?;
        }
        Ok(look)
    }

    /// Reads the participants first, and then the slots.
    fn read(ring: &RingObserver) -> Result<Self> {
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
        Ok(Observation { at: Instant::now(), snapshot, slots, buckets, census })
    }

    fn knows_all_owners(&self) -> bool {
        let mut owners = self.slots.iter().filter_map(|seen| seen.slot.owner);
        owners.all(|owner| self.participant(owner).is_some())
    }

    /// The slots in which an item or a claim begins.
    pub fn firsts(&self) -> impl Iterator<Item = &Seen> {
        self.slots.iter().filter(|seen| seen.slot.part == 0)
    }

    /// The slot of a position.
    pub fn slot_of(&self, position: u64) -> u64 {
        position % self.snapshot.capacity
    }

    /// The slots that participant `number` is reading or writing. Empty in rings whose slots are not observed one
    /// by one.
    pub fn held_by(&self, number: u32) -> impl Iterator<Item = &Seen> {
        self.firsts().filter(move |seen| seen.slot.owner == Some(number))
    }

    /// The participant of this number.
    pub fn participant(&self, number: u32) -> Option<&ParticipantInfo> {
        self.snapshot.participants.iter().find(|one| one.number == number)
    }
}

/// A participant as sentences name it, even after it has left.
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

/// Items that a participant sent or received.
pub fn items_of(one: &ParticipantInfo) -> u64 {
    match one.role {
        Role::Producer => one.totals.sent,
        Role::Consumer => one.totals.received,
    }
}

/// A watched ring: its latest observation, and the participants since watching began.
#[derive(Debug)]
pub struct Watched {
    pub ring: RingObserver,
    pub last: Observation,
    /// Participants by serial number.
    pub known: HashMap<u32, Who>,
}

impl Watched {
    /// Observes the ring for the first time.
    ///
    /// # Errors
    /// As [`RingObserver::snapshot`].
    pub fn new(ring: RingObserver) -> Result<Self> {
        let last = Observation::new(&ring)?;
        let mut watched = Watched { ring, last, known: HashMap::new() };
        watched.get_to_know();
        Ok(watched)
    }

    /// Observes the ring again, and returns the observation before.
    ///
    /// # Errors
    /// As [`RingObserver::snapshot`].
    pub fn observe(&mut self) -> Result<Observation> {
        let before = std::mem::replace(&mut self.last, Observation::new(&self.ring)?);
        self.get_to_know();
        Ok(before)
    }

    fn get_to_know(&mut self) {
        for one in &self.last.snapshot.participants {
            self.known.insert(one.serial, Who { role: one.role, pid: one.pid });
        }
    }
}
