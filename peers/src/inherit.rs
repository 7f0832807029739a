//! Descriptors that workers inherit, for carriers that have no name in the file system.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

static NAMED: Mutex<BTreeMap<String, RawFd>> = Mutex::new(BTreeMap::new());

fn named<T>(f: impl FnOnce(&mut BTreeMap<String, RawFd>) -> T) -> T {
    f(&mut NAMED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Workers started while this lives inherit its descriptor.
pub struct Offer {
    name: String,
    /// Kept open until the workers have it.
    _fd: OwnedFd,
}

impl Offer {
    /// Offers `fd` under a name.
    pub fn new(name: String, fd: OwnedFd) -> Self {
        fcntl(&fd, FcntlArg::F_SETFD(FdFlag::empty())).expect("an open descriptor");
        named(|all| all.insert(name.clone(), fd.as_raw_fd()));
        Offer { name, _fd: fd }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        named(|all| all.remove(&self.name));
    }
}

/// What is offered just now.
pub fn offers() -> Vec<(String, RawFd)> {
    named(|all| all.iter().map(|(name, fd)| (name.clone(), *fd)).collect())
}

/// In the worker: what was offered when it was started.
pub fn accept(offers: &[(String, RawFd)]) {
    named(|all| all.extend(offers.iter().cloned()));
}

/// In the worker: takes a descriptor that was offered; each can be taken once.
pub fn take(name: &str) -> OwnedFd {
    let fd = named(|all| all.remove(name)).expect("an offered descriptor");
    // SAFETY: the parent kept it open across exec for this worker, it was not taken before, and nothing else
    // in this process knows its number.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
