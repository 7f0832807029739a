//! The bytes of a named object of `sync`: a lock, a semaphore, a condition or an event, each a small
//! segment of its own.
//!
//! As in `fields`, each shared word says who writes it, who reads it, and what a stale or lying value
//! costs. docs/PRIMITIVES.md says what a death before and after each store leaves.

use bytemuck::{Pod, Zeroable};

use crate::sys::abi::Abi;
use crate::{Error, Result};

/// First eight bytes of a named object.
pub const MAGIC: u64 = u64::from_le_bytes(*b"RINGSYNC");
/// Version of the layout; another one is refused.
pub const VERSION: u32 = 1;
/// Bytes of the fixed part before the table of participants.
pub const HEAD_BYTES: u64 = 4096;
/// Most permits of a semaphore.
pub const MAX_PERMITS: u32 = 4096;

const PAGE: u64 = 4096;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One holder at a time.
    Lock,
    /// As many holders as there are permits.
    Semaphore,
    /// A lock, and a place to wait for what it protects to change.
    Condition,
    /// Set or not.
    Event,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Lock, Kind::Semaphore, Kind::Condition, Kind::Event];

    fn number(self) -> u32 {
        match self {
            Kind::Lock => 1,
            Kind::Semaphore => 2,
            Kind::Condition => 3,
            Kind::Event => 4,
        }
    }

    /// In words, with the article.
    pub fn in_words(self) -> &'static str {
        match self {
            Kind::Lock => "a lock",
            Kind::Semaphore => "a semaphore",
            Kind::Condition => "a condition",
            Kind::Event => "an event",
        }
    }

    /// Most handles at a time. Nothing in an event is owned, so its handles have no numbers.
    pub fn participants(self) -> u32 {
        match self {
            Kind::Lock | Kind::Semaphore => 1024,
            // Each has a semaphore of its own to be woken by.
            Kind::Condition => 512,
            Kind::Event => 0,
        }
    }

    /// Bytes of a participant's entry.
    fn stride(self) -> u64 {
        if self == Kind::Condition { 128 } else { 8 }
    }
}

/// Offsets of the words in the fixed part, each group on a line of its own.
pub mod head {
    /// Who holds the lock (lock, condition): the one truth about it. Written by compare-exchange alone: by who
    /// takes it, by its holder who releases it, and by whoever finds the holder dead. Read by all who
    /// want it. A lie costs who believes it the wait, or mutual exclusion: it is the truth.
    pub const OWNER: u64 = 0x200;
    /// Whether the event is set. Written by who sets, resets and takes; read by who waits. As above.
    pub const EVENT: u64 = 0x240;
    /// Serial number of the last participant; `fetch_add` by each that comes.
    pub const SERIAL: u64 = 0x280;
    /// One more than the highest number that was ever granted: how far to look through the table.
    /// `fetch_max` by each that comes, before its entry is in use. Too high: a longer look.
    pub const NUMBERS: u64 = 0x288;
    /// Not 0: somebody cannot be reached by asymmetric fences, so everybody fences. Written by those. Stale:
    /// a wake-up is missed and made good after a slice.
    pub const FENCES: u64 = 0x290;
    /// When the dead were last looked for (coarse monotonic nanoseconds), by whoever takes the turn. Stale:
    /// somebody looks again, or a slice later.
    pub const SWEPT_AT: u64 = 0x298;
    /// The ticket of the last who began to wait for the condition: `fetch_add` by the lock's holder. Never given twice,
    /// which keeps two waits of one number apart.
    pub const TICKET: u64 = 0x2a0;
    /// Counts permits that became free; by who freed them, afterwards. Read by who spins. Stale: it looks
    /// through the permits a slice later.
    pub const NEWS: u64 = 0x2c0;
    /// About how many sleep: sleepers add, wakers and leaving sleepers subtract. Too high after a death: one
    /// needless post each. Too low: a missed wake-up, made good after a slice.
    pub const WAITING: u64 = 0x300;
    /// What they sleep on.
    pub const SEMAPHORE: u64 = 0x340;
}

