//! Decides whether two processes can share memory: the ABI tag of a segment.
//!
//! A `sem_t` of glibc and one of musl, or of 32 and 64 bits, have different sizes and meanings. Two processes that
//! mix them lose wake-ups silently. So the segment carries this tag, and a process refuses a segment with another
//! tag.
use std::fmt;

/// This program's C library, pointer width, semaphore size and byte order, in one number.
pub const TAG: u32 =
    u32::from_be_bytes([BYTE_ORDER, size_of::<libc::sem_t>() as u8, size_of::<usize>() as u8, LIBC]);

const GNU: u8 = 1;
const MUSL: u8 = 2;
const OTHER: u8 = 0xff;
const LITTLE: u8 = 1;
const BIG: u8 = 2;

const LIBC: u8 = if cfg!(target_env = "gnu") {
    GNU
} else if cfg!(target_env = "musl") {
    MUSL
} else {
    OTHER
};
const BYTE_ORDER: u8 = if cfg!(target_endian = "little") { LITTLE } else { BIG };

/// A tag in words, for the message that refuses it. Any number is accepted, because any program may have written
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abi(pub u32);

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [order, semaphore, pointer, libc] = self.0.to_be_bytes();
        let (order, libc) = match (order, libc) {
            (LITTLE, GNU) => ("little", "glibc"),
            (LITTLE, MUSL) => ("little", "musl"),
            (LITTLE, OTHER) => ("little", "another libc"),
            (BIG, GNU) => ("big", "glibc"),
            (BIG, MUSL) => ("big", "musl"),
            (BIG, OTHER) => ("big", "another libc"),
            _ => return write!(f, "unknown system {:#010x}", self.0),
        };
        let bits = u32::from(pointer) * 8;
        write!(f, "{libc}, {bits} bits, {order}-endian, semaphores of {semaphore} bytes")
    }
}

/// The C library that this process uses, with its version if the library reports one: `glibc 2.36`.
#[allow(unsafe_code)]
pub fn c_library() -> String {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: takes no arguments and returns a constant string of the library.
        let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
        format!("glibc {}", version.to_string_lossy())
    }
    #[cfg(not(target_env = "gnu"))]
    if cfg!(target_env = "musl") { "musl".into() } else { "neither glibc nor musl".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tag_differs_from_the_others_and_from_its_swapped_bytes() {
        let mut tags = Vec::new();
        for order in [LITTLE, BIG] {
            for (pointer, semaphore) in [(8, 32), (4, 16)] {
                for libc in [GNU, MUSL, OTHER] {
                    let tag = u32::from_be_bytes([order, semaphore, pointer, libc]);
                    tags.extend([tag, tag.swap_bytes()]);
                }
            }
        }
        assert!(tags.contains(&TAG));
        let count = tags.len();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), count);
    }

    #[test]
    fn a_tag_is_described_in_words() {
        let tag = u32::from_be_bytes([LITTLE, 32, 8, MUSL]);
        assert_eq!(Abi(tag).to_string(), "musl, 64 bits, little-endian, semaphores of 32 bytes");
        assert_eq!(Abi(7).to_string(), "unknown system 0x00000007");
    }
}
