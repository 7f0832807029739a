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
    fn new(ring: &RingObserver, slot: Slot) -> Self {
        Seen { item: ring.slot_item(&slot, BEGINNING), slot }
    }

    /// The item, if there is one.
    pub fn id(&self) -> Option<ItemId> {
        self.item.as_ref().map(|item| (item.producer, item.sequence))
    }

    /// Whether an item begins there.
    pub fn has_item(&self) -> bool {
        use SlotState::{Reading, Ready, Redeliver};
        self.slot.part == 0 && matches!(self.slot.state, Ready | Reading | Redeliver)
    }

    /// Whether an item begins there which could not be read: the slot changed meanwhile.
    pub fn is_unread(&self) -> bool {
        self.has_item() && self.item.is_none()
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

/// How often a ring is read again in which a slot belongs to a participant that came while it was read, and how
/// often slots are whose item could not be read.
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
        let mut slots = Vec::new();
        if in_bucket == 1 {
            slots.extend(ring.slots().map(|slot| Seen::new(ring, slot)));
            read_again(&mut slots, ring);
        }
        let mut buckets = vec![Census::default(); snapshot.capacity.div_ceil(in_bucket) as usize];
        let mut count = |slot: &Slot| buckets[(slot.number / in_bucket) as usize].add(slot.state, 1);
        match in_bucket {
            1 => slots.iter().for_each(|seen| count(&seen.slot)),
            _ => ring.slots().for_each(|slot| count(&slot)),
        }
        let mut census = Census::default();
        buckets.iter().for_each(|bucket| census.join(bucket));
        Ok(Observation { at: Instant::now(), snapshot, slots, buckets, census })
    }

    /// Completes this observation by the one before it: an item that could not be read now is the one that was
    /// seen in the same slot at the same position. A slot holds one item at each position.
    fn remember(&mut self, before: &Observation) {
        for (now, before) in self.slots.iter_mut().zip(&before.slots) {
            if now.is_unread() && before.has_item() && now.slot.position == before.slot.position {
                now.item = before.item.clone();
            }
        }
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

/// Reads slots again whose item could not be read: it was taken, acknowledged or given back at that moment.
fn read_again(slots: &mut [Seen], ring: &RingObserver) {
    for _ in 0..AGAIN {
        if !slots.iter().any(Seen::is_unread) {
            return;
        }
        let mut replaces = false;
        for (seen, slot) in slots.iter_mut().zip(ring.slots()) {
            // To where both an old and a new item, or claim, begins: no slot is left inside of one that is gone.
            replaces = seen.is_unread() || replaces && (seen.slot.part > 0 || slot.part > 0);
            if replaces {
                *seen = Seen::new(ring, slot);
            }
        }
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
        let look = Observation::new(&self.ring)?;
        Ok(self.go_on_to(look))
    }

    /// Makes this the latest observation, and returns the one before.
    fn go_on_to(&mut self, mut look: Observation) -> Observation {
        look.remember(&self.last);
        let before = std::mem::replace(&mut self.last, look);
        self.get_to_know();
        before
    }

    fn get_to_know(&mut self) {
        for one in &self.last.snapshot.participants {
            self.known.insert(one.serial, Who { role: one.role, pid: one.pid });
        }
    }
}

#[cfg(test)]
mod tests;
