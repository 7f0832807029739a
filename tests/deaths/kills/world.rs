//! A ring, its survivors, and an account of what was sent and what came.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::thread::JoinHandle;
use std::time::Duration;

use ringpipe::internal::layout::geometry::Geometry;
use ringpipe::internal::layout::head;
use ringpipe::internal::protocol::word::{Codec, REFRESH_PERIOD};
use ringpipe::{Activity, Consumer, Error, ItemKey, Producer, Ring, RingOptions, Role};

use crate::support::{TestName, wait_until};

/// Slots of the rings here: enough for batches, few enough to be full soon.
pub const CAPACITY: u64 = 8;
pub const SLOT_SIZE: u64 = 16;
/// Bytes of an item of one slot, and so of each item in a ring of fixed items.
pub const SHORT: usize = 12;
/// Nothing here takes a tenth of this; what does is stuck.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Items whose number has this bit are of three slots.
pub const WIDE: u64 = 1 << 20;
/// What moves the ring on, and is of no further interest.
const PASSING: u64 = 1 << 30;
/// The first of the items that fill the ring at the end.
const FILLING: u64 = 1 << 31;

pub fn payload(id: u64) -> Vec<u8> {
    let length = if id & WIDE == 0 { SHORT } else { 40 };
    let mut bytes = id.to_le_bytes().to_vec();
    bytes.extend((8..length as u8).map(|n| (id as u8).wrapping_add(n)));
    bytes
}

pub fn id_of(bytes: &[u8]) -> Option<u64> {
    let id = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    (payload(id) == bytes).then_some(id)
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    Lost,
    Doubled,
    Wedged,
    /// Not all of the ring can be used any more.
    Short,
}

#[derive(Debug)]
pub struct Trouble {
    pub wrong: Wrong,
    pub text: String,
}

pub type Outcome<T = ()> = Result<T, Trouble>;

pub fn trouble(wrong: Wrong, text: impl fmt::Display) -> Trouble {
    Trouble { wrong, text: text.to_string() }
}

/// What must become of an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It comes once, and this is its first delivery.
    First,
    /// It comes once, and says that it was delivered before.
    Again,
    /// It comes once.
    Once,
    /// It comes once or never.
    Maybe,
    /// It comes never, or once and says that it was delivered before.
    MaybeAgain,
    Never,
}

/// What an operation does to some items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Sends,
    Takes,
    Acknowledges,
    /// Takes, and acknowledges at once.
    Consumes,
    Returns,
    /// Holds from before, and keeps.
    Keeps,
    /// Drops from the ring to make room.
    Drops,
    /// Has sent before.
    Sent,
    /// Has acknowledged before.
    Acknowledged,
}

impl Effect {
    /// What becomes of an item if the operation returned with (`Some(true)`) or without having done this to
    /// it, or did not return.
    pub fn fate(self, done: Option<bool>) -> Fate {
        match (self, done) {
            (Effect::Sends, Some(true)) | (Effect::Sent, _) => Fate::Once,
            (Effect::Sends, Some(false)) | (Effect::Acknowledged, _) => Fate::Never,
            (Effect::Sends | Effect::Drops | Effect::Consumes, None) => Fate::Maybe,
            (Effect::Takes, Some(true)) => Fate::Again,
            (Effect::Takes, _) => Fate::Once,
            (Effect::Acknowledges, Some(true)) => Fate::Never,
            (Effect::Acknowledges, None) => Fate::MaybeAgain,
            (Effect::Acknowledges, Some(false)) | (Effect::Returns | Effect::Keeps, _) => Fate::Again,
            (Effect::Drops | Effect::Consumes, Some(true)) => Fate::Never,
            (Effect::Drops | Effect::Consumes, Some(false)) => Fate::Once,
        }
    }
}

/// What was sent, and what came.
#[derive(Default)]
pub struct Ledger {
    pub fates: BTreeMap<u64, Fate>,
    /// How many of the required items may be missing all the same: a process that died may have taken and
    /// acknowledged them.
    pub may_be_gone: usize,
    deliveries: Vec<(u64, u8)>,
    /// The key of each item that was seen, and the item of each key. In a ring of fixed items the key is the position at
    /// which the item was sent.
    keys: BTreeMap<u64, ItemKey>,
    owners: BTreeMap<ItemKey, u64>,
}

