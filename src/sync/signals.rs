//! The signals on which handles of an object sleep, except the participants that wait for a condition.

use crate::layout::mapping::Words;
use crate::layout::named::{ObjectKind, head};
use crate::wait::Signal;

/// For a lock, a permit or an event.
pub(super) fn signal(words: &Words) -> Signal<'_> {
    Signal {
        waiting: words.word(head::WAITING),
        semaphore: words.semaphore(),
        fences: words.word(head::FENCES),
    }
}

/// For the handles at a barrier that wait for the others.
pub(super) fn gate(words: &Words) -> Signal<'_> {
    Signal {
        waiting: words.word(head::GATE_WAITING),
        semaphore: words.gate(),
        fences: words.word(head::FENCES),
    }
}

/// All signals of an object that more than one handle may sleep on.
pub(super) fn all(words: &Words) -> impl Iterator<Item = Signal<'_>> {
    let gate = (words.geometry().kind == ObjectKind::Barrier).then(|| gate(words));
    std::iter::once(signal(words)).chain(gate)
}
