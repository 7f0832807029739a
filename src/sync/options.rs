//! How locks, barriers and events are opened or created: permissions, accepted owners, and for how long they exist.

use crate::sys::owners::Owners;

/// Options for a lock, a barrier or an event. [`lock`](Self::lock), [`barrier`](Self::barrier) and
/// [`event`](Self::event) attach to the object of this name, or create it; if several processes do so at
/// once, one creates it.
///
/// ```
/// # let name = format!("doc-object-options-{}", std::process::id());
/// use ringpipe::sync::{self, ObjectOptions};
///
/// let mut lock = ObjectOptions::new().ephemeral(true).lock(&name)?;
/// drop(lock.lock()?);
/// drop(lock);                                   // the last handle: the name goes, too
/// assert!(sync::Lock::open(&name).is_err());
/// # Ok::<(), ringpipe::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectOptions {
    pub(super) mode: u32,
    pub(super) owners: Owners,
    pub(super) ephemeral: bool,
}

impl Default for ObjectOptions {
    fn default() -> Self {
        ObjectOptions { mode: 0o600, owners: Owners::Own, ephemeral: false }
    }
}

impl ObjectOptions {
    /// Mode 0600, objects of this user and of root, and names that stay until they are removed.
    pub fn new() -> Self {
        Self::default()
    }

    /// Permission bits of an object that is created, whatever the umask. A process needs permission to read and
    /// to write.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }

    /// Whose objects are accepted.
    pub fn owners(mut self, owners: Owners) -> Self {
        self.owners = owners;
        self
    }

    /// Removes the name of a lock or barrier when the last handle leaves it, if this user may remove it. This
    /// applies to the handles that are opened with this option. If all of them are killed, the name stays
    /// until the next such handle leaves. The name of a lock whose holder died also stays until another
    /// handle has held the lock. Events stay.
    pub fn ephemeral(mut self, ephemeral: bool) -> Self {
        self.ephemeral = ephemeral;
        self
    }
}