impl Ledger {
    /// An item was seen under a key: always the same one, which no other item has in the life of the ring.
    fn identify(&mut self, id: u64, key: ItemKey) -> Outcome {
        let first = *self.keys.entry(id).or_insert(key);
        let owner = *self.owners.entry(key).or_insert(id);
        if (first, owner) == (key, id) {
            return Ok(());
        }
        let text =
            format!("item {id} has the key {key}, not {first} as before; item {owner} has had that key");
        Err(trouble(Wrong::Doubled, text))
    }

    fn count(&self, id: u64) -> usize {
        self.deliveries.iter().filter(|(seen, _)| *seen == id).count()
    }

    /// An item that must come and has not.
    pub fn missing(&self) -> Option<u64> {
        let must = |fate| matches!(fate, Fate::First | Fate::Again | Fate::Once);
        let missing = self.fates.iter().filter(|(id, fate)| must(**fate) && self.count(**id) == 0);
        missing.map(|(id, _)| *id).nth(self.may_be_gone)
    }

    pub fn check(&self) -> Outcome {
        if let Some(id) = self.missing() {
            return Err(trouble(Wrong::Lost, format!("item {id} ({:?}) is lost", self.fates[&id])));
        }
        for (id, attempt) in &self.deliveries {
            let fate = self.fates.get(id).copied().unwrap_or(Fate::Never);
            let again = matches!(fate, Fate::Again | Fate::MaybeAgain);
            let wrong = self.count(*id) > 1
                || fate == Fate::Never
                || (again && *attempt < 2)
                || (fate == Fate::First && *attempt > 1);
            if wrong {
                let text = format!("item {id} ({fate:?}) came: {:?}", self.deliveries);
                return Err(trouble(Wrong::Doubled, text));
            }
        }
        Ok(())
    }
}

/// A handle with a guard of its own, in the hands of a participant that does nothing.
pub struct Held<H: 'static, G> {
    guard: Option<G>,
    handle: *mut H,
}

impl<H, G> Held<H, G> {
    pub fn new(handle: H, hold: impl FnOnce(&'static mut H) -> G) -> Self {
        let handle = Box::into_raw(Box::new(handle));
        // SAFETY: the box stays until `end` or drop, after the guard has gone, and has no other user.
        let guard = Some(hold(unsafe { &mut *handle }));
        Held { guard, handle }
    }

    pub fn end(mut self, how: impl FnOnce(G)) {
        self.guard.take().map(how);
    }
}

impl<H, G> Drop for Held<H, G> {
    fn drop(&mut self) {
        self.guard = None;
        // SAFETY: made by `new`, and its guard is gone.
        drop(unsafe { Box::from_raw(self.handle) });
    }
}

/// The bytes of a delivery, its attempt, and the item's key.
type Delivery = (Vec<u8>, u8, ItemKey);

/// A process that sleeps while the victim acts.
pub enum Sleeper {
    Consumer(JoinHandle<(Consumer, Result<Delivery, Error>)>),
    Producer(JoinHandle<(Producer, Result<(), Error>)>),
}

pub struct World {
    pub ring: Ring,
    pub producer: Option<Producer>,
    pub consumer: Option<Consumer>,
    pub reader: Option<Held<Consumer, ringpipe::Item<'static>>>,
    /// What the reader holds.
    held: Option<u64>,
    pub writer: Option<Held<Producer, ringpipe::Reservation<'static>>>,
    pub sleeper: Option<Sleeper>,
    pub ledger: Ledger,
    passing: u64,
    // Last: the name must be free when this is dropped.
    pub name: TestName,
}

/// Opens a ring of the experiments. No thread watches for deaths: the stepped processes, and the survivors
/// under test, find the dead by themselves.
pub fn open(name: &str) -> Ring {
    let mut ring = Ring::open(name).expect("the ring");
    ring.set_death_watch(false);
    ring
}

/// Carries a new ring on to the lap in which producers rewrite inner words, with words as old as such words get.
fn make_old(name: &TestName) {
    let (base, codec) = (REFRESH_PERIOD * 3 / 2, Codec::new(CAPACITY));
    // The same for all rings here: the table of participants takes a page.
    let words = Geometry::new(CAPACITY, SLOT_SIZE, 8, 1, 0).expect("a geometry").words;
    (0..CAPACITY).for_each(|slot| name.forge(words + slot * 8, codec.free(base - REFRESH_PERIOD).0));
    name.forge(head::TAIL, base);
    name.forge(head::HEAD, base);
}

impl World {
    /// A ring with survivors of both roles, but for the victim's in an exclusive ring.
    pub fn new(options: &RingOptions, victim: Option<Role>) -> World {
        let mut world = World::bare(options);
        let alone = world.ring.is_exclusive().then_some(victim).flatten();
        if alone != Some(Role::Producer) {
            world.attach_producer().expect("a place");
        }
        if alone != Some(Role::Consumer) {
            world.attach_consumer().expect("a place");
        }
        world
    }

