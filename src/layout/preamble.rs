//! The preamble: the first bytes of a segment, which say what the segment is. It is written once, before the
//! segment has a name. Each process that attaches copies it and checks it once, and never reads it again.

use bytemuck::{Pod, Zeroable};

use super::discipline::Discipline;
use super::geometry::Geometry;
use crate::sys::abi::Abi;
use crate::{Error, Result};

/// First eight bytes of a ring.
pub const MAGIC: u64 = u64::from_le_bytes(*b"RINGPIPE");
/// Version of the layout; a segment of another version is refused. Since version 2, an item's header has a number of
/// failures. Since version 3, a word may stand for a row of items, a word that a producer renewed says so, and a ring
/// may have fixed items. Since version 4, lengths lie apart from the rest of the headers.
pub const LAYOUT_VERSION: u32 = 4;

/// The first bytes of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Preamble {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`LAYOUT_VERSION`].
    pub version: u32,
    /// Libc, sizes and byte order: see `sys::abi`.
    pub abi: u32,
    /// Random; distinguishes this ring from all others that ever have its name.
    pub id: [u8; 16],
    /// Slots.
    pub capacity: u64,
    /// Bytes of payload in a slot.
    pub slot_size: u64,
    /// The `FLAG_` constants that are set.
    pub flags: u64,
    /// Entries in the participants' table.
    pub participants: u32,
    /// How handles wait: the number of a [`Discipline`].
    pub sync: u32,
    /// The stream does not end before at least this many producers have attached.
    pub expected_producers: u32,
    /// Display only: the creator.
    pub creator: u32,
    /// Display only: creation time, nanoseconds since 1970.
    pub created_at: u64,
    /// Bytes of the segment.
    pub size: u64,
    /// The first threshold of a monitor, as `Discipline` writes it; 0 for other disciplines.
    pub wake_at: u64,
    /// The second threshold, likewise.
    pub resume_at: u64,
    /// The length of every item; 0 where items have lengths of their own.
    pub fixed: u64,
}

impl Preamble {
    /// Bytes of the preamble.
    pub const BYTES: usize = size_of::<Preamble>();

    /// The preamble of a new ring. Creating the segment adds the identity.
    pub fn new(geometry: &Geometry, abi: u32, creator: u32, created_at: u64) -> Self {
        let (sync, wake_at, resume_at) = geometry.discipline.write();
        Preamble {
            magic: MAGIC,
            version: LAYOUT_VERSION,
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
            fixed: geometry.fixed,
        }
    }

    /// The initial value of the semaphore `room`: the number of slots, if the semaphore counts them.
    pub fn first_room(&self) -> u32 {
        let discipline = Discipline::read((self.sync, self.wake_at, self.resume_at));
        if discipline.is_some_and(Discipline::counts_tokens) {
            u32::try_from(self.capacity).unwrap_or(u32::MAX)
        } else {
            0
        }
    }

    /// Checks the preamble of the segment `name`, which has `len` bytes, for a program of this `abi`.
    pub fn check(&self, name: &str, len: u64, abi: u32) -> Result<Geometry> {
        let refuse = |why: String| Err(Error::Incompatible { name: name.into(), why: why.into() });
        if self.magic != MAGIC {
            return refuse("it does not begin with RINGPIPE".into());
        }
        if self.version != LAYOUT_VERSION {
            return refuse(format!("its layout has version {}, expected {LAYOUT_VERSION}", self.version));
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
        .and_then(|geometry| geometry.with_discipline(discipline)?.with_fixed(self.fixed))
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
    fn a_new_preamble_is_accepted() {
        let preamble = preamble();
        let geometry = preamble.check("r", preamble.size, 7).unwrap();
        assert_eq!(geometry.max_item(), 4 * 64);
        assert_eq!((geometry.span(0), geometry.span(64), geometry.span(65)), (1, 1, 2));
    }

    #[test]
    fn foreign_bytes_are_refused_with_an_error_that_fits() {
        let good = preamble();
        let kind = |change: fn(&mut Preamble)| {
            let mut preamble = good;
            change(&mut preamble);
            preamble.check("r", good.size, 7).unwrap_err().kind()
        };
        assert_eq!(kind(|p| p.magic = 0), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.version = LAYOUT_VERSION - 1), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.version = LAYOUT_VERSION + 1), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.abi = 8), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.sync = 9), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.sync = 3), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.capacity = 3), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.capacity = u64::MAX), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.slot_size = u64::MAX - 7), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.participants = u32::MAX), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.flags = u64::MAX), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.size += 1), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.fixed = 7), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.fixed = u64::MAX), ErrorKind::Damaged);
        assert_eq!(good.check("r", good.size - 1, 7).unwrap_err().kind(), ErrorKind::Damaged);
    }
}
