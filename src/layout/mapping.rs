//! The mapping of a segment: the one place where bytes become atomics.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicU64};
#[cfg(feature = "cli")]
use std::{io, os::fd::BorrowedFd};

use super::geometry::{Geometry, HEAD_BYTES, PARTICIPANT_BYTES};
use super::preamble::Preamble;
use super::{entry, head, header, named};
use crate::sys::abi;
#[cfg(feature = "cli")]
use crate::sys::command::io::{self as file_io, Wait};
use crate::sys::copy;
use crate::sys::name::RingName;
use crate::sys::prefetch::prefetch;
use crate::sys::segment::{IDENTITY_AT, MIN_LEN, Segment};
use crate::sys::semaphore::RawSemaphore;
use crate::{Error, Result};

/// Words in a participant's entry.
const ENTRY_WORDS: usize = PARTICIPANT_BYTES as usize / 8;
/// The bytes of packed items that are copied at a time.
const PACKED_PIECE: u64 = 1024;

/// A mapped ring: its words as atomics, its payload as places to copy to and from.
///
/// No reference to shared bytes leaves this type, except to `AtomicU64`s and, for lengths, `AtomicU32`s.
#[derive(Debug, Clone)]
pub struct Mapping {
    segment: Arc<Segment>,
    base: NonNull<u8>,
    geometry: Geometry,
    mask: u64,
}

