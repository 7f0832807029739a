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
            8..=16 => halves::<8>(from, to, len),
            17..=32 => halves::<16>(from, to, len),
            33..=64 => halves::<32>(from, to, len),
            _ => ptr::copy_nonoverlapping(from, to, len),
        }
    }
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
