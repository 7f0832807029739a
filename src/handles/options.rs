//! The options of a new ring, and how to create or open one with them.

use super::Ring;
use crate::layout::discipline::Discipline;
use crate::layout::geometry::{CAPACITY_RANGE, FLAG_EPHEMERAL, FLAG_EXCLUSIVE, FLAG_TIMESTAMPS, Geometry};
use crate::sys::name::RingName;
use crate::sys::owners::Owners;
use crate::{Error, Result};

/// The default number of slots.
pub const DEFAULT_CAPACITY: u64 = 8192;
/// The default number of bytes of payload in a slot: a short line.
pub const DEFAULT_SLOT_SIZE: u64 = 64;

/// The parameters of a new ring.
///
/// ```
/// # let name = format!("doc-options-{}", std::process::id());
/// use ringpipe::RingOptions;
/// let ring = RingOptions::new().capacity(1000).slot_size(256).create(&name)?;
/// assert_eq!(ring.capacity(), 1024); // rounded up to a power of two
/// assert_eq!(ring.max_item(), 512 * 256);
/// # ring.remove()?;
/// # Ok::<(), ringpipe::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RingOptions {
    capacity: u64,
    slot_size: u64,
    mode: u32,
    participants: u32,
    expected_producers: u32,
    flags: u64,
    discipline: Discipline,
    fixed: u64,
    prefault: bool,
    owners: Owners,
}

impl Ring {
    /// Options for a new ring.
    pub fn options() -> RingOptions {
        RingOptions::new()
    }
}

impl Default for RingOptions {
    fn default() -> Self {
        RingOptions {
            capacity: DEFAULT_CAPACITY,
            slot_size: DEFAULT_SLOT_SIZE,
            mode: 0o600,
            participants: 1024,
            expected_producers: 1,
            flags: 0,
            discipline: Discipline::default(),
            fixed: 0,
            prefault: false,
            owners: Owners::Own,
        }
    }
}

impl RingOptions {
    /// 8192 slots of 64 bytes for up to 1024 participants, mode 0600.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of slots, 2 to 2^24, rounded up to a power of two. An item takes at least one slot, and at
    /// most half of them.
    pub fn capacity(mut self, slots: u64) -> Self {
        self.capacity = slots;
        self
    }

    /// Bytes of payload in a slot, 1 to 2^30, rounded up to a multiple of 8. Longer items span several slots.
    pub fn slot_size(mut self, bytes: u64) -> Self {
        self.slot_size = bytes;
        self
    }

    /// Makes a ring of fixed items: each has exactly `bytes` bytes, 1 to 2^30, and one slot. It has no headers, so that
    /// short items take less memory and less time: items of 8 bytes, 64 in a call, were measured at 2.7 times the rate with
    /// [`Producer::send_packed`](crate::Producer::send_packed) (docs/PERFORMANCE.md). Replaces
    /// [`slot_size`](Self::slot_size). 0 makes an ordinary ring again.
    ///
    /// Its items have no record of their producers: [`Item::producer`](crate::Item::producer) is
    /// [`ItemKey::NO_PRODUCER`](crate::ItemKey::NO_PRODUCER), and [`Item::sequence`](crate::Item::sequence) is the position at
    /// which the item was sent, which no other item of the ring ever has. [`Producer::send_as`](crate::Producer::send_as) and
    /// [`timestamps`](Self::timestamps) are not possible. Sending an item of another length fails with
    /// [`Error::Mismatch`].
    ///
    /// ```
    /// # let name = format!("doc-fixed-{}", std::process::id());
    /// use ringpipe::{Error, RingOptions};
    /// let ring = RingOptions::new().fixed(8).create(&name)?;
    /// let mut producer = ring.producer()?;
    /// producer.send(&7_u64.to_le_bytes())?;
    /// assert!(matches!(producer.send(b"five!"), Err(Error::Mismatch { len: 5, expected: 8 })));
    /// let mut consumer = ring.consumer()?;
    /// let item = consumer.recv()?;
    /// assert_eq!((&*item, item.sequence()), (&7_u64.to_le_bytes()[..], 0));
    /// item.ack();
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    pub fn fixed(mut self, bytes: u64) -> Self {
        self.fixed = bytes;
        self
    }

    /// Makes a ring of fixed items of the size of a `T`, for [`Producer::typed`](crate::Producer::typed): see
    /// [`fixed`](Self::fixed).
    ///
    /// ```
    /// # let name = format!("doc-typed-ring-{}", std::process::id());
    /// use ringpipe::RingOptions;
    /// let ring = RingOptions::new().typed::<[f32; 3]>().create(&name)?;
    /// assert_eq!(ring.fixed(), Some(12));
    /// let mut producer = ring.producer()?.typed::<[f32; 3]>();
    /// producer.send(&[0.5, 1.0, -2.0])?;
    /// let mut consumer = ring.consumer()?.typed::<[f32; 3]>();
    /// let point = consumer.recv()?;
    /// assert_eq!(point[2], -2.0);
    /// point.ack();
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    pub fn typed<T>(self) -> Self {
        self.fixed(size_of::<T>() as u64)
    }

    /// Permission bits of the segment: 0600 by default. A process needs write permission to take part.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// The maximum number of producers and consumers at a time, 2 to 1024.
    pub fn participants(mut self, most: u32) -> Self {
        self.participants = most;
        self
    }

    /// The stream does not end before this many producers have attached: 1 by default.
    pub fn expected_producers(mut self, producers: u32) -> Self {
        self.expected_producers = producers;
        self
    }

