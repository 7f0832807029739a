//! What a segment says of itself in its first bytes: written once before it has a name, copied out
//! and checked once by whoever attaches, never read again.

use bytemuck::{Pod, Zeroable};

use super::discipline::Discipline;
use crate::sys::abi::Abi;
use crate::{Error, Result};

/// First eight bytes of a ring.
pub const MAGIC: u64 = u64::from_le_bytes(*b"RINGPIPE");
/// Version of the layout; another one is refused.
pub const VERSION: u32 = 1;

/// Bytes of the fixed part before the participants.
pub const HEAD_BYTES: u64 = 4096;
/// Bytes of one participant's entry.
pub const PARTICIPANT_BYTES: u64 = 128;
/// Least and most slots.
pub const CAPACITY_RANGE: std::ops::RangeInclusive<u64> = 2..=1 << 24;
/// Most bytes in a slot.
pub const MAX_SLOT_BYTES: u64 = 1 << 30;
/// Most bytes in an item: its length is kept in 32 bits.
pub const MAX_ITEM_BYTES: u64 = (1 << 32) - 1;

const PAGE: u64 = 4096;

/// One producer and one consumer have the ring to themselves.
pub const FLAG_EXCLUSIVE: u64 = 1;
/// Items carry the time at which they were sent.
pub const FLAG_TIMESTAMPS: u64 = 2;
/// The last one out removes the ring once it is drained and ended.
pub const FLAG_EPHEMERAL: u64 = 4;
const ALL_FLAGS: u64 = FLAG_EXCLUSIVE | FLAG_TIMESTAMPS | FLAG_EPHEMERAL;

/// The first bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Preamble {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// Libc, sizes and byte order: see `sys::abi`.
    pub abi: u32,
    /// Random, tells this ring from any other that had or will have its name.
    pub id: [u8; 16],
    /// Slots.
    pub capacity: u64,
    /// Bytes of payload in a slot.
    pub slot_size: u64,
    /// FLAG_ constants.
    pub flags: u64,
    /// Entries in the participants' table.
    pub participants: u32,
    /// How waiting is done: the number of a [`Discipline`].
    pub sync: u32,
    /// End of stream needs at least this many producers to have come.
    pub expected_producers: u32,
    /// Display only: the creator.
    pub creator: u32,
    /// Display only: creation time, nanoseconds since 1970.
    pub created_at: u64,
    /// Bytes of the segment.
    pub size: u64,
    /// The thresholds of a monitor, as `Discipline` writes them; 0 for the others.
    pub wake_at: u64,
    /// The second of them.
    pub resume_at: u64,
}

/// The parameters of a ring, checked, and the places of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Slots: a power of two.
    pub capacity: u64,
    /// Bytes of payload in a slot.
    pub slot_size: u64,
    /// FLAG_ constants.
    pub flags: u64,
    /// Entries in the participants' table.
    pub participants: u32,
    /// End of stream needs at least this many producers to have come.
    pub expected_producers: u32,
    /// How waiting is done.
    pub discipline: Discipline,
    /// Offset of the state words, 8 bytes each.
    pub words: u64,
    /// Offset of the item headers.
    pub headers: u64,
    /// Bytes of one item header.
    pub header_stride: u64,
    /// Offset of the payload.
    pub payload: u64,
    /// Bytes in all.
    pub size: u64,
}

impl Geometry {
    /// Lays a ring out. Errors say which limit was passed.
    pub fn new(
        capacity: u64,
        slot_size: u64,
        participants: u32,
        expected_producers: u32,
        flags: u64,
    ) -> Result<Self> {
        let refuse = |text: String| Err(Error::Options(text.into()));
        if !CAPACITY_RANGE.contains(&capacity) || !capacity.is_power_of_two() {
            return refuse(format!("bad capacity {capacity}: expected 2 to 16777216 slots, a power of two"));
        }
        if slot_size == 0 || slot_size > MAX_SLOT_BYTES || !slot_size.is_multiple_of(8) {
            return refuse(format!("bad slot size {slot_size}: expected 8 bytes to 1G, a multiple of 8"));
        }
        let exclusive = flags & FLAG_EXCLUSIVE != 0;
        let fits = if exclusive { participants == 2 } else { (2..=1024).contains(&participants) };
        if !fits || flags & !ALL_FLAGS != 0 {
            return refuse(format!("bad number of participants {participants}: expected 2 to 1024"));
        }
        let words = HEAD_BYTES + (participants as u64 * PARTICIPANT_BYTES).next_multiple_of(PAGE);
        let headers = (words + capacity * 8).next_multiple_of(PAGE);
        let header_stride = if flags & FLAG_TIMESTAMPS != 0 { 32 } else { 16 };
        let payload = (headers + capacity * header_stride).next_multiple_of(PAGE);
        // At most 2^24 * 2^30: far from overflow.
        let size = (payload + capacity * slot_size).next_multiple_of(PAGE);
        Ok(Geometry {
            capacity,
            slot_size,
            flags,
            participants,
            expected_producers,
            discipline: Discipline::default(),
            words,
            headers,
            header_stride,
            payload,
            size,
        })
    }

