//! Random identities.
#![allow(unsafe_code)]

use std::io;

use crate::{Error, Result};

/// A random 128-bit identity, from the kernel.
///
/// # Errors
/// [`Error::Io`] when the system gives no random bytes.
pub fn id() -> Result<[u8; 16]> {
    let mut bytes = [0u8; 16];
    loop {
        // SAFETY: the buffer is ours and has the length given. The kernel fills up to 256 bytes whole.
        let count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
        if count == bytes.len() as isize {
            return Ok(bytes);
        }
        let error = io::Error::last_os_error();
        if count < 0 && error.kind() != io::ErrorKind::Interrupted {
            return Err(Error::io("drawing a random identity", error));
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_identities_differ() {
        assert_ne!(super::id().unwrap(), super::id().unwrap());
    }
}