// SAFETY: the pointer leads into the mapping that `segment` keeps alive; all access through it is
// atomic or a raw copy of bytes that belong to this process by the ring's protocol.
unsafe impl Send for Mapping {}
// SAFETY: as above; no method changes the view itself.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Checks the preamble of `segment` and keeps a copy. The preamble is not read again.
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
        Ok((Mapping { segment, base, geometry, mask: geometry.capacity - 1 }, preamble))
    }

    /// Creates the segment of a new ring with `size` bytes. Its fixed part is filled in before it gets its
    /// name.
    ///
    /// # Errors
    /// As [`Segment::create`].
    pub fn create(name: &RingName, size: u64, mode: u32, preamble: &Preamble) -> Result<Segment> {
        // SAFETY: `create` makes no segment of fewer than MIN_LEN bytes, and no other process knows it yet.
        Segment::create(name, size, mode, |base, _| unsafe { Mapping::initialise(base, preamble) })
    }

    /// Writes a new ring's fixed part into zeroed bytes at `base`, except the magic and the identity, which
    /// `Segment::create` writes. Returns the magic.
    ///
    /// # Safety
    /// HEAD_BYTES bytes at `base`, which is page-aligned, are mapped, and no other code uses them yet.
    unsafe fn initialise(base: NonNull<u8>, preamble: &Preamble) -> Result<u64> {
        let unwritten = Preamble { magic: 0, id: [0; 16], ..*preamble };
        let bytes = bytemuck::bytes_of(&unwritten);
        // SAFETY: as the caller promises; the preamble and the semaphores lie within HEAD_BYTES, and semaphores
        // are aligned to 64 bytes.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), base.as_ptr(), 16);
            ptr::copy_nonoverlapping(bytes.as_ptr().add(32), base.add(32).as_ptr(), bytes.len() - 32);
            RawSemaphore::init(base.add(head::ITEMS_SEMAPHORE as usize), 0)?;
            RawSemaphore::init(base.add(head::ROOM_SEMAPHORE as usize), preamble.first_room())?;
            RawSemaphore::init(base.add(head::MUTEX_SEMAPHORE as usize), 1)?;
        }
        Ok(preamble.magic)
    }

    /// The segment that is mapped.
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
        // multiples of 8; these words, all but the lengths, are only ever accessed as AtomicU64; `&self` keeps the
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

    /// The state words of `count` slots from `slot` on, or fewer if the ring ends before.
    #[inline]
    pub fn words(&self, slot: u64, count: u64) -> &[AtomicU64] {
        let slot = slot & self.mask;
        let count = count.min(self.geometry.capacity - slot) as usize;
        // SAFETY: the words of all slots lie within the mapping, one after the other; otherwise as in `atom`.
        unsafe { std::slice::from_raw_parts(self.at(self.geometry.words + slot * 8), count) }
    }

    /// The headers of `count` slots from `slot` on, or fewer if the ring ends before. Each reaches from its
    /// first word to the next header.
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

    /// The lengths of the items that begin in the `count` slots from `slot` on, or in fewer if the ring ends before. Not in a
    /// ring of fixed items.
    #[inline]
    pub(crate) fn lengths(&self, slot: u64, count: u64) -> &[AtomicU32] {
        debug_assert_eq!(self.geometry.fixed, 0);
        let slot = slot & self.mask;
        let count = count.min(self.geometry.capacity - slot) as usize;
        let first = self.at(self.geometry.lengths).cast::<AtomicU32>().wrapping_add(slot as usize);
        // SAFETY: the lengths of all slots lie within the mapping, one after the other. Each caller checks that items have
        // lengths of their own, and then these bytes are only ever accessed as AtomicU32. `&self` keeps the mapping alive.
        unsafe { std::slice::from_raw_parts(first, count) }
    }

    /// The length of the item that begins at `slot`. Not in a ring of fixed items.
    #[inline]
    pub(crate) fn length(&self, slot: u64) -> &AtomicU32 {
        debug_assert_eq!(self.geometry.fixed, 0);
        let first = self.at(self.geometry.lengths).cast::<AtomicU32>();
        // SAFETY: as above; the slot is one of the ring's.
        unsafe { &*first.wrapping_add((slot & self.mask) as usize) }
    }

    /// A participant's entry. A number beyond the table gives the last entry.
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

    /// The words that every header has, for the item that begins at `slot`. Not in a ring of fixed items.
    #[inline]
    pub fn header(&self, slot: u64) -> &[AtomicU64; 2] {
        debug_assert_eq!(self.geometry.fixed, 0);
        let first = self.at(self.geometry.headers + (slot & self.mask) * self.geometry.header_stride);
        // SAFETY: headers lie within the mapping, and 8 bytes of payload or more behind them; otherwise as in `atom`.
        unsafe { &*first.cast() }
    }

    /// A word of the header of the item that begins at `slot`, by its offset in [`header`](super::header).
    #[inline]
    pub fn item_word(&self, slot: u64, offset: u64) -> &AtomicU64 {
        let offset = offset & (self.geometry.header_stride - 8);
        self.atom(self.geometry.headers + (slot & self.mask) * self.geometry.header_stride + offset)
    }

    /// The semaphore at an offset in [`head`].
    #[inline]
    pub fn semaphore(&self, offset: u64) -> RawSemaphore<'_> {
        debug_assert!([head::ITEMS_SEMAPHORE, head::ROOM_SEMAPHORE, head::MUTEX_SEMAPHORE].contains(&offset));
        // SAFETY: the offset lies in the fixed part and is a multiple of 64; the creator initialised
        // a semaphore there before the ring had a name; `&self` keeps the mapping alive.
        unsafe { RawSemaphore::at(self.base.add((offset & (HEAD_BYTES - 64)) as usize)) }
    }

    /// The address of byte `offset` of the item that begins at `slot`, if `len` bytes from there on are
    /// within the ring.
    #[inline]
    pub fn payload(&self, slot: u64, offset: u64, len: u64) -> Option<NonNull<u8>> {
        let start = self.geometry.payload + (slot & self.mask) * self.geometry.slot_size;
        // This cannot overflow: the geometry was checked.
        let end = self.geometry.payload + self.geometry.capacity * self.geometry.slot_size;
        if offset > end - start || len > end - start - offset {
            return None;
        }
        let at = start + offset;
        // SAFETY: `at + len` is at most `payload + capacity * slot_size`, which the geometry holds
        // within the mapping.
        Some(unsafe { self.base.add(at as usize) })
    }

    /// Asks the processor for the lines of the item that will begin at `slot`: that of its length, and its first bytes.
    #[inline]
    pub fn prefetch(&self, slot: u64) {
        let slot = slot & self.mask;
        prefetch(self.at(self.geometry.payload + slot * self.geometry.slot_size).cast());
        if self.geometry.fixed == 0 {
            prefetch(self.at(self.geometry.lengths).wrapping_byte_add(slot as usize * 4).cast());
        }
    }

    /// Copies `bytes` into the item that begins at `slot`, from its byte `offset` on. If that would pass the
    /// end of the ring, copies nothing and returns false.
    #[inline]
    pub fn copy_in(&self, slot: u64, offset: u64, bytes: &[u8]) -> bool {
        let Some(to) = self.payload(slot, offset, bytes.len() as u64) else { return false };
        // SAFETY: `payload` checked the range; `bytes` is a private slice, since no slice of shared
        // bytes is ever made; the slots are this process's by its claim.
        unsafe { copy::copy(bytes.as_ptr(), to.as_ptr(), bytes.len()) };
        true
    }

    /// Appends `len` bytes of the item that begins at `slot`, from its byte `offset` on, to `out`. If that
    /// would pass the end of the ring, appends nothing and returns false.
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

    /// Appends `len` bytes of the item in the one slot `slot` to `out`; no more than the slot has.
    ///
    /// Copies 64 bytes of the slot for any shorter length: without a branch on the length, which processors guess
    /// wrong where lengths are mixed.
    #[cfg(feature = "cli")]
    #[inline]
    pub fn copy_out_single(&self, slot: u64, len: u64, out: &mut Vec<u8>) {
        const SHORT: u64 = 64;
        let len = len.min(self.geometry.slot_size);
        let from = if len <= SHORT && SHORT <= self.geometry.slot_size {
            self.payload(slot, 0, SHORT)
        } else {
            None
        };
        let Some(from) = from else {
            let copied = self.copy_out(slot, 0, len, out);
            debug_assert!(copied, "a slot ends within the ring");
            return;
        };
        out.reserve(SHORT as usize);
        // SAFETY: `payload` checked the range; `reserve` made room for 64 bytes in `out`, which is private. The first
        // `len` of them are initialised by the copy before the length says so.
        unsafe {
            copy::copy(from.as_ptr(), out.as_mut_ptr().add(out.len()), SHORT as usize);
            out.set_len(out.len() + len as usize);
        }
    }

    /// Copies `items` into the slots from `slot` on, a slot for each, and writes their lengths. An item that is longer than a
    /// slot is cut. Returns the bytes, or `None` if the ring ends before the last item: then copies nothing.
    #[inline]
    pub fn copy_in_singles(&self, slot: u64, items: &[&[u8]]) -> Option<u64> {
        let Geometry { slot_size, fixed, .. } = self.geometry;
        let to = self.payload(slot, 0, (items.len() as u64).checked_mul(slot_size)?)?;
        // SAFETY: `payload` checked the range of that many slots; otherwise as in `copy_in`.
        let bytes = unsafe { copy::copy_all(items, to.as_ptr(), slot_size as usize) };
        if fixed == 0 {
            // After the bytes, not among them: a store to another line after each item made batches 7 to 14 % slower.
            for (item, length) in items.iter().zip(self.lengths(slot, items.len() as u64)) {
                // Relaxed: E1 orders it, and only this producer writes it.
                length.store((item.len() as u64).min(slot_size) as u32, Relaxed);
            }
        }
        Some(bytes)
    }

    /// Copies `bytes`, whole items of a ring of fixed items, into the slots from `slot` on. If that would pass the end of
    /// the ring, copies only the first ones, and returns false.
    #[inline]
    pub fn copy_in_fixed(&self, slot: u64, bytes: &[u8]) -> bool {
        let (piece, stride) = self.pieces();
        let mut pieces = bytes.chunks(piece).zip(0..);
        pieces.all(|(piece, n)| self.copy_in(slot, n * stride, piece))
    }

    /// Copies whole items of a ring of fixed items, from `slot` on, to fill `out`, likewise.
    #[inline]
    pub fn copy_out_fixed(&self, slot: u64, out: &mut [u8]) -> bool {
        let (piece, stride) = self.pieces();
        let mut pieces = out.chunks_mut(piece).zip(0..);
        pieces.all(|(piece, n)| self.copy_to(slot, n * stride, piece))
    }

    /// How many bytes of fixed items to copy at a time, and how far the pieces lie apart in the slots.
    fn pieces(&self) -> (usize, u64) {
        let Geometry { fixed, slot_size, .. } = self.geometry;
        // Without gaps, pieces of any length do. From 4 KiB on the C library copies by one instruction (`rep movsb`),
        // which was measured slower for lines that the other processor has just written: docs/PERFORMANCE.md.
        let piece = if fixed == slot_size { fixed.max(PACKED_PIECE) } else { fixed };
        let stride = if fixed == slot_size { piece } else { slot_size };
        (piece.max(1) as usize, stride)
    }

    /// Copies bytes of the item that begins at `slot`, from its byte `offset` on, to fill `out`.
    #[inline]
    pub fn copy_to(&self, slot: u64, offset: u64, out: &mut [u8]) -> bool {
        let Some(from) = self.payload(slot, offset, out.len() as u64) else { return false };
        // SAFETY: `payload` checked the range; `out` is private.
        unsafe { copy::copy(from.as_ptr(), out.as_mut_ptr(), out.len()) };
        true
    }
}

