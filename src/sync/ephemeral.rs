//! Removes the name of a lock or barrier when its last handle leaves. No process then uses an object without a name.
//!
//! The lock's word (`head::OWNER`) is exchanged from free to [`RETIRED`], which no process changes again, and then the
//! name is removed. So no process holds the lock of an object without a name, and none ever takes it: a handle that
//! finds the word retired attaches to the object that has the name by then, or creates it. Two processes that work
//! under the same name therefore never hold two different locks.
//!
//! A leaving handle first frees its entry and releases its number, and then looks for other participants. The kernel
//! orders the releases, so of any number of handles that leave at once, the last one sees none and retires the object.
//! A process that joins after that look finds the word retired when it wants the lock or waits at the barrier.
//!
//! | the step | death before it leaves | death after it leaves |
//! |---|---|---|
//! | entry freed, number released | an entry of a dead process | a name that the next handle removes when it leaves |
//! | word retired | the same | a retired object: the next process that attaches removes the name |
//! | name removed | the same | nothing; sleepers look after a slice |

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::signals::{gate, signal};
use crate::Result;
use crate::layout::mapping::Words;
use crate::layout::named::{ObjectKind, head};
use crate::membership::liveness_probe::LivenessProbe;
use crate::membership::table::{Entry, numbers};
use crate::sys::liveness::Observer;

/// The word of a lock that no process takes any more.
pub(super) const RETIRED: u64 = 4;

/// Whether the object is retired: its name is gone, or about to go.
pub(super) fn is_retired(words: &Words) -> bool {
    // Acquire: a process that finds it retired sees which waits had passed the barrier before.
    words.word(head::OWNER).load(Acquire) == RETIRED
}

/// Retires the object and removes its name, if no living process takes part in it and nothing would be lost: the next
/// holder of an abandoned lock must learn of it. Returns whether it removed the name.
///
/// # Errors
/// [`Error::Busy`](crate::Error::Busy) when another process has been removing it for a second; [`Error::Io`](crate::Error::Io).
pub(super) fn retire(words: &Words) -> Result<bool> {
    let segment = words.segment();
    // Checked first, so that the word is not changed where the name must stay.
    if !is_retired(words) && (is_used(words)? || !segment.may_unlink()?) {
        return Ok(false);
    }
    let undo = || {
        exchange(words, RETIRED, 0);
    };
    let removed = segment.unlink_if(|| decide(words), undo)?;
    if is_retired(words) {
        signal(words).notify_all();
        if words.geometry().kind == ObjectKind::Barrier {
            gate(words).notify_all();
        }
    }
    Ok(removed)
}

/// Retires the object. True also if it is retired: the process that did so has died before it removed the name.
fn decide(words: &Words) -> bool {
    // Relaxed: read before the participants are. The exchange fails if a process took the lock since.
    let seen = words.word(head::OWNER).load(Relaxed);
    let is_free = match words.geometry().kind {
        ObjectKind::Lock => seen == 0,
        // Without participants, a holder is dead, and what it left is of no use to the next process.
        _ => true,
    };
    seen == RETIRED || is_free && is_used(words).is_ok_and(|used| !used) && exchange(words, seen, RETIRED)
}

fn exchange(words: &Words, from: u64, to: u64) -> bool {
    // P1: after all that was done under the lock. Relaxed: on failure a process took it.
    words.word(head::OWNER).compare_exchange(from, to, AcqRel, Relaxed).is_ok()
}

/// Whether a living process takes part.
fn is_used(words: &Words) -> Result<bool> {
    let probe = LivenessProbe::Observer(Observer::new(words.segment().reopen()?)?);
    let participants = words.geometry().participants;
    Ok(numbers(words)
        .any(|number| !Entry::read(words, number).is_free() && !probe.is_dead(number, participants)))
}
