//! The one place where bytes become atomics.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
#[cfg(feature = "cli")]
use std::{io, os::fd::BorrowedFd};

use super::fields::{entry, head, item};
use super::geometry::{Geometry, HEAD_BYTES, PARTICIPANT_BYTES, Preamble};
use super::named;
use crate::sys::abi;
use crate::sys::copy;
#[cfg(feature = "cli")]
use crate::sys::io::{self as file_io, Wait};
use crate::sys::segment::{IDENTITY_AT, Segment};
use crate::sys::semaphore::Semaphore;
use crate::{Error, Result};

/// Words in a participant's entry.
const ENTRY_WORDS: usize = PARTICIPANT_BYTES as usize / 8;
/// A mapped ring: its words as atomics, its payload as places to copy to and from.
///
/// Nothing here hands out a reference to shared bytes other than to `AtomicU64`, one or several.
#[derive(Debug, Clone)]
pub struct View {
    segment: Arc<Segment>,
    base: NonNull<u8>,
    geometry: Geometry,
    mask: u64,
}

// SAFETY: the pointer leads into the mapping that `segment` keeps alive; all access through it is
// atomic or a raw copy of bytes that belong to this process by the ring's protocol.
unsafe impl Send for View {}
// SAFETY: as above; no method changes the view itself.
unsafe impl Sync for View {}

impl View {
    /// Checks the preamble of `segment` once and keeps what it says.
    pub fn new(segment: Arc<Segment>) -> Result<(Self, Preamble)> {
        let name = segment.name().as_str();
        if segment.len() < HEAD_BYTES as usize {
            let why = format!("it has {} bytes, fewer than any ring", segment.len());
            return Err(Error::Incompatible { name: name.into(), why: why.into() });
        }
        let mut bytes = [0u8; Preamble::BYTES];
        // SAFETY: the segment has at least HEAD_BYTES > Preamble::BYTES bytes, mapped while it lives;
        // `bytes` is ours and does not overlap a mapping.
        unsafe { ptr::copy_nonoverlapping(segment.base().as_ptr(), bytes.as_mut_ptr(), bytes.len()) };
        if segment.is_lost() {
            return Err(Error::Truncated);
        }
        let preamble: Preamble = bytemuck::pod_read_unaligned(&bytes);
        let geometry = preamble.check(name, segment.len() as u64, abi::TAG)?;
        let base = segment.base();
        Ok((View { segment, base, geometry, mask: geometry.capacity - 1 }, preamble))
    }