/// Moves payload to and from files without an intermediate copy.
#[cfg(feature = "cli")]
impl Mapping {
    /// Reads once from `file`, up to `len` bytes, into the start of the item that begins at `slot`. Returns 0
    /// at the file's end.
    ///
    /// # Errors
    /// As `sys::command::io::read_into`; `InvalidInput` if that would pass the end of the ring.
    pub fn read_from(&self, slot: u64, len: u64, file: BorrowedFd<'_>, wait: Wait) -> io::Result<usize> {
        let to = self.payload(slot, 0, len).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: `payload` checked the range, which is mapped while `self` lives; the slots are this
        // process's by its claim, and this thread's by the handle, so no other code here writes them.
        unsafe { file_io::read_into(file, to, len as usize, wait) }
    }

    /// Writes once to `file`, up to `len` bytes of the item that begins at `slot`, from byte `offset` on.
    ///
    /// # Errors
    /// As `sys::command::io::write_from`; `InvalidInput` if that would pass the end of the ring.
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
/// No reference to shared bytes leaves this type, except to single `AtomicU64`s.
#[derive(Debug, Clone)]
pub struct Words {
    segment: Arc<Segment>,
    base: NonNull<u8>,
    geometry: named::ObjectLayout,
}

// SAFETY: the pointer leads into the mapping that `segment` keeps alive; all access through it is atomic.
unsafe impl Send for Words {}
// SAFETY: as above; no method changes the view itself.
unsafe impl Sync for Words {}

impl Words {
    /// Checks the preamble of `segment`, which must be of this `kind`, and keeps a copy. The preamble is not
    /// read again.
    pub fn new(segment: Arc<Segment>, kind: named::ObjectKind) -> Result<Self> {
        let mut bytes = [0u8; named::ObjectPreamble::BYTES];
        // SAFETY: a segment has at least MIN_LEN > Preamble::BYTES bytes, mapped while it lives; `bytes` is
        // ours and does not overlap a mapping.
        unsafe { ptr::copy_nonoverlapping(segment.base().as_ptr(), bytes.as_mut_ptr(), bytes.len()) };
        if segment.is_lost() {
            return Err(Error::Truncated);
        }
        let preamble: named::ObjectPreamble = bytemuck::pod_read_unaligned(&bytes);
        let geometry = preamble.check(segment.name().as_str(), segment.len() as u64, abi::TAG, kind)?;
        Ok(Words { base: segment.base(), segment, geometry })
    }

