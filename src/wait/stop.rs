//! The flag that a caller raises to end waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends every wait of the handles that share it, within 100 milliseconds. Any thread may raise it, such as
/// one that handles signals.
///
/// ```
/// let stop = ringpipe::StopFlag::new();
/// assert!(!stop.is_raised());
/// stop.raise();
/// assert!(stop.is_raised());
/// ```
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

/// The stop flag is raised when this flag becomes true, for example by a signal handler that the crate
/// signal-hook registered.
impl From<Arc<AtomicBool>> for StopFlag {
    fn from(flag: Arc<AtomicBool>) -> Self {
        StopFlag(flag)
    }
}

impl StopFlag {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// Raises the flag for good.
    pub fn raise(&self) {
        // Relaxed: only a reason to stop; it publishes no other data.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the flag was raised.
    #[inline]
    pub fn is_raised(&self) -> bool {
        // Relaxed: a wait that misses it sees it at its next check.
        self.0.load(Ordering::Relaxed)
    }
}