    /// Writes a new ring's fixed part into zeroed bytes at `base`, all but the magic and the identity,
    /// which `Segment::create` writes; answers with the magic.
    pub fn initialise(base: NonNull<u8>, preamble: &Preamble) -> Result<u64> {
        let unwritten = Preamble { magic: 0, id: [0; 16], ..*preamble };
        let bytes = bytemuck::bytes_of(&unwritten);
        // SAFETY: the caller of `Segment::create` gives `init` a mapping of the requested size, which
        // is at least HEAD_BYTES, and nobody else knows it yet; semaphores are aligned to 64 bytes.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), base.as_ptr(), 16);
            ptr::copy_nonoverlapping(bytes.as_ptr().add(32), base.add(32).as_ptr(), bytes.len() - 32);
            Semaphore::init(base.add(head::ITEMS_SEMAPHORE as usize), 0)?;
            Semaphore::init(base.add(head::ROOM_SEMAPHORE as usize), preamble.first_room())?;
            Semaphore::init(base.add(head::MUTEX_SEMAPHORE as usize), 1)?;
        }
        Ok(preamble.magic)
    }

    /// The segment below.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The ring's parameters.
    #[inline]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    #[inline]
    fn at(&self, offset: u64) -> *const AtomicU64 {
        debug_assert!(offset.is_multiple_of(8) && offset + 8 <= self.geometry.size);
        self.base.as_ptr().wrapping_add(offset as usize).cast()
    }

    #[inline]
    fn atom(&self, offset: u64) -> &AtomicU64 {
        // SAFETY: every caller below derives `offset` from the geometry, which was checked to lie
        // within the mapping, with indices held in range; offsets and the page-aligned base are
        // multiples of 8; shared words are only ever accessed as AtomicU64; `&self` keeps the
        // mapping alive.
        unsafe { &*self.at(offset) }
    }

    /// A word of the fixed part, by its offset in [`head`].
    #[inline]
    pub fn head_word(&self, offset: u64) -> &AtomicU64 {
        self.atom(offset & (HEAD_BYTES - 8))
    }

    /// The state word of a slot.
    #[inline]
    pub fn word(&self, slot: u64) -> &AtomicU64 {
        self.atom(self.geometry.words + (slot & self.mask) * 8)
    }

    /// The state words of `count` slots from `slot` on, or as many as there are before the end of the ring.
    #[inline]
    pub fn words(&self, slot: u64, count: u64) -> &[AtomicU64] {
        let slot = slot & self.mask;
        let count = count.min(self.geometry.capacity - slot) as usize;
        // SAFETY: the words of all slots lie within the mapping, one after the other; otherwise as in `atom`.
        unsafe { std::slice::from_raw_parts(self.at(self.geometry.words + slot * 8), count) }
    }

    /// The headers of `count` slots from `slot` on, or as many as there are before the end of the ring, each
    /// from its first word to where the next begins.
    #[inline]
    pub fn headers(&self, slot: u64, count: u64) -> impl Iterator<Item = &[AtomicU64]> {
        let slot = slot & self.mask;
        let count = count.min(self.geometry.capacity - slot);
        let words = (self.geometry.header_stride / 8) as usize;
        let first = self.at(self.geometry.headers + slot * self.geometry.header_stride);
        // SAFETY: as above; headers lie `words` words from each other.
        let all = unsafe { std::slice::from_raw_parts(first, count as usize * words) };
        all.chunks_exact(words)
    }

    /// A participant's entry. Numbers beyond the table mean the last entry.
    #[inline]
    pub fn entry(&self, number: u32) -> &[AtomicU64; ENTRY_WORDS] {
        let number = number.min(self.geometry.participants - 1) as u64;
        let first = self.at(HEAD_BYTES + number * PARTICIPANT_BYTES);
        // SAFETY: the table of participants lies within the mapping, whole entries of it; otherwise as
        // in `atom`.
        unsafe { &*first.cast() }
    }

    /// A word of a participant's entry, by its offset in [`entry`].
    #[inline]
    pub fn entry_word(&self, number: u32, offset: u64) -> &AtomicU64 {
        &self.entry(number)[(offset & (PARTICIPANT_BYTES - 8)) as usize / 8]
    }

    /// The words that every header has: the first of the item that begins at `slot`.
    #[inline]
    pub fn header(&self, slot: u64) -> &[AtomicU64; 2] {
        let first = self.at(self.geometry.headers + (slot & self.mask) * self.geometry.header_stride);
        // SAFETY: headers lie within the mapping, and their stride is 16 or more; otherwise as in `atom`.
        unsafe { &*first.cast() }
    }

    /// A word of the header of the item that begins at `slot`, by its offset in [`item`].
    #[inline]
    pub fn item_word(&self, slot: u64, offset: u64) -> &AtomicU64 {
        let offset = offset & (self.geometry.header_stride - 8);
        self.atom(self.geometry.headers + (slot & self.mask) * self.geometry.header_stride + offset)
    }

    /// The semaphore at an offset in [`head`].
    #[inline]
    pub fn semaphore(&self, offset: u64) -> Semaphore {
        debug_assert!([head::ITEMS_SEMAPHORE, head::ROOM_SEMAPHORE, head::MUTEX_SEMAPHORE].contains(&offset));
        // SAFETY: the offset lies in the fixed part and is a multiple of 64; the creator initialised
        // a semaphore there before the ring had a name; the handle that uses it holds the mapping.
        unsafe { Semaphore::at(self.base.add((offset & (HEAD_BYTES - 64)) as usize)) }
    }

    /// Where byte `offset` of the item that begins at `slot` lies, when `len` bytes from there on are
    /// within the ring.
    #[inline]
    pub fn payload(&self, slot: u64, offset: u64, len: u64) -> Option<NonNull<u8>> {
        let start = self.geometry.payload + (slot & self.mask) * self.geometry.slot_size;
        // Neither is ever near the end of the numbers: the geometry was checked.
        let end = self.geometry.payload + self.geometry.capacity * self.geometry.slot_size;
        if offset > end - start || len > end - start - offset {
            return None;
        }
        let at = start + offset;
        // SAFETY: `at + len` is at most `payload + capacity * slot_size`, which the geometry holds
        // within the mapping.
        Some(unsafe { self.base.add(at as usize) })
    }

    /// Copies `bytes` into the item that begins at `slot`, from its byte `offset` on. Nothing is
    /// copied, and the answer is false, when that would pass the end of the ring.
    #[inline]
    pub fn copy_in(&self, slot: u64, offset: u64, bytes: &[u8]) -> bool {
        let Some(to) = self.payload(slot, offset, bytes.len() as u64) else { return false };
        // SAFETY: `payload` checked the range; `bytes` is a private slice, since no slice of shared
        // bytes is ever made; the slots are this process's by its claim.
        unsafe { copy::copy(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
        true
    }

    /// Appends `len` bytes of the item that begins at `slot`, from its byte `offset` on, to `out`.
    /// Nothing is appended, and the answer is false, when that would pass the end of the ring.
    #[inline]
    pub fn copy_out(&self, slot: u64, offset: u64, len: u64, out: &mut Vec<u8>) -> bool {
        let Some(from) = self.payload(slot, offset, len) else { return false };
        let len = len as usize;
        out.reserve(len);
        // SAFETY: `payload` checked the range; `reserve` made `len` bytes of room in `out`, which is
        // private; they are initialised by the copy before the length says so.
        unsafe {
            copy::copy(from.as_ptr(), out.as_mut_ptr().add(out.len()), len);
            out.set_len(out.len() + len);
        }
        true
    }

    /// Copies the bytes of the item that begins at `slot`, from its byte `offset` on, over `out`.
    #[inline]
    pub fn copy_to(&self, slot: u64, offset: u64, out: &mut [u8]) -> bool {
        let Some(from) = self.payload(slot, offset, out.len() as u64) else { return false };
        // SAFETY: `payload` checked the range; `out` is private.
        unsafe { copy::copy(from.as_ptr(), out.as_mut_ptr(), out.len()) };
        true
    }
}

/// Payload that goes to and comes from files without a copy in between.
#[cfg(feature = "cli")]
impl View {
    /// One read of up to `len` bytes from `file` into the start of the item that begins at `slot`; 0 is the
    /// file's end.
    ///
    /// # Errors
    /// As `sys::io::read_into`; `InvalidInput` when that would pass the end of the ring.
    pub fn read_from(&self, slot: u64, len: u64, file: BorrowedFd<'_>, wait: Wait) -> io::Result<usize> {
        let to = self.payload(slot, 0, len).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: `payload` checked the range, which is mapped while `self` lives; the slots are this
        // process's by its claim, and this thread's by the handle, so nobody else here writes them.
        unsafe { file_io::read_into(file, to, len as usize, wait) }
    }

    /// One write to `file` of up to `len` bytes, from byte `offset` on, of the item that begins at `slot`.
    ///
    /// # Errors
    /// As `sys::io::write_from`; `InvalidInput` when that would pass the end of the ring.
    pub fn write_to(
        &self,
        slot: u64,
        offset: u64,
        len: u64,
        file: BorrowedFd<'_>,
        wait: Wait,
    ) -> io::Result<usize> {
        let from = self.payload(slot, offset, len).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: `payload` checked the range, which is mapped while `self` lives.
        unsafe { file_io::write_from(file, from, len as usize, wait) }
    }
}

/// A mapped named object of `sync`: its words as atomics, and its semaphores.
///
/// Nothing here hands out a reference to shared bytes other than to one `AtomicU64`.
#[derive(Debug, Clone)]
pub struct Words {
    segment: Arc<Segment>,
    base: NonNull<u8>,
    geometry: named::Geometry,
}

// SAFETY: the pointer leads into the mapping that `segment` keeps alive; all access through it is atomic.
unsafe impl Send for Words {}
// SAFETY: as above; no method changes the view itself.
unsafe impl Sync for Words {}

impl Words {
    /// Checks the preamble of `segment`, which is to be of this `kind`, once, and keeps what it says.
    pub fn new(segment: Arc<Segment>, kind: named::Kind) -> Result<Self> {
        let mut bytes = [0u8; named::Preamble::BYTES];
        // SAFETY: a segment has at least MIN_LEN > Preamble::BYTES bytes, mapped while it lives; `bytes` is
        // ours and does not overlap a mapping.
        unsafe { ptr::copy_nonoverlapping(segment.base().as_ptr(), bytes.as_mut_ptr(), bytes.len()) };
        if segment.is_lost() {
            return Err(Error::Truncated);
        }
        let preamble: named::Preamble = bytemuck::pod_read_unaligned(&bytes);
        let geometry = preamble.check(segment.name().as_str(), segment.len() as u64, abi::TAG, kind)?;
        Ok(Words { base: segment.base(), segment, geometry })
    }

    /// Writes a new object into zeroed bytes at `base`, all but the magic and the identity, which
    /// `Segment::create` writes; answers with the magic. The words in `set` begin with these values.
    pub fn initialise(
        base: NonNull<u8>,
        geometry: &named::Geometry,
        set: impl IntoIterator<Item = (u64, u64)>,
    ) -> Result<u64> {
        let preamble = named::Preamble { magic: 0, ..named::Preamble::new(geometry, abi::TAG) };
        let bytes = bytemuck::bytes_of(&preamble);
        // SAFETY: the caller of `Segment::create` gives `init` a mapping of the requested size, the
        // geometry's, and nobody else knows it yet; semaphores are aligned to 64 bytes, and words to 8.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), base.as_ptr(), 16);
            ptr::copy_nonoverlapping(bytes.as_ptr().add(32), base.add(32).as_ptr(), bytes.len() - 32);
            Semaphore::init(base.add(named::head::SEMAPHORE as usize), 0)?;
            if geometry.kind == named::Kind::Condition {
                for number in 0..geometry.participants {
                    let at = geometry.entry(number) + named::entry::SEMAPHORE;
                    Semaphore::init(base.add(at as usize), 0)?;
                }
            }
            for (offset, value) in set {
                let offset = (offset & !7).min(geometry.size - 8);
                base.add(offset as usize).cast::<u64>().write(value);
            }
        }
        Ok(named::MAGIC)
    }

    /// The segment below.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// What the object is.
    #[inline]
    pub fn geometry(&self) -> &named::Geometry {
        &self.geometry
    }

    /// The word at an offset that the geometry gave, or one of `named::head`. An offset beyond the object
    /// means its last word.
    #[inline]
    pub fn word(&self, offset: u64) -> &AtomicU64 {
        let offset = (offset & !7).min(self.geometry.size - 8);
        // SAFETY: the geometry was checked to lie within the mapping, and the offset is held within the
        // geometry; it and the page-aligned base are multiples of 8; shared words are only ever accessed
        // as AtomicU64; `&self` keeps the mapping alive.
        unsafe { &*self.base.as_ptr().wrapping_add(offset as usize).cast() }
    }

    /// The semaphore at `named::head::SEMAPHORE`.
    pub fn semaphore(&self) -> Semaphore {
        self.semaphore_at(named::head::SEMAPHORE)
    }

    /// The semaphore of a participant of a condition.
    pub fn semaphore_of(&self, number: u32) -> Semaphore {
        debug_assert_eq!(self.geometry.kind, named::Kind::Condition);
        self.semaphore_at(self.geometry.entry(number) + named::entry::SEMAPHORE)
    }

    fn semaphore_at(&self, offset: u64) -> Semaphore {
        // SAFETY: both offsets lie within the checked geometry and are multiples of 64; the creator
        // initialised a semaphore there before the segment had a name; the handle that uses it holds the
        // mapping, and nothing but semaphore calls touches these bytes.
        unsafe { Semaphore::at(self.base.add((offset & !63).min(self.geometry.size - 64) as usize)) }
    }
}

/// Offsets must lie within the entry or header that they index.
const _: () = {
    assert!(entry::COUNTERS + 8 * head::TOTALS_LEN <= PARTICIPANT_BYTES);
    assert!(item::LENGTH_AND_PRODUCER == 0 && item::SEQUENCE == 8 && item::TIME < 32);
    assert!(std::mem::offset_of!(Preamble, id) == IDENTITY_AT && IDENTITY_AT == 16);
    assert!(head::TOTALS + 8 * head::TOTALS_LEN <= head::TAIL);
    assert!(Preamble::BYTES as u64 <= head::DOOR);
};
