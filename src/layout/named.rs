//! The bytes of a named object of `sync`: a lock, a semaphore, a condition, an event or a barrier, each in a
//! small segment of its own.
//!
//! As in `head`, each shared word says which process writes it, which reads it, and what a stale or wrong
//! value costs. docs/PRIMITIVES.md says what a death before and after each store leaves.

use bytemuck::{Pod, Zeroable};

use crate::sys::abi::Abi;
use crate::{Error, Result};

/// First eight bytes of a named object.
pub const OBJECT_MAGIC: u64 = u64::from_le_bytes(*b"RINGSYNC");
/// Version of the layout; a segment of another version is refused.
pub const OBJECT_VERSION: u32 = 2;
/// Bytes of the fixed part before the table of participants.
pub const HEAD_BYTES: u64 = 4096;
/// The most permits of a semaphore.
pub const MAX_PERMITS: u32 = 4096;
/// The most processes that a barrier waits for.
pub const MAX_PARTIES: u32 = 1024;

const PAGE: u64 = 4096;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// One holder at a time.
    Lock,
    /// As many holders as there are permits.
    Semaphore,
    /// A lock, and a place to wait for what it protects to change.
    Condition,
    /// Set or not.
    Event,
    /// A place where processes wait until a number of them has come.
    Barrier,
}

impl ObjectKind {
    const ALL: [ObjectKind; 5] = [
        ObjectKind::Lock,
        ObjectKind::Semaphore,
        ObjectKind::Condition,
        ObjectKind::Event,
        ObjectKind::Barrier,
    ];

    fn number(self) -> u32 {
        match self {
            ObjectKind::Lock => 1,
            ObjectKind::Semaphore => 2,
            ObjectKind::Condition => 3,
            ObjectKind::Event => 4,
            ObjectKind::Barrier => 5,
        }
    }

    /// Its name in words, with the article.
    pub fn in_words(self) -> &'static str {
        match self {
            ObjectKind::Lock => "a lock",
            ObjectKind::Semaphore => "a semaphore",
            ObjectKind::Condition => "a condition",
            ObjectKind::Event => "an event",
            ObjectKind::Barrier => "a barrier",
        }
    }

    /// The most handles at a time. Nothing in an event is owned, so its handles have no numbers.
    pub fn participants(self) -> u32 {
        match self {
            ObjectKind::Lock | ObjectKind::Semaphore | ObjectKind::Barrier => 1024,
            // Fewer, since each has a semaphore of its own to sleep on.
            ObjectKind::Condition => 512,
            ObjectKind::Event => 0,
        }
    }

    /// Bytes of a participant's entry.
    fn stride(self) -> u64 {
        match self {
            ObjectKind::Condition => 128,
            ObjectKind::Barrier => 16,
            _ => 8,
        }
    }
}