    /// The same ring, with another way to wait.
    pub fn with_discipline(self, discipline: Discipline) -> Result<Self> {
        discipline.check(self.capacity)?;
        Ok(Geometry { discipline, ..self })
    }

    /// The largest item in bytes: half of the slots.
    pub fn max_item(&self) -> u64 {
        (self.capacity / 2 * self.slot_size).min(MAX_ITEM_BYTES)
    }

    /// Slots that an item of `len` bytes takes: at least one.
    #[inline]
    pub fn span(&self, len: u64) -> u64 {
        if len <= self.slot_size { 1 } else { len.div_ceil(self.slot_size) }
    }

    /// Whether one producer and one consumer have the ring to themselves.
    #[inline]
    pub fn is_exclusive(&self) -> bool {
        self.flags & FLAG_EXCLUSIVE != 0
    }

    /// Whether items carry the time at which they were sent.
    #[inline]
    pub fn has_timestamps(&self) -> bool {
        self.flags & FLAG_TIMESTAMPS != 0
    }

    /// Whether the last one out removes the ring.
    pub fn is_ephemeral(&self) -> bool {
        self.flags & FLAG_EPHEMERAL != 0
    }
}

impl Preamble {
    /// Bytes of the preamble.
    pub const BYTES: usize = size_of::<Preamble>();

    /// The preamble of a new ring; the identity comes with its segment.
    pub fn new(geometry: &Geometry, abi: u32, creator: u32, created_at: u64) -> Self {
        let (sync, wake_at, resume_at) = geometry.discipline.write();
        Preamble {
            magic: MAGIC,
            version: VERSION,
            abi,
            id: [0; 16],
            capacity: geometry.capacity,
            slot_size: geometry.slot_size,
            flags: geometry.flags,
            participants: geometry.participants,
            sync,
            expected_producers: geometry.expected_producers,
            creator,
            created_at,
            size: geometry.size,
            wake_at,
            resume_at,
        }
    }

    /// What the semaphore `room` begins with: the slots, where it counts them.
    pub fn first_room(&self) -> u32 {
        let counts = self.sync == Discipline::Semaphore.write().0;
        if counts { u32::try_from(self.capacity).unwrap_or(u32::MAX) } else { 0 }
    }

    /// Checks the preamble of the segment `name`, which has `len` bytes, for a program of this `abi`.
    pub fn check(&self, name: &str, len: u64, abi: u32) -> Result<Geometry> {
        let refuse = |why: String| Err(Error::Incompatible { name: name.into(), why: why.into() });
        if self.magic != MAGIC {
            return refuse("it does not begin with RINGPIPE".into());
        }
        if self.version != VERSION {
            return refuse(format!("its layout has version {}, expected {VERSION}", self.version));
        }
        if self.abi != abi {
            let (theirs, ours) = (Abi(self.abi), Abi(abi));
            return refuse(format!("it was made by a program for {theirs}, expected {ours}"));
        }
        let Some(discipline) = Discipline::read((self.sync, self.wake_at, self.resume_at)) else {
            return refuse(format!("it waits in a way that this version does not know ({})", self.sync));
        };
        let geometry = Geometry::new(
            self.capacity,
            self.slot_size,
            self.participants,
            self.expected_producers,
            self.flags,
        )
        .and_then(|geometry| geometry.with_discipline(discipline))
        .map_err(|error| Error::Damaged(error.to_string().into()))?;
        let (expected, noted) = (geometry.size, self.size);
        if expected != noted || expected > len {
            let why = format!("it has {len} bytes and notes {noted}, expected {expected} by its geometry");
            return Err(Error::Damaged(why.into()));
        }
        Ok(geometry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn preamble() -> Preamble {
        let geometry = Geometry::new(8, 64, 16, 1, 0).unwrap();
        Preamble::new(&geometry, 7, 1, 2)
    }

    #[test]
    fn what_is_written_is_accepted() {
        let preamble = preamble();
        let geometry = preamble.check("r", preamble.size, 7).unwrap();
        assert_eq!(geometry.max_item(), 4 * 64);
        assert_eq!((geometry.span(0), geometry.span(64), geometry.span(65)), (1, 1, 2));
    }

    #[test]
    fn foreign_bytes_are_refused_as_what_they_are() {
        let good = preamble();
        let kind = |change: fn(&mut Preamble)| {
            let mut preamble = good;
            change(&mut preamble);
            preamble.check("r", good.size, 7).unwrap_err().kind()
        };
        assert_eq!(kind(|p| p.magic = 0), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.version = 2), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.abi = 8), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.sync = 9), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.sync = 3), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.capacity = 3), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.capacity = u64::MAX), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.slot_size = u64::MAX - 7), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.participants = u32::MAX), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.flags = u64::MAX), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.size += 1), ErrorKind::Damaged);
        assert_eq!(good.check("r", good.size - 1, 7).unwrap_err().kind(), ErrorKind::Damaged);
    }

    #[test]
    fn the_largest_ring_does_not_overflow() {
        let geometry = Geometry::new(1 << 24, MAX_SLOT_BYTES, 1024, 1, FLAG_TIMESTAMPS).unwrap();
        assert!(geometry.size > 1 << 54);
        assert_eq!(geometry.max_item(), MAX_ITEM_BYTES);
    }
}
