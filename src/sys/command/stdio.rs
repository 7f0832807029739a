//! Remembers which of the standard descriptors this process was started with, and tells how wide the terminal is.
//!
//! Before `main`, Rust's runtime opens `/dev/null` in place of the closed ones. After that, a closed output looks
//! like one that accepts everything, and the items written to it would be lost.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU8, Ordering};

/// One bit for each of the descriptors 0, 1 and 2 that was open.
static OPEN: AtomicU8 = AtomicU8::new(0);

extern "C" fn look() {
    for fd in 0..3 {
        // SAFETY: F_GETFD takes no pointer, and answers -1 for a closed descriptor.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1 {
            // Relaxed: there is only one thread yet.
            OPEN.fetch_or(1 << fd, Ordering::Relaxed);
        }
    }
}

// SAFETY: `.init_array` holds pointers to functions of the C ABI, which the loader calls once, before the runtime
// starts. `look` does not use the runtime, and may ignore its arguments.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

/// Whether the process was started with standard descriptor `fd`, 0 to 2, open.
pub fn was_open(fd: u32) -> bool {
    // Relaxed: written before there was a second thread.
    fd < 3 && OPEN.load(Ordering::Relaxed) >> fd & 1 == 1
}

/// The number of columns of the terminal at standard error. `None`: it is not a terminal, or the number is
/// unknown.
pub fn columns() -> Option<u16> {
    columns_of(libc::STDERR_FILENO)
}

/// The same of another descriptor.
pub fn columns_of(fd: i32) -> Option<u16> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize`, which lives until after the call.
    let answer = unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) };
    (answer == 0 && size.ws_row > 0 && size.ws_col > 0).then_some(size.ws_col)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_runs_the_check_before_main() {
        // A test harness has at least its standard error.
        assert!((0..3).any(was_open));
        assert!(!was_open(3));
    }
}