/// Offsets of the words in the fixed part, each group on a line of its own.
pub mod head {
    /// The owner of the lock (lock, condition, barrier), and the only truth about it. Written only by
    /// compare-exchange: by a handle that takes the lock, by the holder that releases it, by a process that
    /// finds the holder dead, and by one that retires a free lock for good, before it removes the name. Read
    /// by all handles that want the lock. A wrong value costs a needless wait, or breaks mutual exclusion.
    pub const OWNER: u64 = 0x200;
    /// Whether the event is set. Written by handles that set, reset and take it; read by waiting handles. As
    /// above, this is the only truth.
    pub const EVENT: u64 = 0x240;
    /// The waits with a lower ticket than this have passed the barrier. Written by the holder of its lock, in
    /// one store for all that pass together; read by waiting handles. The only truth: too high, and handles
    /// pass before all have come.
    pub const PASSED: u64 = 0x248;
    /// Serial number of the last participant; `fetch_add` by each one that attaches.
    pub const SERIAL: u64 = 0x280;
    /// One more than the highest number ever granted: how far to scan the table. `fetch_max` by each
    /// participant that attaches, before its entry is in use. Too high: a longer scan.
    pub const NUMBERS: u64 = 0x288;
    /// Not 0: asymmetric fences cannot reach some participant, so every participant uses full fences. Written
    /// by that participant. Stale: a wake-up is missed, and the sleeper wakes after a slice.
    pub const FENCES: u64 = 0x290;
    /// The number of the last turn to check for deaths, 0 for none. A handle that takes the turn adds 1. It
    /// is not a time: each handle remembers since when it has seen the same turn. Stale: a second handle
    /// checks as well, or the check comes a slice later.
    pub const SWEPT_AT: u64 = 0x298;
    /// The ticket of the last wait for the condition, or of the next one at the barrier: `fetch_add` by the
    /// lock's holder. No ticket is given twice, which keeps two waits of one participant apart.
    pub const TICKET: u64 = 0x2a0;
    /// Counts permits that became free. The handle that frees one adds to it afterwards; spinning handles
    /// read it. Stale: they search the permits a slice later.
    pub const EVENTS: u64 = 0x2c0;
    /// About how many handles sleep: sleepers add, wakers and leaving sleepers subtract, and the process
    /// that frees a dead handle's entry sets it to 0. Too high after a death: needless posts. Too low: a missed wake-up, and
    /// the sleeper wakes after a slice.
    pub const WAITING: u64 = 0x300;
    /// The semaphore that they sleep on.
    pub const SEMAPHORE: u64 = 0x340;
    /// As `WAITING`, of the handles that wait at the barrier. Those above wait for its lock.
    pub const GATE_WAITING: u64 = 0x380;
    /// The semaphore that they sleep on.
    pub const GATE: u64 = 0x3c0;
}

/// Offsets of the words in a participant's entry. Each entry has the first word; a barrier's has the first
/// two, and a condition's has all.
pub mod entry {
    /// 0 for a free number, otherwise the serial number of its holder. Written by the participant that takes
    /// the number, by a participant that leaves and owns nothing, and, after a death, by the process that has
    /// repaired what was left. Read by processes that search for a free number, or for deaths.
    pub const STATE: u64 = 0;
    /// Whether this participant waits for the condition or at the barrier, its ticket, and whether it was
    /// notified (condition). Written by the participant, by a process that notifies it, and by the recovery
    /// from its death. The truth about a notification, and about a wait at a barrier.
    pub const WAIT: u64 = 8;
    /// As `head::WAITING`: whether this participant sleeps.
    pub const SLEEPING: u64 = 16;
    /// The semaphore that this participant sleeps on.
    pub const SEMAPHORE: u64 = 64;
}

/// The participant that owns a lock ([`head::OWNER`]) or a permit, as the word says: bit 0 is set, bits 8 to 23 are
/// the participant's number, bits 32 to 63 its serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Which entry it has.
    pub number: u32,
    /// Tells it from others that had the same number.
    pub serial: u32,
}

/// Set in a word that has an owner.
const HELD: u64 = 1;

impl Owner {
    /// The value of a word that this participant owns.
    pub fn word(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.number) << 8 | HELD
    }

    /// The owner in a word; `None` if it has none. Bits 1 to 7 and 24 to 31 are ignored: no process sets them
    /// in a word with an owner.
    pub fn of(word: u64) -> Option<Owner> {
        let owner = Owner { number: (word >> 8) as u32 & 0xffff, serial: (word >> 32) as u32 };
        (word & HELD != 0).then_some(owner)
    }
}

/// The state word ([`entry::STATE`]) of an entry in use.
pub fn in_use(serial: u32) -> u64 {
    1 << 32 | u64::from(serial)
}

