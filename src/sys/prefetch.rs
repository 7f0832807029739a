//! Asking for cache lines before they are needed. A hint: it changes nothing, and never faults.
#![allow(unsafe_code)]

use std::arch::asm;

/// Bytes of a cache line, on the processors that we know.
pub const LINE: usize = 64;

/// Asks for the line at `address`, to read it soon.
#[inline(always)]
pub fn read(address: *const u8) {
    // SAFETY: a prefetch of any address is allowed, and has no effect but on caches.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("prefetcht0 [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        asm!("/* {} */", in(reg) address, options(nostack, readonly, preserves_flags));
    }
}

/// Asks for the line at `address` alone, to write it soon.
#[inline(always)]
pub fn write(address: *const u8) {
    // SAFETY: as above; a processor of this architecture that does not know it does nothing.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        asm!("prefetchw [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        asm!("prfm pstl1keep, [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        asm!("/* {} */", in(reg) address, options(nostack, readonly, preserves_flags));
    }
}
