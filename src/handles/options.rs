//! How a ring is made.

use super::Ring;
use crate::layout::discipline::Discipline;
use crate::layout::geometry::{CAPACITY_RANGE, FLAG_EPHEMERAL, FLAG_EXCLUSIVE, FLAG_TIMESTAMPS, Geometry};
use crate::sys::name::RingName;
use crate::{Error, Result};

/// Slots of a ring when nothing else is asked for.
pub const DEFAULT_CAPACITY: u64 = 8192;
/// Bytes of payload in a slot when nothing else is asked for: a short line.
pub const DEFAULT_SLOT_SIZE: u64 = 64;

/// The parameters of a ring to be made.
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
    prefault: bool,
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
            prefault: false,
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

    /// Bytes of payload in a slot, 1 to 2^30, rounded up to a multiple of 8. Longer items span several.
    pub fn slot_size(mut self, bytes: u64) -> Self {
        self.slot_size = bytes;
        self
    }

    /// Permission bits of the segment: 0600 unless set. Whoever may write the segment may take part.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Most producers and consumers at a time, 2 to 1024.
    pub fn participants(mut self, most: u32) -> Self {
        self.participants = most;
        self
    }

    /// No end of stream before so many producers have attached: 1 unless set.
    pub fn expected_producers(mut self, producers: u32) -> Self {
        self.expected_producers = producers;
        self
    }

    /// One producer and one consumer have the ring to themselves, which is faster; a second of either is
    /// refused, and a dead one's successor goes on where it stopped.
    pub fn exclusive(mut self, exclusive: bool) -> Self {
        self.set(FLAG_EXCLUSIVE, exclusive);
        self
    }

    /// Items carry the time at which they were sent, and held items since when; costs a clock reading
    /// for each send and receive.
    pub fn timestamps(mut self, timestamps: bool) -> Self {
        self.set(FLAG_TIMESTAMPS, timestamps);
        self
    }

    /// The last one out removes the ring once it is drained and ended and a consumer has been there.
    pub fn ephemeral(mut self, ephemeral: bool) -> Self {
        self.set(FLAG_EPHEMERAL, ephemeral);
        self
    }

    /// How the two sides wait for each other: [`Discipline::Adaptive`] unless set. All who attach follow it.
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

    /// Touches all of the ring's memory when attaching, so that no page fault comes later.
    pub fn prefault(mut self, prefault: bool) -> Self {
        self.prefault = prefault;
        self
    }

    fn set(&mut self, flag: u64, on: bool) {
        self.flags = if on { self.flags | flag } else { self.flags & !flag };
    }

    /// The capacity that the ring will really have.
    pub fn rounded_capacity(&self) -> u64 {
        match CAPACITY_RANGE.contains(&self.capacity) {
            true => self.capacity.next_power_of_two(),
            false => self.capacity,
        }
    }

    /// Bytes of shared memory that the ring will take.
    ///
    /// # Errors
    /// [`Error::Options`] if no ring can be made with these options.
    pub fn size(&self) -> Result<u64> {
        Ok(self.geometry()?.size)
    }

    pub(super) fn geometry(&self) -> Result<Geometry> {
        let slot_size = self.slot_size.checked_next_multiple_of(8).unwrap_or(u64::MAX);
        let exclusive = self.flags & FLAG_EXCLUSIVE != 0;
        let participants = if exclusive { 2 } else { self.participants };
        let (capacity, expected) = (self.rounded_capacity(), self.expected_producers);
        Geometry::new(capacity, slot_size, participants, expected, self.flags)?
            .with_discipline(self.discipline)
    }

    /// Makes a ring of this name.
    ///
    /// # Errors
    /// [`Error::Name`] and [`Error::Options`] for a bad name or option; [`Error::Exists`] when the name is
    /// taken; [`Error::NoSpace`] when the memory cannot be reserved, and then nothing is left behind;
    /// [`Error::NotFound`] if somebody removed the new ring before its maker had it.
    pub fn create(&self, name: &str) -> Result<Ring> {
        let name = RingName::parse(name)?;
        let ring = Ring::create(&name, &self.geometry()?, self.mode);
        self.prefaulted(match ring {
            // What a participant left that was killed just before it removed the ring is no ring.
            Err(Error::Exists(_)) if Ring::clear_retired(&name)? => {
                Ring::create(&name, &self.geometry()?, self.mode)?
            }
            result => result?,
        })
    }

    /// Opens the ring of this name, with whatever options it was made.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Incompatible`] and [`Error::Damaged`] for what is not a ring.
    pub fn open(&self, name: &str) -> Result<Ring> {
        self.prefaulted(Ring::open(name)?)
    }

    /// Opens the ring of this name, or makes it. Of several that do so at once, one makes it.
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
                // Somebody made it, or removed it, in between.
                Err(Error::Exists(_) | Error::NotFound(_)) => {}
                result => return result,
            }
        }
    }

    fn prefaulted(&self, ring: Ring) -> Result<Ring> {
        if self.prefault {
            // Where the kernel cannot, pages come when they are touched.
            let _ = ring.view().segment().prefault();
        }
        Ok(ring)
    }
}
