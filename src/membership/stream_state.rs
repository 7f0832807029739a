//! The state of the stream: which roles may still attach.
//!
//! Every change is a compare-exchange of the whole word. A process that decides that the stream is over thus
//! decides about exactly the participants that it checked: if a producer attached meanwhile, the word has
//! changed.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};

use super::Role;
pub(crate) use crate::layout::stream_state::StreamState;

impl StreamState {
    /// Reads the word.
    #[inline]
    pub fn read(word: &AtomicU64) -> Self {
        // E8: a process that sees a participant counted also finds its entry and its lock.
        StreamState(word.load(Acquire))
    }

    /// Counts one more participant. On refusal, returns the state that excludes this role.
    pub fn enter(word: &AtomicU64, role: Role) -> Result<(), StreamState> {
        change(word, |stream| match role {
            _ if stream.is_retired() => None,
            Role::Producer if stream.is_closed() => None,
            _ => Some(stream.with_one_more(role)),
        })
    }

    /// Closes the stream to producers. Returns false if it was closed already.
    pub fn close(word: &AtomicU64) -> bool {
        change(word, |stream| (!stream.is_closed()).then_some(stream.closed())).is_ok()
    }

    /// Undoes a retirement whose name could not be removed. Returns false if the ring was not retired.
    pub fn reinstate(word: &AtomicU64) -> bool {
        change(word, |stream| stream.is_retired().then_some(stream.reinstated())).is_ok()
    }

    /// Retires the ring if no participant has attached since `self` was read.
    pub fn retire(self, word: &AtomicU64) -> bool {
        // E8: a process that sees the ring retired also sees that it was drained.
        word.compare_exchange(self.0, self.retired().0, AcqRel, Acquire).is_ok()
    }
}

fn change(word: &AtomicU64, to: impl Fn(StreamState) -> Option<StreamState>) -> Result<(), StreamState> {
    // E8: see `read`.
    word.fetch_update(AcqRel, Acquire, |bits| to(StreamState(bits)).map(|stream| stream.0))
        .map(|_| ())
        .map_err(StreamState)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retirement_fails_if_a_participant_attached_meanwhile() {
        let word = AtomicU64::new(0);
        StreamState::enter(&word, Role::Producer).unwrap();
        let seen = StreamState::read(&word);
        StreamState::enter(&word, Role::Producer).unwrap();
        assert!(!seen.retire(&word));
        assert!(StreamState::read(&word).retire(&word));
        assert!(StreamState::read(&word).is_closed(), "attached producers send nothing more");
        assert!(StreamState::enter(&word, Role::Consumer).unwrap_err().is_retired());
    }

    #[test]
    fn a_closed_stream_admits_consumers_and_no_producers() {
        let word = AtomicU64::new(0);
        assert!(StreamState::close(&word));
        assert!(!StreamState::close(&word));
        assert!(StreamState::enter(&word, Role::Producer).is_err());
        StreamState::enter(&word, Role::Consumer).unwrap();
        assert_eq!((StreamState::read(&word).producers(), StreamState::read(&word).consumers()), (0, 1));
    }
}