    /// Creates the segment of a new object. The words in `set` begin with these values.
    ///
    /// # Errors
    /// As [`Segment::create`]; [`Error::Options`] for an impossible number of permits.
    pub fn create(
        name: &RingName,
        mode: u32,
        geometry: &named::ObjectLayout,
        set: impl Fn() -> Vec<(u64, u64)>,
    ) -> Result<Segment> {
        // The fields are public, so compute the layout again for this kind.
        let geometry = named::ObjectLayout::new(geometry.kind, geometry.limit)?;
        Segment::create(name, geometry.size, mode, |base, _| {
            // SAFETY: the segment has the geometry's size, and no other process knows it yet; `new` computed
            // the geometry, so all entries lie within the size.
            unsafe { Words::initialise(base, &geometry, set()) }
        })
    }

    /// Writes a new object into zeroed bytes at `base`, except the magic and the identity, which
    /// `Segment::create` writes. Returns the magic. The words in `set` begin with these values.
    ///
    /// # Safety
    /// As many bytes as the geometry says, at least HEAD_BYTES, are mapped at `base`, which is page-aligned,
    /// and no other code uses them yet. A condition's table of participants lies within them.
    unsafe fn initialise(
        base: NonNull<u8>,
        geometry: &named::ObjectLayout,
        set: impl IntoIterator<Item = (u64, u64)>,
    ) -> Result<u64> {
        let preamble = named::ObjectPreamble { magic: 0, ..named::ObjectPreamble::new(geometry, abi::TAG) };
        let bytes = bytemuck::bytes_of(&preamble);
        // SAFETY: as the caller promises; semaphores are aligned to 64 bytes, and words to 8, and held within
        // the size.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), base.as_ptr(), 16);
            ptr::copy_nonoverlapping(bytes.as_ptr().add(32), base.add(32).as_ptr(), bytes.len() - 32);
            RawSemaphore::init(base.add(named::head::SEMAPHORE as usize), 0)?;
            if geometry.kind == named::ObjectKind::Condition {
                for number in 0..geometry.participants {
                    let at = geometry.entry(number) + named::entry::SEMAPHORE;
                    RawSemaphore::init(base.add(at as usize), 0)?;
                }
            }
            if geometry.kind == named::ObjectKind::Barrier {
                RawSemaphore::init(base.add(named::head::GATE as usize), 0)?;
            }
            for (offset, value) in set {
                let offset = (offset & !7).min(geometry.size - 8);
                base.add(offset as usize).cast::<u64>().write(value);
            }
        }
        Ok(named::OBJECT_MAGIC)
    }

