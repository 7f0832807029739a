//! An observer's copy of a slot beside the producer that claims the slot and overwrites it.
//!
//! The observer reads the word, copies the bytes, fences, and reads the word again: the copy is of what the first
//! word says if the second one is the same (`Ring::peek`, `Ring::slot_item`). The producer claims by an exchange,
//! fences lightly (E4), and writes. The exchange alone does not keep the bytes behind it. As in `waking.rs`, the light
//! fence is a full one here and stands for what membarrier does.

use std::sync::Arc;

use ringpipe::internal::protocol::word::{Codec, Tag, Word};

use super::waking::Fences;
use super::world::{AtomicU64, Relaxed, SeqCst, fence, spawn};
use std::sync::atomic::Ordering::{AcqRel, Acquire};

const OLD: u64 = 1;
const NEW: u64 = 2;

/// A copy that is accepted is of the item that was there when the word was read.
pub fn a_copy_is_whole_or_refused<F: Fences>() {
    let codec = Codec::new(2);
    let (free, writing) = (codec.free(2), codec.pack(Tag::Writing, 2, 1, 1, 0));
    let slot = Arc::new((AtomicU64::new(free.0), AtomicU64::new(OLD)));
    let producer = spawn({
        let slot = slot.clone();
        move || {
            let (word, bytes) = &*slot;
            word.compare_exchange(free.0, writing.0, AcqRel, Relaxed).expect("no other thread claims");
            if F::LIGHT {
                fence(SeqCst);
            }
            bytes.store(NEW, Relaxed);
        }
    });
    let (word, bytes) = &*slot;
    let before = Word(word.load(Acquire));
    let copy = bytes.load(Relaxed);
    if F::HEAVY {
        fence(SeqCst);
    }
    let same = word.load(Relaxed) == before.0;
    assert!(!same || before.tag() != Tag::Free || copy == OLD, "a torn copy was accepted");
    producer.join().expect("it ends");
}