/// The words of participants that wait for a condition ([`entry::WAIT`]): the state in bits 0 to 7, the ticket above.
pub mod wait_state {
    /// The word of a participant that does not wait.
    pub const IDLE: u64 = 0;
    const WAITING: u64 = 1;
    const NOTIFIED: u64 = 2;
    const STATE: u64 = 0xff;
    const TICKET_SHIFT: u32 = 8;

    /// The word of a participant that drew this ticket and waits. The upper 8 bits of the ticket are lost.
    pub fn waiting(ticket: u64) -> u64 {
        ticket << TICKET_SHIFT | WAITING
    }

    /// The word of a waiting participant after its notification: the ticket stays.
    pub fn notified(word: u64) -> u64 {
        word & !STATE | NOTIFIED
    }

    /// Whether the participant waits and was not notified. False for a state that no process writes.
    pub fn is_waiting(word: u64) -> bool {
        word & STATE == WAITING
    }

    /// The ticket of a waiting or notified participant.
    pub fn ticket_of(word: u64) -> u64 {
        word >> TICKET_SHIFT
    }

    /// Whether the participant was notified. False for a state that no process writes.
    pub fn is_notified(word: u64) -> bool {
        word & STATE == NOTIFIED
    }
}

/// The first bytes of the segment: written once, then checked and copied once by each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub struct ObjectPreamble {
    /// [`OBJECT_MAGIC`].
    pub magic: u64,
    /// [`OBJECT_VERSION`].
    pub version: u32,
    /// Libc, sizes and byte order: see `sys::abi`.
    pub abi: u32,
    /// Random; distinguishes this object from all others that ever have its name.
    pub id: [u8; 16],
    /// The number of its [`ObjectKind`].
    pub kind: u32,
    /// The most permits (semaphore), the number of processes that pass together (barrier), or 0.
    pub limit: u32,
    /// Bytes of the segment.
    pub size: u64,
}

/// The checked kind of an object, and the places of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectLayout {
    /// The kind of object.
    pub kind: ObjectKind,
    /// The most permits (semaphore), the number of processes that pass together (barrier), or 0.
    pub limit: u32,
    /// Entries in the table of participants.
    pub participants: u32,
    /// Bytes of one entry.
    pub stride: u64,
    /// Offset of the permits' words, 8 bytes each.
    pub words: u64,
    /// Bytes in total.
    pub size: u64,
}

impl ObjectLayout {
    /// Computes the layout of an object; `limit` is the number of processes for a barrier, and 0 for all others but
    /// semaphores.
    ///
    /// # Errors
    /// [`Error::Options`] for an impossible number of permits or processes.
    pub fn new(kind: ObjectKind, limit: u32) -> Result<Self> {
        let (least, most, what) = match kind {
            ObjectKind::Semaphore => (1, MAX_PERMITS, "permits"),
            ObjectKind::Barrier => (1, MAX_PARTIES, "processes"),
            _ => (0, 0, "permits"),
        };
        if !(least..=most).contains(&limit) {
            let text = format!("bad number of {what} {limit}: expected {least} to {most}");
            return Err(Error::Options(text.into()));
        }
        let (participants, stride) = (kind.participants(), kind.stride());
        let words = HEAD_BYTES + (u64::from(participants) * stride).next_multiple_of(PAGE);
        let owned = if kind == ObjectKind::Semaphore { limit } else { 0 };
        let size = words + (u64::from(owned) * 8).next_multiple_of(PAGE);
        Ok(ObjectLayout { kind, limit, participants, stride, words, size })
    }

    /// The offset of a participant's entry. A number beyond the table gives the last entry.
    pub fn entry(&self, number: u32) -> u64 {
        HEAD_BYTES + u64::from(number.min(self.participants.saturating_sub(1))) * self.stride
    }

    /// The offset of a permit's word. An index beyond the last permit gives the last one.
    pub fn permit(&self, index: u32) -> u64 {
        self.words + u64::from(index.min(self.limit.saturating_sub(1))) * 8
    }
}