/// Offsets of the words in a participant's entry. All but the first are of a condition's alone.
pub mod entry {
    /// 0 for a free number, or the serial number of who has it. Written by who takes the number, by who gives
    /// it back owning nothing, and, after a death, by who has repaired what it left. Read by who looks for
    /// a number, or for the dead.
    pub const STATE: u64 = 0;
    /// Whether this participant waits for the condition, since which ticket, and whether it was notified.
    /// Written by itself, by who notifies it, and by its burial. The truth about a notification.
    pub const WAIT: u64 = 8;
    /// As `head::WAITING`: whether this participant sleeps.
    pub const SLEEPING: u64 = 16;
    /// What it sleeps on.
    pub const SEMAPHORE: u64 = 64;
}

/// The first bytes of the segment: written once, checked and copied out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct Preamble {
    /// [`MAGIC`].
    pub magic: u64,
    /// [`VERSION`].
    pub version: u32,
    /// Libc, sizes and byte order: see `sys::abi`.
    pub abi: u32,
    /// Random, tells this object from any other that had or will have its name.
    pub id: [u8; 16],
    /// The number of its [`Kind`].
    pub kind: u32,
    /// Most permits (semaphore), or 0.
    pub permits: u32,
    /// Bytes of the segment.
    pub size: u64,
}

/// What an object is, checked, and the places of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// What it is.
    pub kind: Kind,
    /// Most permits (semaphore), or 0.
    pub permits: u32,
    /// Entries in the table of participants.
    pub participants: u32,
    /// Bytes of one.
    pub stride: u64,
    /// Offset of the permits' words, 8 bytes each.
    pub words: u64,
    /// Bytes in all.
    pub size: u64,
}

impl Geometry {
    /// Lays an object out; `permits` is 0 for all but semaphores.
    ///
    /// # Errors
    /// [`Error::Options`] for a number of permits that there cannot be.
    pub fn new(kind: Kind, permits: u32) -> Result<Self> {
        let fits = if kind == Kind::Semaphore { (1..=MAX_PERMITS).contains(&permits) } else { permits == 0 };
        if !fits {
            let text = format!("bad number of permits {permits}: expected 1 to {MAX_PERMITS}");
            return Err(Error::Options(text.into()));
        }
        let (participants, stride) = (kind.participants(), kind.stride());
        let words = HEAD_BYTES + (u64::from(participants) * stride).next_multiple_of(PAGE);
        let size = words + (u64::from(permits) * 8).next_multiple_of(PAGE);
        Ok(Geometry { kind, permits, participants, stride, words, size })
    }

    /// Where a participant's entry begins. Numbers beyond the table mean the last entry.
    pub fn entry(&self, number: u32) -> u64 {
        HEAD_BYTES + u64::from(number.min(self.participants.saturating_sub(1))) * self.stride
    }

    /// Where a permit's word is. Numbers beyond the last mean the last.
    pub fn permit(&self, index: u32) -> u64 {
        self.words + u64::from(index.min(self.permits.saturating_sub(1))) * 8
    }
}

impl Preamble {
    /// Bytes of the preamble.
    pub const BYTES: usize = size_of::<Preamble>();

    /// The preamble of a new object; the identity comes with its segment.
    pub fn new(geometry: &Geometry, abi: u32) -> Self {
        Preamble {
            magic: MAGIC,
            version: VERSION,
            abi,
            id: [0; 16],
            kind: geometry.kind.number(),
            permits: geometry.permits,
            size: geometry.size,
        }
    }