    /// A ring with survivors of both roles, or, if it is an exclusive one, for victims of both.
    pub fn for_two(options: &RingOptions) -> World {
        let mut world = World::bare(options);
        if !world.ring.is_exclusive() {
            world.attach_producer().expect("a place");
            world.attach_consumer().expect("a place");
        }
        world
    }

    fn bare(options: &RingOptions) -> World {
        let name = TestName::new("kills");
        options.create(&name).expect("a ring");
        make_old(&name);
        let ring = open(&name);
        World {
            ring,
            producer: None,
            consumer: None,
            reader: None,
            held: None,
            writer: None,
            sleeper: None,
            ledger: Ledger::default(),
            passing: PASSING,
            name,
        }
    }

    /// Its bytes, as a file.
    pub fn segment(&self) -> File {
        File::open(self.name.path()).expect("the segment")
    }

    pub fn attach_producer(&mut self) -> Result<(), Error> {
        self.producer = Some(self.ring.producer()?);
        Ok(())
    }

    pub fn attach_consumer(&mut self) -> Result<(), Error> {
        let mut consumer = self.ring.consumer()?;
        consumer.set_follow(true);
        self.consumer = Some(consumer);
        Ok(())
    }

    /// Does something as a producer: the survivor, or one that comes and leaves.
    pub fn producing<T>(&mut self, work: impl FnOnce(&mut Producer) -> T) -> T {
        match &mut self.producer {
            Some(producer) => work(producer),
            None => work(&mut self.ring.producer().expect("a place")),
        }
    }

    fn consuming<T>(&mut self, work: impl FnOnce(&mut Consumer) -> T) -> T {
        match &mut self.consumer {
            Some(consumer) => work(consumer),
            None => work(&mut self.ring.consumer().expect("a place")),
        }
    }

    /// Sends, before the victim acts.
    pub fn send(&mut self, ids: &[u64]) {
        self.producing(|producer| {
            ids.iter().for_each(|id| producer.send_timeout(&payload(*id), PATIENCE).expect("room"));
        });
        self.ledger.fates.extend(ids.iter().map(|id| (*id, Fate::First)));
    }

    /// Sends these as a batch, in rows as long as there may be, before the victim acts.
    pub fn send_row(&mut self, ids: &[u64]) {
        let items: Vec<Vec<u8>> = ids.iter().map(|id| payload(*id)).collect();
        self.producing(|producer| {
            let mut rest = &items[..];
            while !rest.is_empty() {
                rest = &rest[producer.send_batch_timeout(rest, PATIENCE).expect("room")..];
            }
        });
        self.ledger.fates.extend(ids.iter().map(|id| (*id, Fate::First)));
    }

    /// Moves the ring on by this number of slots.
    pub fn advance(&mut self, slots: u64) {
        for _ in 0..slots {
            self.passing += 1;
            let bytes = payload(self.passing);
            self.producing(|producer| producer.send_timeout(&bytes, PATIENCE)).expect("room");
            let key = self.consuming(|consumer| {
                let item = consumer.recv_timeout(PATIENCE).expect("an item");
                assert_eq!(*item, bytes);
                let key = item.key();
                item.ack();
                key
            });
            self.identify(self.passing, key);
        }
    }

    /// Nothing has been killed yet: each item has a key of its own.
    fn identify(&mut self, id: u64, key: ItemKey) {
        self.ledger.identify(id, key).map_err(|trouble| trouble.text).expect("a key of its own");
    }

    /// Notes the keys of the items that wait, before the victim acts.
    pub fn identify_all(&mut self) {
        for item in self.ring.peek(CAPACITY as usize) {
            let id = id_of(&item.bytes).expect("a whole item");
            self.identify(id, ItemKey { producer: item.producer, sequence: item.sequence });
        }
    }