impl ObjectPreamble {
    /// Bytes of the preamble.
    pub const BYTES: usize = size_of::<ObjectPreamble>();

    /// The preamble of a new object; the identity comes with its segment.
    pub fn new(geometry: &ObjectLayout, abi: u32) -> Self {
        ObjectPreamble {
            magic: OBJECT_MAGIC,
            version: OBJECT_VERSION,
            abi,
            id: [0; 16],
            kind: geometry.kind.number(),
            limit: geometry.limit,
            size: geometry.size,
        }
    }

    /// Checks the preamble of the segment `name`, which has `len` bytes, for a program of this `abi` that
    /// expects an object of this `kind`.
    ///
    /// # Errors
    /// [`Error::Incompatible`] if it is something else; [`Error::Damaged`] if it contradicts itself.
    pub fn check(&self, name: &str, len: u64, abi: u32, kind: ObjectKind) -> Result<ObjectLayout> {
        let refuse = |why: String| Err(Error::Incompatible { name: name.into(), why: why.into() });
        let expected = kind.in_words();
        if self.magic != OBJECT_MAGIC {
            return refuse(format!("it does not begin with RINGSYNC, expected {expected}"));
        }
        if self.version != OBJECT_VERSION {
            return refuse(format!("its layout has version {}, expected {OBJECT_VERSION}", self.version));
        }
        if self.abi != abi {
            let (theirs, ours) = (Abi(self.abi), Abi(abi));
            return refuse(format!("it was made by a program for {theirs}, expected {ours}"));
        }
        match ObjectKind::ALL.into_iter().find(|kind| kind.number() == self.kind) {
            Some(found) if found == kind => {}
            Some(found) => return refuse(format!("it is {}, expected {expected}", found.in_words())),
            None => return refuse(format!("it is of an unknown kind ({}), expected {expected}", self.kind)),
        }
        let geometry =
            ObjectLayout::new(kind, self.limit).map_err(|error| Error::Damaged(error.to_string().into()))?;
        let (expected, noted) = (geometry.size, self.size);
        if expected != noted || expected > len {
            let why = format!("it has {len} bytes and notes {noted}, expected {expected}");
            return Err(Error::Damaged(why.into()));
        }
        Ok(geometry)
    }
}

