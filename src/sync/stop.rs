//! The flag that ends any wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends every wait of the handles that share it, within 100 milliseconds; may be raised from a signal
/// handler's thread or anywhere else.
///
/// ```
/// let stop = ringpipe::StopFlag::new();
/// assert!(!stop.is_raised());
/// stop.raise();
/// assert!(stop.is_raised());
/// ```
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// A flag that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// The flag itself, for a signal handler to set.
    #[cfg(feature = "cli")]
    pub(crate) fn word(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Raises the flag for good.
    pub fn raise(&self) {
        // Relaxed: a reason to stop, it hands nothing over.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the flag was raised.
    #[inline]
    pub fn is_raised(&self) -> bool {
        // Relaxed: seen at the next look at the latest.
        self.0.load(Ordering::Relaxed)
    }
}
