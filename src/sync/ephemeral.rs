//! Removes the name of a lock or barrier when its last handle leaves. No process then uses an object without a name.
//!
//! The lock's word (`head::OWNER`) is exchanged from free to [`RETIRED`], and then the name is removed. Both
//! happen under the lock for removals. If the system refuses the removal, the word is freed again; otherwise
//! it stays retired. So no process holds the lock of an object without a name, and none ever takes it: a
//! handle that finds the word retired attaches to the object that has the name by then, or creates it. Two
//! processes that work under the same name therefore never hold two different locks.
//! A leaving handle first frees its entry and releases its number, and then looks for other participants. The kernel
//! orders the releases, so of any number of handles that leave at once, the last one sees none and retires the object.
//! A process that joins after that look finds the word retired when it wants the lock or waits at the barrier.
//!
//! | step | what a death before it leaves | what a death after it leaves |
//! |---|---|---|
//! | entry freed, number released | an entry of a dead process | a name that the next handle removes when it leaves |
//! | word retired | the same | a retired object: the next process that attaches removes the name |
//! | name removed | the same | nothing; sleepers look after a slice |

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use super::signals::{gate, signal};
use crate::Result;
use crate::layout::mapping::Words;
use crate::layout::named::{ObjectKind, head};
use crate::membership::liveness_probe::LivenessProbe;
use crate::membership::table::{Entry, numbers};
use crate::sys::liveness::Observer;
use crate::sys::segment::Segment;

/// The word of a lock that no process takes any more.
pub(super) const RETIRED: u64 = 4;

/// Whether the object is retired: its name is gone, or about to go.
pub(super) fn is_retired(words: &Words) -> bool {
    // Acquire: a process that finds it retired sees which waits had passed the barrier before.
    can_retire(words.geometry().kind) && words.word(head::OWNER).load(Acquire) == RETIRED
}

fn can_retire(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Lock | ObjectKind::Barrier)
}

/// Removes the name of a retired object, if the process that retired it has died before. False: the system refused that,
/// and the object is no longer retired.
///
/// # Errors
/// As [`retire`].
pub(super) fn finish(words: &Words) -> Result<bool> {
    match retire(words) {
        Err(error) if is_retired(words) => Err(error),
        _ => Ok(is_retired(words)),
    }
}

/// Whether the object was retired and its name is gone. If it is retired, finishes the removal as [`finish`]
/// does.
pub(super) fn is_gone(words: &Words) -> Result<bool> {
    Ok(is_retired(words) && finish(words)?)
}

/// Removes the name of a new object in which its creator could not take part, unless another process does by now.
pub(super) fn withdraw(segment: Arc<Segment>, kind: ObjectKind) {
    let Ok(words) = Words::new(segment, kind) else { return };
    let segment = words.segment();
    // Without a new descriptor: the system may just have refused one. A process that has a number but no entry yet counts.
    let is_used =
        || (0..words.geometry().participants).any(|number| segment.is_taken(number).unwrap_or(true));
    // The error of the creation is reported, not one of the removal.
    let _ = match can_retire(kind) {
        true => remove(&words, || Ok(is_used())),
        false => segment.unlink_if(|| !is_used(), || {}),
    };
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
    remove(words, || is_used(words))
}

/// Retires the object and removes its name, unless it is used.
fn remove(words: &Words, is_used: impl Fn() -> Result<bool>) -> Result<bool> {
    let undo = || {
        exchange(words, RETIRED, 0);
    };
    let removed = words.segment().unlink_if(|| decide(words, is_used), undo)?;
    if is_retired(words) {
        signal(words).notify_all();
        if words.geometry().kind == ObjectKind::Barrier {
            gate(words).notify_all();
        }
    }
    Ok(removed)
}

/// Retires the object. Also returns true if another process retired it and died before it removed the name.
fn decide(words: &Words, is_used: impl Fn() -> Result<bool>) -> bool {
    // Relaxed: read before the participants are. The exchange fails if a process took the lock since.
    let seen = words.word(head::OWNER).load(Relaxed);
    let is_free = match words.geometry().kind {
        ObjectKind::Lock => seen == 0,
        // Without participants, a holder is dead, and what it left is of no use to the next process.
        _ => true,
    };
    seen == RETIRED || is_free && is_used().is_ok_and(|used| !used) && exchange(words, seen, RETIRED)
}

fn exchange(words: &Words, from: u64, to: u64) -> bool {
    // P1: after all that was done under the lock. Relaxed: on failure a process took it.
    words.word(head::OWNER).compare_exchange(from, to, AcqRel, Relaxed).is_ok()
}

/// A probe of a process that takes no part.
pub(super) fn observer(words: &Words) -> Result<LivenessProbe> {
    Ok(LivenessProbe::Observer(Observer::new(words.segment().reopen()?)?))
}

/// Whether a living process takes part.
fn is_used(words: &Words) -> Result<bool> {
    let probe = observer(words)?;
    let participants = words.geometry().participants;
    Ok(numbers(words)
        .any(|number| !Entry::read(words, number).is_free() && !probe.is_dead(number, participants)))
}