    /// The segment that is mapped.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The checked layout of the object.
    #[inline]
    pub fn geometry(&self) -> &named::ObjectLayout {
        &self.geometry
    }

    /// The word at an offset that the geometry gave, or at one of `named::head`. An offset beyond the object
    /// gives its last word.
    #[inline]
    pub fn word(&self, offset: u64) -> &AtomicU64 {
        let offset = (offset & !7).min(self.geometry.size - 8);
        // SAFETY: the geometry was checked to lie within the mapping, and the offset is held within the
        // geometry; it and the page-aligned base are multiples of 8; shared words are only ever accessed
        // as AtomicU64; `&self` keeps the mapping alive.
        unsafe { &*self.base.as_ptr().wrapping_add(offset as usize).cast() }
    }

    /// The semaphore at `named::head::SEMAPHORE`.
    pub fn semaphore(&self) -> RawSemaphore<'_> {
        self.semaphore_at(named::head::SEMAPHORE)
    }

    /// The semaphore of the handles that wait at a barrier.
    pub fn gate(&self) -> RawSemaphore<'_> {
        debug_assert_eq!(self.geometry.kind, named::ObjectKind::Barrier);
        self.semaphore_at(named::head::GATE)
    }

    /// The semaphore of a participant of a condition.
    pub fn semaphore_of(&self, number: u32) -> RawSemaphore<'_> {
        debug_assert_eq!(self.geometry.kind, named::ObjectKind::Condition);
        self.semaphore_at(self.geometry.entry(number) + named::entry::SEMAPHORE)
    }

    fn semaphore_at(&self, offset: u64) -> RawSemaphore<'_> {
        // SAFETY: the offsets lie within the checked geometry and are multiples of 64; the creator
        // initialised a semaphore there before the segment had a name; `&self` keeps the mapping alive, and
        // nothing but semaphore calls touches these bytes.
        unsafe { RawSemaphore::at(self.base.add((offset & !63).min(self.geometry.size - 64) as usize)) }
    }
}

/// Every offset must lie within the entry or header that it indexes.
const _: () = {
    assert!(entry::COUNTERS + 8 * head::TOTALS_LEN <= PARTICIPANT_BYTES);
    assert!(header::PRODUCER == 0 && header::SEQUENCE == 8 && header::TIME < 32);
    assert!(header::NAME == 0);
    assert!(std::mem::offset_of!(Preamble, id) == IDENTITY_AT && IDENTITY_AT == 16);
    assert!(head::TOTALS + 8 * head::TOTALS_LEN <= head::TAIL);
    assert!(Preamble::BYTES as u64 <= head::STREAM_STATE);
    assert!(HEAD_BYTES == MIN_LEN && named::HEAD_BYTES == MIN_LEN && named::ObjectPreamble::BYTES <= 4096);
};