    /// Has an item given back: it waits behind head.
    pub fn give_back(&mut self, id: u64) {
        self.consuming(|consumer| {
            let item = consumer.recv_timeout(PATIENCE).expect("an item");
            assert_eq!(id_of(&item), Some(id));
            item.give_back();
        });
        self.ledger.fates.insert(id, Fate::Again);
    }

    /// Has the next item held by a living consumer of its own.
    pub fn hold_item(&mut self, id: u64) {
        self.identify_all();
        let consumer = self.ring.consumer().expect("a place");
        self.reader = Some(Held::new(consumer, |consumer| {
            let item = consumer.recv_timeout(PATIENCE).expect("an item");
            assert_eq!(id_of(&item), Some(id));
            item
        }));
        self.held = Some(id);
        self.ledger.fates.insert(id, Fate::Never);
    }

    /// Has the held item given back: it waits behind head, whatever producers have done to its slot.
    pub fn return_held(&mut self) {
        if let (Some(reader), Some(id)) = (self.reader.take(), self.held.take()) {
            reader.end(ringpipe::Item::give_back);
            self.ledger.fates.insert(id, Fate::Again);
        }
    }

    /// Has room reserved by a living producer of its own.
    pub fn hold_room(&mut self, id: u64) {
        let producer = self.ring.producer().expect("a place");
        self.writer = Some(Held::new(producer, |producer| {
            let bytes = payload(id);
            let mut reservation = producer.reserve_timeout(bytes.len() as u64, PATIENCE).expect("room");
            assert!(reservation.write_at(0, &bytes));
            reservation
        }));
        self.ledger.fates.insert(id, Fate::Once);
    }

    /// The processes that hold something finish. A fixed item comes again, to show its name.
    pub fn let_go(&mut self) {
        if self.ring.fixed().is_some() {
            self.return_held();
        }
        if let Some(reader) = self.reader.take() {
            reader.end(ringpipe::Item::ack);
        }
        if let Some(writer) = self.writer.take() {
            writer.end(ringpipe::Reservation::commit);
        }
    }

    /// Receives and acknowledges one item, or says why not.
    pub fn receive(&mut self, timeout: Duration) -> Outcome<Result<u64, Error>> {
        let consumer = self.consumer.as_mut().expect("attached");
        let item = match consumer.recv_timeout(timeout) {
            Ok(item) => item,
            Err(error) => return Ok(Err(error)),
        };
        let delivery = (item.to_vec(), item.attempt(), item.key());
        item.ack();
        self.note(delivery).map(Ok)
    }

    pub fn note(&mut self, (bytes, attempt, key): Delivery) -> Outcome<u64> {
        let id = id_of(&bytes).ok_or_else(|| trouble(Wrong::Lost, format!("a torn item came: {bytes:?}")))?;
        self.ledger.deliveries.push((id, attempt));
        self.ledger.identify(id, key)?;
        Ok(id)
    }

    /// Fills the ring to the last slot, and drains it.
    pub fn fill(&mut self) -> Outcome {
        let producer = self.producer.as_mut().expect("attached");
        for id in FILLING..FILLING + CAPACITY {
            let sent = producer.send_timeout(&payload(id), PATIENCE);
            sent.map_err(|error| trouble(Wrong::Short, format!("slot {}: {error}", id - FILLING)))?;
        }
        match producer.try_send(&payload(0)) {
            Err(Error::Full) => {}
            other => return Err(trouble(Wrong::Doubled, format!("more than the capacity: {other:?}"))),
        }
        for id in FILLING..FILLING + CAPACITY {
            self.expect(id)?;
        }
        if self.ring.fixed().is_some() {
            return self.half_in_rows();
        }
        // And a run as long as there may be.
        let bytes = vec![7; (CAPACITY / 2 * SLOT_SIZE) as usize];
        let sent = self.producer.as_mut().expect("attached").send_timeout(&bytes, PATIENCE);
        sent.map_err(|error| trouble(Wrong::Short, format!("half of the ring: {error}")))?;
        let consumer = self.consumer.as_mut().expect("attached");
        match consumer.recv_timeout(PATIENCE) {
            Ok(item) if *item == bytes => item.ack(),
            other => return Err(trouble(Wrong::Lost, format!("half of the ring: {other:?}"))),
        }
        Ok(())
    }