    /// Makes the ring exclusive: only one producer and one consumer use it, which is faster. A second of either is
    /// refused. The successor of a dead one continues where it stopped.
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.set(FLAG_EXCLUSIVE, exclusive);
        self
    }

    /// Records when each item was sent and, while it is held, when it was received. Costs a clock reading for
    /// each send and receive.
    pub fn timestamps(mut self, timestamps: bool) -> Self {
        self.set(FLAG_TIMESTAMPS, timestamps);
        self
    }

    /// The last participant to leave removes the ring, once it is drained and ended and a consumer has attached.
    pub fn ephemeral(mut self, ephemeral: bool) -> Self {
        self.set(FLAG_EPHEMERAL, ephemeral);
        self
    }

    /// How producers and consumers wait for each other: [`Discipline::Adaptive`] by default. All participants
    /// follow it.
    ///
    /// ```
    /// # let name = format!("doc-sync-{}", std::process::id());
    /// use ringpipe::{Discipline, RingOptions};
    /// let ring = RingOptions::new().sync(Discipline::Semaphore).create(&name)?;
    /// assert_eq!(ring.discipline(), Discipline::Semaphore);
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    pub fn sync(mut self, discipline: Discipline) -> Self {
        self.discipline = discipline;
        self
    }

    /// Touches all of the ring's memory when attaching, so that no page faults come later.
    pub fn prefault(mut self, prefault: bool) -> Self {
        self.prefault = prefault;
        self
    }

    /// The owners whose rings are opened: by default this process's user and root. A process that sends into
    /// a ring, or acts on received items, trusts the ring's owner.
    ///
    /// ```
    /// # let name = format!("doc-owners-{}", std::process::id());
    /// # let ring = ringpipe::RingOptions::new().mode(0o660).create(&name)?;
    /// use ringpipe::{Owners, RingOptions};
    /// let shared = RingOptions::new().owners(Owners::Any).open(&name)?;
    /// # ring.remove()?;
    /// # Ok::<(), ringpipe::Error>(())
    /// ```
    pub fn owners(mut self, owners: Owners) -> Self {
        self.owners = owners;
        self
    }

    fn set(&mut self, flag: u64, on: bool) {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
    }

    /// The capacity that the ring will have after rounding.
    pub fn rounded_capacity(&self) -> u64 {
        match CAPACITY_RANGE.contains(&self.capacity) {
            true => self.capacity.next_power_of_two(),
            false => self.capacity,
        }
    }

    /// Bytes of shared memory that the ring will use.
    ///
    /// # Errors
    /// [`Error::Options`] if no ring can be created with these options.
    pub fn size(&self) -> Result<u64> {
        Ok(self.geometry()?.size)
    }

    pub(super) fn geometry(&self) -> Result<Geometry> {
        let slot_size = if self.fixed > 0 { self.fixed } else { self.slot_size };
        let slot_size = slot_size.checked_next_multiple_of(8).unwrap_or(u64::MAX);
        let exclusive = self.flags & FLAG_EXCLUSIVE != 0;
        let participants = if exclusive { 2 } else { self.participants };
        let (capacity, expected) = (self.rounded_capacity(), self.expected_producers);
        Geometry::new(capacity, slot_size, participants, expected, self.flags)?
            .with_discipline(self.discipline)?
            .with_fixed(self.fixed)
    }

    /// Creates a ring of this name.
    ///
    /// # Errors
    /// [`Error::Name`] and [`Error::Options`] for a bad name or option; [`Error::Exists`] when the name is taken;
    /// [`Error::NoSpace`] when the memory cannot be reserved, and then nothing is left behind; [`Error::NotFound`]
    /// if another process removed the new ring before this call had opened it.
    pub fn create(&self, name: &str) -> Result<Ring> {
        let name = RingName::parse(name)?;
        let ring = Ring::create(&name, &self.geometry()?, self.mode);
        self.prefaulted(match ring {
            // The name may be that of a retired ring, whose last participant was killed just before it removed the
            // name.
            Err(Error::Exists(_)) if Ring::clear_retired(&name, self.owners)? => {
                Ring::create(&name, &self.geometry()?, self.mode)?
            }
            result => result?,
        })
    }

    /// Opens the ring of this name. The ring keeps the parameters of its creation; only `owners` and `prefault`
    /// apply.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Untrusted`] for a ring of a user that [`owners`](Self::owners) do not include;
    /// [`Error::Incompatible`] and [`Error::Damaged`] for what is not a ring.
    pub fn open(&self, name: &str) -> Result<Ring> {
        self.prefaulted(Ring::open_of(name, self.owners)?)
    }

    /// As [`Ring::look`], for a ring of an owner that [`owners`](Self::owners) accept.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn look(&self, name: &RingName) -> Result<Ring> {
        self.prefaulted(Ring::look_of(name, self.owners)?)
    }

    /// Opens the ring of this name, or creates it. Of several processes that do this at once, one creates it.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`open`](Self::open).
    pub fn open_or_create(&self, name: &str) -> Result<Ring> {
        loop {
            match self.open(name) {
                Err(Error::NotFound(_)) => {}
                result => return result,
            }
            match self.create(name) {
                // Another process created it, or removed it, in between.
                Err(Error::Exists(_) | Error::NotFound(_)) => {}
                result => return result,
            }
        }
    }

    fn prefaulted(&self, ring: Ring) -> Result<Ring> {
        if self.prefault {
            // Where the kernel does not support this, page faults come at the first accesses.
            let _ = ring.mapping().segment().prefault();
        }
        Ok(ring)
    }
}