/// The parts must not overlap.
const _: () = {
    assert!(ObjectPreamble::BYTES as u64 <= head::OWNER);
    assert!(head::SEMAPHORE.is_multiple_of(64) && head::SEMAPHORE + 64 <= head::GATE_WAITING);
    assert!(head::GATE.is_multiple_of(64) && head::GATE + 64 <= HEAD_BYTES - 16);
    assert!(entry::SEMAPHORE.is_multiple_of(64) && entry::SEMAPHORE + 64 <= 128);
    assert!(std::mem::offset_of!(ObjectPreamble, id) == crate::sys::segment::IDENTITY_AT);
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn a_new_objects_preamble_is_accepted_for_its_kind_only() {
        for kind in ObjectKind::ALL {
            let permits = match kind {
                ObjectKind::Semaphore => 4096,
                ObjectKind::Barrier => 1024,
                _ => 0,
            };
            let geometry = ObjectLayout::new(kind, permits).unwrap();
            let preamble = ObjectPreamble::new(&geometry, 7);
            for expected in ObjectKind::ALL {
                let result = preamble.check("x", geometry.size, 7, expected).map_err(|error| error.kind());
                assert_eq!(
                    result,
                    if expected == kind { Ok(geometry) } else { Err(ErrorKind::Incompatible) }
                );
            }
        }
    }

    #[test]
    fn foreign_bytes_are_refused_with_an_error_that_fits() {
        let geometry = ObjectLayout::new(ObjectKind::Semaphore, 3).unwrap();
        let good = ObjectPreamble::new(&geometry, 7);
        let kind = |change: fn(&mut ObjectPreamble)| {
            let mut preamble = good;
            change(&mut preamble);
            preamble.check("x", good.size, 7, ObjectKind::Semaphore).unwrap_err().kind()
        };
        assert_eq!(kind(|p| p.magic = crate::layout::preamble::MAGIC), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.version = OBJECT_VERSION - 1), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.abi = 8), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.kind = 9), ErrorKind::Incompatible);
        assert_eq!(kind(|p| p.limit = 0), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.limit = u32::MAX), ErrorKind::Damaged);
        assert_eq!(kind(|p| p.size += 1), ErrorKind::Damaged);
        assert_eq!(
            good.check("x", good.size - 1, 7, ObjectKind::Semaphore).unwrap_err().kind(),
            ErrorKind::Damaged
        );
        for (kind, permits) in
            [(ObjectKind::Semaphore, 4097), (ObjectKind::Barrier, 1025), (ObjectKind::Barrier, 0)]
        {
            assert_eq!(ObjectLayout::new(kind, permits).unwrap_err().kind(), ErrorKind::Usage);
        }
    }

    #[test]
    fn every_entry_and_permit_lies_within_the_segment() {
        for (kind, permits) in [
            (ObjectKind::Lock, 0),
            (ObjectKind::Semaphore, 4096),
            (ObjectKind::Condition, 0),
            (ObjectKind::Event, 0),
            (ObjectKind::Barrier, 1024),
        ] {
            let geometry = ObjectLayout::new(kind, permits).unwrap();
            for number in [0, 1, geometry.participants, u32::MAX] {
                assert!(
                    geometry.participants == 0 || geometry.entry(number) + geometry.stride <= geometry.words
                );
                let owned = kind == ObjectKind::Semaphore;
                assert!(!owned || geometry.permit(number) + 8 <= geometry.size);
                assert!(geometry.words <= geometry.size);
            }
        }
    }

    #[test]
    fn owners_are_read_as_they_were_written() {
        for number in [0, 1, 255, 256, 1023, 0xffff] {
            for serial in [0, 1, u32::MAX] {
                let owner = Owner { number, serial };
                let word = owner.word();
                assert_eq!(Owner::of(word), Some(owner));
                assert_eq!(Owner::of(word & !HELD), None, "the mark decides");
                // Bits that no process writes.
                assert_eq!(word & 0xff00_00fe, 0);
                assert_eq!(Owner::of(word | 0xff00_00fe), Some(owner));
            }
        }
        assert_eq!(Owner::of(0), None);
        assert_eq!(Owner::of(u64::MAX), Some(Owner { number: 0xffff, serial: u32::MAX }));
        assert_eq!(Owner { number: 2, serial: 3 }.word(), 0x0000_0003_0000_0201);
    }

    #[test]
    fn no_serial_number_makes_an_entry_in_use_look_free() {
        assert_eq!([0, 7, u32::MAX].map(in_use), [0x1_0000_0000, 0x1_0000_0007, 0x1_ffff_ffff]);
    }

    #[test]
    fn a_wait_keeps_its_ticket_when_it_is_notified() {
        use wait_state::{IDLE, is_notified, is_waiting, notified, ticket_of, waiting};
        for ticket in [0, 1, 255, 256, u64::MAX >> 8] {
            let word = waiting(ticket);
            assert_eq!((ticket_of(word), is_waiting(word), is_notified(word)), (ticket, true, false));
            let word = notified(word);
            assert_eq!((ticket_of(word), is_waiting(word), is_notified(word)), (ticket, false, true));
        }
        assert_eq!((waiting(5), notified(waiting(5))), (0x501, 0x502));
        assert!(waiting(1) < waiting(2), "the smallest word has waited longest");
        assert!(!is_waiting(IDLE) && !is_notified(IDLE));
        // States that no process writes.
        for state in 3..=0xff {
            assert!(!is_waiting(0x500 | state) && !is_notified(0x500 | state), "{state}");
        }
    }
}