    /// Half of the ring, of fixed items: in one row, or in two around its end.
    fn half_in_rows(&mut self) -> Outcome {
        let mut ids: Vec<u64> = (FILLING + CAPACITY..).take(CAPACITY as usize / 2).collect();
        let packed: Vec<u8> = ids.iter().flat_map(|id| payload(*id)).collect();
        let producer = self.producer.as_mut().expect("attached");
        let mut rest = &packed[..];
        while !rest.is_empty() {
            let sent = producer.send_packed_timeout(rest, PATIENCE);
            let sent = sent.map_err(|error| trouble(Wrong::Short, format!("half of the ring: {error}")))?;
            rest = &rest[sent * SHORT..];
        }
        while !ids.is_empty() {
            let consumer = self.consumer.as_mut().expect("attached");
            let batch = consumer.recv_batch_timeout(ids.len(), PATIENCE);
            let batch = batch.map_err(|error| trouble(Wrong::Lost, format!("half of the ring: {error}")))?;
            let keys: Vec<ItemKey> = batch.iter().map(|item| item.key()).collect();
            let mut came = vec![0; ids.len() * SHORT];
            let copied = batch.copy_packed(&mut came);
            batch.ack();
            for (n, (id, key)) in ids.drain(..copied).zip(keys).enumerate() {
                let bytes = &came[n * SHORT..][..SHORT];
                if id_of(bytes) != Some(id) {
                    return Err(trouble(Wrong::Lost, format!("half of the ring: {bytes:?} for {id}")));
                }
                self.ledger.identify(id, key)?;
            }
        }
        Ok(())
    }

    fn expect(&mut self, id: u64) -> Outcome {
        let consumer = self.consumer.as_mut().expect("attached");
        match consumer.recv_timeout(PATIENCE) {
            Ok(item) if id_of(&item) == Some(id) && item.attempt() == 1 => {
                let key = item.key();
                item.ack();
                self.ledger.identify(id, key)
            }
            Ok(item) => {
                let text = format!("{:?}, attempt {}, for {id}", id_of(&item), item.attempt());
                Err(trouble(Wrong::Doubled, text))
            }
            Err(error) => Err(trouble(Wrong::Lost, format!("item {id}: {error}"))),
        }
    }

    /// Puts a survivor of this role to sleep.
    pub fn put_to_sleep(&mut self, role: Role, id: u64) {
        let activity = match role {
            Role::Consumer => Activity::WaitingForItems,
            Role::Producer => Activity::WaitingForRoom,
        };
        self.sleeper = Some(match role {
            Role::Consumer => {
                let mut consumer = self.consumer.take().expect("attached");
                Sleeper::Consumer(std::thread::spawn(move || {
                    let got = consumer.recv_timeout(PATIENCE).map(|item| {
                        let seen = (item.to_vec(), item.attempt(), item.key());
                        item.ack();
                        seen
                    });
                    (consumer, got)
                }))
            }
            Role::Producer => {
                self.ledger.fates.insert(id, Fate::Once);
                let mut producer = self.producer.take().expect("attached");
                Sleeper::Producer(std::thread::spawn(move || {
                    let sent = producer.send_timeout(&payload(id), PATIENCE);
                    (producer, sent)
                }))
            }
        });
        let ring = self.ring.clone();
        wait_until("the sleeper sleeps", || {
            ring.participants().iter().any(|one| one.role == role && one.activity == activity)
        });
        // It spins, then sleeps.
        std::thread::sleep(Duration::from_millis(2));
    }

    /// Waits for the sleeper, which must have got on.
    pub fn join_sleeper(&mut self) -> Outcome {
        match self.sleeper.take() {
            None => Ok(()),
            Some(Sleeper::Consumer(thread)) => {
                let (consumer, got) = thread.join().expect("it does not panic");
                self.consumer = Some(consumer);
                self.consumer.as_mut().expect("just put").set_follow(true);
                let delivery =
                    got.map_err(|error| trouble(Wrong::Wedged, format!("the sleeping consumer: {error}")))?;
                self.note(delivery).map(drop)
            }
            Some(Sleeper::Producer(thread)) => {
                let (producer, sent) = thread.join().expect("it does not panic");
                self.producer = Some(producer);
                sent.map_err(|error| trouble(Wrong::Wedged, format!("the sleeping producer: {error}")))
            }
        }
    }
}
