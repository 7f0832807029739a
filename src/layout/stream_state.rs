//! The state of the stream, in one word: whether it is closed or retired, and how many participants ever attached.
//!
//! ```text
//! 63       62        61 60 59       30 29       0
//! | closed | retired | -- | consumers | producers |
//! ```
//!
//! A retired ring is drained and ended, and about to lose its name. `membership::stream_state` has the
//! operations that change the word.

use super::role::Role;

const COUNT_BITS: u32 = 30;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const RETIRED: u64 = 1 << 62;
const CLOSED: u64 = 1 << 63;

/// The state that a word at [`STREAM_STATE`](super::head::STREAM_STATE) describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamState(pub u64);

impl StreamState {
    #[inline]
    pub fn is_closed(self) -> bool {
        self.0 & (CLOSED | RETIRED) != 0
    }

    #[inline]
    pub fn is_retired(self) -> bool {
        self.0 & RETIRED != 0
    }

    /// The number of producers that ever attached.
    pub fn producers(self) -> u64 {
        self.0 & COUNT_MASK
    }

    /// The number of consumers that ever attached.
    pub fn consumers(self) -> u64 {
        self.0 >> COUNT_BITS & COUNT_MASK
    }

    /// The state with one more participant of this role. A count stays at its maximum: a billion participants
    /// are enough to tell two moments apart.
    pub fn with_one_more(self, role: Role) -> Self {
        StreamState(match role {
            Role::Producer if self.producers() == COUNT_MASK => self.0,
            Role::Producer => self.0 + 1,
            Role::Consumer if self.consumers() == COUNT_MASK => self.0,
            Role::Consumer => self.0 + (1 << COUNT_BITS),
        })
    }

    /// The same, closed.
    pub fn closed(self) -> Self {
        StreamState(self.0 | CLOSED)
    }

    /// The same, retired.
    pub fn retired(self) -> Self {
        StreamState(self.0 | RETIRED)
    }

    /// The same, not retired.
    pub fn reinstated(self) -> Self {
        StreamState(self.0 & !RETIRED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_bits_do_not_overlap() {
        let mut state = StreamState(0);
        for role in [Role::Producer, Role::Consumer, Role::Consumer] {
            state = state.with_one_more(role);
        }
        let counts = |state: StreamState| (state.producers(), state.consumers());
        assert_eq!((counts(state), state.is_closed(), state.is_retired()), ((1, 2), false, false));
        let closed = state.closed();
        assert_eq!((counts(closed), closed.is_closed(), closed.is_retired()), ((1, 2), true, false));
        let retired = state.retired();
        assert_eq!((counts(retired), retired.is_closed(), retired.is_retired()), ((1, 2), true, true));
        assert_eq!(retired.reinstated(), state);
        assert_eq!(closed.retired().reinstated(), closed);
    }

    #[test]
    fn counts_saturate_and_bits_that_no_process_writes_change_nothing() {
        let unused = StreamState(3 << 60);
        assert_eq!((unused.producers(), unused.consumers(), unused.is_closed()), (0, 0, false));
        let full = StreamState(COUNT_MASK | COUNT_MASK << COUNT_BITS);
        for role in [Role::Producer, Role::Consumer] {
            assert_eq!(full.with_one_more(role), full);
        }
        assert_eq!((full.producers(), full.consumers()), (COUNT_MASK, COUNT_MASK));
        assert!(!full.is_closed());
    }
}
