//! Copying bytes to and from shared memory.
#![allow(unsafe_code)]

use std::ptr;

/// Copies `len` bytes. For 8 to 64 bytes, a few inline instructions do this: a call would take longer.
///
/// # Safety
/// `from` is valid for reads and `to` for writes of `len` bytes, and they do not overlap.
#[inline(always)]
pub unsafe fn copy(from: *const u8, to: *mut u8, len: usize) {
    // SAFETY: as the caller promises; `halves` gets lengths from `HALF` to twice that.
    unsafe {
        match len {
            // One store, not two to the same place.
            8 => ptr::write(to.cast::<[u8; 8]>(), ptr::read(from.cast())),
            9..=16 => halves::<8>(from, to, len),
            17..=32 => halves::<16>(from, to, len),
            33..=64 => halves::<32>(from, to, len),
            _ => ptr::copy_nonoverlapping(from, to, len),
        }
    }
}

/// Copies each of `items` to its own place: the first one to `to`, and each further one `stride` bytes behind the one before.
/// Returns the number of bytes. An item longer than `stride` is cut.
///
/// # Safety
/// `to` is valid for writes of `stride` bytes for each item, and no item overlaps these bytes.
#[inline]
pub unsafe fn copy_all(items: &[&[u8]], to: *mut u8, stride: usize) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx") {
        // SAFETY: the processor has AVX; otherwise as the caller promises.
        return unsafe { copy_all_by_avx(items, to, stride) };
    }
    // SAFETY: as the caller promises.
    unsafe { copy_each(items, to, stride) }
}

/// As `copy_all`, with half as many stores for an item of 33 to 64 bytes. A store to a line that another processor has just
/// read waits for that line. Waiting stores fill a queue, and the processor stops when it is full: so fewer stores help.
///
/// # Safety
/// As `copy_all`, and the processor has AVX.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn copy_all_by_avx(items: &[&[u8]], to: *mut u8, stride: usize) -> u64 {
    // SAFETY: as the caller promises.
    unsafe { copy_each(items, to, stride) }
}

/// # Safety
/// As `copy_all`.
#[inline(always)]
unsafe fn copy_each(items: &[&[u8]], to: *mut u8, stride: usize) -> u64 {
    let (mut place, mut bytes) = (to, 0);
    for item in items {
        let len = item.len().min(stride);
        // SAFETY: as the caller promises, `stride` bytes at `place` are this item's.
        unsafe { copy(item.as_ptr(), place, len) };
        place = place.wrapping_add(stride);
        bytes += len as u64;
    }
    bytes
}

/// Copies the first and the last `HALF` bytes, which may overlap.
///
/// # Safety
/// As `copy`, and `len` is at least `HALF` and at most twice that.
#[inline(always)]
unsafe fn halves<const HALF: usize>(from: *const u8, to: *mut u8, len: usize) {
    let last = len - HALF;
    // SAFETY: both pieces lie within the `len` bytes; arrays of bytes need no alignment.
    unsafe {
        let head: [u8; HALF] = ptr::read(from.cast());
        let tail: [u8; HALF] = ptr::read(from.add(last).cast());
        ptr::write(to.cast(), head);
        ptr::write(to.add(last).cast(), tail);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn items_are_copied_each_to_its_own_place_and_nothing_else() {
        let from: Vec<u8> = (1..=100).collect();
        let items: Vec<&[u8]> = (0..=100).map(|len| &from[100 - len..]).collect();
        let mut expected = vec![0; 101 * 104 + 1];
        for (item, place) in items.iter().zip(expected.chunks_mut(104)) {
            place[..item.len()].copy_from_slice(item);
        }
        for copy_all in [super::copy_all, super::copy_each] {
            let mut to = vec![0; expected.len()];
            // SAFETY: there are 104 bytes for each of the 101 items, of which none is longer.
            let bytes = unsafe { copy_all(&items, to.as_mut_ptr(), 104) };
            assert_eq!(bytes, 100 * 101 / 2);
            assert_eq!(to, expected);
        }
    }

    #[test]
    fn every_length_is_copied_and_nothing_else() {
        let from: Vec<u8> = (1..=200).collect();
        for len in 0..=200 {
            let mut to = vec![0; 201];
            // SAFETY: both vectors have that many bytes.
            unsafe { super::copy(from.as_ptr(), to.as_mut_ptr(), len) };
            assert_eq!(to[..len], from[..len]);
            assert!(to[len..].iter().all(|&byte| byte == 0));
        }
    }
}
