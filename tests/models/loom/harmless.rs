//! Faults that no story notices, and why that is no fault of the stories.

use std::sync::atomic::Ordering::{self, Relaxed, Release};

/// A fault by its line of source.
pub struct Harmless {
    pub file: &'static str,
    /// A part of the line.
    pub code: &'static str,
    /// The order that it has instead of its own. None: the change is left out.
    pub weakened_to: Option<Ordering>,
    pub why: &'static str,
}

const fn weaker(file: &'static str, code: &'static str, to: Ordering, why: &'static str) -> Harmless {
    Harmless { file, code, weakened_to: Some(to), why }
}

const fn left_out(file: &'static str, code: &'static str, why: &'static str) -> Harmless {
    Harmless { file, code, weakened_to: None, why }
}

const OWN: &str = "a success means that the word is what its owner wrote: there is nothing to learn from it";
const SEQUENCE: &str = "an exchange goes on with the release of the store that it replaces";
const BEHIND_FIRST: &str =
    "producers come to an inner slot behind the run's first word, which is freed after it with a release";
const LOCK: &str =
    "an exclusive producer follows another one only after the kernel has handed on the lock of its number";
const SAW: &str = "the look before it read the same word with an acquire";
const DEAD: &str = "what follows comes after the question to the kernel whether the owner is dead, which orders all that it did";
const LATE_NAME: &str = "it matters when another item comes to the slot and is stepped over between two loads, which is too long a story for loom";
const POSITION: &str =
    "only positions come of it: what is done there is decided by exchanges of words that are read anew";

pub const ALL: &[Harmless] = &[
    weaker("consume.rs", "compare_exchange(word.0, self.codec.freed(word).0, Release)", Relaxed, SEQUENCE),
    weaker("make_room.rs", "compare_exchange(word.0, self.codec.freed(word).0, Release)", Relaxed, SEQUENCE),
    weaker("consume.rs", "self.atom(end).store(self.codec.free(", Relaxed, BEHIND_FIRST),
    weaker("consume.rs", "atom.store(free.0, Release)", Relaxed, BEHIND_FIRST),
    weaker("consume.rs", "compare_exchange(claim.word.0, freed.0, AcqRel)", Release, OWN),
    weaker("mod.rs", "counter.compare_exchange(now, end, order)", Release, SEQUENCE),
    weaker(
        "mod.rs",
        "Word(atom.load(Acquire))",
        Relaxed,
        "a renewal of a word, or its mark as late, hands nothing to its owner",
    ),
    weaker("mod.rs", "compare_exchange(word.0, change(word).0, AcqRel)", Release, "as the look before it"),
    weaker(
        "inspect.rs",
        "self.codec.slot(slot)).load(Acquire)",
        Relaxed,
        "a shortcut: a thread that is told that nothing is held scans before it relies on it",
    ),
    weaker("inspect.rs", "self.atom(head).load(Acquire)", Relaxed, POSITION),
    weaker("inspect.rs", "self.atom(tail).load(Acquire)", Relaxed, POSITION),
    weaker("claim_room.rs", "compare_exchange(word.0, mine.0, AcqRel)", Release, SAW),
    weaker("publish.rs", "compare_exchange(claim.word.0, ready.0, AcqRel)", Release, OWN),
    weaker(
        "publish.rs",
        "self.atom(rest).store(abandoned.0, Release)",
        Relaxed,
        "a claim that was given up is never read, and producers come to it behind the first word, which is published after it",
    ),
    weaker(
        "consume.rs",
        "self.memory.head().store(head.wrapping_add(run), Release)",
        Relaxed,
        "no exclusive consumer dies here between the two stores that it keeps in order",
    ),
    weaker("publish.rs", "self.memory.tail().store(", Relaxed, LOCK),
    weaker("publish.rs", "let tail = self.memory.tail().load(Acquire)", Relaxed, LOCK),
    weaker(
        "publish.rs",
        "self.atom(claim.position).load(Acquire)).tag() != Tag::Late",
        Relaxed,
        "only its tag is looked at; the exchange that follows reads it anew",
    ),
    weaker(
        "publish.rs",
        "atom.store(abandoned.0, Release)",
        Relaxed,
        "in an exclusive ring the gap's next writer is the producer that leaves it, or follows by the kernel's lock",
    ),
    weaker("publish.rs", "compare_exchange(claim.word.0, abandoned.0, AcqRel)", Release, OWN),
    weaker("names.rs", "kept.load(Acquire)", Relaxed, LATE_NAME),
    weaker("names.rs", "kept.compare_exchange(old, name(position), Release)", Relaxed, LATE_NAME),
    weaker(
        "row.rs",
        "atom.store(new.0, Release)",
        Relaxed,
        "in an exclusive ring only an observer reads it beside its consumer; the story of an observer has no rows",
    ),
    weaker("recover.rs", "Word(self.memory.word(slot).load(Acquire))", Relaxed, DEAD),
    weaker(
        "recover.rs",
        "self.atom(position).load(Acquire) != first.0",
        Relaxed,
        "that it is the newest word, if the inner one is of a new owner, comes of the acquire of the inner one",
    ),
    weaker("recover.rs", "compare_exchange(inner.0, new.0, AcqRel)", Release, DEAD),
    weaker("recover.rs", "compare_exchange(word.0, new.0, AcqRel)", Release, DEAD),
    left_out("consume.rs", "compare_exchange(word.0, self.codec.freed(word).0, Release)", FREED_BY_PRODUCER),
    left_out(
        "consume.rs",
        "self.atom(head).store(mine.0, Relaxed)",
        "it matters when an exclusive consumer dies, which tests/models/model and tests/deaths/kills let it do",
    ),
    left_out(
        "consume.rs",
        "compare_exchange(word.0, late.0, Relaxed)",
        "others wait for the writer then: slower, which no story here measures",
    ),
    left_out(
        "claim_room.rs",
        "|atom| atom.store(free.0, Relaxed)",
        "it matters 2^40 positions later, which tests/library/bounds.rs lets pass",
    ),
    left_out(
        "publish.rs",
        "self.memory.tail().store(",
        "a hint: its producer knows better, and the next one walks on over the words",
    ),
];

const FREED_BY_PRODUCER: &str = "the producer that comes to it frees it, too";