    /// Checks the preamble of the segment `name`, which has `len` bytes, for a program of this `abi` that
    /// expects an object of this `kind`.
    ///
    /// # Errors
    /// [`Error::Incompatible`] for what is something else; [`Error::Damaged`] for what contradicts itself.
    pub fn check(&self, name: &str, len: u64, abi: u32, kind: Kind) -> Result<Geometry> {
        let refuse = |why: String| Err(Error::Incompatible { name: name.into(), why: why.into() });
        let expected = kind.in_words();
        if self.magic != MAGIC {
            return refuse(format!("it does not begin with RINGSYNC, expected {expected}"));
        }
        if self.version != VERSION {
            return refuse(format!("its layout has version {}, expected {VERSION}", self.version));
        }
        if self.abi != abi {
            let (theirs, ours) = (Abi(self.abi), Abi(abi));
            return refuse(format!("it was made by a program for {theirs}, expected {ours}"));
        }
        match Kind::ALL.into_iter().find(|kind| kind.number() == self.kind) {
            Some(found) if found == kind => {}
            Some(found) => return refuse(format!("it is {}, expected {expected}", found.in_words())),
            None => return refuse(format!("it is of an unknown kind ({}), expected {expected}", self.kind)),
        }
        let geometry =
            Geometry::new(kind, self.permits).map_err(|error| Error::Damaged(error.to_string().into()))?;
        let (expected, noted) = (geometry.size, self.size);
        if expected != noted || expected > len {
            let why = format!("it has {len} bytes and notes {noted}, expected {expected}");
            return Err(Error::Damaged(why.into()));
        }
        Ok(geometry)
    }
}

/// Parts must not lie in one another.
const _: () = {
    assert!(Preamble::BYTES as u64 <= head::OWNER);
    assert!(head::SEMAPHORE.is_multiple_of(64) && head::SEMAPHORE + 64 <= HEAD_BYTES - 16);
    assert!(entry::SEMAPHORE.is_multiple_of(64) && entry::SEMAPHORE + 64 <= 128);
    assert!(std::mem::offset_of!(Preamble, id) == crate::sys::segment::IDENTITY_AT);
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn what_is_written_is_accepted_as_what_it_is_alone() {
        for kind in Kind::ALL {
            let geometry = Geometry::new(kind, if kind == Kind::Semaphore { 4096 } else { 0 }).unwrap();
            let preamble = Preamble::new(&geometry, 7);
            for expected in Kind::ALL {
                let result = preamble.check("x", geometry.size, 7, expected).map_err(|error| error.kind());
                assert_eq!(
                    result,
                    if expected == kind { Ok(geometry) } else { Err(ErrorKind::Incompatible) }
                );
            }
        }
    }

    #[test]
    fn foreign_bytes_are_refused_as_what_they_are() {
        let geometry = Geometry::new(Kind::Semaphore, 3).unwrap();
        let good = Preamble::new(&geometry, 7);
        let kind = |change: fn(&mut Preamble)| {
            let mut preamble = good;
            change(&mut preamble);
            preamble.check("x", good.size, 7, Kind::Semaphore).unwrap_err().kind()
        };
        assert_eq!(kind(|p| p.magic = super::super::geometry::MAGIC), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.version = 2), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.abi = 8), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.kind = 9), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.permits = 0), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.permits = u32::MAX), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.size += 1), ErrorKind::Damaged);
        assert_eq!(
            good.check("x", good.size - 1, 7, Kind::Semaphore).unwrap_err().kind(),
            ErrorKind::Damaged
        );
        assert_eq!(Geometry::new(Kind::Semaphore, 4097).unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn every_entry_and_permit_lies_within_the_segment() {
        for (kind, permits) in
            [(Kind::Lock, 0), (Kind::Semaphore, 4096), (Kind::Condition, 0), (Kind::Event, 0)]
        {
            let geometry = Geometry::new(kind, permits).unwrap();
            for number in [0, 1, geometry.participants, u32::MAX] {
                assert!(
                    geometry.participants == 0 || geometry.entry(number) + geometry.stride <= geometry.words
                );
                assert!(permits == 0 || geometry.permit(number) + 8 <= geometry.size);
            }
        }
    }
}
